// Package recipients knows who exists in the domains that mail is kept for.
//
// A List is a file with one address on a line. Empty lines and what stands
// behind a # are skipped. It is read again when it changes; one that cannot be
// read any more, or has a wrong line or none at all, changes nothing: refusing
// everybody because of a broken file would be worse than an old list.
package recipients

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

const (
	lookEvery = time.Second // at the file, for a change
	maxWrong  = 10          // wrong lines that are reported
)

// List is the addresses of a file. Its methods may be called concurrently.
type List struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	known  map[string]struct{}
	loaded stamp // of the file when it was read last, well or not
	seen   stamp // at the last look
	looked time.Time
}

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// Load reads a file. The error names each wrong line. log may be nil.
func Load(path string, log *slog.Logger) (*List, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &List{path: path, log: log, looked: time.Now()}
	var err error
	if l.loaded, err = stampOf(path); err != nil {
		return nil, err
	}
	if l.known, err = read(path); err != nil {
		return nil, err
	}
	l.seen = l.loaded
	return l, nil
}

// Knows reports whether an address is in the list. Cases make no difference, in
// the domain as in the DNS and in the local part as in Exchange. The postmaster
// is always known (RFC 5321 4.5.1).
func (l *List) Knows(p smtp.Path) bool {
	if strings.EqualFold(p.Local, "postmaster") {
		return true
	}
	key, err := keyOf(p)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look(time.Now())
	_, known := l.known[key]
	return known
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
	l.loaded = current
	known, err := read(l.path)
	if err != nil {
		l.log.Warn("recipients.kept", "file", l.path, "addresses", len(l.known), "error", err)
		return
	}
	l.known = known
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

func read(path string) (map[string]struct{}, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parse(path, bytes.NewReader(text))
}

// parse reads a list; name is that of the file, for errors.
func parse(name string, r io.Reader) (map[string]struct{}, error) {
	known := map[string]struct{}{}
	var wrong []error
	lines := bufio.NewScanner(r)
	number := 0
	for lines.Scan() && len(wrong) < maxWrong {
		number++
		line := lines.Bytes()
		if number == 1 {
			if bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff")) {
				return nil, fmt.Errorf("%s: the file is UTF-16; save it as UTF-8", name)
			}
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")) // Windows begins UTF-8 so
		}
		text := address(string(line))
		if text == "" {
			continue
		}
		path, err := smtp.ParsePath(text)
		if err == nil && path.Domain == "" {
			err = fmt.Errorf("%w: no domain: %.80q", smtp.ErrPath, text)
		}
		var key string
		if err == nil {
			key, err = keyOf(path)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s:%d: %w", name, number, err))
			continue
		}
		known[key] = struct{}{}
	}
	if err := lines.Err(); err != nil {
		wrong = append(wrong, fmt.Errorf("%s:%d: %w", name, number+1, err))
	}
	if len(wrong) == 0 && len(known) == 0 {
		return nil, fmt.Errorf("%s: there is no address in it", name)
	}
	return known, errors.Join(wrong...)
}

// address takes comment and spaces from a line. A # within an address is part
// of it: a comment begins the line, or has a space before it.
func address(line string) string {
	for i := 0; i < len(line) && !strings.HasPrefix(line, `"`); i++ {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			line = line[:i]
		}
	}
	return strings.TrimSpace(line)
}

// keyOf is what is compared.
func keyOf(p smtp.Path) (string, error) {
	domain, err := smtp.ASCIIDomain(p.Domain)
	if err != nil {
		return "", err
	}
	return strings.ToLower(p.Local) + "@" + domain, nil
}
