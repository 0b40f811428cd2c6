package archive

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mxkeep/mxkeep/queue"
)

// Reader reads an archive in constant memory. It is used by one goroutine.
type Reader struct {
	in       *tar.Reader
	from     *counted
	tally    tally
	head     Head
	manifest Manifest
	peeked   *tar.Header // read, and not looked at
	refused  queue.ID    // its envelope is no good, which has been said: its content is not worth a word
	body     *body       // of the last message; nil if there is none
	ended    error       // why there is no next message
}

// NewReader reads the head. The error wraps ErrArchive or ErrCutOff, or is of r.
func NewReader(r io.Reader) (*Reader, error) {
	from := &counted{from: r}
	a := &Reader{in: tar.NewReader(from), from: from, tally: newTally()}
	h, err := a.header()
	if err != nil {
		return nil, err
	}
	if h.Name != nameHead || !isPlain(h) || h.Size > maxHead {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrArchive, nameHead)
	}
	text, lines, err := a.document(h)
	if err != nil {
		return nil, err
	}
	a.tally.add(lines)
	if err := decode(text, SchemaHead, &a.head); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrArchive, nameHead, err)
	}
	return a, nil
}

// Head says where the archive comes from.
func (r *Reader) Head() Head { return r.head }

// Manifest is what the end of the archive says; it is there after Next has returned io.EOF.
func (r *Reader) Manifest() Manifest { return r.manifest }

// Next returns the next message, whose content Read reads. An *EntryError is
// about one message: the next call goes on behind it. io.EOF is the end of an
// archive that is as its manifest says. Any other error wraps ErrArchive or
// ErrCutOff, or is of the reader below, and is the last.
func (r *Reader) Next() (Envelope, error) {
	if r.ended != nil {
		return Envelope{}, r.ended
	}
	e, err := r.next()
	if bad := new(EntryError); err != nil && !errors.As(err, &bad) {
		r.ended = err
	}
	return e, err
}

func (r *Reader) next() (Envelope, error) {
	if err := r.leave(); err != nil {
		return Envelope{}, err
	}
	h, err := r.header()
	if err != nil {
		return Envelope{}, err
	}
	if h.Name == nameManifest && isPlain(h) {
		return Envelope{}, r.end(h)
	}
	id, ending := cut(h.Name)
	switch {
	case id == "" || !isPlain(h):
		return Envelope{}, &EntryError{Why: fmt.Sprintf("entry %q of type %q is of no message", short(h.Name), h.Typeflag)}
	case ending == endEnvelope && h.Size <= maxDocument:
		return r.message(id, h)
	}
	lines, err := r.pass(h)
	if err != nil {
		return Envelope{}, err
	}
	r.tally.add(lines)
	switch {
	case ending == endEnvelope:
		r.refused = id
		return Envelope{}, &EntryError{id, fmt.Sprintf("its envelope has %d bytes; %d are allowed", h.Size, maxDocument)}
	case id != r.refused:
		return Envelope{}, &EntryError{id, "its content is not behind its envelope"}
	}
	return r.next() // at most once: an envelope that is no good stands before each
}

// message reads an envelope, and goes up to its content.
func (r *Reader) message(id queue.ID, h *tar.Header) (Envelope, error) {
	text, lines, err := r.document(h)
	if err != nil {
		return Envelope{}, err
	}
	var e Envelope
	err = decode(text, SchemaEnvelope, &e)
	if err == nil && e.ID != id {
		err = fmt.Errorf("it is that of %q", short(string(e.ID)))
	}
	if err != nil {
		r.tally.add(lines)
		r.refused = id
		return Envelope{}, &EntryError{id, fmt.Sprintf("its envelope cannot be used: %v", err)}
	}
	if err := e.check(); err != nil {
		r.tally.add(lines)
		r.refused = id
		return Envelope{}, err
	}
	if h, err = r.header(); err != nil {
		return Envelope{}, err
	}
	if h.Name != string(id)+endContent || !isPlain(h) || h.Size != e.Size {
		r.tally.add(lines)
		r.peeked, r.refused = h, id
		return Envelope{}, &EntryError{id, "its content is not behind its envelope, or has another size"}
	}
	r.body = &body{message: e.Message, lines: lines, content: measured{from: r.in, sum: sha256.New()}}
	return e, nil
}

// body is a content that is being read.
type body struct {
	message queue.Message
	lines   string // about its entries, the last one when it has been read
	content measured
	end     error // what its last Read said
}

// Read reads the content of the message that Next has returned. The last Read
// fails with an error that wraps ErrContent if the content is not as the
// envelope says, or ErrCutOff.
func (r *Reader) Read(p []byte) (int, error) {
	b := r.body
	switch {
	case b == nil:
		return 0, io.EOF
	case b.end != nil:
		return 0, b.end
	}
	n, err := b.content.Read(p)
	if err == nil {
		return n, nil
	}
	b.end = r.finish(b)
	if n > 0 && errors.Is(b.end, io.EOF) {
		return n, nil
	}
	return n, b.end
}

