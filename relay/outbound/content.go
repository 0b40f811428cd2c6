package outbound

import (
	"bytes"
	"errors"
	"io"
)

// errBareLine says that the content has a CR or LF that is no part of a CRLF.
// Some servers end a line, or the content, at one (RFC 5321 2.3.8 and 4.1.1.4),
// so such bytes must never be sent by DATA.
var errBareLine = errors.New("the content has a bare CR or LF")

// dotWriter writes content as DATA wants it (RFC 5321 4.5.2): a dot at the
// start of a line is doubled, no other byte is touched. Close ends the content.
type dotWriter struct {
	to     io.Writer
	inLine bool // something of the current line has been written
	cr     bool // the last byte was CR
}

// Write writes content. errBareLine leaves the content unfinished for good.
func (d *dotWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, ended := cutAfterLF(rest)
		rest = rest[len(line):]
		if !d.wellFormed(line, ended) {
			return 0, errBareLine
		}
		if !d.inLine && line[0] == '.' {
			if _, err := d.to.Write(dot); err != nil {
				return 0, err
			}
		}
		if _, err := d.to.Write(line); err != nil {
			return 0, err
		}
		d.inLine = !ended
		d.cr = line[len(line)-1] == '\r'
	}
	return len(p), nil
}

var dot = []byte{'.'}

// wellFormed: the only CR of a line is the one before its LF, and there is one.
// A CR at the very end of an unfinished piece has its LF, if any, in the next.
func (d *dotWriter) wellFormed(line []byte, ended bool) bool {
	cr := bytes.IndexByte(line, '\r')
	if d.cr {
		return ended && len(line) == 1
	}
	if ended {
		return cr == len(line)-2 && cr >= 0
	}
	return cr < 0 || cr == len(line)-1
}

// Close completes the last line, should its CRLF be missing, and writes the
// line that ends the content.
func (d *dotWriter) Close() error {
	if d.cr {
		return errBareLine
	}
	end := ".\r\n"
	if d.inLine {
		end = "\r\n.\r\n"
	}
	_, err := io.WriteString(d.to, end)
	return err
}

// cutAfterLF returns the piece of p up to its first LF, or all of it.
func cutAfterLF(p []byte) (line []byte, ended bool) {
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		return p[:i+1], true
	}
	return p, false
}
