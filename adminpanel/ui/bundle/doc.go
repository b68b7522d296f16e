// Command bundle makes the panel's pages out of their sources: it writes the types of
// the API's JSON to src/view.ts and what browsers load to dist/. It is run by go generate
// in package ui; what it writes is committed, so that building the panel needs Go alone.
//
// It works with the library esbuild, which is pinned in go.mod, and with what npm ci puts
// into node_modules, which is pinned in package-lock.json. The same sources give the same
// bytes: a test makes them again and compares.
package main
