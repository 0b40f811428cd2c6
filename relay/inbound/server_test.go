package inbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
	"github.com/mxkeep/mxkeep/relay/recipients"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

var errDisk = errors.New("disk on fire")

// TestStoreFailures: whatever step of the store fails, there is no 250, nothing
// is kept, and the intake ends if the store cannot be trusted.
func TestStoreFailures(t *testing.T) {
	for name, test := range map[string]struct {
		fault broken
		want  string
		fatal bool
	}{
		"create":        {broken{create: errDisk}, "451 4.3.0 local error", true},
		"first write":   {broken{write: errDisk}, "451 4.3.0 local error", true},
		"second write":  {broken{write: errDisk, after: 1}, "451 4.3.0 local error", true},
		"commit":        {broken{commit: errDisk}, "451 4.3.0 local error", true},
		"closed":        {broken{create: queue.ErrClosed}, "451 4.3.0 local error", true},
		"full":          {broken{create: queue.ErrFull}, "452 4.3.1", false},
		"full later":    {broken{write: queue.ErrFull, after: 1}, "452 4.3.1", false},
		"full at last":  {broken{commit: queue.ErrFull}, "452 4.3.1", false},
		"out of time":   {broken{commit: context.DeadlineExceeded}, "451 4.3.0 local error", false},
		"a fault of us": {broken{panics: true}, "421 4.3.0", false},
	} {
		for _, way := range []string{"DATA", "BDAT"} {
			t.Run(name+" "+way, func(t *testing.T) {
				fault := test.fault
				fault.Memory = queuetest.New()
				r := newRig(t, func(o *Options) { o.Store = &fault })
				r.store = fault.Memory
				w := r.dial("192.0.2.1").hello().envelope()
				content := strings.Repeat(strings.Repeat("x", 98)+"\r\n", 1000)
				if way == "DATA" {
					w.ask("DATA", "354")
					w.say(content + ".\r\n")
					w.want(test.want)
				} else {
					w.say(chunked(content, 50000))
					got := w.reply()
					if got == "250 2.0.0 Continue" {
						got = w.reply()
					}
					if test.fatal && strings.HasPrefix(got, "421 4.3.2") { // the end of the intake comes between the chunks
						got = test.want
					}
					if !strings.HasPrefix(got, test.want) {
						t.Errorf("reply %q", got)
					}
				}
				var err error
				if test.fatal {
					err = <-r.served
					r.ended = true
					if !errors.Is(err, fault.create) && !errors.Is(err, errDisk) || r.server.Stats().Refusing == "" || !strings.Contains(r.log.String(), "intake.failed") {
						t.Errorf("Serve: %v, %q", err, r.server.Stats().Refusing)
					}
				} else {
					w.close()
					r.finish()
				}
				if n := len(r.messages()); n != 0 {
					t.Errorf("%d messages", n)
				}
				if (name == "full") != (r.server.Stats().Refusing == "not enough free space on the disk") {
					t.Errorf("refusing %q", r.server.Stats().Refusing)
				}
			})
		}
	}
}

// TestPanicEndsOneSession: another session goes on.
func TestPanicEndsOneSession(t *testing.T) {
	bad := true
	r := newRig(t, func(o *Options) {
		o.Recipients = who(func(_ string, path smtp.Path, _ recipients.Primary) recipients.Answer {
			if path.Local == "panic" && bad {
				panic("\x1b a fault")
			}
			return recipients.Answer{Verdict: recipients.Known}
		})
	})
	other := r.dial("192.0.2.2").hello()
	w := r.dial("192.0.2.1").hello()
	w.transcript("C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<panic@d.example>\nS: 421 4.3.0\nS: gone")
	other.envelope().ask("QUIT", "221")
	r.finish()
	if log := r.log.String(); !strings.Contains(log, "session.panic") || strings.Contains(log, "\x1b") {
		t.Error(log)
	}
}

// TestPanicInHandshake: in Read nothing of the engine would catch it.
func TestPanicInHandshake(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("a fault") }}
	})
	w := r.dial("192.0.2.1").hello()
	w.askLast("STARTTLS", "220 2.0.0")
	if err := tls.Client(w.conn, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("the handshake went well")
	}
	r.finish()
	if !strings.Contains(r.log.String(), "session.panic") {
		t.Error(r.log)
	}
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.finish()
		w := r.dial("192.0.2.1").hello()
		p := Pause{Until: time.Now().Add(time.Hour), Actor: "uid 0", Reason: "disk"}
		r.server.Pause(p)
		w.ask("MAIL FROM:<>", "451 4.3.2 no mail is taken for now")
		if got := r.server.Stats().Paused; got != p {
			t.Errorf("paused %+v", got)
		}
		r.server.Resume()
		w.ask("MAIL FROM:<>", "250")
		w.ask("RSET", "250")
		r.server.Pause(Pause{Until: time.Now().Add(time.Minute)})
		time.Sleep(time.Minute)
		w.ask("MAIL FROM:<>", "250")
		if got := r.server.Stats().Paused; got != (Pause{}) {
			t.Errorf("paused %+v", got)
		}
		w.close()
	})
}

