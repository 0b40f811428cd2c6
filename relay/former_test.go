package relay

import (
	"slices"
	"testing"
)

// TestARenamedUpstream: mail that waits for the old name is nobody's, and that is said.
func TestARenamedUpstream(t *testing.T) {
	t.Parallel()
	c, s := configured(t)
	play(t, s, "down")
	first := run(t, c)
	first.accept("u@corp.example")
	first.stop()
	play(t, s, "healthy")

	renamed := c
	renamed.Upstreams, renamed.Domains = slices.Clone(c.Upstreams), slices.Clone(c.Domains)
	renamed.Upstreams[0].Name, renamed.Domains[0].Upstream = "new", "new"
	for range 2 { // it is not forgotten at the next start
		r := run(t, renamed)
		if !r.log.has("queue.stranded", "upstream=exo") {
			t.Error("nothing in the log")
		}
		if st := r.status(); !slices.Equal(st.Stranded, []string{"exo"}) || st.Severity != "critical" {
			t.Errorf("stranded %q, %s", st.Stranded, st.Severity)
		}
		r.stop()
	}

	back := run(t, c)
	received(t, s, 1)
	back.log.await(t, "delivery.delivered")
	if st := back.status(); len(st.Stranded) > 0 {
		t.Errorf("stranded %q", st.Stranded)
	}
	back.stop()
	last := run(t, renamed) // now there is none
	if last.log.has("queue.stranded") {
		t.Error("stranded, though all is delivered")
	}
	last.stop()
}

// TestNamesOfUpstreamsAreLost: the relay starts all the same.
func TestNamesOfUpstreamsAreLost(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	r := run(t, c)
	if err := r.state.Close(); err != nil {
		t.Fatal(err)
	}
	if gone := r.former(); len(gone) > 0 || !r.log.has("upstreams.forgotten") || !r.log.has("upstreams.unsaved") {
		t.Errorf("%q", gone)
	}
}
