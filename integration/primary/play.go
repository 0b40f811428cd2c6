package primary

import (
	"slices"
	"sync"
	"time"
)

// play is one run of a scenario.
type play struct {
	Scenario
	began time.Time
	over  chan struct{} // closed when the next one begins, or with the server

	mu       sync.Mutex
	counters []counter // one for each rule
}

func newPlay(s Scenario) *play {
	s.Rules = slices.Clone(s.Rules) // the caller may go on changing his
	return &play{Scenario: s, began: time.Now(), over: make(chan struct{}), counters: make([]counter, len(s.Rules))}
}

// follow finds the rule for a session that visits the phase, if there is one.
func (p *play) follow(phase Phase, address int) (Rule, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	elapsed := time.Since(p.began)
	for i, rule := range p.Rules {
		if rule.Phase != phase && (rule.Phase != Any || phase == Taken) {
			continue
		}
		number := p.counters[i].next(rule.When, elapsed)
		if rule.When.holds(occasion{address: address, number: number, elapsed: elapsed}) {
			return rule, true
		}
	}
	return Rule{}, false
}
