package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Files is what admin needs of a store that keeps mail in files.
type Files interface {
	Storage
	Files(ctx context.Context) ([]queue.File, error)
	Aside(ctx context.Context) ([]queue.Aside, error)
	Audit(ctx context.Context, head string, found func(queue.Finding) error) (queue.Checked, error)
	Salvage(ctx context.Context, file, actor string, dry bool) (queue.Salvage, error)
	AcceptLoss(ctx context.Context, name, actor, reason string, dry bool) (queue.Aside, error)
	ExportLedger(ctx context.Context, since, until time.Time, w io.Writer) error
}

// FileReport lists the files of the store.
type FileReport struct {
	Schema string       `json:"schema"`
	Store  *StoreReport `json:"store"`
	Files  []File       `json:"files"` // in use, oldest first
	Aside  []Aside      `json:"aside"` // set aside, oldest first, also those that are closed
}

// File is a file in use.
type File struct {
	Name       string           `json:"name"`
	CreatedAt  Time             `json:"created_at"`
	Size       int64            `json:"size_bytes"`
	Used       int64            `json:"used_bytes"`
	Reusable   int64            `json:"reusable_bytes"` // of used_bytes: of mail that has left, which goes with the file
	Youngest   bool             `json:"takes_new_mail"`
	Messages   int64            `json:"messages"`
	ByState    map[string]int64 `json:"by_state"`
	Bytes      int64            `json:"message_bytes"`
	OldestAt   Time             `json:"oldest_received_at"`
	Damaged    int64            `json:"damaged_messages"`
	Unreadable int64            `json:"unreadable_messages"`
	Account    Account          `json:"account"`
}

// Aside is a file that was set aside, or whose last changes may be missing.
type Aside struct {
	File       string `json:"file"`
	InUse      bool   `json:"in_use"` // it is not set aside: its last changes may be missing
	Gone       bool   `json:"gone"`   // there is no file
	Ledger     bool   `json:"ledger"` // it holds lines of the ledger, and no mail
	At         Time   `json:"at"`
	Why        string `json:"why"`
	Recipients int64  `json:"recipients"`
	Certainty  string `json:"certainty"` // of Recipients: exact, about, unknown
	SalvagedAt Time   `json:"salvaged_at"`
	ClosedAt   Time   `json:"closed_at"`
	Reason     string `json:"reason"`
	Open       bool   `json:"open"`
}

// Finding is one line of a check.
type Finding struct {
	Schema string `json:"schema"`
	File   string `json:"file"`
	ID     string `json:"id"` // "" if it is about the file
	What   string `json:"what"`
}

// Checked is the last line of a check.
type Checked struct {
	Schema   string  `json:"schema"`
	Files    int64   `json:"files"`
	Messages int64   `json:"messages"`
	Lines    int64   `json:"ledger_lines"`
	Bytes    int64   `json:"content_bytes"`
	Damaged  int64   `json:"damaged"`
	Seconds  float64 `json:"took_seconds"`
	Chain    Chain   `json:"ledger_chain"`
}

// CheckRequest asks for a check.
type CheckRequest struct {
	Head string `json:"head,omitempty"` // a head of the ledger that was noted before
}

// Chain is the chain of hashes over the ledger.
type Chain struct {
	First   uint64  `json:"first"`
	Last    uint64  `json:"last"`
	Anchor  string  `json:"anchor"`
	Head    string  `json:"head"`
	Breaks  int64   `json:"breaks"`   // files that are missing in it, known and set aside
	FoundAt *uint64 `json:"found_at"` // the line whose hash was asked for; null if there is none
}

func describeChain(c queue.Chain) Chain {
	d := Chain{First: c.First, Last: c.Last, Anchor: c.Anchor, Head: c.Head, Breaks: c.Breaks}
	if c.Found {
		d.FoundAt = &c.FoundAt
	}
	return d
}