// finish says what follows the last byte of a content.
func (r *Reader) finish(b *body) error {
	if err := b.content.err; !errors.Is(err, io.EOF) {
		return r.broken(err)
	}
	digest := b.content.sum.Sum(nil)
	b.lines += line(digest, string(b.message.ID)+endContent)
	r.tally.add(b.lines)
	if err := b.content.verdict(b.message, digest); err != nil {
		return fmt.Errorf("%s: %w: %w", b.message.ID, ErrContent, err)
	}
	r.tally.count(b.message.Size)
	return io.EOF
}

// leave reads the rest of a content that nobody wanted.
func (r *Reader) leave() error {
	if r.body == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, r)
	r.body = nil
	if errors.Is(err, ErrContent) { // who did not read it does not want to know
		return nil
	}
	return err
}

// header reads the next header.
func (r *Reader) header() (*tar.Header, error) {
	if h := r.peeked; h != nil {
		r.peeked = nil
		return h, nil
	}
	h, err := r.in.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, ErrCutOff
	case err != nil:
		return nil, r.broken(err)
	}
	return h, nil
}

// broken says what an error of tar means.
func (r *Reader) broken(err error) error {
	switch {
	case r.from.err != nil && !errors.Is(r.from.err, io.EOF):
		return r.from.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ErrCutOff
	}
	return fmt.Errorf("%w: %v", ErrArchive, err)
}

// document reads a whole entry, whose size has been looked at.
func (r *Reader) document(h *tar.Header) (text []byte, lines string, err error) {
	if text, err = io.ReadAll(r.in); err != nil {
		return nil, "", r.broken(err)
	}
	digest := sha256.Sum256(text)
	return text, line(digest[:], h.Name), nil
}

// pass reads over an entry.
func (r *Reader) pass(h *tar.Header) (lines string, err error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, r.in); err != nil {
		return "", r.broken(err)
	}
	return line(sum.Sum(nil), h.Name), nil
}

// end holds the archive against its manifest. It returns io.EOF.
func (r *Reader) end(h *tar.Header) error {
	if h.Size > maxDocument {
		return fmt.Errorf("%w: a manifest of %d bytes", ErrArchive, h.Size)
	}
	text, _, err := r.document(h)
	if err != nil {
		return err
	}
	if err := decode(text, SchemaManifest, &r.manifest); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrArchive, nameManifest, err)
	}
	m := r.manifest
	if m.Digest != r.tally.digest() || m.Messages != r.tally.messages || m.Bytes != r.tally.bytes {
		return fmt.Errorf("%w: it differs from its manifest: %d of %d messages are as they were written", ErrArchive, r.tally.messages, m.Messages)
	}
	_, err = r.in.Next()
	switch {
	case err == nil:
		return fmt.Errorf("%w: entries behind its manifest", ErrArchive)
	case !errors.Is(err, io.EOF):
		return r.broken(err)
	}
	return r.tail()
}

// tail reads what follows the end: others than us write zeros up to a whole record.
func (r *Reader) tail() error {
	buffer := make([]byte, 32<<10)
	for size := 0; ; {
		n, err := r.from.Read(buffer)
		size += n
		if strings.Trim(string(buffer[:n]), "\x00") != "" || size > maxTail {
			return fmt.Errorf("%w: something follows its end", ErrArchive)
		}
		if err != nil {
			return err // io.EOF, mostly
		}
	}
}

// decode reads a document of that schema.
func decode(text []byte, schema string, into any) error {
	var head struct{ Schema string }
	if err := json.Unmarshal(text, &head); err != nil {
		return err
	}
	if head.Schema != schema {
		return fmt.Errorf("schema %q; this version reads %s", short(head.Schema), schema)
	}
	return json.Unmarshal(text, into)
}

// isPlain reports whether an entry is a file as we write them, with all its bytes.
func isPlain(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return false
		}
	}
	return h.Typeflag == tar.TypeReg && h.Size <= maxContent
}

// cut finds the message that an entry is of; "" if it is of none.
func cut(name string) (id queue.ID, ending string) {
	for _, ending := range []string{endEnvelope, endContent} {
		if word, ok := strings.CutSuffix(name, ending); ok {
			if id, err := queue.ParseID(word); err == nil {
				return id, ending
			}
		}
	}
	return "", ""
}

// short is the beginning of a text that somebody made.
func short(text string) string {
	const most = 60
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// counted counts what is read, and keeps the error that ended it.
type counted struct {
	from io.Reader
	size int64
	err  error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.size += int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}
