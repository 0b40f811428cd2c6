package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/inbound"
	"github.com/mxkeep/mxkeep/relay/state"
)

// TestWhatSurvivesARestart: what operators decided, and what was thought of the primary.
func TestWhatSurvivesARestart(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c, exo := configured(t)
	play(t, exo, "down")
	r := run(t, c)
	r.log.await(t, "health.changed", "to=down")
	r.accept("a@corp.example")
	before := r.status().Upstreams[0]
	if _, err := r.client.Pause(ctx, admin.PauseRequest{ResumeRequest: admin.ResumeRequest{Inbound: true, Outbound: true}, ForSeconds: 3600, Reason: "migration"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Override(ctx, admin.OverrideRequest{State: "up", ForSeconds: 3600, Reason: "we know better"}); err != nil {
		t.Fatal(err)
	}
	wantReply(t, r.offer("b@corp.example"), "451 4.3.2")
	r.stop()

	r = run(t, c)
	st := r.status()
	u := st.Upstreams[0]
	if st.Inbound.Paused == nil || st.Inbound.Paused.Reason != "migration" || u.Paused == nil || u.Paused.Reason != "migration" {
		t.Errorf("pauses %+v and %+v", st.Inbound.Paused, u.Paused)
	}
	if u.State != "forced-up" || u.ObservedState != "down" || !u.Since.Equal(before.Since.Time) || u.Override.Reason != "we know better" {
		t.Errorf("before %+v\nafter %+v, %+v", before, u, u.Override)
	}
	wantReply(t, r.offer("b@corp.example"), "451 4.3.2 no mail is taken for now")

	if _, err := r.client.Override(ctx, admin.OverrideRequest{State: "auto", Reason: "done"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Resume(ctx, admin.ResumeRequest{Inbound: true, Outbound: true}); err != nil {
		t.Fatal(err)
	}
	r.accept("b@corp.example")
	play(t, exo, "healthy")
	received(t, exo, 2)
	r.stop()

	r = run(t, c)
	if st = r.status(); st.Inbound.Paused != nil || st.Upstreams[0].Paused != nil || st.Upstreams[0].Override != nil {
		t.Errorf("what has ended comes back: %+v", st)
	}
}

// TestAnOverrideEnds by itself, and what was observed counts again.
func TestAnOverrideEnds(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	c.Upstreams[0].Probe.Every, c.Upstreams[0].Probe.EveryBad = time.Hour, time.Hour // no round of probes comes between
	r := run(t, c)
	r.log.await(t, "health.changed", "to=up")
	r.override(health.Down)
	r.log.await(t, "level=WARN", "health.changed", "from=up", "to=down", "why=\"override by test until ", ": test\"")
	o := &health.Override{State: health.Down, Until: time.Now().Add(20 * time.Millisecond), Actor: "test", Reason: "test"}
	if err := r.primaries[0].shown().Override(o); err != nil {
		t.Fatal(err)
	}
	r.log.await(t, "level=INFO", "health.changed", "from=down", "to=up", `why="probes go well"`)
	var changes []admin.StateChange
	err := r.client.Health(context.Background(), func(u admin.UpstreamReport) error {
		changes = append(changes, u.Transitions...)
		return nil
	})
	if n := len(changes); err != nil || n < 2 || changes[n-1].Why != "the override ended" || changes[n-1].To != "up" {
		t.Errorf("transitions %+v, %v", changes, err)
	}
}

// TestAProbeByAnOperator counts only if it asked for the usual recipient.
func TestAProbeByAnOperator(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c, exo := configured(t)
	c.Upstreams[0].Probe.Every, c.Upstreams[0].Probe.EveryBad = time.Hour, time.Hour
	r := run(t, c)
	r.log.await(t, "health.changed", "to=up")
	play(t, exo, "451-4.3.2")
	for range 5 {
		report, err := r.client.Probe(ctx, admin.ProbeRequest{Recipient: "somebody@corp.example"})
		if err != nil || report.OK || len(report.Signals) != 2 || len(report.Dialogue) == 0 {
			t.Fatalf("%+v, %v", report, err)
		}
	}
	if state := r.stateOf("exo"); state != health.Up {
		t.Errorf("another recipient counts: %s", state)
	}
	for i := 0; i < 10 && r.stateOf("exo") != health.Down; i++ { // three are enough, if no other round comes between
		recipient := []string{"", "postmaster@corp.example"}[i%2]
		if _, err := r.client.Probe(ctx, admin.ProbeRequest{Recipient: recipient}); err != nil {
			t.Fatal(err)
		}
	}
	if state := r.stateOf("exo"); state != health.Down {
		t.Errorf("bad rounds: %s", state)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if signals, err := r.primaries[0].probe(ended, "", nil); err == nil || signals != nil {
		t.Errorf("a probe that was cancelled: %v, %v", signals, err)
	}
}

// TestTroubleThatNoProbeHasSeen is looked at at once.
func TestTroubleThatNoProbeHasSeen(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	c.Upstreams[0].Probe.Every, c.Upstreams[0].Probe.EveryBad = time.Hour, time.Hour
	r := run(t, c)
	r.log.await(t, "health.changed", "to=up")
	probed := len(r.primaries[0].monitor.Recent())
	for _, network := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"} {
		r.observe(health.Signal{Upstream: "exo", Source: health.SourceSender, Address: network})
		r.observe(health.Signal{Upstream: "another", Source: health.SourceSender, Address: network})
	}
	r.log.await(t, "health.changed", "from=up", "to=degraded")
	late := time.After(limit)
	for len(r.primaries[0].monitor.Recent()) < probed+3+2 { // the senders, and an address each
		select {
		case <-late:
			t.Fatalf("no probe: %+v", r.primaries[0].monitor.Recent())
		default:
		}
	}
}

// TestALostState: what cannot be read is forgotten, what cannot be written is said.
func TestALostState(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	r, err := Open(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	for owner, keys := range map[string][]string{healthOwner: {"exo"}, pausesOwner: {"intake", "deliveries to exo"}} {
		for _, key := range keys {
			if err := r.state.Put(owner, key, "not what it should be"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	running := run(t, c)
	for _, words := range [][]string{{"health.forgotten", "upstream=exo"}, {"pause.forgotten", "of=intake"}, {"pause.forgotten", `of="deliveries to exo"`}} {
		if !running.log.has(words...) {
			t.Errorf("no line with %s", words)
		}
	}
	running.log.await(t, "health.changed", "to=up")
	if err := running.state.Close(); err != nil {
		t.Fatal(err)
	}
	running.override(health.Down)
	running.log.await(t, "health.unsaved", "upstream=exo")
	pause := admin.Pause{Until: time.Now().Add(time.Hour), Actor: "test", Reason: "test"}
	in, out := running.intake.shown(), running.primaries[0].shown()
	for what, err := range map[string]error{"pause in": in.Pause(pause), "resume in": in.Resume(), "pause out": out.Pause(pause), "resume out": out.Resume()} {
		if err == nil {
			t.Errorf("%s: done, but it would not survive a restart", what)
		}
	}
	if st := running.status(); st.Inbound.Paused != nil || st.Upstreams[0].Paused != nil {
		t.Errorf("paused although that could not be written: %+v", st)
	}
}

// TestAnotherProbeRecipient: that the last one was taken says nothing of it.
func TestAnotherProbeRecipient(t *testing.T) {
	t.Parallel()
	file, err := state.Open(filepath.Join(t.TempDir(), "state.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Put(healthOwner, "exo", remembered{health.Status{State: health.Down, ProbeTaken: true}, "postmaster@corp.example"}); err != nil {
		t.Fatal(err)
	}
	for recipient, taken := range map[string]bool{"postmaster@corp.example": true, "probe@corp.example": false} {
		p := &primary{name: "exo", recipient: recipient}
		if last := p.last(file); last.State != health.Down || last.ProbeTaken != taken {
			t.Errorf("%s: %+v", recipient, last)
		}
	}
}

// TestPurgeAtTheStart: what nobody wants any more goes, and that is logged.
func TestPurgeAtTheStart(t *testing.T) {
	t.Parallel()
	c, exo := configured(t)
	play(t, exo, "down")
	c.Queue.Trash = time.Nanosecond
	r := run(t, c)
	r.log.await(t, "health.changed", "to=down")
	r.accept("a@corp.example")
	for m, err := range r.store.Messages(context.Background(), queue.Filter{}) {
		if err == nil {
			err = r.store.Amend(context.Background(), queue.Amendment{ID: m.ID, At: time.Now(), Event: queue.Delete, Actor: "test"})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	r = run(t, c)
	r.log.await(t, "queue.purged", "messages=1")
}

// TestTheServiceManager is told that we are ready, and that we stop.
func TestTheServiceManager(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	path := filepath.Join(filepath.Dir(c.Data), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	told := func() string {
		t.Helper()
		var state [100]byte
		if err := socket.SetReadDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		n, err := socket.Read(state[:])
		if err != nil {
			t.Fatal(err)
		}
		return string(state[:n])
	}
	log := newEvents()
	r, err := Open(Options{Config: c, Manager: path, Log: log.log()})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ready(); err == nil {
		t.Error("ready before Run")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	if got := told(); got != "READY=1" {
		t.Errorf("told %q", got)
	}
	if err := r.ready(); err != nil {
		t.Errorf("told that it is ready: %v", err)
	}
	cancel()
	if got := told(); got != "STOPPING=1" {
		t.Errorf("told %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := r.ready(); err == nil || log.has("relay.unnotified") {
		t.Errorf("after Run: ready %v", err)
	}
}

// TestAServiceManagerThatIsNotThere stops nothing.
func TestAServiceManagerThatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/nowhere/notify", "@mxkeep-nobody-is-here", strings.Repeat("x", 200)} {
		c, _ := configured(t)
		log := newEvents()
		r, err := Open(Options{Config: c, Manager: path, Log: log.log()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(errors.New("enough"))
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
		if !log.has("relay.unnotified", "READY=1") || !log.has("relay.unnotified", "STOPPING=1") || !log.has("relay.stopping", "why=enough") {
			text, _ := log.all()
			t.Errorf("%s:\n%s", path, text)
		}
	}
}

// TestReverseDNS: the name of a client is one that leads back to it.
func TestReverseDNS(t *testing.T) {
	t.Parallel()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	zone := map[string]string{"1.0.0.127.in-addr.arpa.": "PTR mail.sender.example.", "mail.sender.example.": "A 127.0.0.1"}
	started, ended := make(chan struct{}), make(chan error, 1)
	server := &dns.Server{PacketConn: packets, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg).SetReply(q)
		if rr, err := dns.NewRR(q.Question[0].Name + " 60 IN " + zone[q.Question[0].Name]); err == nil && rr != nil {
			answer.Answer = []dns.RR{rr}
		}
		w.WriteMsg(answer) // who asks again gets another one
	})}
	go func() { ended <- server.ActivateAndServe() }()
	<-started
	defer func() {
		if err := errors.Join(server.Shutdown(), <-ended); err != nil {
			t.Error(err)
		}
	}()

	c, exo := configured(t)
	c.DNS.Servers = []string{packets.LocalAddr().String()}
	play(t, exo, "down")
	r := run(t, c)
	r.override(health.Down)
	r.accept("a@corp.example")
	for m, err := range r.store.Messages(context.Background(), queue.Filter{}) {
		if err != nil || m.Envelope.Origin.Host != "mail.sender.example" {
			t.Errorf("origin %+v, %v", m.Envelope.Origin, err)
		}
	}
	if name := r.reverse(context.Background(), netip.MustParseAddr("127.0.0.2")); name != "" {
		t.Errorf("an address without a name: %q", name)
	}
}

// TestSettings: what the configuration says in words is what the parts understand.
func TestSettings(t *testing.T) {
	c, _ := configured(t)
	for policy, want := range map[string]string{configs.TLSRequired: "0", configs.TLSOpportunistic: "1", configs.TLSNone: "2"} {
		o, err := tlsOptions(configs.TLS{Policy: policy, ServerName: "name.example"})
		if err != nil || string('0'+rune(o.Policy)) != want || o.ServerName != "name.example" || o.Roots != nil || o.Certificate != nil {
			t.Errorf("%s: %+v, %v", policy, o, err)
		}
	}
	r, err := Open(Options{Config: c}) // which makes a certificate
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(c.Data, "self-signed")
	if o, err := tlsOptions(configs.TLS{CA: own + ".crt", Certificate: own + ".crt", Key: own + ".key"}); err != nil || o.Roots == nil || o.Certificate == nil {
		t.Errorf("files: %+v, %v", o, err)
	}
	c.Inbound.Certificate, c.Inbound.Key = own+".crt", own+".key"
	log := newEvents()
	if r, err = Open(Options{Config: c, Log: log.log()}); err != nil || log.has("certificate.self_signed") {
		t.Fatalf("a certificate that was given: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestGuarding: what the configuration says of clients is what the intake goes by.
func TestGuarding(t *testing.T) {
	c, _ := configured(t)
	c.Inbound.Rates = configs.Rates{PerAddress: configs.Rate{Messages: 1}, PerNetwork: configs.Rate{Bytes: 2}, All: configs.Rate{BadRecipients: 3}}
	c.Inbound.Trusted, c.Inbound.Proxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	c.Inbound.Lists = configs.Lists{Block: []string{"block.example"}, Allow: []string{"allow.example"}, Action: configs.ListReject, Timeout: time.Second}
	c.Inbound.Greylist = configs.Greylist{Delay: 1, Keep: 2}
	o := inboundOptions(c, nil)
	want := inbound.Options{Rates: inbound.Rates{PerAddress: inbound.Rate{Messages: 1}, PerNetwork: inbound.Rate{Bytes: 2}, All: inbound.Rate{BadRecipients: 3}},
		Trusted: c.Inbound.Trusted, Proxies: c.Inbound.Proxies, Greylist: inbound.Greylist{Delay: 1, Keep: 2},
		Lists: inbound.Lists{Block: c.Inbound.Lists.Block, Allow: c.Inbound.Lists.Allow, Action: inbound.RejectListed, Timeout: time.Second}}
	got := inbound.Options{Rates: o.Rates, Trusted: o.Trusted, Proxies: o.Proxies, Greylist: o.Greylist, Lists: o.Lists}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	c.Inbound.Lists.Action = configs.ListDefer
	if o := inboundOptions(c, nil); o.Lists.Action != inbound.DeferListed {
		t.Errorf("%+v", o.Lists)
	}
}

// TestRules: what the configuration says of admission is what the intake goes by.
func TestRules(t *testing.T) {
	for words, want := range map[configs.Admission]inbound.Rule{
		{Role: configs.RoleFallback, WhenUp: configs.WhenDefer, WhenBusy: configs.WhenTake}: {},
		{Role: configs.RoleFallback, WhenUp: configs.WhenPass, WhenBusy: configs.WhenDefer}: {WhenUp: inbound.Pass, WhenBusy: inbound.DeferBusy},
		{Role: configs.RoleFront, WhenUp: configs.WhenPass, WhenBusy: configs.WhenTake}:     {Role: inbound.Front, WhenUp: inbound.Pass},
	} {
		if got := rule(words); got != want {
			t.Errorf("%+v: %+v", words, got)
		}
	}
}

// TestExplain asks a relay that runs, in the words of an operator.
func TestExplain(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	c.Inbound.Role = configs.RoleFront
	c.Domains[0].Recipients.Sources = []string{configs.SourceLearned}
	c.Domains[0].Recipients.Learned = configs.Learned{Keep: time.Hour, Refused: time.Hour, Max: 10}
	r := run(t, c)
	r.log.await(t, "health.changed", "to=up")
	for request, want := range map[admin.ExplainRequest]string{
		{To: "a@corp.example"}:                   "pass pass up false",
		{To: "a@corp.example", Upstream: "down"}: "take upstream_down down true",
		{To: "a@x.example", Client: "192.0.2.1"}: "refuse relay_denied  false",
	} {
		e, err := r.client.Explain(t.Context(), request)
		if got := fmt.Sprint(e.Action, " ", e.Rule, " ", e.State, " ", e.Supposed); err != nil || got != want || len(e.Facts) == 0 {
			t.Errorf("%+v: %s, %v", request, got, err)
		}
	}
	for _, wrong := range []admin.ExplainRequest{{To: "a"}, {To: "a@corp.example", Upstream: "away"}, {To: "a@corp.example", Client: "x"}} {
		if e, err := r.intake.explain(wrong); err == nil {
			t.Errorf("%+v: %+v", wrong, e)
		}
	}
	if err := r.offer("a@corp.example"); err != nil {
		t.Errorf("a front: %v", err)
	}
	if e, err := r.client.Explain(t.Context(), admin.ExplainRequest{To: "a@corp.example"}); err != nil || !strings.Contains(e.Facts[2].Finding, " is known: the primary took it (learned, ") {
		t.Errorf("after a passage: %+v, %v", e.Facts, err)
	}
	if st := r.status(); st.Account.Passed != 1 || st.Account.Accepted != 0 || st.Inbound.Passed != 1 || st.Inbound.Unnoted != 0 {
		t.Errorf("account %+v, inbound %+v", st.Account, st.Inbound)
	}
}
