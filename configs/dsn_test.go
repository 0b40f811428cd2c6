package configs

import (
	"strings"
	"testing"
	"time"
)

const smarthost = `hostname: mx2.corp.example
domain: {name: corp.example, upstream: exo}
upstreams:
  - {name: exo, hosts: mx.corp.example}
`

func TestDSN(t *testing.T) {
	for text, want := range map[string][]string{
		with("dsn: {}\n"):         nil,
		with("dsn: {via: off}\n"): nil,
		with("dsn: {via: internet, delay: 4h, probation: 0s, per_sender: 0, from: postmaster@corp.example}\n"): nil,
		with("dsn: {via: primary}\n"):                  nil,
		with("dsn: {via: smarthost}\n"):                {`4:12 dsn.via: there is no upstream "smarthost"; one of off, internet, primary`},
		with("dsn: {via: primar}\n"):                   {`4:12 dsn.via: there is no upstream "primar"; Take primary`},
		with("dsn: {via: ''}\n"):                       {`4:7 dsn.via: "" is not a name`},
		with("dsn: {from: postmaster@corp.example}\n"): {`4:13 dsn.from: no use; via:`},
		with("dsn: {via: internet, from: x}\n"):        {`4:28 dsn.from: "x" is not an address`},
		with("dsn: {delay: 31d}\n"):                    {`4:14 dsn.delay: out of range`},
		with("dsn: {probation: 31d}\n"):                {`4:18 dsn.probation: out of range`},
		with("dsn: {per_sender: -1}\n"):                {`4:19 dsn.per_sender: out of range`},
		smarthost + "  - {name: out, hosts: out.example, probe: {recipient: p@out.example}}\ndsn: {via: out}\n": nil,
		smarthost + "  - {name: out, hosts: out.example}\ndsn: {via: out}\n":                                    {`5:5 upstreams[1].probe.recipient: missing; recipient:`},
		smarthost + "  - {name: out, hosts: out.example, probe: {recipient: p@out.example}}\n":                  {`5:5 upstreams[1]: no domain has the upstream out`},
		smarthost + "  - {name: internet, hosts: out.example}\ndsn: {via: internet}\n":                          {`5:12 upstreams[1].name: means something else; another name`},
	} {
		_, err := Parse("f.yaml", []byte(text))
		t.Run(strings.TrimPrefix(text, three), func(t *testing.T) { wantProblems(t, err, want...) })
	}
}

func TestSpike(t *testing.T) {
	head := strings.Replace(three, "upstream: corp", "upstream: {hosts: corp", 1)
	head = strings.TrimSuffix(head, "\n") + ", spike: "
	c, err := Parse("f.yaml", []byte(head+"{share: 0.5, least: 3, window: 1h, patience: 2h}}\n"))
	if err != nil || c.Upstreams[0].Spike != (Spike{0.5, 3, time.Hour, 2 * time.Hour}) {
		t.Errorf("%+v, %v", c.Upstreams, err)
	}
	_, err = Parse("f.yaml", []byte(head+"{share: 0, least: 0, window: 1s, patience: 1s}}\n"))
	wantProblems(t, err, "3:76 upstream.spike.share: out of range", "3:86 upstream.spike.least: out of range",
		"3:97 upstream.spike.window: out of range", "3:111 upstream.spike.patience: out of range")
}
