package primary

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestScenarios(t *testing.T) {
	s := start(t, Options{})
	var all []string
	for _, scenario := range Scenarios() {
		name, _, _ := strings.Cut(scenario.Name, "=")
		all = append(all, name)
		if scenario.About == "" {
			t.Errorf("%s says nothing about itself", name)
		}
		again, err := Named(scenario.Name)
		if err != nil || again.Name != scenario.Name || !slices.Equal(again.Rules, scenario.Rules) || again.Down != scenario.Down {
			t.Errorf("%s by its name is %+v, %v", scenario.Name, again, err)
		}
		if err := s.Play(scenario); err != nil || s.Playing().Name != scenario.Name {
			t.Errorf("%s cannot be played: %v", scenario.Name, err)
		}
	}
	for _, name := range []string{"healthy", "down", "blackhole", "451-4.3.2", "421-forest", "throttle", "5xx-burst", "lost-ack", "slow", "flap", "tls-broken"} {
		if !slices.Contains(all, name) {
			t.Errorf("no scenario %s", name)
		}
	}
}

func TestNamed(t *testing.T) {
	for _, test := range []struct {
		text string
		when When
	}{
		{"throttle", When{Above: 30, Window: time.Minute}},
		{"throttle=7", When{Above: 7, Window: time.Minute}},
		{"5xx-burst=90s", When{For: 90 * time.Second}},
		{"5xx-every=2", When{Every: 2}},
		{"lost-ack=1", When{UpTo: 1}},
		{"lost-ack-every=4", When{Every: 4}},
		{"flap=250ms", When{Alternate: 250 * time.Millisecond}},
	} {
		scenario, err := Named(test.text)
		if err != nil || len(scenario.Rules) != 1 || scenario.Rules[0].When != test.when {
			t.Errorf("%s: %+v, %v", test.text, scenario, err)
		}
	}
	for text, says := range map[string]string{
		"":             "there are healthy, down,",
		"nothing":      "no scenario",
		"healthy=1":    "no parameter",
		"throttle=":    "a number",
		"throttle=0":   "a number",
		"throttle=2s":  "a number",
		"slow=0s":      "a length of time",
		"slow=-1s":     "a length of time",
		"slow=2":       "a length of time",
		"lost-ack=all": "a number",
	} {
		if scenario, err := Named(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v, %v", text, scenario, err)
		}
	}
}

func TestDown(t *testing.T) {
	s := start(t, Options{Addresses: []string{"127.0.0.2:0", "127.0.0.3:0"}})
	c := dial(t, s, 0).greeted()
	for range 3 {
		act(t, s, "down")
		c.wantClosed()
		for _, a := range s.Addrs() {
			if _, err := net.Dial("tcp", a.String()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("%v: %v", a, err)
			}
		}
		act(t, s, "down") // again is no error
		act(t, s, "healthy")
		dial(t, s, 1).want("220 ")
		c = dial(t, s, 0).greeted()
	}
}

func TestDownForGoodIfThePortIsTaken(t *testing.T) {
	s := start(t, Options{})
	act(t, s, "down")
	thief, err := net.Listen("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	s.patience = time.Millisecond
	if err := s.Play(Scenario{Name: "healthy"}); !errors.Is(err, syscall.EADDRINUSE) || s.Playing().Name != "down" {
		t.Errorf("%v, playing %s", err, s.Playing().Name)
	}
}

func TestBlackhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Options{Addresses: []string{}})
		running, inContent := pipe(t, s).greeted(), pipe(t, s).greeted().envelope()
		inContent.say("DATA", "354 ")
		act(t, s, "blackhole")
		fresh := pipe(t, s)
		running.send("NOOP\r\n")
		running.send("QUIT\r\n")
		inContent.send(note + ".\r\n")
		for _, c := range []*client{fresh, running, inContent} {
			c.wantSilence()
		}
		act(t, s, "healthy")
		for _, c := range []*client{fresh, running, inContent} {
			c.wantClosed()
		}
		pipe(t, s).greeted()
		if n := len(s.Received()); n != 0 {
			t.Errorf("%d messages recorded", n)
		}
	})
}

