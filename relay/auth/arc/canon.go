package arc

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

var crlf = []byte("\r\n")

// relaxedField is the relaxed form of a field (RFC 6376 3.4.2), without the line
// end behind it.
func relaxedField(name string, value []byte) []byte {
	out := make([]byte, 0, len(name)+1+len(value))
	out = append(append(out, name...), ':')
	space := false
	begin := len(out)
	for i, c := range value {
		switch {
		case c == ' ' || c == '\t':
			space = true
		case c == '\n' && i > 0 && value[i-1] == '\r', c == '\r' && i+1 < len(value) && value[i+1] == '\n':
			// a fold: what begins the next line is white space
		default:
			if space && len(out) > begin {
				out = append(out, ' ')
			}
			space = false
			out = append(out, c)
		}
	}
	return out
}

// relaxedBody takes a body as it comes and hashes its relaxed form (RFC 6376
// 3.4.4). White space and line ends wait until it is known that something
// follows them.
type relaxedBody struct {
	block blocks
	lines int  // line ends that wait
	space bool // white space that waits
	cr    bool // the last octet was CR
	begun bool // something was hashed
}

func newRelaxedBody() *relaxedBody { return &relaxedBody{block: blocks{hash: sha256.New()}} }

// Write takes the next piece; it never fails.
func (b *relaxedBody) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if b.cr {
			b.cr = false
			if p[0] == '\n' {
				b.lines, b.space, p = b.lines+1, false, p[1:]
				continue
			}
			b.text([]byte{'\r'}) // a bare one
		}
		switch p[0] {
		case ' ', '\t':
			b.space, p = true, p[1:]
		case '\r':
			b.cr, p = true, p[1:]
		default:
			end := 1
			for end < len(p) && p[end] != ' ' && p[end] != '\t' && p[end] != '\r' {
				end++
			}
			b.text(p[:end])
			p = p[end:]
		}
	}
	return n, nil
}

// text hashes what waits, and then p.
func (b *relaxedBody) text(p []byte) {
	for ; b.lines > 0; b.lines-- {
		b.block.write(crlf)
	}
	if b.space {
		b.block.write([]byte{' '})
	}
	b.space, b.begun = false, true
	b.block.write(p)
}

func (b *relaxedBody) sum() [32]byte {
	if b.cr {
		b.text([]byte{'\r'})
	}
	if b.begun {
		b.block.write(crlf)
	}
	return b.block.sum()
}

// simpleBody hashes the simple form of a body (RFC 6376 3.4.3).
type simpleBody struct {
	block blocks
	lines int
	cr    bool
}

func newSimpleBody() *simpleBody { return &simpleBody{block: blocks{hash: sha256.New()}} }

// Write takes the next piece; it never fails.
func (b *simpleBody) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if b.cr {
			b.cr = false
			if p[0] == '\n' {
				b.lines, p = b.lines+1, p[1:]
				continue
			}
			b.text([]byte{'\r'})
		}
		if p[0] == '\r' {
			b.cr, p = true, p[1:]
			continue
		}
		end := bytes.IndexByte(p, '\r')
		if end < 0 {
			end = len(p)
		}
		b.text(p[:end])
		p = p[end:]
	}
	return n, nil
}

func (b *simpleBody) text(p []byte) {
	for ; b.lines > 0; b.lines-- {
		b.block.write(crlf)
	}
	b.block.write(p)
}

func (b *simpleBody) sum() [32]byte {
	if b.cr {
		b.text([]byte{'\r'})
	}
	b.block.write(crlf)
	return b.block.sum()
}

// blocks gathers small pieces for a hash, which takes large ones faster.
type blocks struct {
	hash hash.Hash
	buf  [4 << 10]byte
	n    int
}

func (b *blocks) write(p []byte) {
	for len(p) > 0 {
		if b.n == len(b.buf) {
			b.hash.Write(b.buf[:])
			b.n = 0
		}
		k := copy(b.buf[b.n:], p)
		b.n, p = b.n+k, p[k:]
	}
}

func (b *blocks) sum() (out [32]byte) {
	b.hash.Write(b.buf[:b.n])
	b.n = 0
	copy(out[:], b.hash.Sum(nil))
	return out
}
