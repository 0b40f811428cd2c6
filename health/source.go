package health

import (
	"cmp"
	"slices"
)

// Direct reports whether the primary itself was met, not only talked about.
func (s Source) Direct() bool {
	return s != SourceSender && s != SourceControl && s != SourceVantage && !s.Annotates()
}

// Annotates reports whether signals of the source are for people only: they
// neither trigger a decision nor stand in the way of one.
func (s Source) Annotates() bool { return s == SourceDNS || s == SourceHTTPS || s == SourcePublic }

// passive reports whether mail was at stake.
func (s Source) passive() bool { return s == SourceAttempt || s == SourcePassage || s == SourceCanary }

const maxVantages = 8

// seconded is what the vantage points said last, with one more signal.
func seconded(vantages []Signal, sig Signal) []Signal {
	next := slices.DeleteFunc(slices.Clone(vantages), func(s Signal) bool { return s.Host == sig.Host })
	if len(next) == maxVantages {
		next = next[1:]
	}
	return append(next, sig)
}

// seconds is 1 if another relay has lately seen an outage as well, from where it is.
func (f finding) seconds() int {
	at := f.now.Add(-lately)
	if slices.ContainsFunc(f.window.vantages, func(s Signal) bool { return s.Class == Outage && !s.At.Before(at) }) {
		return 1
	}
	return 0
}

// maxTopics is how many topics a Monitor remembers the last signal of.
const maxTopics = 64

// topics are the last signals, one for each source and what it looks at. Of
// what meets the primary itself only the last one of all addresses is kept.
type topics struct{ signals []Signal }

func (t *topics) add(sig Signal) {
	same := func(s Signal) bool {
		return s.Source == sig.Source && (sig.Source.Direct() || sig.Source == SourceSender || s.Host == sig.Host && s.Address == sig.Address)
	}
	if i := slices.IndexFunc(t.signals, same); i >= 0 {
		t.signals[i] = sig
		return
	}
	if len(t.signals) == maxTopics { // names and servers change: the one that was silent longest goes
		oldest := 0
		for i, s := range t.signals {
			if s.At.Before(t.signals[oldest].At) {
				oldest = i
			}
		}
		t.signals = slices.Delete(t.signals, oldest, oldest+1)
	}
	t.signals = append(t.signals, sig)
}

// all is a copy, sorted by source, host and address.
func (t *topics) all() []Signal {
	list := slices.Clone(t.signals)
	slices.SortFunc(list, func(a, b Signal) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Address, b.Address))
	})
	return list
}
