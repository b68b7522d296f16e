package main

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// defaultWidth is what a screen has when it does not say, and the width all
// pages are made for.
const defaultWidth = 80

// terminal is where progress is shown.
type terminal struct {
	live   bool // a line can be rewritten
	width  int
	height int // 0 if it is not known
	glyphs
}

func terminalOf(w io.Writer) terminal {
	t := terminal{width: defaultWidth, glyphs: glyphsHere()}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return t
	}
	t.live = os.Getenv("TERM") != "dumb"
	if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
		t.width, t.height = columns, rows
	}
	return t
}

// style is how a page is set.
type style struct {
	width          int    // of the terminal, 0 where there is none
	bold, dim, off string // escape sequences, empty where none are understood
	bars           bool   // draw what runs out
	glyphs
}

func styleOf(w io.Writer) style {
	s := style{glyphs: glyphsHere()}
	t := terminalOf(w)
	if t.live {
		s.width = t.width
	}
	if t.live && os.Getenv("NO_COLOR") == "" {
		s.bold, s.dim, s.off = "\x1b[1m", "\x1b[2m", "\x1b[0m"
	}
	return s
}

// glyphs are the few signs that a plain ASCII screen has no letter for.
type glyphs struct {
	here, done, open, arrow, cut, full, empty, times, sparks string
}

// glyphsHere goes by the locale: a serial console without one gets ASCII.
func glyphsHere() glyphs {
	locale := os.Getenv("LC_ALL")
	if locale == "" {
		locale = os.Getenv("LC_CTYPE")
	}
	if locale == "" {
		locale = os.Getenv("LANG")
	}
	if locale = strings.ToLower(locale); strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8") {
		return glyphs{here: "▶", done: "✓", open: "·", arrow: "→", cut: "…", full: "█", empty: "░", times: "×", sparks: "▁▂▃▄▅▆▇█"}
	}
	return glyphs{here: ">", done: "+", open: "-", arrow: "->", cut: "~", full: "#", empty: ".", times: " x", sparks: "_.-=*#"}
}
