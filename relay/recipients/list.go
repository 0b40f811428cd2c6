package recipients

import (
	"bytes"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

const lookEvery = time.Second // at the file, for a change

// List is the addresses of a file, one on a line or the CSV of an export. Empty
// lines and what stands behind a # are skipped. It is read again when it
// changes; one that cannot be read any more, has a wrong line, or no address of the
// domain, changes nothing: refusing everybody because of a broken file would be
// worse than an old list. Its methods may be called concurrently.
type List struct {
	path   string
	domain string
	log    *slog.Logger

	mu     sync.Mutex
	known  map[string]struct{}
	loaded stamp // of the file when it was read last, well or not
	seen   stamp // at the last look
	looked time.Time
	at     time.Time // of what is known: when the file was changed
	broken error     // why the file as it is now was not taken; nil if it was
}

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// Load reads a file for a domain; it may have addresses of others, too. The error
// names each wrong line. log may be nil.
func Load(path, domain string, log *slog.Logger) (*List, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &List{path: path, domain: domain, log: log, looked: time.Now()}
	var err error
	if l.loaded, err = stampOf(path); err != nil {
		return nil, err
	}
	if l.known, err = read(path, domain); err != nil {
		return nil, err
	}
	l.seen, l.at = l.loaded, l.loaded.modified
	return l, nil
}

// Knows reports whether an address is in the list. Cases make no difference, in
// the domain as in the DNS and in the local part as in Exchange. The postmaster
// is always known (RFC 5321 4.5.1).
func (l *List) Knows(p smtp.Path) bool {
	if isPostmaster(p) {
		return true
	}
	key, err := keyOf(p)
	return err == nil && l.has(key, time.Now())
}

// has reports whether a key is in the list.
func (l *List) has(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look(now)
	_, known := l.known[key]
	return known
}

// when is when the file was changed that the list is from.
func (l *List) when(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look(now)
	return l.at
}

// shown is why the last change of the file was not taken, and how many
// addresses of a domain there are.
func (l *List) shown(domain string, now time.Time) (count int, broken error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look(now)
	for key := range l.known {
		if domainOf(key) == domain {
			count++
		}
	}
	return count, l.broken
}

// reload reads the file now, whether it has changed or not.
func (l *List) reload(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	current, _ := stampOf(l.path) // if it is gone, reading it says so
	l.looked, l.seen = now, current
	l.read(current)
	return l.broken
}

// Len is how many addresses there are.
func (l *List) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look(time.Now())
	return len(l.known)
}

// look reads the file again if it has changed, and has not changed any more for
// a time or since the look before: what is being written is left alone. Looks
// may be hours apart, and the first one must not refuse who is new.
func (l *List) look(now time.Time) {
	if now.Sub(l.looked) < lookEvery {
		return
	}
	l.looked = now
	current, _ := stampOf(l.path) // if it is gone, reading it says so
	settled := current == l.seen || now.Sub(current.modified) > lookEvery
	l.seen = current
	if current == l.loaded || !settled {
		return
	}
	l.read(current)
}

func (l *List) read(current stamp) {
	l.loaded = current
	known, err := read(l.path, l.domain)
	if l.broken = err; err != nil {
		l.log.Warn("recipients.kept", "file", l.path, "addresses", len(l.known), "error", err)
		return
	}
	l.known, l.at = known, current.modified
	l.log.Info("recipients.loaded", "file", l.path, "addresses", len(l.known))
}

// stampOf is the zero stamp if the file cannot be looked at.
func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.ModTime(), info.Size()}, nil
}

func read(path, domain string) (map[string]struct{}, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all, err := parse(path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	for key := range all {
		if domainOf(key) == domain {
			return all, nil
		}
	}
	return nil, noneOf(path, domain, len(all))
}
