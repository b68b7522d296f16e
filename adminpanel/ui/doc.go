// Package ui is the panel's page: hand-written HTML, CSS and ES modules,
// embedded as they are, so that building the panel needs Go alone.
//
// What it keeps: a video element, once made, is never made anew or moved by
// data. A device's card is made once from the template in index.html and then
// changed in place; the peer connection of its tile ends only when the browser
// says that it has failed.
//
// What it defends against: words that come from devices and packages are set as
// text, never as markup, and the page works under a policy that allows no
// inline script or style and no strings for markup (trusted types).
//
// What it does not do: remember. It shows what the events say; a reload loses
// nothing.
//
// For tests, window.slipstream shows each tile's figures (main.js), and the
// data-testid attributes are kept stable.
//
// Rejected: a framework; at this size the card's own code is shorter.
package ui
