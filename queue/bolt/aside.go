package bolt

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// A file that cannot be used is set aside: it is renamed, so that nothing reads
// or removes it, and gen-000003.db.damaged-20260122T193000Z.json says what it
// held. Its recipients stay in the account until they have been salvaged or a
// person has given them up.

const asideInfix = ".damaged-"

// seqGap is left in the numbers of ledger lines when a file is set aside that
// may hold the last ones: no number is given twice.
const seqGap = 1 << 20

// aside is the JSON of a file that was set aside, or is in doubt.
type aside struct {
	Format    int             `json:"format"`
	Name      string          `json:"name"` // of the generation
	File      string          `json:"file"` // the name it has now; "" if it has none or kept its own
	InUse     bool            `json:"in_use,omitempty"`
	At        time.Time       `json:"at"`
	Why       string          `json:"why"`
	AsOf      time.Time       `json:"as_of,omitzero"` // of the counters
	Certainty queue.Certainty `json:"certainty"`
	Account   queue.Account   `json:"account"`        // what the store's account has of it: whom it kept are SetAside
	Waiting   int64           `json:"waiting"`        // recipients who were not final
	Back      int64           `json:"back,omitempty"` // of them, those who have been brought back
	LastID    queue.ID        `json:"last_id,omitempty"`
	Filed     uint64          `json:"filed"`           // ledger lines up to this one are in the ledger files
	Lines     uint64          `json:"lines,omitempty"` // those up to this one have been brought back
	Noted     bool            `json:"noted,omitempty"` // the ledger line is written
	Salvaged  time.Time       `json:"salvaged,omitzero"`
	Closed    time.Time       `json:"closed,omitzero"`
	Reason    string          `json:"reason,omitempty"`

	// NoLater says of a file in doubt that no page of a later transaction was found in it.
	NoLater bool `json:"no_later,omitempty"`

	Ledger bool   `json:"ledger,omitempty"` // it is a file of the ledger, with no mail
	After  uint64 `json:"after,omitempty"`  // of the ledger, the lines after this one are missing
	Books  *books `json:"books,omitempty"`  // found in a file of the ledger

	path string
}

// setAsideUnsaid is why a file was set aside that was renamed and not described.
const setAsideUnsaid = "it was set aside, and the process ended before it could say why"

// shown is what others may know.
func (a *aside) shown() queue.Aside {
	return queue.Aside{File: cmp.Or(a.File, a.Name), InUse: a.InUse, Gone: a.File == "" && !a.InUse, Ledger: a.Ledger, At: a.At, Why: a.Why, Recipients: a.Waiting - a.Back,
		Certainty: a.Certainty, Account: a.Account, Salvaged: a.Salvaged, Closed: a.Closed, Reason: a.Reason}
}

func (a *aside) save() error {
	if err := writeJSON(a.path, a, (*os.File).Sync); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(a.path))
}

// describeRest describes the generations that were renamed, but not described
// since the process ended in between.
func (s *Store) describeRest() error {
	files, err := s.undescribed("gen-*")
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := s.describe(file, setAsideUnsaid); err != nil {
			return err
		}
	}
	return nil
}

// undescribed lists the files, of those of a name, that were set aside and have
// no description.
func (s *Store) undescribed(name string) (files []string, err error) {
	paths, err := filepath.Glob(filepath.Join(s.dir, name+asideInfix+"*"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		described, err := exists(path + ".json")
		if err != nil {
			return nil, err
		}
		if !described && !strings.HasSuffix(path, ".json") {
			files = append(files, filepath.Base(path))
		}
	}
	return files, nil
}

// forgetReturned removes the description of what is under its own name again:
// somebody has put it back, or mended it.
func (s *Store) forgetReturned() error {
	paths, err := s.descriptions("gen-*")
	if err != nil {
		return err
	}
	for _, path := range paths {
		a, err := readAside(path)
		if err != nil {
			return err
		}
		back, err := exists(filepath.Join(s.dir, a.Name))
		aside, asideErr := exists(filepath.Join(s.dir, cmp.Or(a.File, "no such file")))
		if err := errors.Join(err, asideErr); err != nil {
			return err
		}
		if a.InUse || a.Back > 0 || aside || !back {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		s.options.Log.Warn("file.returned", "file", a.Name, "was", a.File)
	}
	return nil
}

// descriptions lists the files that describe what was set aside of a name.
func (s *Store) descriptions(name string) ([]string, error) {
	return filepath.Glob(filepath.Join(s.dir, name+asideInfix+"*.json"))
}

// loadAsides reads what is set aside, and adds the files in doubt, by number.
func (s *Store) loadAsides(doubts map[int]string) error {
	mail, err := s.descriptions("gen-*")
	lines, err2 := s.descriptions("ledger-*")
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	for _, path := range slices.Concat(mail, lines) {
		a, err := readAside(path)
		if err != nil {
			return err
		}
		s.asides = append(s.asides, a)
	}
	if s.ledgerDoubt != "" {
		newest := s.ledger.files[len(s.ledger.files)-1]
		if err := s.doubtful(filepath.Base(newest.path), s.ledgerDoubt); err != nil {
			return err
		}
	}
	for number, why := range doubts {
		if why != "" {
			if err := s.doubtful(generationName(number), why); err != nil {
				return err
			}
		}
	}
	for _, a := range s.asides {
		s.lastID = max(s.lastID, a.LastID)
		if !a.Noted {
			s.seq.Add(seqGap)
		}
	}
	return nil
}

// readAside reads a description. One that cannot be read says so.
func readAside(path string) (*aside, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	a := &aside{}
	if err := json.Unmarshal(text, a); err != nil {
		a = &aside{Format: format, Name: nameOf(path), File: strings.TrimSuffix(filepath.Base(path), ".json"),
			Why: "its description cannot be read: " + err.Error(), Certainty: queue.Unknown, At: now()}
		a.Ledger = strings.HasPrefix(a.Name, "ledger-")
	}
	if a.Format > format {
		return nil, newerFormat(path, a.Format)
	}
	a.path = path
	return a, nil
}

// nameOf is the name that the generation had.
func nameOf(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), asideInfix)
	return name
}