// disk is a store that says how much space is left.
type disk struct {
	*queuetest.Memory
	free  int64
	err   error
	asked int
}

func (d *disk) Stats(context.Context) (queue.Stats, error) {
	d.asked++
	return queue.Stats{DiskFree: d.free}, d.err
}

func TestFreeSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{Memory: queuetest.New(), free: 5000}
		r := newRig(t, func(o *Options) { o.Store, o.MinFree = d, 1000 })
		defer r.finish()
		w := r.dial("192.0.2.1").hello()
		w.ask("MAIL FROM:<> SIZE=4001", "452 4.3.1")
		w.ask("MAIL FROM:<> SIZE=4000", "250")
		w.ask("RSET", "250")
		if d.asked != 1 || r.server.Stats().Refusing != "" {
			t.Errorf("asked %d times, refusing %q", d.asked, r.server.Stats().Refusing)
		}
		d.free = 999
		time.Sleep(time.Second)
		w.ask("MAIL FROM:<>", "452 4.3.1")
		if got := r.server.Stats().Refusing; got != "not enough free space on the disk" {
			t.Errorf("refusing %q", got)
		}
		d.err = errDisk
		time.Sleep(time.Second)
		w.ask("MAIL FROM:<>", "451 4.3.0")
		if got := r.server.Stats().Refusing; got != "the store does not answer" {
			t.Errorf("refusing %q", got)
		}
		w.close()
	})
}

// TestMailAfterFailure: what is not yet closed is told to come again.
func TestMailAfterFailure(t *testing.T) {
	r := newRig(t, nil)
	s := &session{server: r.server, client: &conn{guard: newGuard(r.server, nil), refused: map[string]int{}}, ctx: t.Context()}
	r.server.fail(errDisk)
	if no := s.mail("", mailParams{}); no == nil || no.reply.Code != 451 {
		t.Errorf("mail: %+v", no)
	}
	if no := s.rcpt(smtp.Path{}, queue.Recipient{}); no == nil || no.reply.Code != 503 {
		t.Errorf("rcpt: %+v", no)
	}
	if _, no := s.receive(strings.NewReader("x")); no == nil || no.reply.Code != 503 {
		t.Errorf("content: %+v", no)
	}
	if err := <-r.served; !errors.Is(err, errDisk) {
		t.Errorf("Serve: %v", err)
	}
}

// TestFallback: while the primary is up its senders are sent there, until one
// of them has come back often enough.
func TestFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signals []health.Signal
		state := health.Up
		r := newRig(t, func(o *Options) {
			o.State = func(string) health.State { return state }
			o.Observe = func(s health.Signal) { signals = append(signals, s) }
			o.Hints = map[string]string{"exo": "primary.example"}
		})
		defer r.finish()
		visit := func(from, want string) {
			t.Helper()
			w := r.dial(from).hello()
			w.ask("MAIL FROM:<s@far.example>", "250")
			w.ask("RCPT TO:<A@d.example>", want)
			if want == "250" {
				w.transcript("C: DATA\nS: 354\nC: .\nS: 250")
			}
			w.ask("QUIT", "221")
		}
		const deferred = "451 4.3.2 use the primary: primary.example"
		visit("192.0.2.1", deferred)
		time.Sleep(2 * time.Minute)
		visit("192.0.2.77", deferred) // the same network
		time.Sleep(2 * time.Minute)
		visit("198.51.100.1", deferred) // another one
		time.Sleep(2 * time.Minute)
		if len(signals) != 0 {
			t.Errorf("signals %+v", signals)
		}
		visit("192.0.2.1", "250")
		if len(signals) != 1 || signals[0].Source != health.SourceSender || signals[0].Upstream != "exo" ||
			signals[0].Domain != "d.example" || signals[0].Address != "192.0.2.0/24" {
			t.Errorf("signals %+v", signals)
		}
		state = health.Recovering
		visit("203.0.113.1", "250")
		for i, want := range []string{reasonReturning, reasonRecovering} {
			if got := r.messages()[i].Envelope.Origin.Reason; got != want {
				t.Errorf("taken for %q, want %q", got, want)
			}
		}
		if got := r.server.Stats(); got.Refused[reasonPrimaryUp] != 3 || got.Accepted != 2 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestAccepted(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.ReverseDNS = func(ctx context.Context, a netip.Addr) string { return "mail.far.example" }
		o.Recipients = who(func(domain string, path smtp.Path, primary recipients.Primary) recipients.Answer {
			if domain != "d.example" || primary != recipients.Down {
				t.Errorf("asked for %s while it is %d", domain, primary)
			}
			return somebody(path.Local)
		})
	})
	w := r.dial("192.0.2.1").hello()
	w.ask("MAIL FROM:<s@far.example>", "250")
	w.ask("RCPT TO:<b@d.example>", "550 5.1.1")
	w.ask("RCPT TO:<c@d.example>", "451 4.4.3")
	w.ask("RCPT TO:<a@d.example>", "250")
	w.ask("DATA", "354")
	w.say(note + ".\r\n")
	reply := w.want("250 2.0.0 queued as ")
	w.ask("QUIT", "221")
	r.finish()
	m := r.messages()[0]
	if reply != "250 2.0.0 queued as "+string(m.ID) {
		t.Errorf("reply %q", reply)
	}
	trace, content := r.content(m.ID)
	want := fmt.Sprintf("Received: from client.example (mail.far.example [192.0.2.1])\r\n\tby mx2.example (mxkeep) with ESMTP id %s\r\n\tfor <a@d.example>;\r\n\t%s\r\n",
		m.ID, m.AcceptedAt.Format(time.RFC1123Z))
	if trace != want || content != note {
		t.Errorf("trace %q, want %q; content %q", trace, want, content)
	}
	origin := queue.Origin{Address: "192.0.2.1", Host: "mail.far.example", Hello: "client.example", Reason: reasonDown}
	if !reflect.DeepEqual(m.Envelope.Origin, origin) || m.MessageID != "<1@far.example>" || m.Lifetime != 5*24*time.Hour {
		t.Errorf("message %+v", m)
	}
	if log := r.log.String(); !strings.Contains(log, `"msg":"message.accepted","id":"`+string(m.ID)+`"`) {
		t.Error(log)
	}
}

