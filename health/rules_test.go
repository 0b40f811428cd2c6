package health

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 22, 19, 30, 0, 0, time.UTC)

// player feeds the rules with events and keeps what a Monitor would.
type player struct {
	t      testing.TB
	rules  Rules
	status Status
	window Window
	rounds uint64
}

// letters are how the tests write classes.
var letters = map[rune]Signal{
	'o': {Class: OK, Phase: PhaseRcpt, Reply: "250 2.1.5 recipient OK"},
	'x': {Class: Outage, Phase: PhaseRcpt, Reply: "451 4.3.2 Temporary server error. Please try again later ATTR2"},
	's': {Class: Throttle, Phase: PhaseRcpt, Reply: "451 4.7.500 Server busy"},
	'm': {Class: Misconfigured, Phase: PhaseRcpt, Reply: "550 5.7.51 TenantInboundAttribution", Row: 114, Fix: "look at the connector", Host: "mail.example"},
	'f': {Class: Misconfigured, Condition: "all_front_ends", Phase: PhaseTLS},
	't': {Class: Temporary, Phase: PhaseRcpt, Reply: "450 4.2.0 greylisted"},
	'r': {Class: Recipient, Phase: PhaseRcpt, Reply: "550 5.4.1 Recipient address rejected"},
	'p': {Class: Policy, Phase: PhaseRcpt, Reply: "550 5.7.509 Access denied", Condition: "dmarc_passed"},
	'2': {Class: Throttle, Condition: "second_source", Phase: PhaseRcpt, Reply: "451 4.7.500 Server busy"},
	'1': {Class: Outage, Condition: "one_domain", Phase: PhaseRcpt, Reply: "451 4.4.4 Temporary server error ATTR2"},
}

func (p *player) feed(sig Signal) {
	p.window = p.window.Add(sig, p.rules.Span)
	p.status = p.rules.Next(p.status, p.window, sig)
}

// play carries out one event at so many seconds:
//
//	probe xo        a round of two addresses, the first fails
//	attempt xxo     three attempts, each in a session and at an address of its own
//	one-address xx  two attempts at the same address
//	no-address xx   two attempts that found none
//	one-session xx  two signals of the same attempt
//	slow x          an attempt that took five minutes
//	sender abc      three senders that came back
//	nothing
func (p *player) play(at float64, event string) {
	kind, what, _ := strings.Cut(event, " ")
	for i, letter := range what {
		sig := letters[letter]
		sig.At = start.Add(time.Duration(at * float64(time.Second)))
		sig.Source = SourceAttempt
		sig.Address, sig.Session = "192.0.2."+strconv.Itoa(i+1)+":25", fmt.Sprint(at, i)
		switch kind {
		case "probe":
			sig.Source, sig.Round, sig.Last = SourceProbe, p.rounds+1, i == len(what)-1
		case "attempt":
			sig.Domain = "corp.example"
		case "one-address":
			sig.Address = "192.0.2.1:25"
		case "no-address":
			sig.Address = ""
		case "content":
			sig.Phase = PhaseFinal
		case "patience":
			sig.Slow = time.Hour
		case "low":
			sig.Low = true
		case "elsewhere":
			sig.Domain, sig.Address = "elsewhere.example", "192.0.2.1:25"
		case "silence":
			sig.Source, sig.Round, sig.Last, sig.Took = SourceProbe, p.rounds+1, i == len(what)-1, longRound
		case "unreached":
			sig.Source, sig.Round, sig.Last, sig.Phase = SourceProbe, p.rounds+1, i == len(what)-1, PhaseConnect
		case "unresolved":
			sig.Source, sig.Address, sig.Phase = SourceProbe, "", PhaseResolve
		case "control":
			sig = Signal{At: sig.At, Source: SourceControl, Class: sig.Class}
		case "one-session":
			sig.Session = "the same"
		case "slow":
			sig.Took = 5 * time.Minute
		case "sender":
			sig = Signal{At: sig.At, Source: SourceSender, Address: string(letter)}
		default:
			p.t.Fatalf("unknown event %q", event)
		}
		p.feed(sig)
	}
	p.rounds++
}

