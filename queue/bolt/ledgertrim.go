package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// trustAfter is how long the clock must have run without a stop to be believed
// whatever it says.
const trustAfter = 7 * 24 * time.Hour

// trimTime is the instant up to which the clock is believed when the ledger is
// trimmed: never more than a day beyond what was known at the start and the time
// that has passed since. A clock set far ahead costs a day of the ledger, not all.
func trimTime(now, known time.Time, running time.Duration) time.Time {
	if justified := known.Add(running + 24*time.Hour); running < trustAfter && justified.Before(now) {
		return justified
	}
	return now
}

// believed is the time that trimming goes by: see trimTime.
func (l *ledger) believed(now time.Time) time.Time {
	known := l.known
	if known.IsZero() { // of a store without a ledger, or of an older version
		known = l.opened
	}
	return trimTime(now, known, now.Sub(l.opened))
}

// trimDue is when the next file may be trimmed, by the clock as it is now.
func (l *ledger) trimDue(now time.Time) time.Time {
	at, believed := l.trimAt(), l.believed(now)
	if at.IsZero() || believed.Equal(now) {
		return at
	}
	return now.Add(at.Sub(believed)) // what is believed goes on as fast as time passes
}

// trimAt is when the oldest file has been kept for long enough; zero without a file.
func (l *ledger) trimAt() time.Time {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.files) == 0 {
		return time.Time{}
	}
	return l.files[0].day.Add(24*time.Hour + l.keep)
}

// trim removes the files whose time is over, the oldest first, so that what
// is left is a chain. The newest carries the books: it has a successor first.
func (l *ledger) trim(now time.Time) error {
	for at := l.trimAt(); !at.IsZero() && !at.After(now); at = l.trimAt() {
		if len(l.files) == 1 {
			if _, err := l.newest(time.Now()); err != nil {
				return err
			}
		}
		l.mu.Lock()
		oldest := l.files[0]
		l.files = l.files[1:]
		l.mu.Unlock()
		if err := errors.Join(oldest.close(), os.Remove(oldest.path), syncFolder(l.dir)); err != nil {
			return err
		}
		l.log.Info("ledger.trimmed", "file", filepath.Base(oldest.path))
	}
	return nil
}
