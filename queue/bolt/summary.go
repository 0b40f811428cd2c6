package bolt

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// summaryEvery is how long the summary may be behind a file that is written.
const summaryEvery = time.Second

// summary is what is kept about a generation outside its file, as JSON in
// gen-000003.json. With it we know what is missing should the file be lost, and
// after a clean stop whether the file is as we left it.
type summary struct {
	Format   int       `json:"format"`
	At       time.Time `json:"at"`
	Tx       uint64    `json:"tx"`                // the last transaction
	Clean    bool      `json:"clean,omitempty"`   // written when the file was closed
	Suspect  string    `json:"suspect,omitempty"` // why the file must be checked before it is opened
	LastID   queue.ID  `json:"last_id"`
	LastSeq  uint64    `json:"last_seq"`
	Counters counters  `json:"counters"`
	FreeSum  uint32    `json:"free_sum,omitempty"` // of the list of free pages, if Clean
}

// cleanMark is the name of a file that says that every file was closed in order.
const cleanMark = "clean"

// numberOf is the number in the name of a generation, 0 if it is none.
func numberOf(name string) (number int) {
	if _, err := fmt.Sscanf(name, "gen-%d.db", &number); err != nil {
		return 0
	}
	return number
}

func summaryName(number int) string { return fmt.Sprintf("gen-%06d.json", number) }

// summary is what there is to say now.
func (g *generation) summary() summary {
	now := g.standing()
	s := summary{Format: format, At: time.Now().UTC().Round(0), Tx: now.tx, LastID: g.store.idSoFar(),
		LastSeq: g.store.seq.Load(), Counters: now.counters}
	if doubt := g.doubt.Load(); doubt != nil {
		s.Suspect = *doubt
	}
	return s
}

// readSummary finds the summary of a generation. One that cannot be read is as
// good as none: it is written without waiting for the disk.
func readSummary(dir string, number int) (s summary, found bool) {
	text, err := os.ReadFile(filepath.Join(dir, summaryName(number)))
	if err != nil || json.Unmarshal(text, &s) != nil || !reads(s.Format) {
		return summary{}, false
	}
	return s, true
}

// writeJSON replaces a file. sync is called before it gets its name; the
// folder is not synced.
func writeJSON(path string, value any, sync func(*os.File) error) error {
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return err
	}
	unfinished := path + unfinishedSuffix
	file, err := os.OpenFile(unfinished, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err := errors.Join(err, sync(file), file.Close()); err != nil {
		return err
	}
	return os.Rename(unfinished, path)
}

// summarize writes the summary while the file is in use. Only the committer
// calls it. That it cannot be written loses no mail.
func (g *generation) summarize() {
	if g.store.Err() != nil {
		return // what the disk has is unknown
	}
	g.summarized = time.Now()
	g.save(g.summary(), func(*os.File) error { return nil }) // a commit must not wait for the disk: there is another one soon
}

// save puts a summary in the place of the last one.
func (g *generation) save(s summary, sync func(*os.File) error) {
	if g.store.copied {
		return
	}
	g.saving.Lock()
	defer g.saving.Unlock()
	if err := writeJSON(filepath.Join(g.store.dir, summaryName(g.number)), s, sync); err != nil {
		g.store.options.Log.Warn("summary.unsaved", "file", g.name(), "error", err)
	}
}

// leaveClean writes the last summaries and the mark. Every file is closed.
func (s *Store) leaveClean() error {
	for _, g := range s.generations {
		last, found := readSummary(s.dir, g.number)
		next := g.summary()
		if found && last.Clean && last.Tx == next.Tx && last.Suspect == next.Suspect {
			continue
		}
		sum, err := s.freeSum(g.number)
		if next.Clean, next.FreeSum = err == nil, sum; err != nil { // the next start will see
			s.options.Log.Error("file.unread", "file", g.name(), "error", err)
		}
		if err := writeJSON(filepath.Join(s.dir, summaryName(g.number)), next, (*os.File).Sync); err != nil {
			return err
		}
	}
	if err := syncFolder(s.dir); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(s.dir, cleanMark), struct {
		At time.Time `json:"at"`
	}{time.Now().UTC()}, (*os.File).Sync); err != nil {
		return err
	}
	return syncFolder(s.dir)
}

// freeSum is the checksum of the list of free pages of a file that is closed.
func (s *Store) freeSum(number int) (uint32, error) {
	r, err := openRuins(filepath.Join(s.dir, generationName(number)))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return r.freeSum(r.heads().newest)
}

// exists reports whether there is such a file.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// takeMark reports whether the last stop was clean, and takes the mark away.
func (s *Store) takeMark() error {
	err := os.Remove(filepath.Join(s.dir, cleanMark))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.clean = true
	return syncFolder(s.dir)
}
