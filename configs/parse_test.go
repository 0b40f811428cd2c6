package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// wantProblems wants these and no others, in this order: "line:column key: part
// of the message; part of the next step".
func wantProblems(t *testing.T, err error, want ...string) {
	t.Helper()
	var got Problems
	if err != nil && !errors.As(err, &got) {
		t.Fatalf("error %T %v, want Problems", err, err)
	}
	for i, p := range got {
		if p.Message == "" || p.Next == "" {
			t.Errorf("no message or no next step: %+v", p)
		}
		if i >= len(want) {
			t.Errorf("one too many: %v", p)
			continue
		}
		head, rest, _ := strings.Cut(want[i], ": ")
		message, next, _ := strings.Cut(rest, "; ")
		if head != fmt.Sprintf("%d:%d %s", p.Line, p.Column, p.Key) || !strings.Contains(p.Message, message) || !strings.Contains(p.Next, next) {
			t.Errorf("got  %d:%d %s: %s; %s\nwant %s", p.Line, p.Column, p.Key, p.Message, p.Next, want[i])
		}
	}
	for _, w := range want[min(len(got), len(want)):] {
		t.Errorf("missing: %s", w)
	}
}

// with is the minimal file, and more lines.
func with(lines string) string { return three + lines }

func TestValues(t *testing.T) {
	c, err := Parse("f.yaml", []byte(`
hostname: MX2.Corp.Example.
domains:
  - Corp.Example
  - {name: lab.example, upstream: lab}
  - name: eu.corp.example
    upstream: primary
upstreams:
  - name: primary
    hosts: [A.Corp.Example, 192.0.2.25, "192.0.2.26:2525", "[2001:db8::25]:25", 2001:db8::26]
    port: 587
    tls: {policy: opportunistic, certificate: c.pem, key: k.pem}
    source_address: ""
    private_networks: [10.1.0.0/16, fd00::/8]
    timeouts: {connect: 1s, final: 20m}
    delivery: {attempt: 1h}
    probe: {every: 1h30m, jitter: 0, recipient: "probe@EU.corp.example"}
  - {name: lab, hosts: 192.0.2.99, source_address: "::ffff:192.0.2.7", tls: {policy: none}}
inbound:
  listen: 127.0.0.1:2525
  min_free: 1 GiB
  limits: {message_size: 64KiB}
  timeouts: {greeting: 0s}
queue:
  schedule: {factor: 1.5}
  lifetime: 1d12h
dns: {servers: ["127.0.0.1:5353", "[::1]:53"]}
http: {listen: ""}
`))
	wantProblems(t, err, "4:5 domains[0].upstream: not said which; one of primary, lab")
	want := Default()
	want.Hostname = "mx2.corp.example"
	want.Domains = []Domain{DefaultDomain(), DefaultDomain(), DefaultDomain()}
	want.Domains[0].Name = "corp.example"
	want.Domains[1].Name, want.Domains[1].Upstream = "lab.example", "lab"
	want.Domains[2].Name, want.Domains[2].Upstream = "eu.corp.example", "primary"
	a, b := DefaultUpstream(), DefaultUpstream()
	a.Name, a.Port = "primary", 587
	a.Hosts = []string{"a.corp.example", "192.0.2.25", "192.0.2.26:2525", "[2001:db8::25]:25", "2001:db8::26"}
	a.TLS = TLS{Policy: TLSOpportunistic, Certificate: "c.pem", Key: "k.pem"}
	a.PrivateNetworks = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}
	a.Timeouts.Connect, a.Timeouts.Final = time.Second, 20*time.Minute
	a.Delivery.Attempt = time.Hour
	a.Probe.Every, a.Probe.Jitter, a.Probe.Recipient = 90*time.Minute, 0, "probe@EU.corp.example"
	b.Name, b.Hosts, b.SourceAddress, b.TLS.Policy = "lab", []string{"192.0.2.99"}, netip.MustParseAddr("192.0.2.7"), TLSNone
	want.Upstreams = []Upstream{a, b}
	want.Inbound.Listen = []string{"127.0.0.1:2525"}
	want.Inbound.MinFree, want.Inbound.Limits.MessageSize, want.Inbound.Timeouts.Greeting = 1<<30, 64<<10, 0
	want.Queue.Schedule.Factor, want.Queue.Lifetime = 1.5, 36*time.Hour
	want.DNS.Servers, want.HTTP.Listen = []string{"127.0.0.1:5353", "[::1]:53"}, ""
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got\n%+v, want\n%+v", c, want)
	}
}

