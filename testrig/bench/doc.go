// Package bench measures what Slipstream promises, beside a floor or a control
// that was measured over the same seconds on the same machine.
//
// It runs the product's own binaries with real viewers. Figures are medians and
// percentiles of many runs; nothing here passes or fails.
package bench
