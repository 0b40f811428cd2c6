package recipients

import (
	"fmt"
	"time"
)

// Source is where knowledge about recipients comes from.
type Source string

// The sources. List and Directory are authoritative: who is not in them does
// not exist. The others are evidence about single addresses.
const (
	SourceList      Source = "list"       // a file, or what was imported
	SourceDirectory Source = "directory"  // Microsoft Graph
	SourceLearned   Source = "learned"    // what the primary said in deliveries and probes
	SourceCallAhead Source = "call-ahead" // what it says when it is asked
)

// Verdict is what is known about a recipient.
type Verdict uint8

// The verdicts.
const (
	NotKnown Verdict = iota // no source says
	Known                   // it exists
	Unknown                 // it does not exist
)

func (v Verdict) String() string {
	return [...]string{NotKnown: "not known", Known: "known", Unknown: "unknown"}[v]
}

// Policy is what to answer about recipients that are not known while the
// primary cannot be asked.
type Policy string

// The policies.
const (
	Accept Policy = "accept"
	Defer  Policy = "defer"
	Reject Policy = "reject"
)

// Primary is how the primary is, as far as recipients are concerned.
type Primary uint8

// Up can be asked, and will decide itself about what we do not know. Of a
// primary in Doubt nobody knows whether it can.
const (
	Up Primary = iota
	Doubt
	Down
)

// Outcome is what becomes of a recipient.
type Outcome uint8

// The outcomes.
const (
	Take   Outcome = iota // as far as recipients are concerned
	Later                 // it cannot be said now: 451 4.4.3
	Refuse                // it does not exist: 550 5.1.1
)

// Answer is a verdict with its reason.
type Answer struct {
	Verdict Verdict
	Source  Source    // that decided; "" if none did
	At      time.Time // when what it knows was true; zero if none did
	Why     string
	Doubted bool   // not known, because the primary took it once, and has begun to refuse it
	Policy  Policy // of the domain
}

// Outcome is what to do about the recipient. It is pure.
//
//	primary     up    in doubt   down
//	known       take  take       take
//	unknown     550   550        550
//	not known:
//	  accept    take  take       take
//	  defer     take  451        451
//	  reject    take  451        550
//
// While the primary is up, it decides itself about who is not known. While it is
// in doubt nobody is refused for good for that: one bad round of probes is
// enough for doubt, and in minutes more will be known. Nor is one whom it took
// before: a few refusals must not cost a recipient that exists its mail.
func (a Answer) Outcome(p Primary) Outcome {
	switch {
	case a.Verdict == Known:
		return Take
	case a.Verdict == Unknown:
		return Refuse
	case p == Up:
		return Take
	case a.Policy == Reject && p == Down && !a.Doubted:
		return Refuse
	case a.Policy == Reject, a.Policy == Defer:
		return Later
	}
	return Take
}

// saying is what one source says about an address.
type saying struct {
	source Source
	says   Verdict   // NotKnown: it says nothing
	at     time.Time // of the knowledge: of the whole list, or of the evidence
	stale  bool      // an authoritative source that is too old to prove absence, or was never read
	doubt  bool      // the primary took the address once, and has begun to refuse it
}

func (s saying) authoritative() bool { return s.source == SourceList || s.source == SourceDirectory }

// decide joins what the sources say. It is pure.
//
//	a list or directory has it                                   known, however old it is
//	all lists and directories are fresh and lack it:
//	  evidence that it exists is newer than all of them          known
//	  otherwise                                                  unknown
//	one that is stale, or none at all, and evidence:
//	  that it exists                                             known
//	  that it does not                                           unknown
//	  none, or the primary has only begun to refuse it           not known
//
// Without any source everybody is known.
func decide(all []saying) Answer {
	if len(all) == 0 {
		return Answer{Verdict: Known, Why: "the domain has no source: every address is taken to exist"}
	}
	var evidence, newest saying // newest: of those that lack the address
	lists, stale := 0, 0
	for _, s := range all {
		switch {
		case s.authoritative() && s.says == Known:
			return Answer{Verdict: Known, Source: s.source, At: s.at, Why: "it is in the " + string(s.source)}
		case !s.authoritative():
			if s.says != NotKnown || s.doubt {
				evidence = s
			}
		case s.stale:
			stale++
		default:
			lists++
			if newest.source == "" || s.at.After(newest.at) {
				newest = s
			}
		}
	}
	if lists > 0 && stale == 0 && !(evidence.says == Known && evidence.at.After(newest.at)) {
		return Answer{Verdict: Unknown, Source: newest.source, At: newest.at, Why: fmt.Sprintf("it is not in the %s", newest.source)}
	}
	switch {
	case evidence.says == Known:
		return Answer{Verdict: Known, Source: evidence.source, At: evidence.at, Why: "the primary took it"}
	case evidence.says == Unknown:
		return Answer{Verdict: Unknown, Source: evidence.source, At: evidence.at, Why: "the primary refused it as unknown"}
	case evidence.doubt:
		return Answer{Source: evidence.source, At: evidence.at, Doubted: true, Why: "the primary took it once, and has begun to refuse it"}
	case stale > 0:
		return Answer{Why: "it is in no source, and one that would have it is stale"}
	}
	return Answer{Why: "no source says anything about it"}
}
