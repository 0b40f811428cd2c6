package recipients

import (
	"maps"
	"slices"
	"time"
)

// Status is how one source of a domain is.
type Status struct {
	Domain string
	Source Source
	Count  int       // addresses of the domain that it knows
	At     time.Time // of what it knows; of evidence, the latest; zero if there is none
	Stale  bool      // absence from it proves nothing
	Wrong  string    // why it could not be read last; "" if it could
	Next   time.Time // when it will be read next; zero if it is not read by the clock
	Asked  int64     // of call-ahead: questions since the start
	Policy Policy    // of the domain
}

// Sources lists the sources of all domains, by name.
func (d *Domains) Sources() (all []Status) {
	now := time.Now()
	for _, name := range slices.Sorted(maps.Keys(d.of)) {
		one := d.of[name]
		for _, source := range one.Sources {
			all = append(all, one.status(source, now))
		}
	}
	return all
}

func (one *domain) status(source Source, now time.Time) Status {
	st := Status{Domain: one.Name, Source: source, Policy: one.NotKnown}
	switch source {
	case SourceList:
		if one.list != nil {
			var broken error
			if st.Count, broken = one.list.shown(one.Name, now); broken != nil {
				st.Wrong = broken.Error()
			}
		}
		_, _, count := one.imported.shown()
		st.Count += count
		st.At = one.listed(now)
		st.Stale = saying{at: st.At}.judged(false, one.MaxAge, now).stale
	case SourceDirectory:
		st.At, _, st.Count = one.directory.shown()
		st.Stale = saying{at: st.At}.judged(false, one.sync.MaxAge, now).stale
		one.sync.mu.Lock()
		defer one.sync.mu.Unlock()
		st.Next = one.sync.next
		if one.sync.failed != nil {
			st.Wrong = one.sync.failed.Error()
		}
	case SourceLearned:
		st.Count, st.At = one.learned.shown(now)
	case SourceCallAhead:
		st.Asked = one.asked.Load()
	}
	return st
}