type step struct {
	at    float64 // seconds
	event string
	want  State
}

var up = step{0, "probe o", Up}

func TestRules(t *testing.T) {
	down := []step{up, {20, "probe x", Degraded}, {30, "probe x", Degraded}, {40, "probe x", Down}}
	recovering := append(down[:4:4], step{50, "probe o", Recovering})
	with := func(before []step, more ...step) []step { return append(before[:len(before):len(before)], more...) }
	for _, test := range []struct {
		rule  string
		steps []step
	}{
		{"at first nothing is known; the first good round is enough", []step{up}},
		{"at first nothing is known; a bad round does not change that", []step{{0, "probe x", Degraded}}},
		{"after a bad round one good round is not enough", []step{{0, "probe x", Degraded}, {10, "probe o", Degraded}, {30, "probe o", Degraded}, {50, "probe o", Up}}},
		{"one bad round: degraded", []step{up, {20, "probe x", Degraded}}},
		{"three bad rounds in a row: down", down},
		{"a good round between: they are counted anew", []step{up, {20, "probe x", Degraded}, {30, "probe x", Degraded}, {40, "probe o", Degraded},
			{60, "probe x", Degraded}, {70, "probe x", Degraded}, {80, "probe x", Down}}},
		{"a round that says nothing between: they are counted anew", []step{up, {20, "probe x", Degraded}, {30, "probe x", Degraded}, {40, "probe t", Degraded},
			{60, "probe x", Degraded}}},
		{"one of two addresses fails: degraded in the third of six rounds, never down", []step{up, {20, "probe xo", Up}, {40, "probe oo", Up}, {60, "probe xo", Up},
			{80, "probe ox", Degraded}, {100, "probe xo", Degraded}, {120, "probe xo", Degraded}}},
		{"the recipient of the probe is refused, who was never taken: the address may be wrong", []step{{0, "probe r", Up}, {20, "probe r", Up}}},
		{"it disowns the recipient of the probe: degraded, never down", []step{up, {20, "probe rr", Degraded}, {40, "probe rr", Degraded}, {60, "probe rr", Degraded},
			{80, "probe rr", Degraded}}},
		{"one of two addresses disowns the recipient: degraded", []step{up, {20, "probe ro", Degraded}}},
		{"after it disowned the recipient three good rounds", []step{up, {20, "probe r", Degraded}, {40, "probe o", Degraded}, {60, "probe o", Degraded}, {80, "probe o", Up}}},
		{"down, and then it disowns the recipient: no recovery", with(down, step{50, "probe r", Down}, step{60, "probe or", Recovering})},
		{"after partial trouble three good rounds", []step{up, {20, "probe xx", Degraded}, {30, "probe xo", Degraded}, {40, "probe oo", Degraded}, {60, "probe oo", Degraded}, {80, "probe oo", Up}}},
		{"partial trouble between: good rounds are counted anew", []step{up, {20, "probe xx", Degraded}, {30, "probe xo", Degraded}, {40, "probe oo", Degraded}, {60, "probe oo", Degraded},
			{80, "probe xo", Degraded}, {100, "probe oo", Degraded}}},
		{"two of two addresses fail: a bad round", []step{up, {20, "probe xx", Degraded}, {30, "probe xx", Degraded}, {40, "probe xx", Down}}},

		{"one failed attempt is nothing", []step{up, {5, "attempt x", Up}}},
		{"accepted messages between: nothing", []step{up, {5, "attempt xooxxo", Up}}},
		{"two of three failed: degraded", []step{up, {5, "attempt xxoxx", Degraded}}},
		{"many failures at one address at once are one: a host restarts", []step{up, {5, "one-address xxxxxx", Up}, {9, "one-address xxxxxx", Up}}},
		{"failures of the content count half", []step{up, {5, "content xxxxx", Up}, {6, "content xxxxxx", Degraded}}},
		{"what is met at all times counts half", []step{up, {5, "low xxxxx", Up}, {6, "low xxxxxx", Degraded}}},
		{"three failed attempts in a row: degraded", []step{up, {5, "attempt xxx", Degraded}}},
		{"failed attempts long ago do not count", []step{up, {5, "attempt xx", Up}, {606, "attempt x", Up}}},
		{"signals of one session are one failed attempt", []step{up, {5, "one-session xxxx", Up}}},
		{"attempts alone never bring down", []step{up, {5, "attempt xxxxxxxxxx", Degraded}, {10, "probe o", Degraded}, {15, "attempt xxxxxxxxxx", Degraded}}},
		{"failed attempts and two bad rounds: down", []step{up, {5, "attempt xxx", Degraded}, {20, "probe x", Degraded}, {30, "probe x", Down}}},
		{"two bad rounds and failed attempts: down", []step{up, {20, "probe x", Degraded}, {30, "probe x", Degraded}, {35, "attempt xxx", Down}}},
		{"after failed attempts three good rounds, counted from when most messages are accepted", []step{up, {5, "attempt xxx", Degraded}, {20, "probe o", Degraded},
			{40, "probe o", Degraded}, {45, "attempt oooooo", Degraded}, {60, "probe o", Degraded}, {80, "probe o", Degraded}, {100, "probe o", Up}}},
		{"as long as a third of the messages fails it is not well", []step{up, {5, "attempt xxx", Degraded}, {45, "attempt oo", Degraded}, {60, "probe o", Degraded},
			{80, "probe o", Degraded}, {100, "probe o", Degraded}, {120, "probe o", Degraded}, {125, "attempt oooo", Degraded}, {140, "probe o", Up}}},
		{"failed messages beyond doubt and one bad round: down", []step{up, {5, "attempt xxxxx", Degraded}, {20, "probe x", Down}}},
		{"at one of two addresses they are not beyond doubt", []step{up, {0, "one-address x", Up}, {5, "one-address x", Up}, {10, "one-address x", Degraded},
			{15, "one-address x", Degraded}, {20, "one-address x", Degraded}, {25, "one-address x", Degraded}, {26, "probe xx", Degraded}, {36, "probe xx", Down}}},
		{"while messages go through bad rounds are no outage", []step{up, {20, "probe x", Degraded}, {30, "probe x", Degraded}, {35, "attempt ooo", Degraded},
			{40, "probe x", Degraded}, {50, "probe x", Degraded}, {51, "attempt xx", Degraded}, {80, "probe x", Degraded}, {96, "probe x", Down}}},
		{"failed attempts are forgotten in the end", []step{up, {5, "attempt xxx", Degraded}, {600, "probe o", Degraded}, {620, "probe o", Degraded},
			{640, "probe o", Degraded}, {660, "probe o", Up}}},

		{"one returning sender is nothing", []step{up, {5, "sender a", Up}, {10, "sender aaaa", Up}}},
		{"three returning senders: degraded", []step{up, {5, "sender abc", Degraded}, {20, "probe o", Degraded}}},
		{"senders are forgotten in the end; then three good rounds", []step{up, {5, "sender abc", Degraded}, {606, "probe o", Degraded}, {626, "probe o", Degraded},
			{646, "probe o", Up}}},
		{"senders alone never bring down", []step{up, {5, "sender abcdefghijkl", Degraded}}},
		{"senders and two bad rounds: down", []step{up, {5, "sender abc", Degraded}, {20, "probe x", Degraded}, {30, "probe x", Down}}},
		{"senders, attempts and one bad round: down", []step{up, {5, "sender abc", Degraded}, {6, "attempt xxx", Degraded}, {20, "probe x", Down}}},
		{"one bad address is no bad round, whatever else stands against it", []step{up, {5, "sender abc", Degraded}, {6, "attempt xxx", Degraded}, {20, "probe xo", Degraded}}},

		{"throttling is no outage", []step{up, {20, "probe s", Up}, {40, "probe s", Up}, {60, "probe s", Up}, {61, "attempt ssssss", Up}}},
		{"throttling tells nothing about an unknown primary", []step{{0, "probe s", Degraded}, {20, "probe o", Up}}},
		{"a second throttled source is not told from the first", []step{up, {20, "probe 22", Up}, {40, "probe 22", Up}, {60, "probe 22", Up}}},
		{"our configuration is no outage", []step{up, {20, "probe m", Up}, {40, "probe m", Up}, {60, "probe m", Up}, {61, "attempt mmmm", Up}}},
		{"no TLS at one of two addresses is no outage", []step{up, {20, "probe fo", Up}, {40, "probe fo", Up}, {60, "probe fo", Up}}},
		{"no TLS at any address is one", []step{up, {20, "probe ff", Degraded}, {30, "probe ff", Degraded}, {40, "probe ff", Down}}},
		{"no TLS or an outage at each address is one", []step{up, {20, "probe fx", Degraded}, {30, "probe xf", Degraded}, {40, "probe fx", Down}}},
		{"another refusal among them: partial trouble", []step{up, {20, "probe xm", Up}, {25, "probe xm", Up}, {30, "probe xm", Degraded}, {40, "probe xm", Degraded}}},
		{"after no TLS one good round is not enough", []step{{0, "probe f", Degraded}, {20, "probe o", Degraded}}},
		{"no TLS in attempts is no outage", []step{up, {5, "attempt ffff", Up}}},
		{"temporary refusals are no outage", []step{up, {20, "probe t", Up}, {21, "attempt tttt", Up}}},
		{"refused recipients and contents are no outage", []step{up, {20, "probe p", Up}, {21, "attempt rprprp", Up}}},
		{"the class of one_domain is believed", []step{up, {20, "probe 1", Degraded}}},
		{"an unknown recipient of the probe: the primary works", []step{{0, "probe r", Up}, {20, "probe r", Up}}},

		{"a quiet hour is not a recovery", with(down, step{3640, "nothing", Down}, step{3641, "probe x", Down})},
		{"accepted messages do not end an outage", with(down, step{45, "attempt ooo", Down})},
		{"the first good round: recovering", recovering},
		{"one good address is enough to try", with(down, step{50, "probe xo", Recovering})},
		{"throttling shows that it works again", with(down, step{50, "probe s", Recovering})},
		{"a refusal for our configuration does not", with(down, step{50, "probe m", Down}, step{60, "probe xm", Down})},
		{"any other answer does", with(down, step{50, "probe t", Recovering})},

		{"three good rounds and twenty trials: up", with(recovering, step{51, "attempt oooooooooo", Recovering}, step{70, "probe o", Recovering},
			step{71, "attempt oooooooooo", Recovering}, step{90, "probe o", Up})},
		{"the last trial may be what is missing", with(recovering, step{70, "probe o", Recovering}, step{90, "probe o", Recovering},
			step{91, "attempt ooooooooooooooooooo", Recovering}, step{92, "attempt o", Up})},
		{"refused recipients are no accepted trials", with(recovering, step{70, "probe o", Recovering}, step{90, "probe o", Recovering},
			step{91, "attempt rrrrrrrrrrrrrrrrrrrrrrrrr", Recovering})},
		{"too little mail for the trials: six good rounds", with(recovering, step{70, "probe o", Recovering}, step{90, "probe o", Recovering}, step{110, "probe o", Recovering},
			step{130, "probe o", Recovering}, step{150, "probe o", Up})},
		{"a failed trial: six good rounds are not enough", with(recovering, step{51, "attempt x", Recovering}, step{70, "probe o", Recovering}, step{90, "probe o", Recovering},
			step{110, "probe o", Recovering}, step{130, "probe o", Recovering}, step{150, "probe o", Recovering}, step{151, "attempt o", Up})},
		{"a bad round while recovering: down", with(recovering, step{70, "probe x", Down})},
		{"a failed trial while recovering is nothing", with(recovering, step{51, "attempt x", Recovering}, step{52, "attempt ox", Recovering})},
		{"two failed trials: down", with(recovering, step{51, "attempt xx", Down})},
		{"failed attempts of before are no trials", []step{up, {5, "attempt xx", Up}, {20, "probe x", Degraded}, {30, "probe x", Degraded}, {40, "probe x", Down},
			{50, "probe o", Recovering}, {55, "attempt x", Recovering}}},
		{"attempts that began before are no trials", with(recovering, step{60, "slow xxx", Recovering})},
		{"two failed trials at the only bad address are nothing", with(down, step{50, "probe xo", Recovering}, step{51, "one-address xx", Recovering},
			step{52, "attempt xx", Down})},
		{"two failed trials that found no address: down", with(down, step{50, "probe oo", Recovering}, step{51, "no-address xx", Down})},
		{"two failed trials at the only address: down", with(recovering, step{51, "one-address xx", Down})},
		{"recovered but for one address: degraded", with(recovering, step{70, "probe xo", Recovering}, step{75, "attempt oooooooooooooooooooo", Recovering},
			step{90, "probe xo", Degraded}, step{110, "probe oo", Degraded}, step{130, "probe oo", Degraded}, step{150, "probe oo", Degraded}, step{170, "probe oo", Up})},
		{"recovered, but the probe is not accepted: degraded", with(down, step{50, "probe t", Recovering}, step{70, "probe t", Recovering}, step{90, "probe t", Recovering}, step{110, "probe t", Recovering},
			step{130, "probe t", Recovering}, step{150, "probe t", Degraded})},
		{"a refusal for our configuration counts neither way while recovering", with(recovering, step{70, "probe m", Recovering}, step{90, "probe o", Recovering},
			step{91, "attempt oooooooooooooooooooo", Recovering}, step{110, "probe o", Up})},
		{"trials are counted from each recovery", with(recovering, step{51, "attempt oooooooooooooooooooo", Recovering}, step{70, "probe x", Down}, step{80, "probe o", Down}, step{90, "probe o", Recovering},
			step{110, "probe o", Recovering}, step{130, "probe o", Recovering}, step{150, "probe o", Recovering}, step{151, "attempt oooooooooooooooooooo", Recovering},
			step{170, "probe o", Up})},
		{"trouble that comes back within an hour ends later each time", []step{up, {20, "probe x", Degraded}, {40, "probe o", Degraded}, {60, "probe o", Degraded}, {80, "probe o", Up},
			{3660, "probe x", Degraded}, {3670, "probe o", Degraded}, {3690, "probe o", Degraded}, {3710, "probe o", Degraded}, {3730, "probe o", Degraded},
			{3750, "probe o", Degraded}, {3770, "probe o", Up}}},
		{"but not after an hour", []step{up, {20, "probe x", Degraded}, {40, "probe o", Degraded}, {60, "probe o", Degraded}, {80, "probe o", Up},
			{3680, "probe x", Degraded}, {3690, "probe o", Degraded}, {3710, "probe o", Degraded}, {3730, "probe o", Up}}},

		{"two rounds that took long and it is down", []step{up, {30, "silence xx", Degraded}, {45, "silence xx", Down}}},
		{"one of two is silent: no", []step{up, {30, "silence xo", Up}, {45, "silence xo", Up}, {60, "silence xo", Degraded}, {75, "silence xo", Degraded}}},
		{"and while recovering it may fail once more, after a relapse", with(recovering, step{70, "probe x", Down}, step{80, "probe o", Down}, step{90, "probe o", Recovering},
			step{110, "probe x", Recovering}, step{120, "probe x", Down}, step{130, "probe o", Down}, step{140, "probe o", Down}, step{150, "probe o", Recovering},
			step{151, "attempt xxxxx", Recovering}, step{152, "attempt x", Down})},
		{"where trouble lets up again and again, three in a row are chance", []step{up, {20, "probe x", Degraded}, {30, "probe o", Degraded}, {50, "probe x", Degraded},
			{60, "probe o", Degraded}, {80, "probe x", Degraded}, {90, "probe x", Degraded}, {100, "probe x", Degraded}, {110, "probe x", Down}}},
		{"one address of two that is looked at is not all", []step{{0, "probe oo", Up}, {20, "probe xx", Degraded}, {30, "probe x", Degraded}, {40, "probe x", Degraded},
			{50, "probe x", Degraded}, {60, "probe x", Degraded}}},
		{"but none at all is", []step{{0, "probe oo", Up}, {20, "unresolved x", Degraded}, {30, "unresolved x", Degraded}, {40, "unresolved x", Down}}},
		{"in the end it has one only", []step{{0, "probe oo", Up}, {20, "probe x", Degraded}, {60, "probe x", Degraded}, {100, "probe x", Degraded}, {121, "probe x", Down}}},

		{"neither it nor a target outside is reached: our network", []step{up, {20, "unreached xx", Degraded}, {22, "control xx", Degraded}, {30, "unreached xx", Degraded},
			{40, "unreached xx", Degraded}, {50, "unreached xx", Degraded}, {60, "unreached xx", Degraded}, {70, "unreached xx", Degraded}, {72, "control o", Degraded},
			{80, "unreached xx", Degraded}, {92, "control o", Degraded}, {93, "unreached xx", Degraded}, {103, "unreached xx", Degraded}, {113, "unreached xx", Down}}},
		{"without a look since, an outage waits for it, but not for ever", []step{up, {1, "control o", Up}, {20, "unreached xx", Degraded}, {30, "unreached xx", Degraded},
			{40, "unreached xx", Degraded}, {41, "control o", Down}}},
		{"no look comes", []step{up, {1, "control o", Up}, {20, "unreached xx", Degraded}, {30, "unreached xx", Degraded}, {40, "unreached xx", Degraded},
			{50, "unreached xx", Degraded}, {60, "unreached xx", Degraded}, {70, "unreached xx", Down}}},
		{"a primary that answers shows that our network works", []step{up, {1, "control xx", Up}, {20, "probe xx", Degraded}, {30, "probe xx", Degraded}, {40, "probe xx", Down}}},
		{"an outage stays if our network breaks as well", with(down, step{50, "control xxxx", Down}, step{60, "unreached xx", Down}, step{70, "probe o", Recovering})},
		{"a recovery waits for it", with(recovering, step{51, "control xx", Recovering}, step{70, "unreached xx", Recovering}, step{80, "control oo", Recovering}, step{90, "probe x", Down})},

		{"the messages for one domain fail: degraded", []step{up, {5, "attempt oo", Up}, {6, "elsewhere xxxx", Up}, {7, "attempt oooo", Up}, {8, "elsewhere x", Degraded},
			{9, "attempt oooooooo", Degraded}, {20, "probe o", Degraded}, {21, "elsewhere o", Degraded}, {40, "probe o", Degraded}, {60, "probe o", Degraded},
			{80, "probe o", Up}}},
	} {
		p := &player{t: t, rules: DefaultRules()}
		for _, s := range test.steps {
			p.play(s.at, s.event)
			if p.status.State != s.want {
				t.Errorf("%s: after %q at %v s: %v (%s), want %v", test.rule, s.event, s.at, p.status.State, p.status.Why, s.want)
				break
			}
		}
	}
}