func TestEverythingAtOnce(t *testing.T) {
	_, err := Parse("f.yaml", []byte(`hostnam: mx2.corp.example
domain: [corp.example]
upstream:
  hosts: mx.corp.example
  tls: {policy: requird, ca: x.pem}
  prob: {every: 5s}
inbound:
  limits:
    sessions: 10
    sessions: 5
    message_size: 100
  timeouts: 5m
queue:
  lifetime: 31d
`))
	wantProblems(t, err,
		"1:1 hostnam: no such key; Did you mean hostname?",
		"1:1 hostname: it is missing; mx2.corp.example",
		"2:9 domain: want keys, not a list; name: ...",
		"5:17 upstream.tls.policy: \"requird\" is not one of required, opportunistic, none; Take required",
		"6:3 upstream.prob: no such key; Did you mean probe?",
		"10:5 inbound.limits.sessions: on line 9 already; Keep one",
		"11:19 inbound.limits.message_size: want a size with its unit, not \"100\"; 64KiB",
		"12:13 inbound.timeouts: want keys, not \"5m\"; greeting: ...",
		"14:13 queue.lifetime: 31d is out of range; Take 1ms to 30d")
}

func TestNoYAML(t *testing.T) {
	missing := []string{"1:1 hostname: missing", "1:1 domains: missing", "1:1 upstreams: missing"}
	for text, want := range map[string][]string{
		"":                             missing,
		"# nothing\n":                  missing,
		"~\n":                          missing,
		"a: [1\n":                      {"2:1 : not YAML: while parsing a flow sequence that begins on line 1: did not find; quotes"},
		"a: b: c\n":                    {"1:5 : not YAML: mapping values are not allowed; quotes"},
		"\ta: 1\n":                     {"1:1 : not YAML"},
		"a: 1\n---\nb: 2\n":            {"0:0 : more than one document; ---"},
		"a: *nobody\n":                 {"1:4 : unknown anchor"},
		"a: \"\x01\"\n":                {"0:0 : control characters"},
		"- a\n":                        {"1:1 : want keys, not a list; hostname: ..."},
		"text\n":                       {"1:1 : want keys, not \"text\""},
		with("[a]: b\n"):               {"4:1 : want a key, not a list; KEY: VALUE"},
		with("log: &x {}\nhttp: *x\n"): {"5:7 http: want keys, not the alias *x"},
		with("<<: {log: {}}\n"):        {"4:1 <<: no such key; There are hostname, domain"},
	} {
		_, err := Parse("f.yaml", []byte(text))
		t.Run(text, func(t *testing.T) { wantProblems(t, err, want...) })
	}
}

