package queue

import "testing"

func TestAgain(t *testing.T) {
	for why, want := range map[KeptFor]bool{"": false, KeptHold: false, KeptOff: false, KeptNullSender: false, KeptUnauthenticated: false,
		KeptNever: false, KeptRate: false, KeptIncident: true, KeptSpike: true, KeptUnsent: true} {
		if got := why.Again(); got != want {
			t.Errorf("%q: %t", why, got)
		}
	}
}
