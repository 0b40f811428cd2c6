package inbound

import "bufio"

// Most of the time most clients say nothing, so while one is waited for there is
// only a buffer for its next line or two. The large one is borrowed.
const (
	fewOctets  = 512
	readBuffer = 8 << 10
)

// slim gives the large buffer back if there is nothing in it.
func (c *conn) slim() {
	if large := c.in; large != c.few && large.Buffered() == 0 {
		c.in = c.few
		large.Reset(nil)
		c.guard.server.readers.Put(large)
	}
}

// widen borrows a large buffer. It reads first what is in the small one, and
// from then on the small one is never filled.
func (c *conn) widen() {
	if c.in == c.few {
		c.in = c.guard.server.readers.Get().(*bufio.Reader)
		c.in.Reset(c.few)
	}
}