// SalvageRequest asks for what can be read of a file that was set aside.
type SalvageRequest struct {
	File   string `json:"file"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// Salvage is what was, or would be, brought back.
type Salvage struct {
	Schema     string `json:"schema"`
	File       string `json:"file"`
	Ledger     bool   `json:"ledger"` // the file holds lines of the ledger, and no mail
	DryRun     bool   `json:"dry_run"`
	Messages   int64  `json:"messages"` // held now
	Recipients int64  `json:"recipients"`
	Bytes      int64  `json:"bytes"`
	Damaged    int64  `json:"damaged"` // of the messages: their content differs from what was received
	Rebuilt    int64  `json:"rebuilt"` // of the messages: made from their ledger line
	Final      int64  `json:"final"`   // messages found of which nothing is pending
	Present    int64  `json:"present"` // messages found that are in the store already
	Lines      int64  `json:"ledger_lines"`
	Rest       int64  `json:"rest"` // recipients still set aside
	Certainty  string `json:"certainty"`
}

// AcceptRequest gives up what could not be salvaged of a file, or a message
// without a record that can be read.
type AcceptRequest struct {
	File   string `json:"file"` // or the id of the message
	Reason string `json:"reason"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// Loss is what was, or would be, given up.
type Loss struct {
	Schema string `json:"schema"`
	DryRun bool   `json:"dry_run"`
	Aside  Aside  `json:"aside"`
}

func describeAside(a queue.Aside) Aside {
	return Aside{File: a.File, InUse: a.InUse, Gone: a.Gone, Ledger: a.Ledger, At: Time{a.At}, Why: a.Why, Recipients: a.Recipients, Certainty: a.Certainty.String(),
		SalvagedAt: Time{a.Salvaged}, ClosedAt: Time{a.Closed}, Reason: a.Reason, Open: a.Open()}
}

func describeFile(f queue.File) File {
	d := File{Name: f.Name, CreatedAt: Time{f.CreatedAt}, Size: f.Size, Used: f.Used, Reusable: f.Reusable, Youngest: f.Youngest, ByState: map[string]int64{},
		Bytes: f.Bytes, OldestAt: Time{f.Oldest}, Damaged: f.Damaged, Unreadable: f.Unreadable, Account: *account(f.Account)}
	for _, state := range queue.States() {
		if !state.Final() {
			d.ByState[state.String()] = f.Messages[state]
			d.Messages += f.Messages[state]
		}
	}
	return d
}

// files is the store as files; an error if it has none.
func (s *Server) files() (Files, error) {
	if s.options.Files == nil {
		return nil, fail(CodeBadRequest, "this relay keeps no files")
	}
	return s.options.Files, nil
}

// fileStats lists the files.
func (s *Server) fileStats(r *http.Request) (any, error) {
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	used, err := files.Files(r.Context())
	if err != nil {
		return nil, err
	}
	aside, err := files.Aside(r.Context())
	if err != nil {
		return nil, err
	}
	report := FileReport{Schema: SchemaFiles, Store: s.storage(), Files: []File{}, Aside: []Aside{}}
	for _, f := range used {
		report.Files = append(report.Files, describeFile(f))
	}
	for _, a := range aside {
		report.Aside = append(report.Aside, describeAside(a))
	}
	return report, nil
}

// check reads everything, streams what is wrong, and ends with a sum.
func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	files, err := s.files()
	if err != nil {
		writeError(w, err)
		return
	}
	var request CheckRequest
	if err := read(r, &request); err != nil {
		writeError(w, err)
		return
	}
	if !isHead(request.Head) {
		writeError(w, fail(CodeBadRequest, "%q is no head: 64 hexadecimal digits, as db check prints it", request.Head))
		return
	}
	out := newStream(w)
	began := time.Now()
	sum, err := files.Audit(r.Context(), request.Head, func(f queue.Finding) error {
		return out.write(Finding{Schema: SchemaFinding, File: f.File, ID: string(f.ID), What: f.What})
	})
	if err == nil {
		err = out.write(Checked{Schema: SchemaChecked, Files: sum.Files, Messages: sum.Messages, Lines: sum.Lines,
			Bytes: sum.Bytes, Damaged: sum.Damaged, Seconds: Seconds(time.Since(began)), Chain: describeChain(sum.Chain)})
	}
	out.end(err)
}

// isHead reports whether a text is a hash, or empty.
func isHead(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil && (text == "" || len(text) == 2*sha256.Size)
}

// salvage brings back what can be read of a file.
func (s *Server) salvage(r *http.Request) (any, error) {
	var request SalvageRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	did, err := files.Salvage(r.Context(), request.File, actor(r.Context()), request.DryRun)
	if err != nil {
		return nil, aboutFile(err)
	}
	return Salvage{Schema: SchemaSalvage, File: did.File, Ledger: did.Ledger, DryRun: did.DryRun, Messages: did.Messages, Recipients: did.Recipients,
		Bytes: did.Bytes, Damaged: did.Damaged, Rebuilt: did.Rebuilt, Final: did.Final, Present: did.Present, Lines: did.Lines,
		Rest: did.Rest, Certainty: did.Certainty.String()}, nil
}

// acceptLoss closes a file that was set aside.
func (s *Server) acceptLoss(r *http.Request) (any, error) {
	var request AcceptRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	switch {
	case request.Reason == "":
		return nil, fail(CodeReasonRequired, "accept-loss needs a reason")
	case len(request.Reason) > maxReason:
		return nil, fail(CodeBadRequest, "reason of %d bytes; %d are allowed", len(request.Reason), maxReason)
	}
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	lost, err := files.AcceptLoss(r.Context(), request.File, actor(r.Context()), request.Reason, request.DryRun)
	if err != nil {
		return nil, aboutFile(err)
	}
	return Loss{Schema: SchemaLoss, DryRun: request.DryRun, Aside: describeAside(lost)}, nil
}

// aboutFile finds the code of an error about a file that was set aside.
func aboutFile(err error) error {
	switch {
	case errors.Is(err, queue.ErrNoFile):
		return fail(CodeNoFile, "%v", err)
	case errors.Is(err, queue.ErrState):
		return fail(CodeRefused, "%v", err)
	}
	return err
}
