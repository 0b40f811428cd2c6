package dns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	lookEvery = 5 * time.Second // at the modification time of resolv.conf
	localhost = "127.0.0.1:53"  // where resolv.conf names nobody (resolv.conf(5))
)

// servers are those that are asked: configured ones, or those of resolv.conf.
type servers struct {
	fixed []string
	path  string

	mu       sync.Mutex
	current  []string
	modified time.Time
	looked   time.Time
}

// list returns at least one server. A resolv.conf that cannot be read any more
// leaves the list as it was.
func (s *servers) list(now time.Time) []string {
	if len(s.fixed) > 0 {
		return s.fixed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.looked) >= lookEvery {
		s.looked = now
		_ = s.load()
	}
	return s.current
}

// read reads resolv.conf for the first time, if it is needed.
func (s *servers) read() error {
	if len(s.fixed) > 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked = time.Now()
	if err := s.load(); err != nil {
		return fmt.Errorf("no DNS server is configured: %w", err)
	}
	return nil
}

func (s *servers) load() error {
	at, err := os.Stat(s.path)
	if err != nil || at.ModTime().Equal(s.modified) {
		return err
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	s.modified, s.current = at.ModTime(), nil
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if _, err := netip.ParseAddr(words[1]); err == nil {
			s.current = append(s.current, net.JoinHostPort(words[1], "53"))
		}
	}
	if s.current == nil {
		s.current = []string{localhost}
	}
	return nil
}
