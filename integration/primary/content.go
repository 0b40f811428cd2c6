package primary

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/textproto"
	"os"
	"sync/atomic"
)

const (
	sizeLimit   = 157286400 // of one message, as EHLO says
	memoryLimit = 512 << 20 // of all content in memory, arriving and kept; more is 452 4.3.1
	headLimit   = 64 << 10  // of the header as far as we look for its Message-ID
)

const (
	tooBig        = "552 5.3.4 Message size exceeds fixed maximum message size {where}"
	bareLinefeeds = "550 5.6.11 Invalid characters, message contains bare linefeeds {where}"
	ioError       = "451 4.3.0 Temporary server error. Please try again later {where}"
)

// content is the content of a message on its way in, in a file of the record's
// folder or, without one, in memory. Writing to it never fails, so that a
// message is always read to its end; refusal says why it cannot be taken.
type content struct {
	used    *atomic.Int64 // memory of all contents of the server
	file    *os.File      // nil in memory
	bytes   []byte        // in memory
	head    []byte        // the first headLimit bytes
	hash    hash.Hash
	size    int64
	refusal string
	cause   error // of a refusal that is about our disk
}

func newContent(folder string, used *atomic.Int64) *content {
	c := &content{used: used, hash: sha256.New()}
	if folder != "" {
		if c.file, c.cause = os.CreateTemp(folder, arriving+"*"); c.cause != nil {
			c.refusal = ioError
		}
	}
	return c
}

func (c *content) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	if c.refusal == "" && c.size > sizeLimit {
		c.refusal = tooBig
	}
	if c.refusal != "" {
		return len(p), nil
	}
	c.hash.Write(p)
	c.head = append(c.head, p[:min(len(p), headLimit-len(c.head))]...)
	if c.file != nil {
		if _, c.cause = c.file.Write(p); c.cause != nil {
			c.refusal = ioError
		}
		return len(p), nil
	}
	if c.used.Add(int64(len(p))) > memoryLimit {
		c.used.Add(-int64(len(p)))
		c.refusal = lowOnResources
		return len(p), nil
	}
	c.bytes = append(c.bytes, p...)
	return len(p), nil
}

func (c *content) digest() string { return hex.EncodeToString(c.hash.Sum(nil)) }

// messageID is the Message-ID of the header, with its brackets, or "".
func (c *content) messageID() string {
	header, _ := textproto.NewReader(bufio.NewReader(bytes.NewReader(c.head))).ReadMIMEHeader() // what came before an error counts
	return header.Get("Message-Id")
}

// discard gives back what the content holds, unless the record has it.
func (c *content) discard() {
	c.used.Add(-int64(len(c.bytes)))
	c.bytes = nil
	if c.file != nil {
		c.file.Close()
		os.Remove(c.file.Name())
		c.file = nil
	}
}

// readDots copies the content of DATA up to its final dot without the dots
// that the client put in front of lines (RFC 5321 4.5.2). Only CRLF ends a
// line: <LF>.<LF> and its like are content. bare reports an LF without a CR.
func readDots(in *bufio.Reader, to io.Writer) (bare bool, err error) {
	lineStart, lastCR := true, false
	for {
		part, err := in.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return bare, fmt.Errorf("content of DATA: %w", unexpected(err))
		}
		if lineStart && bytes.Equal(part, []byte(".\r\n")) {
			return bare, nil
		}
		ended := err == nil
		crlf := ended && (bytes.HasSuffix(part, []byte("\r\n")) || lastCR && len(part) == 1)
		bare = bare || ended && !crlf
		lastCR = part[len(part)-1] == '\r'
		if lineStart && part[0] == '.' {
			part = part[1:]
		}
		lineStart = crlf
		if _, err := to.Write(part); err != nil {
			return bare, err
		}
	}
}

// unexpected: the end of the stream within content is no end of the content.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
