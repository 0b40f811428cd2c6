package queue

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// An export of the ledger is a stretch of it with its hashes, so that a stranger
// can verify it: one JSON object per line, first an ExportHead, then the lines,
// last an ExportEnd. The hash of a line is
//
//	SHA-256(hash of the line before, 32 bytes | seq, 8 bytes, big-endian | prefix | line)
//
// where the first line goes on from the anchor of the ExportHead. prefix stands
// in hexadecimal, and line as a JSON string, so that its bytes are those that
// were hashed. A record that is not UTF-8 is damaged and stands in base64, whole.
const (
	SchemaExport    = "mxkeep.ledger.export/1"
	SchemaExportEnd = "mxkeep.ledger.export.end/1"
)

// exportPrefix is the length of what stands before the text in a record.
const exportPrefix = 5

// maxExportLine bounds a line of an export that is read.
const maxExportLine = 64 << 20

// maxExportFaults bounds the faults that are told one by one.
const maxExportFaults = 10

// ExportHead is the first line of an export.
type ExportHead struct {
	Schema string    `json:"schema"`
	At     time.Time `json:"created_at"`
	Since  time.Time `json:"since,omitzero"` // as asked; zero is open
	Until  time.Time `json:"until,omitzero"`
	After  uint64    `json:"after"`  // number of the line before the first
	Anchor Digest    `json:"anchor"` // its hash
}

// exportLine is a line of the ledger, or with missing a place where the chain
// begins anew, from that hash.
type exportLine struct {
	Seq     uint64 `json:"seq"`
	Hash    Digest `json:"hash"`
	Prefix  string `json:"prefix,omitempty"`
	Line    string `json:"line,omitempty"`
	Base64  []byte `json:"base64,omitempty"`
	Missing string `json:"missing,omitempty"`
}

// ExportEnd is the last line of an export.
type ExportEnd struct {
	Schema string `json:"schema"`
	Lines  int64  `json:"lines"`
	Last   uint64 `json:"last"` // number of the last line
	Head   Digest `json:"head"` // its hash
}

// ChainLink is the hash of a line, by that of the line before.
func ChainLink(before []byte, seq uint64, record []byte) Digest {
	h := sha256.New()
	h.Write(before)
	h.Write(binary.BigEndian.AppendUint64(nil, seq))
	h.Write(record)
	return Digest(h.Sum(nil))
}

// ExportWriter writes an export. Its error stays: End returns it as well.
type ExportWriter struct {
	w    io.Writer
	end  ExportEnd
	last error
}

// NewExportWriter writes the first line.
func NewExportWriter(w io.Writer, head ExportHead) *ExportWriter {
	head.Schema = SchemaExport
	x := &ExportWriter{w: w, end: ExportEnd{Schema: SchemaExportEnd, Last: head.After, Head: head.Anchor}}
	x.write(head)
	return x
}

func (x *ExportWriter) write(document any) {
	if x.last == nil {
		_, x.last = x.w.Write(exportText(document))
	}
}

// exportText writes one line, in the only form that is accepted.
func exportText(document any) []byte {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	if err := out.Encode(document); err != nil {
		panic(err) // our own types have no value that JSON cannot write
	}
	return b.Bytes()
}

// Line writes a line of the ledger, whose record may be damaged.
func (x *ExportWriter) Line(seq uint64, hash Digest, record []byte) error {
	line := exportLine{Seq: seq, Hash: hash, Base64: record}
	if len(record) > exportPrefix && utf8.Valid(record[exportPrefix:]) {
		line.Prefix, line.Line, line.Base64 = hex.EncodeToString(record[:exportPrefix]), string(record[exportPrefix:]), nil
	}
	x.write(line)
	x.end.Lines++
	x.end.Last, x.end.Head = seq, hash
	return x.last
}

// Break says what is missing, and that the chain begins anew behind line seq from that hash.
func (x *ExportWriter) Break(seq uint64, hash Digest, missing string) error {
	x.write(exportLine{Seq: seq, Hash: hash, Missing: missing})
	x.end.Last, x.end.Head = seq, hash
	return x.last
}

// End writes the last line.
func (x *ExportWriter) End() error {
	x.write(x.end)
	return x.last
}

// Export is what VerifyExport has found.
type Export struct {
	Head    ExportHead
	Lines   int64
	First   uint64 // number of the first line; 0 without one
	End     ExportEnd
	Missing []string // where the chain begins anew, in words
	Faults  []string // the first ones, in words; none if the export is whole
	// Found says that the hash that was looked for is that of the line FoundAt.
	Found   bool
	FoundAt uint64
}

