package bolt

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/queue"
)

// A store of an older format is changed when it is opened, before anything is
// served. What a crash leaves after each step:
//
//	step                          after a crash
//	files copied                  the part of a copy is removed when opened, and it is made anew
//	copy compared and named       it is found, and used
//	identity written              it is kept; the version before does not look at it
//	summary raised                the version before knows nothing of the file beside it, and uses it
//	file changed, one transaction it has the new format, or the old one and is changed when opened
//
// The oldest file is changed first: the version before, which opens it first,
// then refuses all.

// copyRate is how many bytes a second are copied and compared, about, and
// recountRate how many messages are counted: measured, and then halved.
const (
	copyRate    = 150 << 20
	recountRate = 40_000
)

// planPatience is how long the last process may take to let go: a child that
// it had just begun has the lock for a moment longer.
const planPatience = time.Second

// PlanMigration says what opening the store in dir would do to its files. It
// changes nothing. It fails if a process has the store open, if there is none,
// or if a newer version has written it.
func PlanMigration(dir string) (m queue.Migration, err error) {
	lock, err := lockFolder(dir, planPatience)
	if err != nil {
		return m, err
	}
	defer lock.Close()
	if err := (&Store{dir: dir}).refuseNewer(); err != nil {
		return m, err
	}
	if m, err = planMigration(dir); err != nil {
		return m, err
	}
	if len(m.Files) == 0 {
		return m, fmt.Errorf("%s has no files of a queue: %w", dir, os.ErrNotExist)
	}
	return m, nil
}

func planMigration(dir string) (m queue.Migration, err error) {
	m = queue.Migration{Folder: dir, Reads: oldestFormat, Writes: format}
	numbers, err := generationNumbers(dir)
	if err != nil {
		return m, err
	}
	changes, recount := false, int64(0)
	for _, n := range numbers {
		f, messages, err := planFile(dir, n)
		if err != nil {
			return m, err
		}
		m.Files = append(m.Files, f)
		changes = changes || f.Changes
		recount += messages
	}
	if err := planLedger(&m); err != nil || !changes {
		return m, err
	}
	for i := range m.Files {
		f := &m.Files[i]
		f.Copied = f.Format != format || numberOf(f.Name) == 0 // a damaged one, too, and the newest ledger file in any case
		if f.Copied {
			m.Copy += f.Size
		}
	}
	m.About = time.Duration(float64(m.Copy)/copyRate*float64(time.Second)) + time.Duration(recount)*time.Second/recountRate
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return m, fmt.Errorf("free space of %s: %w", dir, err)
	}
	m.Free = int64(stat.Bavail) * int64(stat.Bsize)
	return m, nil
}

// planFile looks at one generation. messages are to be counted anew.
func planFile(dir string, number int) (f queue.MigratedFile, messages int64, err error) {
	f.Name = generationName(number)
	path := filepath.Join(dir, f.Name)
	seen, err := peek(path)
	if err != nil {
		return f, 0, err
	}
	f.Format, f.Size, f.Changes = seen.format, seen.size, reads(seen.format) && seen.format < format
	if _, known := readSummary(dir, number); seen.format > format && !known {
		return f, 0, newerFormat(path, seen.format)
	}
	if c, complete, err := completeCounters(seen.counters); f.Changes && err == nil && !complete {
		f.Recount, messages = true, c.left().Messages+c.Done
	}
	return f, messages, nil
}

// planLedger adds the newest ledger file: it is written to later.
func planLedger(m *queue.Migration) error {
	paths, err := filepath.Glob(filepath.Join(m.Folder, "ledger-*.db"))
	if err != nil || len(paths) == 0 {
		return err
	}
	path := slices.Max(paths)
	seen, err := peek(path)
	m.Files = append(m.Files, queue.MigratedFile{Name: filepath.Base(path), Format: seen.format, Size: seen.size})
	return err
}

// changing are the names of the files whose format is changed.
func changing(m queue.Migration) (names []string) {
	for _, f := range m.Files {
		if f.Changes {
			names = append(names, f.Name)
		}
	}
	return names
}

