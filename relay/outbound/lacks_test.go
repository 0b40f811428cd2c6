package outbound

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxkeep/mxkeep/queue"
)

// TestOldSessionsDecideNothing: what a primary lacked when a session began, it may
// offer by now. Nobody is refused before it was asked again.
func TestOldSessionsDecideNothing(t *testing.T) {
	now := strings.Replace(toOne, "x.example>", "x.example> BODY=8BITMIME", 1)
	const old = "C: QUIT\nS: 221 bye"
	for _, test := range []struct {
		name, passes, delivers string
		scripts                []string
	}{
		{"it offers it now", "", "delivered", []string{
			hello("PIPELINING") + toOne + taken + old, hello("PIPELINING", "8BITMIME") + now + taken}},
		{"it still lacks it", "554 5.6.3 the message needs 8BITMIME, which the primary does not offer", "refused/message", []string{
			hello("PIPELINING") + toOne + taken + old, hello("PIPELINING")}},
		{"it closed the session and is out now", "", "deferred/upstream", []string{
			hello("PIPELINING") + toOne + taken + "cut", "S: 421 4.3.2 not now"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil, test.scripts...)
				if a := r.whole(t.Context()); a.Outcome != Agreed {
					t.Errorf("%+v", a)
				}
				synctest.Wait()
				m := message("b@corp.example")
				m.Envelope.Params.Body = "8BITMIME"
				if got := results(r.deliver(m)); got != test.delivers {
					t.Errorf("delivery: %s, want %s", got, test.delivers)
				}
				r.end()
			})
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil, test.scripts...)
				if a := r.whole(t.Context()); a.Outcome != Agreed {
					t.Errorf("%+v", a)
				}
				synctest.Wait()
				o := opening("b@corp.example")
				o.Envelope.Params = queue.Params{Body: "8BITMIME"}
				p, a := r.Open(t.Context(), o)
				switch {
				case test.passes != "" && (a.Outcome != Declined || a.Reply.Error() != test.passes):
					t.Errorf("passage: %+v", a)
				case test.delivers == "delivered":
					p.Data(t.Context())
					p.Send([]byte(text))
					if a := p.Finish(); a.Outcome != Agreed {
						t.Errorf("passage: %+v", a)
					}
				case test.delivers == "deferred/upstream" && a.Outcome != Failed:
					t.Errorf("passage: %+v", a)
				}
				synctest.Wait()
				r.end()
			})
		})
	}
}

// TestQuitLaterWhenClosed: nobody waits for the end of a session any more.
func TestQuitLaterWhenClosed(t *testing.T) {
	u := &Upstream{closed: true}
	ours, theirs := net.Pipe()
	u.quitLater(&session{wire: newWire(ours, nil)})
	if said, err := io.ReadAll(theirs); err != nil || len(said) > 0 {
		t.Errorf("%q, %v", said, err)
	}
}
