package recipients

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

const saveEvery = time.Minute

// ErrDoubted says that a directory lost more addresses than is believed.
var ErrDoubted = errors.New("it is not believed")

// ErrUnknownDomain says that there is no such domain, or none with such a source.
var ErrUnknownDomain = errors.New("no such domain")

// directory is read from time to time, for one domain or several.
type directory struct {
	Directory
	log     *slog.Logger
	domains map[string]*snapshot

	reading sync.Mutex // held while the directory is read
	graph   listing

	mu     sync.Mutex
	failed error     // of the last sync; nil if it went well
	next   time.Time // zero if nobody waits for it
}

// Synced is what a sync brought for one domain.
type Synced struct {
	Domain             string
	Count, Added, Lost int
	Err                error // why what was known before still holds; nil if it does not
}

// sync reads the directory. What is not believable is not taken, unless force.
func (s *directory) sync(ctx context.Context, force bool) (all []Synced) {
	s.reading.Lock()
	defer s.reading.Unlock()
	names := map[string]bool{}
	for name := range s.domains {
		names[name] = true
	}
	known, failed := s.graph.addresses(ctx, names)
	parts := map[string]map[string]struct{}{}
	for key := range known {
		name := domainOf(key)
		if parts[name] == nil {
			parts[name] = map[string]struct{}{}
		}
		parts[name][key] = struct{}{}
	}
	var wrong error
	for _, name := range slices.Sorted(maps.Keys(s.domains)) {
		did := Synced{Domain: name, Err: failed}
		if failed == nil {
			did = s.take(name, parts[name], force)
		}
		if did.Err != nil {
			s.log.Warn("recipients.unsynced", "domain", name, "error", did.Err)
			wrong = did.Err
		} else {
			s.log.Info("recipients.synced", "domain", name, "addresses", did.Count, "added", did.Added, "lost", did.Lost)
		}
		all = append(all, did)
	}
	s.mu.Lock()
	s.failed = wrong
	s.mu.Unlock()
	return all
}

// take replaces what is known of a domain.
func (s *directory) take(name string, known map[string]struct{}, force bool) Synced {
	did := Synced{Domain: name, Count: len(known)}
	var before int
	did.Added, did.Lost, before = s.domains[name].difference(known)
	if !force && !believable(before, did.Lost, len(known), s.Shrink) {
		did.Err = fmt.Errorf("%d of %d addresses would be gone, and there would be %d: %w", did.Lost, before, len(known), ErrDoubted)
		return did
	}
	did.Err = s.domains[name].replace(known, "", time.Now())
	return did
}

// run reads the directory when it is time, until ctx ends. After a failure it
// tries again sooner, less and less often.
func (s *directory) run(ctx context.Context) {
	failures := 0
	for {
		s.mu.Lock()
		s.next = time.Now().Add(s.due(failures, time.Now()))
		wait := time.Until(s.next)
		s.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		failures++
		if !slices.ContainsFunc(s.sync(ctx, false), func(did Synced) bool { return did.Err != nil }) {
			failures = 0
		}
	}
}

// due is how long to wait for the next sync: what is on disk may be young enough.
func (s *directory) due(failures int, now time.Time) time.Duration {
	if failures > 0 {
		return min(time.Minute<<min(failures-1, 10), s.Every)
	}
	var oldest time.Time
	for _, snapshot := range s.domains {
		at, _, _ := snapshot.shown()
		if at.IsZero() {
			return 0
		}
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	every := time.Duration(float64(s.Every) * (1 - s.Jitter*rand.Float64()))
	return min(max(0, oldest.Add(every).Sub(now)), s.Every) // the clock may have been set back
}

// Run reads directories, and writes down what was learned, until ctx ends.
func (d *Domains) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, s := range d.directories {
		running.Go(func() { s.run(ctx) })
	}
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		d.save()
	}
	running.Wait()
}

func (d *Domains) save() {
	for _, one := range d.of {
		if one.learned != nil {
			one.learned.prune(time.Now())
			one.learned.save()
		}
	}
}

// Sync reads the lists and directories of a domain now, of all if name is "".
func (d *Domains) Sync(ctx context.Context, name string, force bool) (all []Synced, err error) {
	one := d.of[name]
	if name != "" && (one == nil || one.list == nil && one.sync == nil) {
		return nil, fmt.Errorf("%s: %w with a list or a directory to read", name, ErrUnknownDomain)
	}
	for _, file := range slices.Sorted(maps.Keys(d.of)) {
		list := d.of[file].list
		if list == nil || name != "" && name != file {
			continue
		}
		now := time.Now()
		did := Synced{Domain: file, Err: list.reload(now)}
		did.Count, _ = list.shown(file, now)
		all = append(all, did)
	}
	for _, s := range d.directories {
		if name == "" || one.sync == s {
			all = append(all, s.sync(ctx, force)...)
		}
	}
	return all, nil
}

// Imported is what an import brought, or would bring.
type Imported struct {
	Domain      string
	Count       int // addresses of the domain
	Elsewhere   int // addresses of other domains, which were left out
	Added, Lost int // compared with what was imported before
}

// Import replaces the imported list of a domain by the text of a file; name is
// its name. A text with a wrong line, or without an address of the domain, changes nothing.
func (d *Domains) Import(domain, name, text string, dry bool) (Imported, error) {
	one := d.of[domain]
	if one == nil || one.imported == nil {
		return Imported{}, fmt.Errorf("%s: %w with list among its sources", domain, ErrUnknownDomain)
	}
	all, err := parse(name, strings.NewReader(text))
	if err != nil {
		return Imported{}, err
	}
	known := map[string]struct{}{}
	for key := range all {
		if domainOf(key) == domain {
			known[key] = struct{}{}
		}
	}
	did := Imported{Domain: domain, Count: len(known), Elsewhere: len(all) - len(known)}
	if did.Count == 0 {
		return did, fmt.Errorf("%s: there is no address of %s in it, but %d of other domains", name, domain, did.Elsewhere)
	}
	did.Added, did.Lost, _ = one.imported.difference(known)
	if dry {
		return did, nil
	}
	if err := one.imported.replace(known, name, time.Now()); err != nil {
		return did, &KeepError{err}
	}
	d.options.Log.Info("recipients.imported", "domain", domain, "file", name, "addresses", did.Count, "added", did.Added, "lost", did.Lost)
	return did, nil
}

// KeepError says that something could not be written down.
type KeepError struct{ error }

// Unwrap is what failed.
func (e *KeepError) Unwrap() error { return e.error }