// completeCounters decodes counters, and says whether they count all that
// those of the present format count.
func completeCounters(raw []byte) (c counters, complete bool, err error) {
	if raw == nil {
		return c, false, nil
	}
	if c, err = decodeCounters(raw); err != nil {
		return c, false, err
	}
	has := map[string]json.RawMessage{}
	if err := decode(raw, &has); err != nil {
		return c, false, err
	}
	var held queue.Held
	for _, h := range c.Upstreams {
		held.Add(h)
	}
	live := c.left().Messages - c.Trash.Messages
	return c, has["trash"] != nil && has["done"] != nil && held == queue.Held{Messages: live, Bytes: c.Bytes}, nil
}

// raiseSummary writes the format that the file is about to have into its
// summary: a version before, for which a known file of another format is a
// damaged one, then does not know it.
func raiseSummary(dir string, number int) error {
	last, found := readSummary(dir, number)
	if !found || last.Format == format {
		return nil
	}
	last.Format = format
	if err := writeJSON(filepath.Join(dir, summaryName(number)), last, (*os.File).Sync); err != nil {
		return err
	}
	return syncFolder(dir)
}

// migrate gives a file that has been opened the present format. It wraps
// ErrDamagedFile if what it needs for that cannot be read.
func (g *generation) migrate() error {
	has := format
	err := g.view(func(tx *bbolt.Tx) error {
		if meta := tx.Bucket(bucketMeta); meta != nil {
			has = formatOf(meta)
		}
		return nil
	})
	if err != nil || has == format || !reads(has) { // what is none of ours is refused when it is loaded
		return err
	}
	if err := raiseSummary(g.store.dir, g.number); err != nil {
		return err
	}
	g.store.options.step("raised")
	begun, recounted := time.Now(), false
	err = g.update(func(tx *bbolt.Tx) (err error) {
		recounted, err = g.completeCounters(tx)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamagedFile, err)
		}
		meta := tx.Bucket(bucketMeta)
		g.store.options.step("changing")
		return errors.Join(meta.Put(keyStore, inFile(g.store.identity)), meta.Put(keyFormat, []byte{format}))
	})
	if err != nil {
		return err
	}
	g.store.options.step("changed")
	g.store.options.Log.Info("generation.migrated", "file", g.name(), "from", has, "to", format, "recounted", recounted, "took", time.Since(begun))
	return nil
}

// completeCounters counts what the counters lack. The account stays as it is:
// every format has it.
func (g *generation) completeCounters(tx *bbolt.Tx) (recounted bool, err error) {
	bucket := tx.Bucket(bucketCounters)
	if bucket == nil {
		return false, errors.New("bucket counters is missing")
	}
	c, complete, err := completeCounters(bucket.Get(keyAccount))
	if err != nil || complete {
		return false, err
	}
	var fresh counters
	for _, name := range shelves() {
		shelf := tx.Bucket(name)
		if shelf == nil {
			return false, fmt.Errorf("bucket %s is missing", name)
		}
		err := shelf.ForEach(func(key, record []byte) error {
			m, err := decodeMessage(queue.ID(key), record)
			if err != nil { // it is told where it is met
				g.store.options.Log.Error("record.damaged", "id", queue.ID(key), "error", err)
				return nil
			}
			fresh.count(m, 1)
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	c.Upstreams, c.Trash, c.Done, c.Damaged = fresh.Upstreams, fresh.Trash, fresh.Done, fresh.Damaged
	if c.Done > 0 && c.DoneAt.IsZero() { // it goes within an hour from now, not while everybody starts
		c.DoneAt = now()
	}
	c.Tx = uint64(tx.ID())
	return true, bucket.Put(keyAccount, encodeCounters(c))
}

// Fits reports whether there is room for the copy, with the MinFree of the options.
func Fits(m queue.Migration, o Options) bool {
	return hasRoomFor(m.Copy, m.Free, o.withDefaults().MinFree) == nil
}
