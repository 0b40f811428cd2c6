package primary

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Scenario is a part that the server can act. It is data: another one can be
// written down, or one of Scenarios be changed, without touching the server.
type Scenario struct {
	Name  string
	About string // what it does, for people: a sentence without its subject, the primary
	Down  bool   // nothing listens and every connection is cut; the ports stay the same
	Lacks string // extensions that EHLO does not offer, divided by blanks; the parameters of MAIL that they bring are errors
	Rules []Rule // the first that fits is followed; none is healthy
}

const (
	busyDirectory = "451 4.3.2 Temporary server error. Please try again later ATTR2 {where}"
	fullForest    = "421 4.3.2 The maximum number of concurrent connections per resource forest has exceeded a limit, " +
		"closing transmission channel PRX8 {where}"
	serverBusy     = "451 4.7.500 Server busy. Please try again later from {ip}. (S77714) {where}"
	unknownUser    = "550 5.4.1 [{rcpt}]: Recipient address rejected: Access denied AS(201806281) {where}"
	bannedAddress  = "550 5.7.606 Access denied, banned sending IP {ip} (AS16012609) {where}"
	lowOnResources = "452 4.3.1 Insufficient system resources {where}"
)

// parameter is what stands behind the = of a scenario's name.
type parameter struct {
	count int
	span  time.Duration
}

// script makes a scenario. Its usual parameter is a number or a length of time,
// and stands for {} in about; a script that has none takes none.
type script struct {
	name, usual, about string
	down               bool
	rules              func(parameter) []Rule
}

// scripts is the repertoire, in the order in which people read it.
var scripts = []script{
	{name: "healthy", about: "takes all mail for known recipients"},
	{name: "down", down: true, about: "refuses connections, and has cut those that ran"},
	{name: "blackhole", about: "accepts connections and never says a word; running sessions fall silent too",
		rules: fixed(Rule{Phase: Any, Act: Hang})},
	{name: "451-4.3.2", about: "refuses each recipient for now, as a global directory outage does (ATTR2)",
		rules: fixed(Rule{Phase: Rcpt, Act: Answer, Reply: busyDirectory})},
	{name: "421-forest", about: "turns each session away with 421 and closes it (PRX8)",
		rules: fixed(Rule{Phase: Connect, Act: AnswerClose, Reply: fullForest},
			Rule{Phase: Hello, Act: AnswerClose, Reply: fullForest},
			Rule{Phase: Mail, Act: AnswerClose, Reply: fullForest})},
	{name: "throttle", usual: "30", about: "takes {} recipients a minute, and answers 451 4.7.500 to the others",
		rules: func(p parameter) []Rule {
			return []Rule{{Phase: Rcpt, Act: Answer, Reply: serverBusy, When: When{Above: p.count, Window: time.Minute}}}
		}},
	{name: "5xx-burst", usual: "2m", about: "falsely refuses every recipient as unknown (550 5.4.1) for {}",
		rules: func(p parameter) []Rule {
			return []Rule{{Phase: Rcpt, Act: Answer, Reply: unknownUser, When: When{For: p.span}}}
		}},
	{name: "5xx-every", usual: "5", about: "falsely calls our address banned (550 5.7.606) at each recipient whose number {} divides",
		rules: func(p parameter) []Rule {
			return []Rule{{Phase: Rcpt, Act: Answer, Reply: bannedAddress, When: When{Every: p.count}}}
		}},
	{name: "lost-ack", usual: "3", about: "takes the first {} messages and cuts the line instead of saying so",
		rules: func(p parameter) []Rule {
			return []Rule{{Phase: Taken, Act: Cut, When: When{UpTo: p.count}}}
		}},
	{name: "lost-ack-every", usual: "5", about: "cuts the line instead of saying that it took a message, at each whose number {} divides",
		rules: func(p parameter) []Rule {
			return []Rule{{Phase: Taken, Act: Cut, When: When{Every: p.count}}}
		}},
	{name: "slow", usual: "2s", about: "waits {} before each reply",
		rules: func(p parameter) []Rule { return []Rule{{Phase: Any, Delay: p.span}} }},
	{name: "flap", usual: "30s", about: "takes mail for {}, then refuses it with 451 4.3.2 for {}, and so on",
		rules: func(p parameter) []Rule {
			return []Rule{{Phase: Rcpt, Act: Answer, Reply: busyDirectory, When: When{Alternate: p.span}}}
		}},
	{name: "tls-broken", about: "agrees to STARTTLS and then fails the handshake",
		rules: fixed(Rule{Phase: StartTLS, Act: BreakTLS})},
	{name: "tls-wrong-name", about: "shows a certificate for another host name",
		rules: fixed(Rule{Phase: StartTLS, Act: WrongName})},
	{name: "one-bad-host", about: "refuses each recipient for now, but only on the first address",
		rules: fixed(Rule{Phase: Rcpt, Act: Answer, Reply: busyDirectory, When: When{Address: 1}})},
}

func fixed(rules ...Rule) func(parameter) []Rule {
	return func(parameter) []Rule { return rules }
}

// Scenarios lists the repertoire, each with its usual parameter in its name.
func Scenarios() []Scenario {
	var all []Scenario
	for _, s := range scripts {
		scenario, err := s.scenario(s.usual)
		if err != nil {
			panic(err) // our own table is wrong
		}
		all = append(all, scenario)
	}
	return all
}

// Named makes the scenario of that name. A parameter may follow the name:
// throttle=10, slow=500ms, lost-ack=1.
func Named(text string) (Scenario, error) {
	name, given, found := strings.Cut(text, "=")
	for _, s := range scripts {
		if s.name != name {
			continue
		}
		if !found {
			given = s.usual
		}
		if found && s.usual == "" {
			return Scenario{}, fmt.Errorf("scenario %s has no parameter", name)
		}
		return s.scenario(given)
	}
	return Scenario{}, fmt.Errorf("no scenario %q; there are %s", name, strings.Join(names(), ", "))
}

func (s script) scenario(given string) (Scenario, error) {
	scenario := Scenario{Name: s.name, About: strings.ReplaceAll(s.about, "{}", given), Down: s.down}
	var p parameter
	if s.usual != "" {
		var err error
		if p, err = parse(given, s.usual); err != nil {
			return Scenario{}, fmt.Errorf("scenario %s: %w", s.name, err)
		}
		scenario.Name += "=" + given
	}
	if s.rules != nil {
		scenario.Rules = append(scenario.Rules, s.rules(p)...)
	}
	return scenario, nil
}

// parse reads a parameter of the kind that usual is of.
func parse(given, usual string) (p parameter, err error) {
	if _, err := strconv.Atoi(usual); err == nil {
		p.count, err = strconv.Atoi(given)
		if err != nil || p.count < 1 {
			return p, fmt.Errorf("want a number from 1 on, such as %s, not %q", usual, given)
		}
		return p, nil
	}
	p.span, err = time.ParseDuration(given)
	if err != nil || p.span <= 0 {
		return p, fmt.Errorf("want a length of time, such as %s, not %q", usual, given)
	}
	return p, nil
}

func names() []string {
	var all []string
	for _, s := range scripts {
		all = append(all, s.name)
	}
	return all
}
