package inbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gomilter "github.com/d--j/go-milter"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
	"github.com/mxkeep/mxkeep/relay/auth"
	"github.com/mxkeep/mxkeep/relay/auth/arc"
	"github.com/mxkeep/mxkeep/relay/milter"
)

// judge is a content filter on the library's own server. At the end of each
// message it does what it was told to do. It keeps what it heard.
type judge struct {
	gomilter.NoOpMilter
	in *pipes
	do func(gomilter.Modifier) (*gomilter.Response, error)

	mu    sync.Mutex
	heard []string
}

func (j *judge) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.heard = append(j.heard, fmt.Sprintf(format, args...))
}

func (j *judge) Connect(host, family string, _ uint16, address string, m gomilter.Modifier) (*gomilter.Response, error) {
	j.note("%s %s by %s", host, address, m.Get("j"))
	return gomilter.RespContinue, nil
}

func (j *judge) Helo(name string, m gomilter.Modifier) (*gomilter.Response, error) {
	j.note("%s %s", name, m.Get("{tls_version}"))
	return gomilter.RespContinue, nil
}

func (j *judge) RcptTo(to, _ string, m gomilter.Modifier) (*gomilter.Response, error) {
	j.note("%s to %s", m.Get("{mail_addr}"), to)
	return gomilter.RespContinue, nil
}

func (j *judge) Header(name, value string, _ gomilter.Modifier) (*gomilter.Response, error) {
	j.note("%s=%s", name, value)
	return gomilter.RespContinue, nil
}

func (j *judge) BodyChunk(chunk []byte, _ gomilter.Modifier) (*gomilter.Response, error) {
	j.note("%d octets", len(chunk))
	return gomilter.RespContinue, nil
}

func (j *judge) EndOfMessage(m gomilter.Modifier) (*gomilter.Response, error) {
	j.note("id %s", m.Get("i"))
	return j.do(m)
}

func (j *judge) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.heard, "; ")
}

// judging runs a filter, and makes options that ask it.
func judging(t testing.TB, onFailure milter.Action, do func(gomilter.Modifier) (*gomilter.Response, error)) (*judge, func(*Options)) {
	t.Helper()
	j := &judge{in: newPipes(), do: do}
	s := gomilter.NewServer(gomilter.WithMilter(func() gomilter.Milter { return j }), gomilter.WithActions(gomilter.OptAddHeader|gomilter.OptQuarantine))
	served := make(chan error, 1)
	go func() { served <- s.Serve(j.in) }()
	t.Cleanup(func() { s.Close(); <-served })
	return j, asking(t, onFailure, func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case j.in.conns <- theirs:
			return ours, nil
		case <-j.in.over:
			return nil, errors.New("connection refused")
		}
	})
}

