// Package trust keeps what a device must not forget: the newest roots, the floors,
// secure time, the newest order of its fleet, and which versions it has verified.
package trust