// A client that gives up in the black hole leaves nothing behind.
func TestBlackholeLetsClientsLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Options{Addresses: []string{}})
		act(t, s, "blackhole")
		c := pipe(t, s)
		c.wantSilence()
		c.conn.Close()
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.connections) != 0 {
			t.Errorf("%d connections are left", len(s.connections))
		}
	})
}

func TestDirectoryOutage(t *testing.T) {
	s := start(t, Options{})
	running := dial(t, s, 0).greeted().envelope()
	act(t, s, "451-4.3.2")
	const want = "451 4.3.2 Temporary server error. Please try again later ATTR2 ["
	for _, c := range []*client{running, dial(t, s, 0).greeted()} {
		c.say("RSET", "250 ")
		c.say("MAIL FROM:<a@b.example>", "250 2.1.0")
		if got := c.say("RCPT TO:<b@corp.example>", want); !where.MatchString(got) {
			t.Errorf("%q does not end with the bracket", got)
		}
		c.say("DATA", "503 5.5.2 Need rcpt command")
	}
	act(t, s, "healthy")
	running.say("RCPT TO:<b@corp.example>", "250 ")
}

func TestFullForest(t *testing.T) {
	s := start(t, Options{})
	afterHello, before := dial(t, s, 0).greeted(), dial(t, s, 0)
	before.want("220 ")
	act(t, s, "421-forest")
	fresh := dial(t, s, 0)
	before.send("EHLO c.example\r\n")
	afterHello.send("MAIL FROM:<a@b.example>\r\nRCPT TO:<b@corp.example>\r\n")
	for _, c := range []*client{fresh, before, afterHello} {
		got := c.want("421 4.3.2 The maximum number of concurrent connections per resource forest has exceeded a limit, closing transmission channel PRX8 [")
		if !where.MatchString(got) {
			t.Errorf("%q does not end with the bracket", got)
		}
		c.wantClosed()
	}
}

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Options{Addresses: []string{}, Idle: time.Hour})
		act(t, s, "throttle=2")
		c := pipe(t, s).greeted()
		for range 2 {
			c.say("MAIL FROM:<a@b.example>", "250 ")
			c.say("RCPT TO:<b@corp.example>", "250 ")
			c.say("RCPT TO:<c@corp.example>", "250 ")
			c.say("RCPT TO:<d@corp.example>", "451 4.7.500 Server busy. Please try again later from [pipe]. (S77714) [")
			c.say("RSET", "250 ")
			time.Sleep(time.Minute)
		}
	})
}

func TestFalseRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Options{Addresses: []string{}, Idle: time.Hour})
		c := pipe(t, s).greeted()
		c.say("MAIL FROM:<a@b.example>", "250 ")
		act(t, s, "5xx-burst=3m")
		c.say("RCPT TO:<b@corp.example>", "550 5.4.1 [b@corp.example]: Recipient address rejected: Access denied AS(201806281) [")
		time.Sleep(3*time.Minute - 1)
		c.say("RCPT TO:<b@corp.example>", "550 5.4.1 ")
		time.Sleep(time.Nanosecond)
		c.say("RCPT TO:<b@corp.example>", "250 ")
		act(t, s, "5xx-every=2")
		c.say("RCPT TO:<b@corp.example>", "250 ")
		c.say("RCPT TO:<b@corp.example>", "550 5.7.606 Access denied, banned sending IP [pipe] (AS16012609) [")
		c.say("RCPT TO:<b@corp.example>", "250 ")
	})
}