func asking(t testing.TB, onFailure milter.Action, dial func(context.Context, string, string) (net.Conn, error)) func(*Options) {
	t.Helper()
	f, err := milter.New(milter.Options{Name: "judge", Network: "unix", Address: "/run/judge", OnFailure: onFailure, Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	return func(o *Options) { o.Filters = append(o.Filters, f) }
}

func says(r *gomilter.Response) func(gomilter.Modifier) (*gomilter.Response, error) {
	return func(gomilter.Modifier) (*gomilter.Response, error) { return r, nil }
}

func adds(m gomilter.Modifier) (*gomilter.Response, error) {
	return gomilter.RespAccept, m.AddHeader("X-Judge", "good")
}

func holds(m gomilter.Modifier) (*gomilter.Response, error) {
	return gomilter.RespAccept, errors.Join(m.AddHeader("X-Judge", "bad"), m.Quarantine("looks bad"))
}

// dies is a filter that is gone when the end comes.
func dies(gomilter.Modifier) (*gomilter.Response, error) { return nil, errors.New("killed") }

func spam(gomilter.Modifier) (*gomilter.Response, error) {
	return gomilter.RejectWithCodeAndReason(554, "5.7.1 Gtube pattern")
}

// verdicts are what becomes of mail that is kept, and of mail that is passed.
var verdicts = []struct {
	name      string
	do        func(gomilter.Modifier) (*gomilter.Response, error)
	onFailure milter.Action
	reply     string // "" is that of who takes it
	reason    string // that counts the refusal
	header    string // before our Received
	held      string // begins so
}{
	{"accept", says(gomilter.RespAccept), milter.Defer, "", "", "", ""},
	{"a field", adds, milter.Defer, "", "", "X-Judge: good\r\n", ""},
	{"quarantine", holds, milter.Defer, "250 2.0.0 queued as", "", "X-Judge: bad\r\n", "filter judge: looks bad"},
	{"discard", says(gomilter.RespDiscard), milter.Defer, "250 2.0.0 queued as", "", "", "filter judge wants it discarded"},
	{"reject", says(gomilter.RespReject), milter.Defer, "550 5.7.1 the message was refused", reasonFiltered, "", ""},
	{"own reply", spam, milter.Defer, "554 5.7.1 Gtube pattern", reasonFiltered, "", ""},
	{"tempfail", says(gomilter.RespTempFail), milter.Accept, "451 4.7.1 the message is not taken now", reasonFilterDefers, "", ""},
	{"dies, defer", dies, milter.Defer, "451 4.3.0 the message cannot be checked now", reasonFilterFailed, "", ""},
	{"dies, accept", dies, milter.Accept, "", "", "", ""},
	{"dies, hold", dies, milter.Hold, "250 2.0.0 queued as", "", "", "filter judge could not be asked: "},
}

// TestFilteredCustody: the filter has heard all before the message is ours, and
// content leaves as it came.
func TestFilteredCustody(t *testing.T) {
	for _, v := range verdicts {
		for _, way := range []string{"DATA", "BDAT"} {
			t.Run(v.name+", "+way, func(t *testing.T) {
				j, ask := judging(t, v.onFailure, v.do)
				r := newRig(t, ask)
				w := r.dial("192.0.2.1").hello().envelope()
				if way == "DATA" {
					w.ask("DATA", "354")
					w.say(stuffed + ".\r\n")
				} else {
					w.say(chunked(letter, len(letter)))
				}
				want := v.reply
				if want == "" {
					want = "250 2.0.0 queued as"
				}
				w.want(want)
				w.close()
				r.finish()
				r.judged(v.reason, v.header, v.held)
				if got := j.String(); !strings.HasPrefix(got, "unknown 192.0.2.1 by mx2.example; client.example ; s@far.example to a@d.example; Message-ID=<1@far.example>; Subject=x; 6 octets; id ") {
					t.Errorf("heard %s", got)
				}
			})
		}
	}
}

// judged checks what is in the store after one message: nothing if there is a
// reason for that, or it with these fields, held or not.
func (r *rig) judged(reason, header, held string) {
	r.t.Helper()
	all, accepted := r.messages(), r.server.Stats().Accepted
	refused := strings.TrimSpace(strings.Replace(counted(r), reasonDraining+":1", "", 1)) // a client that is slow to leave hears of the end
	if reason != "" {
		if len(all) != 0 || refused != reason+":1" || accepted != 0 {
			r.t.Errorf("%d messages, %s", len(all), refused)
		}
		return
	}
	if len(all) != 1 || accepted != 1 || refused != "" {
		r.t.Fatalf("%d messages, %s", len(all), refused)
	}
	if trace, content := r.content(all[0].ID); !strings.HasPrefix(trace, header+"Received: from client.example") || content != letter {
		r.t.Errorf("%q, %q", trace, content)
	}
	if m := all[0]; !strings.HasPrefix(m.Held, held) || (m.Held == "") != (held == "") {
		r.t.Errorf("held: %q", m.Held)
	}
}

// envelopeAgreed is agreed without the content: then the primary may only hear RSET and QUIT.
var envelopeAgreed = strings.Replace(agreed, "C: DATA\n\tS: 354 go ahead\n", "", 1)

// TestFilteredPassage: the primary hears of no content before the filter has
// answered, and hears nothing at all of what is refused or held.
func TestFilteredPassage(t *testing.T) {
	for _, v := range verdicts {
		for _, pipelined := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, %v", v.name, pipelined), func(t *testing.T) {
				script := begin + envelopeAgreed
				passes := v.reply == ""
				if passes {
					script = begin + agreed + "content\nS: 250 2.6.0 <1@far.example> Queued mail for delivery"
				}
				j, ask := judging(t, v.onFailure, v.do)
				g := front(t, ask, script)
				w := g.dial("192.0.2.1").hello()
				if pipelined {
					w.say("MAIL FROM:<s@far.example>\r\nRCPT TO:<a@d.example>\r\nDATA\r\n")
					w.want("250")
					w.want("250")
					w.want("354")
				} else {
					w.envelope().ask("DATA", "354")
				}
				w.say(stuffed + ".\r\n")
				if passes {
					w.want("250 2.6.0 <1@far.example> Queued mail for delivery")
				} else {
					w.want(v.reply)
				}
				w.close()
				g.over()
				if !strings.Contains(j.String(), "Subject=x; 6 octets; id ") {
					t.Errorf("heard %s", j)
				}
				if !passes {
					g.judged(v.reason, v.header, v.held)
					if all := g.messages(); len(all) == 1 && all[0].Envelope.Origin.Reason != reasonFilterHeld {
						t.Errorf("%+v", all[0].Envelope.Origin)
					}
					return
				}
				trace, content, _ := strings.Cut(g.contents[0], "Message-ID")
				if !strings.HasPrefix(trace, v.header+"Received: from client.example") || "Message-ID"+content != letter {
					t.Errorf("the primary got %q", g.contents[0])
				}
				if got := g.account(); got != "kept 0, passed 1" {
					t.Error(got)
				}
			})
		}
	}
}

