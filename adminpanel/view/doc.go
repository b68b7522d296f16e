// Package view holds what the panel's API says and takes: the JSON of its routes as Go
// types, shared by the API, its client, the commands and the types of the pages.
//
// What it keeps: names are those of the devices' own API (package control), and a field
// once published keeps its meaning; new fields are only added. Times are RFC 3339 in
// UTC, by the panel's clock; spans are milliseconds and end in MS, so that nobody has to
// compare clocks to show a countdown. Lists are never null.
//
// What it does not do: it has no behaviour, and says nothing of how things are stored.
package view