// setAside takes a file out of the row.
func (s *Store) setAside(number int, why error) error {
	name := generationName(number)
	renamed := name + asideInfix + time.Now().UTC().Format("20060102T150405Z")
	if err := os.Rename(filepath.Join(s.dir, name), filepath.Join(s.dir, renamed)); err != nil {
		return err
	}
	if err := syncFolder(s.dir); err != nil {
		return err
	}
	return s.describe(renamed, reason(why))
}

// reason is what is wrong with a file, without its name.
func reason(damage error) string {
	if _, words, ok := strings.Cut(damage.Error(), ErrDamagedFile.Error()+": "); ok {
		return words
	}
	return damage.Error()
}

// describe writes down what is known of a file that has been renamed.
func (s *Store) describe(renamed, why string) error {
	a := s.estimate(nameOf(renamed), filepath.Join(s.dir, renamed))
	a.File, a.Why, a.At = renamed, why, now()
	a.path = filepath.Join(s.dir, renamed+".json")
	return s.finishAside(a)
}

// finishAside saves the description. The summary, which it replaces, goes last.
func (s *Store) finishAside(a *aside) error {
	if err := a.save(); err != nil {
		return err
	}
	s.options.Log.Error("file.aside", "file", a.Name, "now", a.File, "recipients", a.Waiting, "certainty", a.Certainty, "why", a.Why)
	return forgetSummary(s.dir, numberOf(a.Name))
}