// TestFilteredPassageFails: what the filter let through is kept if the primary fails.
func TestFilteredPassageFails(t *testing.T) {
	for name, end := range map[string]string{
		"at DATA":     "C: DATA\nS: 451 4.3.2 Temporary server error",
		"in content":  "C: DATA\nS: 354 go ahead\ncut",
		"at the dot":  "C: DATA\nS: 354 go ahead\ncontent\ncut",
		"not at once": "cut",
	} {
		t.Run(name, func(t *testing.T) {
			_, ask := judging(t, milter.Defer, adds)
			g := front(t, ask, begin+envelopeAgreed+end)
			w := g.dial("192.0.2.1").hello().envelope()
			w.ask("DATA", "354")
			w.say(letter[:len(letter)-6] + large + ".\r\n")
			w.want("250 2.0.0 queued as")
			w.close()
			g.over()
			all := g.messages()
			if len(all) != 1 || all[0].Held != "" || all[0].Envelope.Origin.Reason != reasonPassFailed {
				t.Fatalf("%+v", all)
			}
			if trace, content := g.content(all[0].ID); !strings.HasPrefix(trace, "X-Judge: good\r\nReceived: ") || content != letter[:len(letter)-6]+large {
				t.Errorf("%q", trace)
			}
		})
	}
}

// TestFilteredPassageDeclined: the primary's refusal is the sender's.
func TestFilteredPassageDeclined(t *testing.T) {
	_, ask := judging(t, milter.Defer, adds)
	g := front(t, ask, begin+strings.Replace(agreed, "S: 354 go ahead", "S: 554 5.6.0 no content of yours", 1))
	w := g.dial("192.0.2.1").hello().envelope()
	w.ask("DATA", "354")
	w.say(stuffed + ".\r\n")
	w.want("554 5.6.0 no content of yours")
	w.close()
	g.over()
	if got := g.account(); got != none {
		t.Error(got)
	}
}