func TestWrongValues(t *testing.T) {
	for lines, want := range map[string]string{
		"data: ''\n":                                           `4:1 data: missing`,
		"data:\n":                                              `4:6 data: want the path of a file, not nothing`,
		"data: \"a\\tb\"\n":                                    `4:7 data: "a\tb" is not a path`,
		"socket: ''\n":                                         `4:1 socket: missing`,
		"socket: [a]\n":                                        `4:9 socket: want the path of a file, not a list`,
		"socket: {a: b}\n":                                     `4:9 socket: want the path of a file, not keys`,
		"http: {listen: 8025}\n":                               `4:16 http.listen: want an address to listen at, not "8025"`,
		"http: {listen: \"8025\"}\n":                           `4:16 http.listen: "8025" is not an address; :25`,
		"http: {listen: localhost:1}\n":                        `4:16 http.listen: not an address`,
		"http: {listen: \":70000\"}\n":                         `4:16 http.listen: not an address`,
		"http: {listen: \":25\"}\n":                            `4:16 http.listen: something else is to listen at :25`,
		"inbound: {role: both}\n":                              `4:17 inbound.role: "both" is not one of fallback, front; Take one of them`,
		"inbound: {when_up: hold}\n":                           `4:20 inbound.when_up: "hold" is not one of defer, pass; Take one of them`,
		"inbound: {when_busy: ''}\n":                           `4:11 inbound.when_busy: "" is not one of take, defer; Take one of them`,
		"log: {level: verbose}\n":                              `4:14 log.level: "verbose" is not one of debug, info, warn, error; Take one of them`,
		"log: {format: jsonl}\n":                               `4:15 log.format: not one of text, json; Take json`,
		"inbound: {listen: []}\n":                              `4:11 inbound.listen: it is missing`,
		"inbound: {listen: [25]}\n":                            `4:20 inbound.listen[0]: want an address to listen at, not "25"`,
		"inbound: {listen: [\":25\", \":25\"]}\n":              `4:27 inbound.listen[1]: something else is to listen at :25`,
		"inbound: {key: k}\n":                                  `4:16 inbound.key: a key without its certificate`,
		"inbound: {certificate: c}\n":                          `4:24 inbound.certificate: a certificate without its key`,
		"inbound: {min_free: -1KiB}\n":                         `4:21 inbound.min_free: want a size`,
		"inbound: {limits: {sessions: 0}}\n":                   `4:30 inbound.limits.sessions: 0 is out of range; Take 1 to`,
		"inbound: {limits: {sessions: many}}\n":                `4:30 inbound.limits.sessions: want a whole number, not "many"`,
		"inbound: {limits: {sessions: '5'}}\n":                 `4:30 inbound.limits.sessions: want a whole number, not "5"`,
		"inbound: {limits: {sessions: 1.5}}\n":                 `4:30 inbound.limits.sessions: want a whole number`,
		"inbound: {limits: {recipients: 99}}\n":                `4:32 inbound.limits.recipients: 99 is out of range; Take 100 to 10000`,
		"inbound: {limits: {message_size: 300MiB}}\n":          `1:1 queue.generation_size: 256MiB are fewer than a message may have, which are 300MiB; inbound.limits.message_size`,
		"inbound: {limits: {sessions_per_network: 0}}\n":       `4:42 inbound.limits.sessions_per_network: 0 is out of range; Take 1 to`,
		"inbound: {limits: {tarpit_after: 0}}\n":               `4:34 inbound.limits.tarpit_after: 0 is out of range; Take 1 to`,
		"inbound: {timeouts: {tarpit: 31s}}\n":                 `4:30 inbound.timeouts.tarpit: 31s is out of range; Take 0s to 30s`,
		"inbound: {rates: {per_address: {connections: -1}}}\n": `4:46 inbound.rates.per_address.connections: -1 is out of range; Take 0 to`,
		"inbound: {rates: {per_network: {bytes: 5}}}\n":        `4:40 inbound.rates.per_network.bytes: want a size with its unit`,
		"inbound: {rates: {all: {messages: many}}}\n":          `4:35 inbound.rates.all.messages: want a whole number`,
		"inbound: {rates: {all: {burst: 1}}}\n":                `4:25 inbound.rates.all.burst: there is no such key`,
		"inbound: {dns_lists: {block: [a..b]}}\n":              `4:31 inbound.dns_lists.block[0]: "a..b" is not a domain name`,
		"inbound: {dns_lists: {allow: [a b.example]}}\n":       `4:31 inbound.dns_lists.allow[0]: "a b.example" is not a domain name`,
		"inbound: {dns_lists: {action: drop}}\n":               `4:31 inbound.dns_lists.action: "drop" is not one of defer, reject`,
		"inbound: {dns_lists: {timeout: 0s}}\n":                `4:32 inbound.dns_lists.timeout: 0s is out of range`,
		"inbound: {greylist: {delay: 2h}}\n":                   `4:29 inbound.greylist.delay: 2h is out of range; Take 0s to 1h`,
		"inbound: {greylist: {keep: 1s}}\n":                    `4:28 inbound.greylist.keep: 1s is out of range; Take 1h to 365d`,
		"inbound: {proxies: [10.0.0.1/8]}\n":                   `4:21 inbound.proxies[0]: an address within a network; Write 10.0.0.0/8`,
		"inbound: {trusted: [10.0.0.1]}\n":                     `4:21 inbound.trusted[0]: want a network`,
		"inbound: {timeouts: {idle: 5}}\n":                     `4:28 inbound.timeouts.idle: want a time with its unit, not "5"; 90s, 5m or 5d`,
		"inbound: {timeouts: {idle: -5s}}\n":                   `4:28 inbound.timeouts.idle: want a time`,
		"inbound: {timeouts: {idle: 0s}}\n":                    `4:28 inbound.timeouts.idle: 0s is out of range; Take 1ms to 1d`,
		"queue: {schedule: {first: 2h}}\n":                     `4:27 queue.schedule.first: 2h is longer than max, which is 1h`,
		"queue: {schedule: {factor: .nan}}\n":                  `4:28 queue.schedule.factor: want a number`,
		"queue: {schedule: {factor: 0.5}}\n":                   `4:28 queue.schedule.factor: 0.5 is out of range; Take 1 to 100`,
		"queue: {schedule: {jitter: yes}}\n":                   `4:28 queue.schedule.jitter: want a number, not "yes"`,
		"queue: {max_bytes: 1GB}\n":                            `4:20 queue.max_bytes: want a size with its unit, not "1GB"; 64KiB`,
		"queue: {max_bytes: 149MiB}\n":                         `4:20 queue.max_bytes: 149MiB are fewer than one message may have, which are 150MiB: it would never be taken; inbound.limits.message_size`,
		"queue: {max_messages: -1}\n":                          `4:23 queue.max_messages: -1 is out of range; Take 0 to`,
		"queue: {max_messages: 9223372036854775808}\n":         `4:23 queue.max_messages: want a whole number`,
		"dns: {servers: [192.0.2.53]}\n":                       `4:17 dns.servers[0]: not an IP address with a port; 192.0.2.53:53`,
		"dns: {servers: [\"dns.example:53\"]}\n":               `4:17 dns.servers[0]: not an IP address with a port`,
		"dns: {servers: [\"192.0.2.53:0\"]}\n":                 `4:17 dns.servers[0]: not an IP address with a port`,
		"dns: {trusted: yes, tries: 1}\n":                      `4:16 dns.trusted: want true or false, not "yes"`,
		"dns: {tries: 11}\n":                                   `4:14 dns.tries: out of range`,
		"upstreams: [b.example]\n":                             `4:1 upstreams: there is upstream as well; Keep one`,
		"domains: [b.example]\n":                               `4:1 domains: there is domain as well; Keep one`,
		"log: {" + strings.Repeat("x", 200) + ": 1}\n":         `4:7 log.` + strings.Repeat("x", 200) + `: no such key; There are level, format`,
		"queue: {lifetme: 5d}\nlog: {levels: info}\n#\n":       "4:9 queue.lifetme: no such key; Did you mean lifetime?\n5:7 log.levels: no such key; Did you mean level?",
	} {
		_, err := Parse("f.yaml", []byte(with(lines)))
		t.Run(lines, func(t *testing.T) { wantProblems(t, err, strings.Split(want, "\n")...) })
	}
}