func (x *Export) fault(format string, args ...any) {
	if len(x.Faults) < maxExportFaults {
		x.Faults = append(x.Faults, fmt.Sprintf(format, args...))
	}
}

// VerifyExport reads an export and follows its chain. It finds lines that were
// changed, removed, or put in, and an end that is missing; not an export that
// was made up whole: whoever has noted a head looks for it, nil is none. The
// error is that of the reader.
func VerifyExport(r io.Reader, head []byte) (Export, error) {
	v := exportReader{head: head}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxExportLine)
	lines.Split(wholeLines)
	for lines.Scan() {
		v.number++
		v.line(lines.Bytes())
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		v.x.fault("text line %d is longer than %d bytes", v.number+1, maxExportLine)
	case err != nil:
		return v.x, err
	case v.x.End.Schema == "":
		v.x.fault("the last line is missing: the export was cut off")
	}
	return v.x, nil
}

// wholeLines is bufio.ScanLines with the ends of lines.
func wholeLines(text []byte, atEnd bool) (int, []byte, error) {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i + 1, text[:i+1], nil
	}
	if atEnd && len(text) > 0 {
		return len(text), text, nil
	}
	return 0, nil, nil
}

// exportReader walks from line to line.
type exportReader struct {
	x      Export
	number int // of lines of text
	head   []byte
	seq    uint64
	hash   Digest
}

// pass takes a hash of the chain.
func (v *exportReader) pass(seq uint64, hash Digest) {
	v.seq, v.hash = seq, hash
	if !v.x.Found && bytes.Equal(v.head, hash[:]) {
		v.x.Found, v.x.FoundAt = true, seq
	}
}

func (v *exportReader) line(text []byte) {
	switch {
	case v.number == 1:
		v.first(text)
	case v.x.End.Schema != "":
		v.x.fault("text line %d comes after the last one", v.number)
	case strings.HasPrefix(string(text[:min(len(text), 12)]), `{"schema":`):
		v.last(text)
	default:
		v.entry(text)
	}
}

// read decodes a line that must be written as exportText writes it: no reader
// may see anything else in it.
func (v *exportReader) read(text []byte, into any) bool {
	if err := json.Unmarshal(text, into); err != nil {
		v.x.fault("text line %d: %v", v.number, err)
		return false
	}
	if !bytes.Equal(text, exportText(into)) {
		v.x.fault("text line %d is not written as an export is", v.number)
		return false
	}
	return true
}

func (v *exportReader) first(text []byte) {
	if v.read(text, &v.x.Head) && v.x.Head.Schema != SchemaExport {
		v.x.fault("it is no %s, but %q", SchemaExport, v.x.Head.Schema)
	}
	v.pass(v.x.Head.After, v.x.Head.Anchor)
}

func (v *exportReader) entry(text []byte) {
	var e exportLine
	if !v.read(text, &e) {
		return
	}
	if e.Missing != "" {
		v.x.Missing = append(v.x.Missing, fmt.Sprintf("after line %d: %s", v.seq, e.Missing))
		v.pass(e.Seq, e.Hash)
		return
	}
	record := e.Base64
	if record == nil {
		prefix, err := hex.DecodeString(e.Prefix)
		if err != nil {
			v.x.fault("line %d: prefix %q", e.Seq, e.Prefix)
		}
		record = append(prefix, e.Line...)
	}
	switch {
	case e.Seq <= v.seq:
		v.x.fault("line %d comes after line %d", e.Seq, v.seq)
	case ChainLink(v.hash[:], e.Seq, record) != e.Hash:
		v.x.fault("line %d does not go on from the one before it", e.Seq)
	case len(record) < exportPrefix || crc32.ChecksumIEEE(record[exportPrefix:]) != binary.BigEndian.Uint32(record[1:]):
		v.x.fault("line %d differs from its checksum", e.Seq)
	}
	if v.x.First == 0 {
		v.x.First = e.Seq
	}
	v.x.Lines++
	v.pass(e.Seq, e.Hash)
}

func (v *exportReader) last(text []byte) {
	var end ExportEnd
	if !v.read(text, &end) {
		return
	}
	v.x.End = end
	if want := (ExportEnd{SchemaExportEnd, v.x.Lines, v.seq, v.hash}); end != want {
		v.x.fault("the last line says %d lines up to %d with head %s; there are %d up to %d with head %s", end.Lines, end.Last, end.Head, want.Lines, want.Last, want.Head)
	}
}
