// Package archive is the format in which messages travel from one relay to
// another: a tar of plain files that anybody can look into.
//
// What it has, in this order:
//
//	archive.json   which relay wrote it, when, and what was chosen: Head
//	ID.json        for each message: everything but its content: Envelope
//	ID.eml         and its content, exactly as it was received
//	manifest.json  how much there is, the digest of all of it, and what was left out: Manifest
//
// The trace header lines that we prepend are in the envelope, so that ID.eml
// has the digest that the envelope names, and the next relay delivers the same
// bytes as this one would have.
//
// Guarantee: a Reader that comes to its end has seen all that the Writer wrote,
// byte for byte. What it reads is somebody's input: sizes and names are bounded,
// nothing is believed that the content can prove, and an entry that is not as it
// should be is an error about that entry alone. On failure: an archive that
// breaks off has no manifest, which is an error, and what came before is good.
package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// The schemas of the documents. Within a number, members are only added.
const (
	SchemaHead     = "mxkeep.queue.archive/1"
	SchemaEnvelope = "mxkeep.queue.envelope/1"
	SchemaManifest = "mxkeep.queue.manifest/1"
)

// The names of the entries that are not about one message, and the endings of
// those that are.
const (
	nameHead     = "archive.json"
	nameManifest = "manifest.json"
	endEnvelope  = ".json"
	endContent   = ".eml"
)

// Errors a caller decides on.
var (
	// ErrArchive is wrapped when this is no archive of ours, or differs from its manifest.
	ErrArchive = errors.New("not a sound archive")
	// ErrCutOff is wrapped when the archive breaks off before its manifest.
	ErrCutOff = errors.New("the archive breaks off before its end")
	// ErrContent is wrapped when a content is not the one that its envelope names.
	ErrContent = errors.New("content is not as its envelope says")
)

// Limits of what is read. The first two are the most that a relay can be told to accept.
const (
	maxContent    = 4 << 30
	maxRecipients = 10000
	maxDocument   = 32 << 20 // of an envelope or a manifest
	maxHead       = 1 << 20
	maxTrace      = 1 << 20
	maxText       = 64 << 10 // of any one text of an envelope
	maxSkipped    = 10000    // that a manifest lists; all are counted
	maxTail       = 1 << 20  // of zeros behind the end
)

// Head says where an archive comes from.
type Head struct {
	Schema  string    `json:"schema"`
	Host    string    `json:"host"`    // name of the relay
	Version string    `json:"version"` // of the relay
	At      time.Time `json:"at"`
	Where   []string  `json:"where"` // the rules that chose the messages; none is all that is not final
}

// Envelope is everything about a message but its content. Its attempts and
// results are those of the instant at which it was read.
type Envelope struct {
	Schema string `json:"schema"`
	Trace  []byte `json:"trace"` // header lines that we prepend to the content, each ended by CRLF
	queue.Message
}

// Skip is a message that was chosen and could not be read.
type Skip struct {
	ID  queue.ID `json:"id,omitempty"` // "" if not even that could be read
	Why string   `json:"why"`
}

// Manifest ends an archive.
type Manifest struct {
	Schema   string `json:"schema"`
	Messages int64  `json:"messages"`
	Bytes    int64  `json:"bytes"` // of content
	// Digest is of one line for each entry before the manifest, in their order: the
	// SHA-256 of the entry in hexadecimal, two spaces, its name and a line feed, as
	// sha256sum(1) writes it.
	Digest  queue.Digest `json:"entries_sha256"`
	Failed  int64        `json:"failed"`  // chosen, and could not be read
	Skipped []Skip       `json:"skipped"` // the first of them
	Left    int64        `json:"left"`    // chosen, and gone before they were read: delivered, or deleted
}

// EntryError is about one message, or one entry that is of none. The archive
// can be read on.
type EntryError struct {
	ID  queue.ID // "" if the entry is of no message
	Why string
}

func (e *EntryError) Error() string {
	if e.ID == "" {
		return e.Why
	}
	return fmt.Sprintf("%s: %s", e.ID, e.Why)
}

// tally is what the manifest will say, or should.
type tally struct {
	sum             hash.Hash
	messages, bytes int64
}

func newTally() tally { return tally{sum: sha256.New()} }

// add counts lines about entries.
func (t *tally) add(lines string) { _, _ = io.WriteString(t.sum, lines) } // a hash takes everything

// count counts a message that is whole.
func (t *tally) count(size int64) {
	t.messages++
	t.bytes += size
}

func (t *tally) digest() queue.Digest { return queue.Digest(t.sum.Sum(nil)) }

// line is what the digest of an archive has of an entry.
func line(digest []byte, name string) string {
	return hex.EncodeToString(digest) + "  " + name + "\n"
}

// clone is a copy that counts on its own.
func (t *tally) clone() tally {
	sum, err := t.sum.(hash.Cloner).Clone()
	if err != nil {
		panic(err) // that of SHA-256 never fails
	}
	return tally{sum: sum, messages: t.messages, bytes: t.bytes}
}