func TestUpstreams(t *testing.T) {
	for upstream, want := range map[string]string{
		"upstream:":                       `3:10 upstream: want a host, not nothing`,
		"upstream: {}":                    `3:1 upstream.hosts: 0 hosts; one to ten`,
		"upstream: [mx.corp.example]":     `3:11 upstream: want keys, not a list`,
		"upstreams: mx.corp.example":      `3:12 upstreams: want a list, not "mx.corp.example"; or write upstream:`,
		"upstreams: []":                   `3:1 upstreams: it is missing`,
		"upstream: a b":                   `3:11 upstream.hosts[0]: "a b" is not a host`,
		"upstream: 192.0.2.300":           `3:11 upstream.hosts[0]: not a host`,
		"upstream: {hosts: 'mx:'}":        `3:19 upstream.hosts[0]: "mx:" is not a host`,
		"upstream: mx.corp.example:70000": `3:11 upstream.hosts[0]: not a host`,
		"upstream: bücher.example":        `3:11 upstream.hosts[0]: not a host`,
		"upstream: mx2.corp.example":      `3:11 upstream.hosts[0]: is this relay`,
		"upstream: {hosts: [" + strings.Repeat("a.example, ", 11) + "]}":                                                        `3:12 upstream.hosts: 11 hosts`,
		"upstream: {hosts: a.example, name: a b}":                                                                               `3:36 upstream.name: not a name for an upstream`,
		"upstream: {hosts: a.example, port: 0}":                                                                                 `3:36 upstream.port: out of range`,
		"upstream: {hosts: a.example, source_address: here}":                                                                    `3:46 upstream.source_address: want an IP address, not "here"`,
		"upstream: {hosts: [b.example, 192.0.2.1], source_address: '::1'}":                                                      `3:31 upstream.hosts[1]: cannot be reached from ::1`,
		"upstream: {hosts: a.example, queue: {max_bytes: 1B}}":                                                                  `3:49 upstream.queue.max_bytes: 1B are fewer than one message may have, which are 150MiB`,
		"queue: {max_bytes: 1GiB, max_messages: 5}\nupstream: {hosts: a.example, queue: {max_bytes: 1025MiB, max_messages: 6}}": "4:49 upstream.queue.max_bytes: 1025MiB are more than queue.max_bytes, which is 1GiB: it has no use\n4:72 upstream.queue.max_messages: 6 are more than queue.max_messages, which is 5: it has no use; Lower it",
		"upstream: {hosts: a.example, private_networks: 10.0.0.1}":                                                              `3:48 upstream.private_networks: want a network`,
		"upstream: {hosts: a.example, private_networks: [10.0.0.1/8]}":                                                          `3:49 upstream.private_networks[0]: an address within a network; Write 10.0.0.0/8`,
		"upstream: {hosts: a.example, tls: {policy: none, ca: c}}":                                                              `3:54 upstream.tls.ca: no use where nothing is encrypted`,
		"upstream: {hosts: a.example, tls: {policy: none, certificate: c, key: k}}":                                             "3:63 upstream.tls.certificate: no use\n3:71 upstream.tls.key: no use",
		"upstream: {hosts: a.example, tls: {policy: opportunistic, server_name: c}}":                                            `3:72 upstream.tls.server_name: no use where no certificate is verified`,
		"upstream: {hosts: a.example, tls: {server_name: c..d}}":                                                                `3:49 upstream.tls.server_name: not a domain name`,
		"upstream: {hosts: a.example, tls: {key: k}}":                                                                           `3:41 upstream.tls.key: a key without its certificate`,
		"upstream: {hosts: a.example, delivery: {recipients: 101}}":                                                             `3:53 upstream.delivery.recipients: out of range; Take 1 to 100`,
		"upstream: {hosts: a.example, delivery: {wait: 2m}}":                                                                    `3:47 upstream.delivery.wait: longer than max_wait, which is 1m`,
		"upstream: {hosts: a.example, timeouts: {final: 30m}}":                                                                  `3:1 upstream.delivery.attempt: 30m leaves no time for the last reply, which may take 30m`,
		"upstream: {hosts: a.example, probe: {every_bad: 30s}}":                                                                 `3:49 upstream.probe.every_bad: longer than every, which is 20s`,
		"upstream: {hosts: a.example, probe: {recipient: nobody}}":                                                              `3:49 upstream.probe.recipient: "nobody" is not an address`,
		"upstream: {hosts: a.example, probe: {recipient: 'a>b@corp.example'}}":                                                  `3:49 upstream.probe.recipient: not an address`,
		"upstream: {hosts: a.example, probe: {recipient: a@b.example}}":                                                         `3:49 upstream.probe.recipient: b.example is not a domain of this upstream; corp.example`,
		"upstream: {hosts: a.example, health: {bad: 0}}":                                                                        `3:44 upstream.health.bad: out of range`,
		"upstreams: [a.example, {hosts: b.example, name: b}]":                                                                   "2:9 domain.upstream: not said which\n3:13 upstreams[0].name: has no name",
		"upstreams: [{hosts: a.example, name: a}, {hosts: b.example, name: a}]":                                                 "2:9 domain.upstream: not said which\n3:67 upstreams[1].name: another upstream has the name a",
		"upstreams: [*x]": `3:13 : unknown anchor`,
	} {
		_, err := Parse("f.yaml", []byte("hostname: mx2.corp.example\ndomain: corp.example\n"+upstream+"\n"))
		t.Run(upstream, func(t *testing.T) { wantProblems(t, err, strings.Split(want, "\n")...) })
	}
	_, err := Parse("f.yaml", []byte("hostname: mx2.corp.example\ndomain: {name: corp.example, upstream: a}\nupstreams: [{hosts: a.example, name: a}, {hosts: b.example, name: b}]\n"))
	wantProblems(t, err, "3:42 upstreams[1]: no domain has the upstream b; upstream: b")
	_, err = Parse("f.yaml", []byte("hostname: mx2.corp.example\ndomain: corp.example\nupstream: {hosts: 127.0.0.1, port: 2525}\ninbound: {listen: '127.0.0.1:2525'}\n"))
	wantProblems(t, err, "3:19 upstream.hosts[0]: is this relay")
}