func TestLostAck(t *testing.T) {
	s := start(t, Options{Folder: t.TempDir()})
	for _, step := range []struct {
		scenario string
		lost     []bool
	}{{"lost-ack=2", []bool{true, true, false, false}}, {"lost-ack-every=2", []bool{false, true, false, true}}} {
		act(t, s, step.scenario)
		for i, lost := range step.lost {
			c := dial(t, s, 0).greeted()
			if i%2 == 0 {
				c.encrypt(&tls.Config{RootCAs: s.CAPool(), ServerName: s.Hostname()})
			}
			c.envelope().say("DATA", "354 ")
			c.send(note + ".\r\n")
			if lost {
				c.wantClosed()
			} else {
				c.want("250 2.6.0 <note@sender.example>")
				c.say("QUIT", "221 ")
			}
			recorded, err := ReadRecord(s.options.Folder)
			if err != nil {
				t.Fatal(err)
			}
			d := recorded[len(recorded)-1]
			if d.Unanswered != lost || string(d.Content) != note || len(recorded) != len(s.Received()) {
				t.Errorf("%s, message %d: %+v, %d in all", step.scenario, i+1, d, len(recorded))
			}
		}
	}
	if n := len(s.Received()); n != 8 {
		t.Errorf("%d messages recorded, want 8", n)
	}
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Options{Addresses: []string{}})
		act(t, s, "slow=5s")
		c := pipe(t, s)
		began := time.Now()
		replies := 0
		want := func(took time.Duration) {
			t.Helper()
			replies++
			if passed := time.Since(began); passed != took {
				t.Errorf("after %d replies %v have passed, want %v", replies, passed, took)
			}
		}
		c.want("220 ")
		want(5 * time.Second)
		for i, line := range []string{"EHLO c.example", "MAIL FROM:<a@b.example>", "RCPT TO:<b@corp.example>", "BDAT 4\r\nab", "BDAT 4\r\nab", "BDAT 4 LAST\r\nab", "NOOP", "QUIT"} {
			c.say(line, "2")
			want(time.Duration(i+2) * 5 * time.Second)
		}
		c.wantClosed()
	})
}

// Another scenario ends the waiting, and the message meets the new one.
func TestSwitchWhileContentWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Options{Addresses: []string{}})
		for _, next := range []struct {
			scenario Scenario
			want     string
		}{
			{Scenario{Name: "healthy"}, "250 2.6.0"},
			{Scenario{Name: "full", Rules: []Rule{{Phase: Content, Act: Answer, Reply: lowOnResources}}}, "452 4.3.1 Insufficient system resources ["},
		} {
			c := pipe(t, s).greeted().envelope()
			c.say("DATA", "354 ")
			act(t, s, "slow=24h")
			c.send(note + ".\r\n")
			synctest.Wait()
			began := time.Now()
			if err := s.Play(next.scenario); err != nil {
				t.Fatal(err)
			}
			c.want(next.want)
			if time.Since(began) != 0 {
				t.Errorf("%s: waited %v", next.scenario.Name, time.Since(began))
			}
			act(t, s, "healthy")
		}
		if n := len(s.Received()); n != 1 {
			t.Errorf("%d messages recorded, want 1", n)
		}
	})
}

func TestFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Options{Addresses: []string{}, Idle: time.Hour})
		act(t, s, "flap=1m")
		c := pipe(t, s).greeted()
		c.say("MAIL FROM:<a@b.example>", "250 ")
		for range 3 {
			c.say("RCPT TO:<b@corp.example>", "250 ")
			time.Sleep(time.Minute)
			c.say("RCPT TO:<b@corp.example>", "451 4.3.2 ")
			time.Sleep(time.Minute)
		}
	})
}

func TestBrokenTLS(t *testing.T) {
	s := start(t, Options{})
	for name, check := range map[string]func(error) bool{
		"tls-broken":     func(err error) bool { _, is := errors.AsType[tls.RecordHeaderError](err); return is },
		"tls-wrong-name": func(err error) bool { _, is := errors.AsType[x509.HostnameError](err); return is },
	} {
		act(t, s, name)
		c := dial(t, s, 0).greeted()
		c.say("STARTTLS", "220 2.0.0 ")
		err := tls.Client(c.conn, &tls.Config{RootCAs: s.CAPool(), ServerName: s.Hostname()}).Handshake()
		if !check(err) {
			t.Errorf("%s: %v (%T)", name, err, err)
		}
		c = dial(t, s, 0).greeted() // in the clear it is healthy
		c.deliver(note, "250 ")
	}
}

