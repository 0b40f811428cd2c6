package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// progress is a bar on a terminal, drawn anew a few times a second. Elsewhere
// it draws nothing.
type progress struct {
	app           *app
	whole         int64 // bytes; 0 if it is not known
	wholeMessages int64 // 0 if it is not known
	began, drawn  time.Time
}

const (
	progressEvery = 200 * time.Millisecond
	progressWidth = 20
)

func (a *app) progress(bytes, messages int64) *progress {
	return &progress{app: a, whole: bytes, wholeMessages: messages, began: time.Now()}
}

// step shows how much is done. It may be called for every piece.
func (p *progress) step(bytes, messages int64) {
	if !p.app.screen.out || p.app.flags.quiet || time.Since(p.drawn) < progressEvery {
		return
	}
	p.drawn = time.Now()
	line := p.line(bytes, messages, p.drawn.Sub(p.began))
	fmt.Fprint(p.app.errs, "\r"+cut(line, p.app.screen.width-1, p.app.screen.utf8)+"\x1b[K")
}

// end takes the bar away.
func (p *progress) end() {
	if !p.drawn.IsZero() {
		fmt.Fprint(p.app.errs, "\r\x1b[K")
	}
}

// line is what a bar says after some time.
func (p *progress) line(bytes, messages int64, after time.Duration) string {
	words := size(bytes)
	if messages > 0 {
		words = admin.Thousands(messages) + " messages   " + words
	}
	if p.wholeMessages > 0 {
		words = admin.Thousands(messages) + " / " + admin.Thousands(p.wholeMessages) + " messages   " + size(bytes)
	}
	if p.whole <= 0 {
		return words
	}
	share := min(1, float64(bytes)/float64(p.whole))
	full := int(share * progressWidth)
	empty := "."
	if p.app.screen.utf8 {
		empty = "·"
	}
	line := fmt.Sprintf("[%s%s] %3.0f%%   %s", strings.Repeat("#", full), strings.Repeat(empty, progressWidth-full), share*100, words)
	if share > 0 && after > 2*time.Second {
		left := time.Duration(float64(after) * (1 - share) / share)
		line += fmt.Sprintf("   %s left", span(left))
	}
	return line
}
