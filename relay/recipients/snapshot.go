package recipients

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/relay/state"
)

const (
	ownerImported  = "recipients imported"  // by domain
	ownerDirectory = "recipients directory" // by domain
	fewLost        = 5                      // addresses that may always go from one sync to the next
)

// kept is a list on disk, with when it was true.
type kept struct {
	At        time.Time `json:"at"`
	From      string    `json:"from,omitempty"` // the file it was imported from
	Addresses []string  `json:"addresses"`
}

// snapshot is a list of addresses that is kept on disk: what was imported, or
// what a directory said last. Its methods may be called concurrently.
type snapshot struct {
	owner, domain string
	file          *state.File

	mu    sync.Mutex
	at    time.Time // zero: there is none yet
	from  string
	known map[string]struct{}
}

// loadSnapshot reads what is on disk. What cannot be read is as if it had never been.
func loadSnapshot(owner, domain string, file *state.File, log *slog.Logger) *snapshot {
	s := &snapshot{owner: owner, domain: domain, file: file}
	var k kept
	if _, err := file.Get(owner, domain, &k); err != nil {
		log.Warn("recipients.forgotten", "domain", domain, "error", err)
		return s
	}
	s.set(k)
	return s
}

func (s *snapshot) set(k kept) {
	s.at, s.from, s.known = k.At, k.From, make(map[string]struct{}, len(k.Addresses))
	for _, key := range k.Addresses {
		s.known[key] = struct{}{}
	}
}

// replace writes the list down; only then it counts.
func (s *snapshot) replace(known map[string]struct{}, from string, now time.Time) error {
	k := kept{At: now, From: from, Addresses: make([]string, 0, len(known))}
	for key := range known {
		k.Addresses = append(k.Addresses, key)
	}
	slices.Sort(k.Addresses)
	if err := s.file.Put(s.owner, s.domain, k); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(k)
	return nil
}

func (s *snapshot) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.known[key]
	return known
}

// shown is when the list was true (zero if there is none), where it came from,
// and how many addresses it has.
func (s *snapshot) shown() (at time.Time, from string, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at, s.from, len(s.known)
}

// difference counts what a new list would add and take away.
func (s *snapshot) difference(known map[string]struct{}) (added, lost, before int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range known {
		if _, was := s.known[key]; !was {
			added++
		}
	}
	for key := range s.known {
		if _, is := known[key]; !is {
			lost++
		}
	}
	return added, lost, len(s.known)
}

// believable reports whether a directory may have changed so much. One that is
// empty is none. A part of the tenant that is not answered for a time, or a
// permission that was taken away, must not make recipients unknown.
func believable(before, lost, now int, shrink float64) bool {
	return now > 0 && (lost <= fewLost || float64(lost) <= shrink*float64(before))
}
