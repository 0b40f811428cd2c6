package queuetest

import (
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/mxkeep/mxkeep/queue"
)

// Life is the life of one store.
type Life struct {
	// Store is the store of this moment.
	Store func() queue.Store
	// Fates are what may happen to it beside its calls, by name: it is closed and
	// opened again, or its process ends.
	Fates map[string]func()
	// End closes it.
	End func()
}

// Live does random acts to many stores and to the model, and compares. Of acts
// that make them differ, rapid looks for the fewest and simplest. A failed life
// is played again as its output says: it has a clock of its own, so that the
// same acts come to the same.
func Live(t *testing.T, begin func(t T) Life) {
	rapid.Check(t, func(t *rapid.T) { rapid.SyncTest(t, func(t *rapid.T) { live(t, begin(t)) }) })
}

func live(t *rapid.T, life Life) {
	defer life.End()
	w := &model{bench: &bench{T: t, ctx: t.Context()}, t: t, life: life,
		messages: map[queue.ID]queue.Message{}, forgotten: map[queue.ID]bool{}, drafts: map[queue.ID]*written{}}
	w.store = life.Store()
	acts := map[string]func(){"begin": w.begin, "write": w.write, "commit": w.commit, "abort": w.abort, "claim": w.claim,
		"settle": w.settle, "amend": w.amend, "adopt": w.adopt, "adopt again": w.adoptAgain, "purge": w.purge, "wait": w.wait, "compare": w.compare}
	for name, fate := range life.Fates {
		acts[name] = func() { w.suffer(fate) }
	}
	choices := map[string]func(*rapid.T){"": func(*rapid.T) { synctest.Wait(); w.balanced() }}
	for name, act := range acts {
		choices[name] = func(*rapid.T) { act() }
	}
	t.Repeat(choices)
	w.compare()
}
