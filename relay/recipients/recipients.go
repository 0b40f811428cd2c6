// Package recipients knows who exists in the domains that mail is kept for.
//
// What is known comes from sources, any number of them for a domain: a list (a
// file, or what was imported), a directory (Microsoft Graph), what was learned
// from the primary, and what it says when it is asked (call-ahead). They are
// joined by one pure function, decide; what is answered follows from its verdict,
// the policy of the domain and how the primary is: Answer.Outcome.
//
// Guarantee: nothing of the primary or of Microsoft is needed to answer. All but
// refusals is on disk, and known after a restart. A source that fails leaves what
// was known before, and grows old: its age is shown, and when it is too old,
// absence from it proves nothing any more.
//
// What is logged here, by event:
//
//	recipients.loaded, recipients.kept  a list was read again, or could not be
//	recipients.synced                   a directory was read
//	recipients.unsynced                 it was not, or not believed; why
//	recipients.imported                 a list was imported
//	recipients.unsaved, recipients.forgotten
//	                                    what was learned could not be written, or read
package recipients

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxkeep/mxkeep/relay/graph"
	"github.com/mxkeep/mxkeep/relay/smtp"
	"github.com/mxkeep/mxkeep/relay/state"
)

// Options say who is asked about whom.
type Options struct {
	Domains []Domain
	Keep    *state.File
	HTTP    *http.Client // for directories; default http.DefaultClient
	Log     *slog.Logger // default none
}

// Domain says where what is known about a domain comes from. Fields that are
// zero get the default named.
type Domain struct {
	Name       string // A-labels in lower case
	Sources    []Source
	File       string        // of SourceList; "": only what is imported
	MaxAge     time.Duration // of a list, above which absence proves nothing; 0: none
	NotKnown   Policy        // default Accept
	Subaddress string        // what begins the tag of a sub-address, as + in Exchange Online; "": there is none
	Learned    LearnedRules
	CallAhead  CallAhead
	Directory  Directory
}

// CallAhead says how to ask the primary.
type CallAhead struct {
	// Ask says whether the primary takes a recipient; ok is false if it did not say.
	Ask       func(ctx context.Context, path smtp.Path) (exists, ok bool)
	Timeout   time.Duration // default 5 seconds
	AtOnce    int           // questions at the same time; default 4
	PerMinute int           // default 120
}

// Directory says how to read a directory, and how far it is believed.
type Directory struct {
	Graph
	Every  time.Duration // default 1 hour
	Jitter float64       // by which Every is changed
	MaxAge time.Duration // above which absence proves nothing; default 3 days
	Shrink float64       // share of the addresses that may go at once; default 0.1
}

// Domains is what is known about recipients. All methods may be called concurrently.
type Domains struct {
	options     Options
	of          map[string]*domain
	directories []*directory
}

// domain is one domain with its sources; those it has not are nil.
type domain struct {
	Domain
	list      *List
	imported  *snapshot
	directory *snapshot
	sync      *directory
	learned   *learned
	watching  bool // what deliveries and probes tell is learned
	places    chan struct{}
	budget    budget
	asked     atomic.Int64 // call-aheads
}

// New reads what is on disk. The error is that of a list or of the options.
func New(o Options) (*Domains, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	d := &Domains{options: o, of: map[string]*domain{}}
	for _, c := range o.Domains {
		one, err := d.newDomain(c)
		if err != nil {
			return nil, fmt.Errorf("recipients of %s: %w", c.Name, err)
		}
		d.of[c.Name] = one
	}
	return d, nil
}

func (d *Domains) newDomain(c Domain) (*domain, error) {
	c.NotKnown = cmp.Or(c.NotKnown, Accept)
	c.CallAhead.Timeout = cmp.Or(c.CallAhead.Timeout, 5*time.Second)
	c.CallAhead.AtOnce = cmp.Or(c.CallAhead.AtOnce, 4)
	c.CallAhead.PerMinute = cmp.Or(c.CallAhead.PerMinute, 120)
	one := &domain{Domain: c}
	var err error
	for _, source := range c.Sources {
		switch source {
		case SourceList:
			one.imported = loadSnapshot(ownerImported, c.Name, d.options.Keep, d.options.Log)
			if c.File != "" {
				one.list, err = Load(c.File, d.options.Log)
			}
		case SourceDirectory:
			one.directory = loadSnapshot(ownerDirectory, c.Name, d.options.Keep, d.options.Log)
			one.sync = d.shared(c.Directory)
			one.sync.domains[c.Name] = one.directory
		case SourceLearned:
			one.watching = true
		case SourceCallAhead:
			if c.CallAhead.Ask == nil {
				err = errors.New("there is nobody to call ahead")
			}
			one.places = make(chan struct{}, c.CallAhead.AtOnce)
			one.budget = budget{perMinute: c.CallAhead.PerMinute, left: float64(c.CallAhead.PerMinute)}
		default:
			err = fmt.Errorf("no source %q", source)
		}
		if err != nil {
			return nil, err
		}
	}
	if one.watching || one.places != nil {
		one.learned = newLearned(c.Name, c.Subaddress, c.Learned, d.options.Keep, d.options.Log, time.Now())
	}
	return one, nil
}

