package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// Probes is what the rows of probes.csv add up to: what was observed of the
// primary, and of a target that has nothing to do with it.
type Probes struct {
	Sources   []Observed `json:"sources"` // by name
	Temporary []int64    `json:"temporary"`
	Permanent []int64    `json:"permanent"`
	None      []int64    `json:"no_reply"` // in each bin, of probes, attempts and passed mail
}

// Observed is what one source has seen.
type Observed struct {
	Source    string    `json:"source"`
	Count     int64     `json:"count"`
	Good      int64     `json:"good"`
	Addresses []string  `json:"addresses"` // different ones, the first maxAddresses
	From      []string  `json:"from"`      // addresses of ours
	First     time.Time `json:"first_at"`
	Last      time.Time `json:"last_at"`
}

const (
	maxAddresses = 32
	maxSources   = 32 // the rest is counted as one
)

// probeTitles are the columns of probes.csv.
func probeTitles() []string {
	return strings.Fields("at source class phase command reply host address source_address session domain round took_s row")
}

// probe is a line of probes.csv.
type probe struct {
	at                                       time.Time
	source, class, reply, address, sourceOwn string
}

// probeRow makes a line of a signal.
func probeRow(s health.Signal) []string {
	return []string{instant(whole(s.At)), string(s.Source), s.Class.String(), string(s.Phase), s.Command, s.Reply, s.Host, s.Address, s.SourceIP, s.Session, s.Domain,
		strconv.FormatUint(s.Round, 10), strconv.FormatFloat(s.Took.Seconds(), 'f', 3, 64), strconv.Itoa(s.Row)}
}

// parseProbe reads what is counted of a line.
func parseProbe(texts []string) (p probe, err error) {
	p = probe{source: texts[1], class: texts[2], reply: texts[5], address: texts[7], sourceOwn: texts[8]}
	if p.at, err = parseInstant(texts[0]); err != nil {
		return p, fmt.Errorf("%w: at: %w", errRow, err)
	}
	return p, nil
}

// newProbes makes room for the bins.
func newProbes(b Bins) Probes {
	return Probes{Sources: []Observed{}, Temporary: make([]int64, b.Count), Permanent: make([]int64, b.Count), None: make([]int64, b.Count)}
}

func (all *Probes) add(p probe, b Bins) {
	n := slices.IndexFunc(all.Sources, func(o Observed) bool { return o.Source == p.source })
	if n < 0 {
		if len(all.Sources) >= maxSources {
			n = maxSources - 1
		} else {
			n = len(all.Sources)
			all.Sources = append(all.Sources, Observed{Source: p.source, Addresses: []string{}, From: []string{}, First: p.at})
		}
	}
	o := &all.Sources[n]
	o.Count++
	if p.at.Before(o.First) {
		o.First = p.at
	}
	if p.at.After(o.Last) {
		o.Last = p.at
	}
	o.Addresses, o.From = known(o.Addresses, p.address), known(o.From, p.sourceOwn)
	if p.class == health.OK.String() {
		o.Good++
		return
	}
	at, in := b.in(p.at)
	if !in || !slices.Contains([]string{string(health.SourceProbe), string(health.SourceAttempt), string(health.SourcePassage)}, p.source) {
		return
	}
	switch {
	case strings.HasPrefix(p.reply, "4"):
		all.Temporary[at]++
	case strings.HasPrefix(p.reply, "5"):
		all.Permanent[at]++
	default:
		all.None[at]++
	}
}

func known(all []string, one string) []string {
	if one == "" || len(all) >= maxAddresses || slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

// of is what a source has seen; false if nothing.
func (all Probes) of(source health.Source) (Observed, bool) {
	for _, o := range all.Sources {
		if o.Source == string(source) {
			return o, true
		}
	}
	return Observed{}, false
}

// readProbes adds up a probes.csv.
func readProbes(r io.Reader, b Bins) (Probes, error) {
	all, titles := newProbes(b), probeTitles()
	err := readTable(r, titles[0], len(titles), func(n int) string { return titles[n] }, func(texts []string) error {
		p, err := parseProbe(texts)
		all.add(p, b)
		return err
	})
	all.sort()
	return all, err
}

func (all *Probes) sort() {
	slices.SortFunc(all.Sources, func(a, b Observed) int { return strings.Compare(a.Source, b.Source) })
}