func TestDomains(t *testing.T) {
	for domains, want := range map[string]string{
		"domain: corp":             "", // a domain of a closed network may have no dot
		"domain:":                  `2:8 domain: want a domain, not nothing`,
		"domain: {}":               `2:1 domain.name: a domain without a name`,
		"domain: ''":               `2:1 domain.name: a domain without a name`,
		"domain: 5":                `2:9 domain: want a domain, not "5"`,
		"domain: bücher.example":   `2:9 domain.name: letters that the DNS has not; xn--`,
		"domain: '*.corp.example'": `2:9 domain.name: not a domain name`,
		"domain: " + strings.Repeat("a.", 127) + "example":    `2:9 domain.name: not a domain name`,
		"domain: {name: corp.example, upstream: primry}":      `2:40 domain.upstream: there is no upstream "primry"; Take primary`,
		"domain: {name: corp.example, upstream: exo}":         `2:40 domain.upstream: there is no upstream "exo"; one of primary`,
		"domains: corp.example":                               `2:10 domains: want a list, not "corp.example"; domain:`,
		"domains: []":                                         `2:1 domains: it is missing`,
		"domains: [corp.example]\ndomain: b.example":          `3:9 domain: there is domains as well`,
		"domains: [corp.example, lab.example, CORP.example.]": `2:38 domains[2].name: corp.example is in the list already`,
	} {
		_, err := Parse("f.yaml", []byte("hostname: mx2.corp.example\n"+domains+"\nupstream: mx.corp.example\n"))
		t.Run(domains, func(t *testing.T) {
			if want == "" {
				wantProblems(t, err)
				return
			}
			wantProblems(t, err, strings.Split(want, "\n")...)
		})
	}
}