// shared is the directory with these options: domains of a tenant are read together.
func (d *Domains) shared(o Directory) *directory {
	o.Login, o.Address = cmp.Or(o.Login, "https://login.microsoftonline.com"), cmp.Or(o.Address, "https://graph.microsoft.com")
	o.Every = cmp.Or(o.Every, time.Hour)
	o.MaxAge = cmp.Or(o.MaxAge, 3*24*time.Hour)
	o.Shrink = cmp.Or(o.Shrink, 0.1)
	for _, one := range d.directories {
		if one.Directory == o {
			return one
		}
	}
	one := &directory{Directory: o, domains: map[string]*snapshot{}, log: d.options.Log,
		graph: listing{graph.Client{App: o.Graph, HTTP: d.options.HTTP}}}
	d.directories = append(d.directories, one)
	return one
}

// Look is what is known about a recipient of a domain now; nobody is asked.
func (d *Domains) Look(name string, path smtp.Path) Answer {
	one := d.of[name]
	if one == nil {
		return decide(nil)
	}
	return one.look(path, time.Now())
}

// Ask is Look, but if nothing is known and the primary is up, it may be asked.
func (d *Domains) Ask(ctx context.Context, name string, path smtp.Path, primary Primary) Answer {
	a := d.Look(name, path)
	one := d.of[name]
	if a.Verdict != NotKnown || primary != Up || one == nil || one.places == nil || !one.callAhead(ctx, path) {
		return a
	}
	a = one.look(path, time.Now())
	if a.Source == SourceLearned {
		a.Source = SourceCallAhead
	}
	return a
}

func (one *domain) look(path smtp.Path, now time.Time) Answer {
	key, err := keyOf(path)
	a := Answer{Verdict: Known, Why: "the postmaster is always known"}
	switch {
	case isPostmaster(path):
	case err != nil:
		a = Answer{Verdict: Unknown, Why: "it is no address"}
	default:
		a = decide(one.sayings(key, now))
	}
	a.Policy = one.NotKnown
	return a
}

// sayings is what each source says.
func (one *domain) sayings(key string, now time.Time) (all []saying) {
	keys := keysOf(key, one.Subaddress)
	if one.imported != nil {
		found := slices.ContainsFunc(keys, func(k string) bool { return one.list != nil && one.list.has(k, now) || one.imported.has(k) })
		all = append(all, saying{source: SourceList, at: one.listed(now)}.judged(found, one.MaxAge, now))
	}
	if one.directory != nil {
		at, _, _ := one.directory.shown()
		all = append(all, saying{source: SourceDirectory, at: at}.judged(slices.ContainsFunc(keys, one.directory.has), one.sync.MaxAge, now))
	}
	if one.learned != nil {
		all = append(all, one.learned.says(key, now))
	}
	return all
}

// listed is of when the list is: the older part of it, if there are two.
func (one *domain) listed(now time.Time) time.Time {
	at, _, _ := one.imported.shown()
	if one.list == nil {
		return at
	}
	file := one.list.when(now)
	if at.IsZero() || file.Before(at) {
		return file
	}
	return at
}

// judged completes what an authoritative source says.
func (s saying) judged(found bool, maxAge time.Duration, now time.Time) saying {
	if found {
		s.says = Known
	}
	s.stale = s.at.IsZero() || maxAge > 0 && now.Sub(s.at) > maxAge
	return s
}

// callAhead asks the primary, and reports whether it learned something. Too many
// questions are not asked: an attacker must not be able to make us a nuisance.
func (one *domain) callAhead(ctx context.Context, path smtp.Path) bool {
	select {
	case one.places <- struct{}{}:
		defer func() { <-one.places }()
	default:
		return false
	}
	if !one.budget.take(time.Now()) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, one.CallAhead.Timeout)
	defer cancel()
	one.asked.Add(1)
	exists, ok := one.CallAhead.Ask(ctx, path)
	if ok {
		one.learn(Evidence{Path: path, At: time.Now(), Exists: exists})
	}
	return ok
}

func (one *domain) learn(e Evidence) {
	if key, err := keyOf(e.Path); err == nil && !isPostmaster(e.Path) {
		one.learned.learn(key, e)
	}
}

// Learn takes what a primary said in a delivery or a probe. It is quick.
func (d *Domains) Learn(e Evidence) {
	name, err := smtp.ASCIIDomain(e.Path.Domain)
	if one := d.of[name]; err == nil && one != nil && one.watching {
		one.learn(e)
	}
}

// budget bounds how often something is done: perMinute, and as many at once.
type budget struct {
	perMinute int

	mu   sync.Mutex
	left float64
	at   time.Time
}

func (b *budget) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	most := float64(b.perMinute)
	if !b.at.IsZero() {
		b.left = min(most, b.left+most*max(0, now.Sub(b.at).Minutes()))
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
