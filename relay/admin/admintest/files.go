package admintest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// Files are the files of a store, as the test says.
type Files struct {
	Used     []queue.File
	Damaged  []queue.Aside
	Findings []queue.Finding
	Sum      queue.Checked
	Brought  queue.Salvage // what a salvage answers
	Salvaged []string      // what was salvaged, and by whom
	Exported string        // what an export answers
	Bounds   [2]time.Time  // of the last export
	Is       queue.Identity
	Copied   []queue.Copy
	Compacts queue.Compaction // what a compaction answers
	Fail     error            // of everything
}

var _ admin.Files = (*Files)(nil)

// Identity is Is.
func (f *Files) Identity() queue.Identity { return f.Is }

// Copies lists Copied.
func (f *Files) Copies() []queue.Copy { return f.Copied }

// Compact answers with Compacts.
func (f *Files) Compact(_ context.Context, dry bool) (queue.Compaction, error) {
	did := f.Compacts
	did.DryRun = dry
	return did, f.Fail
}

// Files lists Used.
func (f *Files) Files(context.Context) ([]queue.File, error) { return f.Used, f.Fail }

// Aside lists Damaged.
func (f *Files) Aside(context.Context) ([]queue.Aside, error) { return f.Damaged, f.Fail }

// Audit finds Findings.
func (f *Files) Audit(_ context.Context, head string, found func(queue.Finding) error) (queue.Checked, error) {
	for _, one := range f.Findings {
		if err := found(one); err != nil {
			return f.Sum, err
		}
	}
	sum := f.Sum
	sum.Chain.Found = head != "" && head == sum.Chain.Head
	sum.Chain.FoundAt = sum.Chain.Last
	return sum, f.Fail
}

func (f *Files) find(name string) (int, error) {
	for i, a := range f.Damaged {
		if a.File == name && !a.Open() {
			return 0, fmt.Errorf("%s: %w", name, queue.ErrState)
		}
		if a.File == name {
			return i, f.Fail
		}
	}
	return 0, fmt.Errorf("%s: %w", name, queue.ErrNoFile)
}

// Salvage answers with Brought.
func (f *Files) Salvage(_ context.Context, name, actor string, dry bool) (queue.Salvage, error) {
	if _, err := f.find(name); err != nil {
		return queue.Salvage{}, err
	}
	did := f.Brought
	did.File, did.DryRun = name, dry
	if !dry {
		f.Salvaged = append(f.Salvaged, name+" by "+actor)
	}
	return did, nil
}

// ExportLedger writes Exported.
func (f *Files) ExportLedger(_ context.Context, since, until time.Time, w io.Writer) error {
	f.Bounds = [2]time.Time{since, until}
	_, err := io.WriteString(w, f.Exported)
	return errors.Join(err, f.Fail)
}

// AcceptLoss closes one of Damaged.
func (f *Files) AcceptLoss(_ context.Context, name, actor, reason string, dry bool) (queue.Aside, error) {
	i, err := f.find(name)
	if err != nil {
		return queue.Aside{}, err
	}
	given := f.Damaged[i]
	if dry {
		return given, nil
	}
	given.Closed, given.Reason = given.At, actor+": "+reason
	f.Damaged[i] = given
	return given, nil
}