func TestProblems(t *testing.T) {
	p := Problems{{"f.yaml", 4, 7, "log.level", "it is odd", "Change it"}, {"", 0, 0, "hostname", "it is missing", "Write it"}, {"f.yaml", 0, 0, "", "it is empty", "Fill it"}}
	want := "f.yaml:4:7: log.level: it is odd. Change it\nhostname: it is missing. Write it\nf.yaml: it is empty. Fill it"
	if p.Error() != want {
		t.Errorf("%s\nwant\n%s", p.Error(), want)
	}
	c := Default()
	wantProblems(t, c.Check(), "0:0 hostname: missing", "0:0 domains: missing", "0:0 upstreams: missing")
}

func TestUnits(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "5d": 5 * day, "1d12h": 36 * time.Hour, "0s": 0, "250ms": 250 * time.Millisecond,
		"1.5h": 90 * time.Minute, "0d": 0,
		"": -1, "0": -1, "5": -1, "-5s": -1, "+5s": -1, "d": -1, "5 d": -1, "-5d": -1, "1d-5h": -1, "1h5d": -1, "99999d": -1, "65535d9999999999999999h": -1, "5dd": -1, "s": -1,
		"65535d1000000h": -1,
	} {
		got, ok := parseDuration(s)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %v, want %v", s, got, want)
		}
		if ok {
			if again, ok := parseDuration(showDuration(got)); !ok || again != got {
				t.Errorf("%q is shown as %q", s, showDuration(got))
			}
		}
	}
	for s, want := range map[string]int64{
		"0B": 0, "512B": 512, "64KiB": 64 << 10, "150MiB": 150 << 20, "2 GiB": 2 << 30, "1TiB": 1 << 40,
		"": -1, "5": -1, "B": -1, "KiB": -1, "-1B": -1, "1.5MiB": -1, "1MB": -1, "1kib": -1, "9999999999TiB": -1,
	} {
		got, ok := parseSize(s)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %v, want %v", s, got, want)
		}
		if ok {
			if again, ok := parseSize(showSize(got)); !ok || again != got {
				t.Errorf("%q is shown as %q", s, showSize(got))
			}
		}
	}
	for d, want := range map[time.Duration]string{time.Hour: "1h", 90 * time.Minute: "1h30m", 10 * time.Second: "10s", 20 * time.Minute: "20m", 2 * day: "2d", 36 * time.Hour: "36h"} {
		if got := showDuration(d); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"hostnam", "hostname", 1}, {"tls", "tls", 0}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%s to %s: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(three))
	f.Add(Example())
	f.Add([]byte("domains: [a, {name: b}]\nupstreams:\n- hosts: [a]\n  tls: {policy: none}\n"))
	f.Add([]byte("? [a]\n: &x {<<: *x}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("f.yaml", text)
		if err == nil {
			if err := c.Check(); err != nil {
				t.Errorf("what Parse accepted, Check does not: %v", err)
			}
			return
		}
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("error %T %v", err, err)
		}
		for _, p := range problems {
			if p.Message == "" || p.Next == "" || p.Line < 0 {
				t.Errorf("%+v", p)
			}
		}
	})
}

