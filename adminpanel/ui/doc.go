// Package ui is the panel's pages, embedded, so that building the panel needs Go alone.
//
// Their sources are in src/: TypeScript with Preact and signals, bundled by ./bundle into
// dist/, which is committed; the types of the API are written from package view, so a
// renamed field fails the type check.
//
// What they keep: a video element, once made, is never made anew or moved by data; the
// peer connection of a tile ends only when the browser says that it has failed, or when
// nobody looks. Data that arrives moves neither focus nor selection nor scrolling. The
// address is the state: a reload, the back button and a second tab show the same. A
// button says what was asked, and then what the device said, never what is hoped for.
//
// What they defend against: words that come from devices and packages are set as text,
// never as markup, and the pages work under a policy ([Policy]) that allows no inline
// script or style and no strings for markup (trusted types).
//
// What they do not do: decide. Selectors, actions and the reasons why one is refused are
// the panel's; the pages show them.
//
// How src/ is laid out: live.ts is one stream of events for all tabs of a browser,
// store.ts what pages share, rows.ts the window on the fleet, player.ts a WHEP session as
// a state machine, pages/ a file for each page. For tests, window.slipstream shows the
// players' figures, and data-testid attributes are kept stable.
package ui
