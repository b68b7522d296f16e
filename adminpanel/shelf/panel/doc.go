// Package adminpanel is the panel that devices and people know today, until package
// slipstream/adminpanel has taken its place.
package adminpanel
