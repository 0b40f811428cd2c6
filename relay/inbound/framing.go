package inbound

import "bytes"

// framing follows the line ends of content. It finds a CR or LF that stands
// alone and, in DATA, the end: CRLF.CRLF and nothing else (RFC 5321 4.1.1.4).
// The zero framing is at the beginning of the content of BDAT.
type framing struct {
	state lineState
	dots  bool // DATA: a line of one dot is the end
	bare  bool // a bare CR or LF was met
}

type lineState uint8

const (
	lineStart lineState = iota
	midLine
	afterCR
	afterDot   // a dot that began its line
	afterDotCR // and a CR behind it
)

// scan reads p and returns how much of it belongs to the content: all of it,
// or less if the end is within; n then counts the end's own octets.
func (f *framing) scan(p []byte) (n int, end bool) {
	n, _, end = f.unstuff(nil, p)
	return n, end
}

// unstuff reads p as scan does and copies to out, as far as it reaches, what
// the content of DATA says: without the end, and without the dots before it
// that begin a line (RFC 5321 4.5.2). From a bare CR or LF on it copies nothing.
func (f *framing) unstuff(out, p []byte) (n, copied int, end bool) {
	for n < len(p) && !end {
		begin := n
		if f.state == midLine {
			n += f.skipLine(p[n:])
		} else {
			end = f.step(p[n])
			n++
		}
		if framed := f.state == afterDot || f.state == afterDotCR; !framed && !f.bare {
			copied += copy(out[copied:], p[begin:n])
		}
	}
	return n, copied, end
}

// skipLine reads from the middle of a line to its LF.
func (f *framing) skipLine(p []byte) int {
	line, n, ended := p, len(p), false
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		line, n, ended = p[:i], i+1, true
	}
	cr := bytes.IndexByte(line, '\r')
	last := len(line) - 1
	switch {
	case cr >= 0 && cr < last, ended && cr < 0:
		f.bare = true
	}
	switch {
	case ended && last >= 0 && line[last] == '\r':
		f.state = lineStart
	case !ended && last >= 0 && line[last] == '\r':
		f.state = afterCR
	}
	return n
}

// step reads one octet where a line begins or ends. It reports the end of DATA.
func (f *framing) step(c byte) (end bool) {
	switch {
	case f.state == lineStart && c == '.' && f.dots:
		f.state = afterDot
	case f.state == afterDot && c == '\r':
		f.state = afterDotCR
	case f.state == afterDotCR && c == '\n':
		return true
	case f.state == afterCR && c == '\n':
		f.state = lineStart
	case c == '\r':
		f.bare = f.bare || f.state == afterCR || f.state == afterDotCR
		f.state = afterCR
	default: // also a bare LF: what follows it is no new line
		f.bare = f.bare || c == '\n' || f.state == afterCR || f.state == afterDotCR
		f.state = midLine
	}
	return false
}

// flawed reports whether content that ends here has a bare CR or LF.
func (f *framing) flawed() bool { return f.bare || f.state == afterCR }