func TestRoundsAreToldApart(t *testing.T) {
	probe := func(class Class, round uint64, last bool) Signal {
		return Signal{At: start, Source: SourceProbe, Class: class, Round: round, Last: last}
	}
	for _, test := range []struct {
		rule    string
		signals []Signal
		want    State
		bad     int
	}{
		{"a round counts when it ends", []Signal{probe(Outage, 1, false), probe(Outage, 1, false)}, Degraded, 0},
		{"a probe without a number is a round", []Signal{probe(Outage, 0, false), probe(Outage, 0, false), probe(Outage, 0, false)}, Down, 3},
		{"rounds may overlap", []Signal{probe(Outage, 1, false), probe(OK, 2, false), probe(Outage, 1, true), probe(Outage, 2, true)}, Degraded, 0},
		{"a round that was cut off is none", []Signal{probe(Outage, 1, false), probe(OK, 2, true)}, Degraded, 0},
	} {
		p := &player{t: t, rules: DefaultRules()}
		for _, sig := range test.signals {
			p.feed(sig)
		}
		if p.status.State != test.want || p.status.BadRounds != test.bad {
			t.Errorf("%s: %v after %d bad rounds", test.rule, p.status.State, p.status.BadRounds)
		}
	}
}

func TestWhy(t *testing.T) {
	const attr2 = "; last reply: 451 4.3.2 Temporary server error. Please try again later ATTR2"
	for _, test := range []struct {
		events string // 20 s apart
		want   string
	}{
		{"probe oo", "probes go well"},
		{"probe r", "it takes mail, but not for the recipient of the probe: check that address; last reply: 550 5.4.1 Recipient address rejected"},
		{"probe o, probe x", "1 bad probe round in a row, no address takes mail" + attr2},
		{"probe o, probe xxx, probe xxx, probe xxx", "3 bad probe rounds in a row, no address takes mail" + attr2},
		{"probe o, probe xo", "1 of 2 addresses fails" + attr2},
		{"probe o, attempt xxx, attempt o", "most of the last delivery attempts failed, although no probe round was bad"},
		{"probe o, attempt oo, elsewhere xxxxx, attempt oooooo", "only the domain elsewhere.example is in trouble: its last messages failed, others are taken"},
		{"probe o, probe x, attempt xx, probe o, probe o, probe o", "probes go well, but too many of the last messages failed; last reply: 250 2.1.5 recipient OK"},
		{"probe o, control xx, unreached xx", "our own network is broken: neither the primary nor a target outside is reached" + attr2},
		{"probe x, probe x, probe x, probe o, probe x, probe o", "it answers again, as it did before it failed again: 2 rounds in a row are needed, this was number 1; last reply: 250 2.1.5 recipient OK"},
		{"probe o, probe xox", "2 of 3 addresses fail" + attr2},
		{"probe o, attempt xxx", "3 delivery attempts in a row failed, although no probe round was bad" + attr2},
		{"probe o, attempt xxx, probe o", "3 delivery attempts in a row failed, although no probe round was bad" + attr2},
		{"probe o, attempt xxx, probe x", "1 bad probe round in a row, and 3 delivery attempts in a row failed" + attr2},
		{"probe o, sender abc", "3 senders keep coming back, although no probe round was bad"},
		{"probe o, sender abc, attempt xxx, probe x", "1 bad probe round in a row, and 3 delivery attempts in a row failed and 3 senders keep coming back" + attr2},
		{"probe o, probe x, probe o", "there was trouble; 1 good probe round since, 3 are needed"},
		{"probe o, probe m", "it answers, but refuses us as we are configured; last reply: 550 5.7.51 TenantInboundAttribution"},
		{"probe o, probe ff", "1 bad probe round in a row, no address takes mail; no reply in phase tls"},
		{"probe t", "it answers, but no probe was accepted; last reply: 450 4.2.0 greylisted"},
		{"probe x, probe x, probe x, probe x", "4 bad probe rounds in a row, no address takes mail" + attr2},
		{"probe x, probe x, probe x, probe m", "it answers, but refuses us as we are configured; last reply: 550 5.7.51 TenantInboundAttribution"},
		{"probe x, probe x, probe x, probe o", "it answers again; trial messages are delivered; last reply: 250 2.1.5 recipient OK"},
		{"probe x, probe x, probe x, probe o, attempt oo", "1 good probe round since the outage; 2 of 20 trial messages accepted"},
		{"probe x, probe x, probe x, probe o, probe x", "it failed again while recovering, on every address" + attr2},
		{"probe x, probe x, probe x, probe o, attempt xx", "it failed again while recovering, in 2 delivery attempts" + attr2},
	} {
		p := &player{t: t, rules: DefaultRules()}
		for i, event := range strings.Split(test.events, ", ") {
			p.play(float64(20*i), event)
		}
		if p.status.Why != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.events, p.status.Why, test.want)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, test := range []struct {
		rule string
		sig  Signal
		want string
	}{
		{"several lines are one", Signal{Reply: "451-4.3.2 a\r\n451 4.3.2  b"}, "last reply: 451-4.3.2 a 451 4.3.2 b"},
		{"control and broken bytes are replaced", Signal{Reply: "451 \x1b[2J\xff"}, "last reply: 451 ?[2J\ufffd"},
		{"long replies are cut", Signal{Reply: strings.Repeat("é", 200)}, "last reply: " + strings.Repeat("é", maxQuote-1) + "…"},
		{"silence", Signal{Phase: PhaseBanner}, "no reply in phase banner"},
		{"silence in no phase", Signal{}, "no reply"},
	} {
		if got := quote(test.sig); got != test.want {
			t.Errorf("%s: %q, want %q", test.rule, got, test.want)
		}
	}
}

