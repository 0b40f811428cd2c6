package archive

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Writer writes an archive in constant memory. It is used by one goroutine.
// After an error that is not about one message, what was written is torn.
type Writer struct {
	out      *tar.Writer
	tally    tally
	manifest Manifest
	buffer   []byte
}

// NewWriter begins an archive.
func NewWriter(w io.Writer, h Head) (*Writer, error) {
	h.Schema = SchemaHead
	if h.Where == nil {
		h.Where = []string{}
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	a := newWriter(w, newTally())
	lines, err := a.document(nameHead, head, h.At)
	a.tally.add(lines)
	return a, err
}

func newWriter(w io.Writer, t tally) *Writer {
	return &Writer{out: tar.NewWriter(w), tally: t, buffer: make([]byte, 64<<10), manifest: Manifest{Schema: SchemaManifest, Skipped: []Skip{}}}
}

// Add writes a message, and reads its content to the end. If the content turns
// out to be damaged or gone, or another than the envelope says, the error wraps
// ErrContent and the reason: a Reader will find the same, and the archive goes
// on. If it is an *EntryError, nothing was written.
func (w *Writer) Add(e Envelope, content io.Reader) error {
	e.Schema = SchemaEnvelope
	if err := e.check(); err != nil {
		return err
	}
	document, err := json.Marshal(e)
	if err == nil && len(document) > maxDocument {
		err = fmt.Errorf("it has %d bytes; %d are allowed", len(document), maxDocument)
	}
	if err != nil {
		return &EntryError{e.ID, fmt.Sprintf("its envelope cannot be written: %v", err)}
	}
	lines, err := w.document(string(e.ID)+endEnvelope, document, e.AcceptedAt)
	if err != nil {
		return err
	}
	name := string(e.ID) + endContent
	if err := w.header(name, e.Size, e.AcceptedAt); err != nil {
		return err
	}
	from := &measured{from: content, sum: sha256.New()}
	if _, err := io.CopyBuffer(plain{w.out}, io.LimitReader(from, e.Size), w.buffer); err != nil {
		return err
	}
	if from.err != nil && !isAboutContent(from.err) {
		return fmt.Errorf("content of %s: %w", e.ID, from.err)
	}
	if err := w.pad(from, e.Size-from.size); err != nil {
		return err
	}
	digest := from.sum.Sum(nil)
	w.tally.add(lines + line(digest, name))
	if err := from.verdict(e.Message, digest); err != nil {
		return fmt.Errorf("%s: %w: %w", e.ID, ErrContent, err)
	}
	w.tally.count(e.Size)
	return nil
}

// isAboutContent tells what ends one content from what ends everything.
func isAboutContent(err error) bool {
	for _, one := range []error{io.EOF, queue.ErrDamaged, queue.ErrNotFound, ErrContent} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// pad writes zeros in the place of a content that ended too early.
func (w *Writer) pad(from *measured, missing int64) error {
	clear(w.buffer)
	for missing > 0 {
		zeros := w.buffer[:min(missing, int64(len(w.buffer)))]
		if _, err := w.out.Write(zeros); err != nil {
			return err
		}
		from.sum.Write(zeros)
		missing -= int64(len(zeros))
	}
	return nil
}

// Skip notes a message that could not be read.
func (w *Writer) Skip(id queue.ID, why string) {
	w.manifest.Failed++
	if len(w.manifest.Skipped) < maxSkipped {
		w.manifest.Skipped = append(w.manifest.Skipped, Skip{id, why})
	}
}

// Failed notes that more messages could not be read, of which nothing is said.
func (w *Writer) Failed(n int64) { w.manifest.Failed += n }

// Left notes that messages were gone before they could be read.
func (w *Writer) Left(n int64) { w.manifest.Left += n }

// Written says how many messages are in the archive so far, and the bytes of their content.
func (w *Writer) Written() (messages, bytes int64) { return w.tally.messages, w.tally.bytes }

// Close ends the archive. digest is that of the manifest.
func (w *Writer) Close(at time.Time) (m Manifest, digest queue.Digest, err error) {
	w.manifest.Messages, w.manifest.Bytes, w.manifest.Digest = w.tally.messages, w.tally.bytes, w.tally.digest()
	document, err := json.Marshal(w.manifest)
	if err != nil {
		panic(err) // it has no value that JSON cannot write
	}
	if _, err := w.document(nameManifest, document, at); err != nil {
		return w.manifest, digest, err
	}
	return w.manifest, sha256.Sum256(document), w.out.Close()
}

// document writes an entry that is in memory, and returns its line.
func (w *Writer) document(name string, text []byte, at time.Time) (lines string, err error) {
	if err := w.header(name, int64(len(text)), at); err != nil {
		return "", err
	}
	if _, err := w.out.Write(text); err != nil {
		return "", err
	}
	digest := sha256.Sum256(text)
	return line(digest[:], name), w.out.Flush()
}

// latest is the last second that a header has room for.
const latest = 1<<33 - 1

// header begins an entry. All headers are plain ones of POSIX.1-1988, of 512
// bytes, whatever stands in them.
func (w *Writer) header(name string, size int64, at time.Time) error {
	return w.out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600,
		ModTime: time.Unix(min(max(0, at.Unix()), latest), 0), Format: tar.FormatUSTAR})
}

// plain hides that a tar.Writer could read by itself, with a buffer of its own.
type plain struct{ io.Writer }

// measured hashes and counts what is read, and keeps the error that ended it:
// that is the content's, where an error of a copy is the archive's.
type measured struct {
	from io.Reader
	sum  hash.Hash
	size int64
	err  error
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.sum.Write(p[:n])
	m.size += int64(n)
	if err != nil {
		m.err = err
		err = io.EOF
	}
	return n, err
}

// verdict says what is wrong with a content that has been read up to its size;
// nil if nothing is.
func (m *measured) verdict(of queue.Message, digest []byte) error {
	switch {
	case m.size == of.Size && queue.Digest(digest) == of.Digest:
		return nil
	case m.err != nil && !errors.Is(m.err, io.EOF):
		return m.err
	}
	return queue.ErrDamaged
}
