package incident

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// Errors a caller decides on.
var (
	ErrNotFound = errors.New("no such incident")
	ErrState    = errors.New("the incident is not in a state that allows it")
)

// Book holds the incidents. Make it with NewBook; its methods may be called
// concurrently, and only those that change an incident wait for the disk.
type Book struct {
	history History
	log     *slog.Logger
	begun   time.Time

	writing sync.Mutex // held while one is changed and written
	mu      sync.RWMutex
	all     []health.Incident // the oldest first
	stops   map[string]queue.Stops
	unsaved bool
}

// NewBook reads the incidents that there were. If they cannot be read there are none.
func NewBook(h History, log *slog.Logger) *Book {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &Book{history: h, log: log, begun: h.Begun()}
	all, err := h.Incidents()
	if err != nil {
		log.Warn("incident.forgotten", "error", err)
	}
	now := time.Now()
	for n := range all { // a clock that was set back must not hold up the end
		if all[n].QuietSince.After(now) {
			all[n].QuietSince = now
		}
	}
	if b.begun.IsZero() {
		b.begun = now
	}
	b.all = all
	b.reckonStops()
	return b
}

// reckonStops is called with mu held, or before anybody knows of the Book.
func (b *Book) reckonStops() {
	b.stops = map[string]queue.Stops{}
	for _, i := range b.all {
		from, until := i.Stopped()
		b.stops[i.Upstream] = append(b.stops[i.Upstream], queue.Stop{From: from, Until: until})
	}
}

// Stops are the times in which the clock of an upstream's mail stands still.
// They are not to be changed.
func (b *Book) Stops(upstream string) queue.Stops {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.stops[upstream]
}

// Standing says whether an incident of the upstream lasts, and otherwise since
// when it has been up after the last one; if there was none, since when that is known.
func (b *Book) Standing(upstream string) (lasts bool, recovered time.Time) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	recovered = b.begun
	for _, i := range b.all {
		if i.Upstream != upstream {
			continue
		}
		if i.Lasts() {
			return true, time.Time{}
		}
		for _, at := range []time.Time{i.UpAt, i.ClosedAt} {
			if !at.IsZero() {
				if at.After(recovered) {
					recovered = at
				}
				break
			}
		}
	}
	return false, recovered
}

// Outage is a time in which an upstream took no mail. Until is zero while it lasts.
type Outage struct{ From, Until time.Time }

// Outages lists those of an upstream that had not ended at an instant.
func (b *Book) Outages(upstream string, from time.Time) (all []Outage) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, i := range b.all {
		if i.Upstream == upstream && i.WasDown && (i.Until.IsZero() || i.Until.After(from)) {
			all = append(all, Outage{From: i.Began, Until: i.Until})
		}
	}
	return all
}

// List lists all incidents, the oldest first.
func (b *Book) List() []health.Incident {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Clone(b.all)
}

// Get finds an incident. ErrNotFound if there is none.
func (b *Book) Get(id string) (health.Incident, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, i := range b.all {
		if i.ID == id {
			return i, nil
		}
	}
	return health.Incident{}, fmt.Errorf("%s: %w", id, ErrNotFound)
}

// Trouble says what is wrong with the records; nil if nothing is.
func (b *Book) Trouble() []string {
	all := b.history.Trouble()
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.unsaved {
		all = append(all, "an incident could not be written: it will be forgotten with the next stop")
	}
	return all
}

// Note adds a line to the timeline of an incident. The zero At is now.
func (b *Book) Note(id string, m health.Moment) (health.Incident, error) {
	if m.At.IsZero() {
		m.At = time.Now()
	}
	return b.change(id, func(i health.Incident) (health.Incident, error) { return i.With(m), nil })
}

// Acknowledge notes that a person knows of the incident.
func (b *Book) Acknowledge(id, actor, text string) (health.Incident, error) {
	return b.change(id, func(i health.Incident) (health.Incident, error) { return i.Acknowledge(time.Now(), actor, text), nil })
}

// Link notes that an incident of somebody else is the same trouble.
func (b *Book) Link(id, actor, other string) (health.Incident, error) {
	return b.change(id, func(i health.Incident) (health.Incident, error) {
		if slices.Contains(i.Links, other) {
			return i, fmt.Errorf("%s has the link %s already: %w", id, other, ErrState)
		}
		return i.Link(time.Now(), actor, other), nil
	})
}

// open adds a new incident, made by begin from its ID. ErrState, and the other
// one, if the upstream has one that goes on.
func (b *Book) open(upstream string, at time.Time, quiet time.Duration, begin func(id string) health.Incident) (health.Incident, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	var known []string
	for _, i := range b.List() {
		if i.Upstream == upstream && i.State != health.IncidentClosed && !i.IsQuiet(at, quiet) {
			return i, fmt.Errorf("%s has %s already: %w", upstream, i.ID, ErrState)
		}
		known = append(known, i.ID)
	}
	i := begin(health.NewIncidentID(at, known))
	b.keep(i)
	return i, nil
}

// change replaces an incident by what do makes of it; nothing happens if do fails.
func (b *Book) change(id string, do func(health.Incident) (health.Incident, error)) (health.Incident, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	i, err := b.Get(id)
	if err != nil {
		return i, err
	}
	next, err := do(i)
	if err != nil {
		return i, err
	}
	b.keep(next)
	return next, nil
}

// keep writes an incident, and then tells it. One that cannot be written counts
// all the same: the outage is there.
func (b *Book) keep(i health.Incident) {
	err := b.history.PutIncident(i)
	if err != nil {
		b.log.Error("incident.unsaved", "incident", i.ID, "error", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unsaved = err != nil
	if n := slices.IndexFunc(b.all, func(other health.Incident) bool { return other.ID == i.ID }); n >= 0 {
		b.all = slices.Clone(b.all)
		b.all[n] = i
	} else {
		b.all = append(b.all[:len(b.all):len(b.all)], i)
	}
	b.reckonStops()
}