// TestFilteredNeedsRoom: without room to keep a message it cannot be filtered, so
// it does not pass either.
func TestFilteredNeedsRoom(t *testing.T) {
	_, ask := judging(t, milter.Defer, adds)
	full := func(o *Options) {
		ask(o)
		o.MinFree = 1 << 62
	}
	g := front(t, full)
	if e, err := g.server.Explain(Question{Recipient: "a@d.example"}); err != nil || e.Action != "defer" || e.Rule != reasonSpace {
		t.Errorf("%+v, %v", e, err)
	}
	w := g.dial("192.0.2.1").hello()
	w.ask("MAIL FROM:<s@far.example>", "452 4.3.1")
	w.close()
	g.over()

	store := &broken{Memory: queuetest.New(), create: queue.ErrFull} // it fills up behind MAIL
	g = front(t, func(o *Options) { ask(o); o.Store = store }, begin+envelopeAgreed)
	w = g.dial("192.0.2.1").hello().envelope()
	w.ask("DATA", "354")
	w.say(stuffed + ".\r\n")
	w.want("452 4.3.1")
	w.close()
	g.over()
}

// TestFlawedIsNotFiltered: what is refused anyway is nobody else's affair.
func TestFlawedIsNotFiltered(t *testing.T) {
	j, ask := judging(t, milter.Defer, adds)
	r := newRig(t, ask)
	w := r.dial("192.0.2.1").hello().envelope()
	w.ask("DATA", "354")
	w.say("Subject: x\r\n\r\na\nb\r\n.\r\n")
	w.want("550 5.6.11")
	w.close()
	r.finish()
	if j.String() != "" {
		t.Errorf("heard %s", j)
	}
}

// illegible is a store whose drafts cannot be read, from one reading on.
type illegible struct {
	*queuetest.Memory
	readings int
}

func (u *illegible) Create(ctx context.Context) (queue.Draft, error) {
	d, err := u.Memory.Create(ctx)
	return &illegibleDraft{d, u}, err
}

type illegibleDraft struct {
	queue.Draft
	of *illegible
}

func (d *illegibleDraft) Content() (io.ReadCloser, error) {
	d.of.readings--
	switch {
	case d.of.readings == -1:
		return nil, errors.New("the disk")
	case d.of.readings < -1:
		panic("it is read again")
	}
	return d.Draft.Content()
}

// TestFilteredContentLost: a draft that cannot be read is a failure of the store,
// and the primary completes nothing.
func TestFilteredContentLost(t *testing.T) {
	for readings, script := range []string{"", "C: DATA\nS: 354 go ahead\ncut off"} {
		_, ask := judging(t, milter.Accept, adds)
		store := &illegible{Memory: queuetest.New(), readings: readings}
		g := front(t, func(o *Options) { ask(o); o.Store = store }, begin+envelopeAgreed+script)
		w := g.dial("192.0.2.1").hello().envelope()
		w.ask("DATA", "354")
		w.say(stuffed + ".\r\n")
		w.want("451 4.3.0")
		w.close()
		if err := g.end(); err == nil || !strings.Contains(err.Error(), "the disk") {
			t.Errorf("%d: %v", readings, err)
		}
		g.upstream.Close()
		g.talks.Wait()
	}
}

// TestSlowFilterAtTheEnd: when the service is stopped a filter is not waited for
// beyond the drain, and the message is the sender's, whatever the policy says.
func TestSlowFilterAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan struct{})
		r := newRig(t, func(o *Options) {
			asking(t, milter.Accept, func(ctx context.Context, _, _ string) (net.Conn, error) {
				close(asked)
				<-ctx.Done()
				return nil, ctx.Err()
			})(o)
			o.Timeouts.Drain = time.Second
		})
		w := r.dial("192.0.2.1").hello().envelope()
		w.ask("DATA", "354")
		w.say(stuffed + ".\r\n")
		<-asked
		began := time.Now()
		r.finish()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
		if len(r.messages()) != 0 {
			t.Error("a message that no filter has seen")
		}
		w.close()
	})
}