func TestLoop(t *testing.T) {
	for n, want := range map[int]string{60: "250 2.0.0 queued as", 99: "250 2.0.0 queued as", 100: "554 5.4.6"} {
		r := newRig(t, nil)
		w := r.dial("192.0.2.1").hello().envelope()
		w.ask("DATA", "354")
		w.say(strings.Repeat("Received: from a\r\n\tby b; now\r\n", n) + "\r\nReceived: in the body\r\n.\r\n")
		w.want(want)
		w.close()
		r.finish()
		if n == 100 && !strings.Contains(r.log.String(), `"address":"192.0.2.1","hello":"client.example"`) {
			t.Error(r.log)
		}
	}
}

// TestListenerFails: Serve says so.
func TestListenerFails(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello()
	r.in.err = errDisk
	r.in.Close()
	if err := <-r.served; !errors.Is(err, errDisk) {
		t.Errorf("Serve: %v", err)
	}
	w.want("421 4.3.2")
}

// TestServeEndsAtOnce: a context that has ended already.
func TestServeEndsAtOnce(t *testing.T) {
	r := newRig(t, nil)
	r.finish()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.server.Serve(ctx, newPipes()); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestOptions(t *testing.T) {
	good := func() Options {
		return Options{Hostname: "mx2.example", Domains: map[string]string{"d.example": "exo"}, Store: queuetest.New(), State: down}
	}
	for rule, change := range map[string]func(*Options){
		"no host name":            func(o *Options) { o.Hostname = "" },
		"an address":              func(o *Options) { o.Hostname = "[192.0.2.1]" },
		"no domain":               func(o *Options) { o.Domains = nil },
		"a domain in upper case":  func(o *Options) { o.Domains = map[string]string{"D.example": "exo"} },
		"a U-label":               func(o *Options) { o.Domains = map[string]string{"bücher.example": "exo"} },
		"a domain for nobody":     func(o *Options) { o.Domains = map[string]string{"d.example": ""} },
		"no store":                func(o *Options) { o.Store = nil },
		"no way to pass":          func(o *Options) { o.Rules = map[string]Rule{"d.example": {Role: Front}} },
		"no state":                func(o *Options) { o.State = nil },
		"what is no domain name ": func(o *Options) { o.Domains = map[string]string{"-": "exo"} },
	} {
		o := good()
		change(&o)
		if s, err := New(o); err == nil || s != nil {
			t.Errorf("%s: %v", rule, err)
		}
	}
	s, err := New(good())
	if err != nil {
		t.Fatal(err)
	}
	s.Pause(Pause{}) // with the log that is nobody's
	if s.options.Limits.Sessions != 5000 || s.options.Timeouts.Command != 5*time.Minute {
		t.Errorf("defaults %+v", s.options)
	}
}
