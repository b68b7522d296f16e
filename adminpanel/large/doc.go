// Package large holds what is tested and measured of a whole panel with a large fleet. The
// panel is a process of its own, as is the fleet (package simulate): one can be killed while
// the other goes on, and what is measured of one is not the other's.
//
// Tests run with a small fleet; with -fleet.devices they take another one. TestBench
// measures, for make bench-fleet.
package large