func TestOneBadHost(t *testing.T) {
	s := start(t, Options{Addresses: []string{"127.0.0.2:0", "127.0.0.3:0"}})
	act(t, s, "one-bad-host")
	for n, want := range []string{"451 4.3.2 ", "250 2.1.5 "} {
		c := dial(t, s, n).greeted()
		c.say("MAIL FROM:<a@b.example>", "250 ")
		c.say("RCPT TO:<b@corp.example>", want)
	}
}

func TestCutAtAnyPhase(t *testing.T) {
	steps := []struct {
		phase Phase
		text  string
	}{{Connect, ""}, {Hello, "EHLO c.example\r\n"}, {Other, "NOOP\r\n"}, {Mail, "MAIL FROM:<>\r\n"}, {Rcpt, "RCPT TO:<b@corp.example>\r\n"},
		{Data, "BDAT 2\r\nab"}, {Content, "BDAT 1 LAST\r\nc"}, {StartTLS, "STARTTLS\r\n"}}
	for i, step := range steps {
		s := start(t, Options{})
		if err := s.Play(Scenario{Name: "cut", Rules: []Rule{{Phase: step.phase, Act: Cut}}}); err != nil {
			t.Fatal(err)
		}
		c := dial(t, s, 0)
		for _, before := range steps[:i] {
			c.send(before.text)
			c.want("2")
		}
		c.send(step.text)
		c.wantClosed()
		if taken := len(s.Received()) == 1; taken != (step.phase == StartTLS) {
			t.Errorf("%s: recorded is %v", step.phase, taken)
		}
	}
}

// Whatever scenario comes while mail flows: what was answered 250 is recorded,
// what was refused is not, and only lost acknowledgements are unanswered.
func TestSwitchingUnderLoad(t *testing.T) {
	s := start(t, Options{Addresses: []string{"127.0.0.2:0", "127.0.0.3:0"}})
	const senders = 4
	stop, answered := make(chan struct{}), make(chan []string, senders)
	for n := range senders {
		go func() { answered <- sendUntil(s, n, stop) }()
	}
	for range 10 {
		for _, name := range []string{"healthy", "down", "451-4.3.2", "421-forest", "tls-broken", "lost-ack", "5xx-every=2", "blackhole"} {
			act(t, s, name)
			if name == "healthy" {
				if _, err := s.Await(t.Context(), len(s.Received())+5); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	act(t, s, "down")
	close(stop)
	said := map[string]int{}
	for range senders {
		for _, id := range <-answered {
			said[id]++
		}
	}
	for _, d := range s.Received() {
		if d.Unanswered == (said[d.MessageID] == 1) {
			t.Errorf("%s: unanswered is %v, %d replies were seen", d.MessageID, d.Unanswered, said[d.MessageID])
		}
		delete(said, d.MessageID)
	}
	if len(said) > 0 {
		t.Errorf("not recorded, though answered: %v", said)
	}
}

// sendUntil sends messages, one connection each, and returns those that were answered 250.
func sendUntil(s *Server, n int, stop <-chan struct{}) (answered []string) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return answered
		default:
		}
		id := fmt.Sprintf("<%d.%d@sender.example>", n, i)
		if sendOne(s.Addrs()[n%2].String(), id) {
			answered = append(answered, id)
		}
	}
}

func sendOne(address, id string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(longTest))
	text := textproto.NewConn(conn)
	if _, _, err := text.ReadResponse(220); err != nil {
		return false
	}
	for _, step := range []struct {
		line string
		code int
	}{{"EHLO c.example", 250}, {"MAIL FROM:<a@b.example>", 250}, {"RCPT TO:<b@corp.example>", 250}, {"DATA", 354},
		{"Message-ID: " + id + "\r\n\r\nhello\r\n.", 250}} {
		if err := text.PrintfLine("%s", step.line); err != nil {
			return false
		}
		if _, _, err := text.ReadResponse(step.code); err != nil {
			return false
		}
	}
	return true
}