func TestLimitsOfTheQueue(t *testing.T) {
	c, err := Parse("f.yaml", []byte("hostname: mx2.corp.example\ndomain: corp.example\nqueue: {max_messages: 1000000, max_bytes: 20GiB}\n"+
		"upstream: {hosts: mx.corp.example, queue: {max_messages: 400000, max_bytes: 8GiB}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Queue.MaxMessages != 1000000 || c.Queue.MaxBytes != 20<<30 || c.Upstreams[0].Queue != (Share{400000, 8 << 30}) {
		t.Errorf("%+v, %+v", c.Queue, c.Upstreams[0].Queue)
	}
}

// TestAdmission: a domain says what is different about it.
func TestAdmission(t *testing.T) {
	const file = "hostname: mx2.corp.example\nupstream: mx.corp.example\ninbound: %s\ndomain: {name: corp.example, %s}\n"
	for _, test := range []struct {
		inbound, domain string
		want            Admission
	}{
		{"{}", "role: ''", Admission{RoleFallback, WhenDefer, WhenTake}},
		{"{}", "when_up: pass, when_busy: defer", Admission{RoleFallback, WhenPass, WhenDefer}},
		{"{}", "role: front", Admission{RoleFront, WhenPass, WhenTake}},
		{"{role: front, when_busy: defer}", "when_busy: take", Admission{RoleFront, WhenPass, WhenTake}},
		{"{role: front}", "role: fallback", Admission{RoleFallback, WhenDefer, WhenTake}},
		{"{role: front}", "role: fallback, when_up: defer", Admission{RoleFallback, WhenDefer, WhenTake}},
		{"{when_up: pass}", "recipients: ''", Admission{RoleFallback, WhenPass, WhenTake}},
	} {
		c, err := Parse("f.yaml", fmt.Appendf(nil, file, test.inbound, test.domain))
		if err != nil {
			t.Errorf("%+v: %v", test, err)
		} else if got := c.AdmissionOf(c.Domains[0]); got != test.want {
			t.Errorf("%+v: %+v", test, got)
		}
	}
	for domain, want := range map[string]string{
		"role: front, when_up: defer": "4:52 domain.when_up: nobody to send its senders to; role: fallback",
		"role: back":                  `4:36 domain.role: "back" is not one of fallback, front`,
	} {
		_, err := Parse("f.yaml", fmt.Appendf(nil, file, "{}", domain))
		t.Run(domain, func(t *testing.T) { wantProblems(t, err, want) })
	}
	_, err := Parse("f.yaml", fmt.Appendf(nil, file, "{role: front}", "when_up: defer"))
	wantProblems(t, err, "4:39 domain.when_up: nobody to send its senders to")
}
