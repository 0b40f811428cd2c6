// Package queuetest states the contract of queue.Store as tests, and holds
// mail in memory for the tests of others.
//
// A store passes if Run passes. Every step of Run also compares the store's
// counters with a count of its messages.
package queuetest

import (
	"testing"

	"github.com/mxkeep/mxkeep/queue"
)

type rule struct {
	name string
	test func(*bench)
}

// Run tests a store against the contract. open returns an empty store with the
// default times of keeping; Run closes it.
func Run(t *testing.T, open func(t *testing.T) queue.Store) {
	var rules []rule
	rules = append(rules, contentRules()...)
	rules = append(rules, attemptRules()...)
	rules = append(rules, amendmentRules()...)
	rules = append(rules, adoptionRules()...)
	rules = append(rules, listRules()...)
	rules = append(rules, concurrencyRules()...)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) { r.test(newBench(t, open)) })
	}
}