func TestOverrideEnds(t *testing.T) {
	until := start.Add(time.Minute)
	s := Status{State: Down, Override: &Override{State: Up, Until: until}}
	rules := DefaultRules()
	if got := rules.At(s, until.Add(-1)); got.Override == nil || got.Effective(until.Add(-1)) != Up {
		t.Errorf("before its end: %+v", got)
	}
	if got := rules.At(s, until); got.Override != nil || got.Effective(until) != Down {
		t.Errorf("at its end: %+v", got)
	}
	sig := Signal{At: until, Source: SourceAttempt, Class: Temporary}
	if got := rules.Next(s, Window{}.Add(sig, rules.Span), sig); got.Override != nil {
		t.Errorf("a signal at its end: %+v", got)
	}
	sig.At = until.Add(-1)
	if got := rules.Next(s, Window{}.Add(sig, rules.Span), sig); got.Override == nil {
		t.Errorf("a signal before its end: %+v", got)
	}
}

func TestSinceIsTheLastChange(t *testing.T) {
	p := &player{t: t, rules: DefaultRules()}
	for i, event := range []string{"probe o", "probe o", "probe x", "probe x"} {
		p.play(float64(i), event)
	}
	if want := start.Add(2 * time.Second); !p.status.Since.Equal(want) {
		t.Errorf("since %v, want %v", p.status.Since, want)
	}
}

func TestNeverDownWithoutABadRound(t *testing.T) {
	p := &player{t: t, rules: DefaultRules()}
	p.rules.Bad = 1
	for i, event := range []string{"probe o", "attempt xxxxx", "sender abcde", "probe o"} {
		p.play(float64(i), event)
	}
	if p.status.State != Degraded {
		t.Errorf("%v: %s", p.status.State, p.status.Why)
	}
}

func TestZeroRulesAreTheDefaults(t *testing.T) {
	if got := (Rules{}).filled(); got != DefaultRules() {
		t.Errorf("%+v", got)
	}
	own := Rules{Bad: 1, Good: 2, Quiet: 3, Trials: 4, Attempts: 5, Relapse: 6, Senders: 7, Span: 8, Relief: 9, Ease: 10}
	if got := own.filled(); got != own {
		t.Errorf("%+v", got)
	}
	sig := Signal{At: start, Source: SourceProbe, Class: Outage}
	if got := (Rules{Bad: 1}).Next(Status{State: Up}, Window{}.Add(sig, time.Minute), sig); got.State != Down {
		t.Errorf("one bad round, and one is enough: %v", got.State)
	}
}