// TestFilterExplained: who asks what would become of mail hears of the filters.
func TestFilterExplained(t *testing.T) {
	_, ask := judging(t, milter.Defer, adds)
	for n, want := range []string{"", "judge is asked about the content when all of it has come", "judge and judge are asked", "judge, judge and judge are asked"} {
		g := front(t, func(o *Options) {
			for range n {
				ask(o)
			}
		})
		e, err := g.server.Explain(Question{Recipient: "a@d.example"})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range e.Facts {
			if f.Check == "filters" {
				got = f.Finding
			}
		}
		if e.Action != "pass" || !strings.HasPrefix(got, want) || (got == "") != (want == "") || len(g.server.Stats().Filters) != n {
			t.Errorf("%+v", e)
		}
		g.over()
	}
}

// TestFilteredAndAuthenticated: our verdicts stand above what filters add, so
// that a seal covers it, and both above Received. Claims to be ours do not pass, and two reasons to hold a
// message are both kept.
func TestFilteredAndAuthenticated(t *testing.T) {
	content := claiming + "From: s@soft.example\r\n\r\nx\r\n"
	verifying := checking(t, registry(t), map[string]auth.Rule{"d.example": {Enforce: true}})
	send := func(r *rig, want string) {
		w := r.dial("192.0.2.2").hello().envelope()
		w.ask("DATA", "354")
		w.say(content + ".\r\n")
		w.want(want)
		w.close()
	}
	const reasons = "filter judge: looks bad; DMARC: soft.example asks for quarantine, and neither SPF nor DKIM passed for it"
	fields := regexp.MustCompile(`^Authentication-Results: mx2\.example;\r\n(\t.*\r\n)+X-Judge: bad\r\nReceived: `)

	_, ask := judging(t, milter.Defer, holds)
	r := newRig(t, func(o *Options) { ask(o); verifying(o) })
	send(r, "250 2.0.0 queued as")
	r.finish()
	m := r.messages()[0]
	if trace, _ := r.content(m.ID); !fields.MatchString(trace) || m.Held != reasons {
		t.Errorf("%q, held: %s", trace, m.Held)
	}

	g := front(t, func(o *Options) { ask(o); verifying(o) }, begin+envelopeAgreed)
	send(g.rig, "250 2.0.0 queued as")
	g.over()
	m = g.messages()[0]
	if trace, _ := g.content(m.ID); !fields.MatchString(trace) || m.Held != reasons {
		t.Errorf("%q, held: %s", trace, m.Held)
	}

	_, ask = judging(t, milter.Defer, adds)
	g = front(t, func(o *Options) { ask(o); verifying(o) }, begin+agreed+"content\nS: 250 2.6.0 taken")
	send(g.rig, "250 2.6.0 taken")
	g.over()
	if !strings.HasPrefix(g.contents[0], "X-Judge: good\r\nReceived: ") || !strings.HasSuffix(g.contents[0], "\r\nFrom: s@soft.example\r\n\r\nx\r\n") || strings.Contains(g.contents[0], claiming) {
		t.Errorf("the primary got %q", g.contents[0])
	}
	if e := g.entries(); len(e) != 1 || e[0].Origin.Auth.Claims != 1 {
		t.Errorf("%+v", e)
	}
}

// TestFilteredAndSealed: a seal holds with what filters have added before it.
func TestFilteredAndSealed(t *testing.T) {
	for _, way := range []string{"DATA", "BDAT", "after the primary failed"} {
		server := registry(t)
		_, ask := judging(t, milter.Defer, adds)
		seal := sealing(t, server)
		m, message := sealedBy(t, way, func(o *Options) { ask(o); seal(o) }, "From: s@far.example\r\n\r\nbody\r\n")
		if chain := chainOf(t, server, message); !m.Envelope.Origin.Auth.ARC.Sealed || chain.Status != arc.Pass || !strings.Contains(message, "\r\nX-Judge: good\r\nReceived: ") {
			t.Errorf("%s: %s\n%s", way, chain.Reason, message)
		}
	}
}
