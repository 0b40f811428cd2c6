package admin

import (
	"context"
	"net/http"

	"github.com/mxkeep/mxkeep/queue"
)

// Storage is what admin needs of a store beside its files one by one.
type Storage interface {
	Identity() queue.Identity
	Copies() []queue.Copy
	Compact(ctx context.Context, dry bool) (queue.Compaction, error)
}

// StoreReport says which store this is, and what is kept beside it.
type StoreReport struct {
	ID        string `json:"id"` // stays when files are copied
	CreatedAt Time   `json:"created_at"`
	Copies    []Copy `json:"copies"` // from before an upgrade, oldest first
}

// Copy is a copy of the files from before their format was changed.
type Copy struct {
	Path  string `json:"path"`
	At    Time   `json:"at"`
	Until Time   `json:"until"` // when it is removed
	Size  int64  `json:"size_bytes"`
}

// CompactRequest asks for disk to be given back at once.
type CompactRequest struct {
	DryRun bool `json:"dry_run,omitempty"`
}

// Compaction is what was, or would be, given back.
type Compaction struct {
	Schema  string          `json:"schema"`
	DryRun  bool            `json:"dry_run"`
	Before  int64           `json:"before_bytes"`
	After   int64           `json:"after_bytes"` // about, of a dry run
	Files   []CompactedFile `json:"files"`
	Seconds float64         `json:"took_seconds"`
}

// CompactedFile is what became of one file.
type CompactedFile struct {
	Name    string `json:"name"`
	Before  int64  `json:"before_bytes"` // 0 if it is new
	After   int64  `json:"after_bytes"`
	Needed  int64  `json:"needed_bytes"` // of mail that waits or can be brought back, about
	Outcome string `json:"outcome"`      // kept, freed, grew, busy, no_room, stuck
}

// storage says which store this is; nil if it has no files.
func (s *Server) storage() *StoreReport {
	if s.options.Files == nil {
		return nil
	}
	is := s.options.Files.Identity()
	report := &StoreReport{ID: is.ID, CreatedAt: Time{is.CreatedAt}, Copies: []Copy{}}
	for _, c := range s.options.Files.Copies() {
		report.Copies = append(report.Copies, Copy{Path: c.Path, At: Time{c.At}, Until: Time{c.Until}, Size: c.Size})
	}
	return report
}

// compact gives disk back.
func (s *Server) compact(r *http.Request) (any, error) {
	var request CompactRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	did, err := files.Compact(r.Context(), request.DryRun)
	if err != nil {
		return nil, err
	}
	answer := Compaction{Schema: SchemaCompact, DryRun: did.DryRun, Before: did.Before, After: did.After,
		Files: []CompactedFile{}, Seconds: Seconds(did.Took)}
	for _, f := range did.Files {
		answer.Files = append(answer.Files, CompactedFile{Name: f.Name, Before: f.Before, After: f.After, Needed: f.Needed, Outcome: f.Outcome.String()})
	}
	return answer, nil
}

// Compact gives disk back at once. It takes the time it needs.
func (c *Client) Compact(ctx context.Context, request CompactRequest) (did Compaction, err error) {
	return did, c.post(ctx, c.steady, "db/compact", request, &did)
}