// forgetSummary removes the summary of a generation that is no more. It must
// come before the removal of the file: a summary without a file is a loss.
func forgetSummary(dir string, number int) error {
	err := os.Remove(filepath.Join(dir, summaryName(number)))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// findMissing looks for summaries whose file is not there.
func (s *Store) findMissing() error {
	paths, err := filepath.Glob(filepath.Join(s.dir, "gen-*.json"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		var number int
		if _, err := fmt.Sscanf(filepath.Base(path), "gen-%d.json", &number); err != nil || summaryName(number) != filepath.Base(path) {
			continue
		}
		there, err := exists(filepath.Join(s.dir, generationName(number)))
		if there || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		told, err := s.descriptions(generationName(number))
		if err != nil {
			return err
		}
		if last, found := readSummary(s.dir, number); len(told) > 0 || found && waiting(last.Counters.Account) == 0 {
			if err := forgetSummary(s.dir, number); err != nil { // the process ended before it came to that
				return err
			}
			continue
		}
		a := s.estimate(generationName(number), "")
		a.Why, a.At = "the file is missing", now()
		a.path = filepath.Join(s.dir, generationName(number)+asideInfix+a.At.Format("20060102T150405Z")+".json")
		if err := s.finishAside(a); err != nil {
			return err
		}
	}
	return nil
}

// waiting is how many recipients are not final.
func waiting(a queue.Account) int64 { return a.Queued + a.Held + a.Refused }

// estimate finds out what a file held that cannot be used: from what is left of
// it, and from its summary. path is "" if nothing is left.
func (s *Store) estimate(name, path string) *aside {
	a := &aside{Format: format, Name: name, Certainty: queue.Unknown}
	last, found := readSummary(s.dir, numberOf(name))
	account := last.Counters.Account
	if found {
		a.Certainty, a.AsOf = queue.About, last.At
		if last.Clean && s.clean {
			a.Certainty = queue.Exact
		}
	}
	if left, tx, ok := s.countersIn(path); ok && a.Certainty != queue.Exact && left.Tx >= last.Tx {
		account, a.Certainty, a.AsOf = left.Account, queue.About, time.Time{}
		if left.Tx == tx {
			a.Certainty = queue.Exact
		}
	}
	a.Account = account
	a.Account.Queued, a.Account.Held, a.Account.Refused = 0, 0, 0
	a.Waiting = waiting(account)
	a.Account.SetAside += a.Waiting
	a.LastID, a.Filed = last.LastID, s.ledger.end()
	return a
}

// countersIn finds the newest counters in what is left of a file. tx is the
// last transaction, 0 if that cannot be known.
func (s *Store) countersIn(path string) (newest counters, tx uint64, found bool) {
	if path == "" {
		return counters{}, 0, false
	}
	r, err := openRuins(path)
	if err != nil {
		return counters{}, 0, false
	}
	defer r.Close()
	if h := r.heads(); h.valid == 2 {
		tx = h.newest.tx
	}
	r.everyPage(func(p page) {
		r.everyElement(p, func(e element) {
			if string(e.key) != string(keyAccount) {
				return
			}
			if c, err := decodeCounters(e.value); err == nil && (!found || c.Tx > newest.Tx) {
				newest, found = c, true
			}
		})
	})
	return newest, tx, found
}

// doubtful notes that the last transaction of a file may be missing. It stays
// in use.
func (s *Store) doubtful(name, why string) error {
	for _, a := range s.asides {
		if a.Name == name && a.InUse && a.Closed.IsZero() {
			return nil // it is known
		}
	}
	a := &aside{Format: format, Name: name, InUse: true, Ledger: strings.HasPrefix(name, "ledger-"), At: now(), Why: why, Certainty: queue.Unknown}
	a.path = filepath.Join(s.dir, name+asideInfix+a.At.Format("20060102T150405Z")+".json")
	for _, g := range s.generations {
		a.NoLater = a.NoLater || g.noLater && g.name() == name
	}
	if err := a.save(); err != nil {
		return err
	}
	s.options.Log.Error("file.doubtful", "file", name, "why", why)
	s.asides = append(s.asides, a)
	return nil
}

// noteAsides writes the ledger lines of what was set aside.
func (s *Store) noteAsides() error {
	for _, a := range s.asides {
		if a.Noted {
			continue
		}
		if err := s.noteAside(a); err != nil {
			return err
		}
	}
	return nil
}

// noteAside writes the ledger line of what was set aside.
func (s *Store) noteAside(a *aside) error {
	held := fmt.Sprintf("%s recipients", number(a.Waiting, a.Certainty))
	if a.Ledger {
		held = fmt.Sprintf("the ledger after line %d", a.After)
	}
	line := queue.Entry{At: a.At, Event: queue.Damaged, Actor: "relay",
		Reason: fmt.Sprintf("%s, with %s: %s", cmp.Or(a.File, a.Name), held, a.Why)}
	if err := s.Note(context.Background(), line); err != nil {
		return err
	}
	s.asiding.Lock()
	a.Noted = true
	noted := *a
	s.asiding.Unlock()
	return noted.save()
}

// number writes a number as well as it is known.
func number(n int64, c queue.Certainty) string {
	switch c {
	case queue.Exact:
		return fmt.Sprint(n)
	case queue.About:
		return fmt.Sprintf("about %d", n)
	}
	return "an unknown number of"
}

// Aside lists what was set aside, the oldest first.
func (s *Store) Aside(ctx context.Context) ([]queue.Aside, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.asiding.Lock()
	defer s.asiding.Unlock()
	var all []queue.Aside
	for _, a := range s.asides {
		all = append(all, a.shown())
	}
	slices.SortFunc(all, func(a, b queue.Aside) int { return a.At.Compare(b.At) })
	return all, nil
}

// findAside returns the aside of a name that is not closed, and a copy of it.
// The caller holds closing.
func (s *Store) findAside(name string) (*aside, aside, error) {
	s.asiding.Lock()
	defer s.asiding.Unlock()
	for _, a := range s.asides {
		switch {
		case a.shown().File != name:
		case !a.Closed.IsZero():
			return nil, aside{}, fmt.Errorf("%s was given up at %s: %w", name, a.Closed.Format(time.RFC3339), queue.ErrState)
		default:
			return a, *a, nil
		}
	}
	return nil, aside{}, fmt.Errorf("%s has not been set aside: %w", name, queue.ErrNoFile)
}

// replaceAside saves what an aside has become. The caller holds closing.
func (s *Store) replaceAside(a *aside, after aside) error {
	if err := after.save(); err != nil {
		return err
	}
	s.asiding.Lock()
	defer s.asiding.Unlock()
	*a = after
	return nil
}
