package configs

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Admin says who besides the operators of this machine may ask.
type Admin struct{ Vantage VantageServer }

// VantageServer is where other relays may ask what this one sees of its
// upstreams. Files that are "" are none.
type VantageServer struct {
	Listen           string // "ip:port"; "" is nowhere
	Certificate, Key string
	TokenFile        string
}

// Look says how often something is looked at.
type Look struct {
	Every   time.Duration
	Jitter  float64 // share of each wait
	Timeout time.Duration
}

// LookFrom is a Look from an address of ours.
type LookFrom struct {
	Look
	SourceAddress netip.Addr // the zero Addr is any
}

// Surroundings is what is looked at besides the upstreams themselves.
type Surroundings struct {
	Control  Control
	DNS      NameLook
	HTTPS    []Page
	Vantages []Vantage
	Public   Public
}

// Control are targets outside that have nothing to do with the upstreams.
type Control struct {
	LookFrom
	Targets []string // "host:port"; none: it is off
}

// NameLook is a look at the names of the upstreams.
type NameLook struct {
	LookFrom
	Servers []string // "ip:port", besides those of dns.servers
}

// Page is a web address.
type Page struct {
	LookFrom
	URL string
	CA  string // file; "" is the system's
}

// Vantage is another relay that sees the same upstreams.
type Vantage struct {
	LookFrom
	Name      string
	URL       string
	CA        string // file; "" is the system's
	TokenFile string
}

// Public is what a provider says of itself.
type Public struct {
	LookFrom
	Feed    string // URL; "" is none
	CA      string // file; "" is the system's
	Service string // in Graph
	Graph   GraphApp
}

// GraphApp is an application of a tenant. Without a tenant there is none.
type GraphApp struct {
	Tenant, Client   string
	Secret           string // file, or
	Certificate, Key string // files
	Login, Graph     string // URLs of the cloud
}

// Canary is a message that is delivered to one mailbox again and again.
type Canary struct {
	Look             // its source address is that of the upstream
	Recipient string // "" is none
	From      string // of its header; "" is postmaster at our host name
}

func defaultSurroundings() Surroundings {
	return Surroundings{
		Control: Control{LookFrom: LookFrom{Look: Look{Every: 10 * time.Second, Jitter: 0.1, Timeout: 5 * time.Second}}},
		DNS:     NameLook{LookFrom: LookFrom{Look: Look{Every: time.Minute, Jitter: 0.1, Timeout: 10 * time.Second}}},
		Public: Public{LookFrom: LookFrom{Look: Look{Every: 5 * time.Minute, Jitter: 0.1, Timeout: 30 * time.Second}}, Service: "Exchange Online",
			Graph: GraphApp{Login: "https://login.microsoftonline.com", Graph: "https://graph.microsoft.com"}},
	}
}

// DefaultPage is a page without an address.
func DefaultPage() Page {
	return Page{LookFrom: LookFrom{Look: Look{Every: time.Minute, Jitter: 0.1, Timeout: 10 * time.Second}}}
}

// DefaultVantage is a vantage point without name and address.
func DefaultVantage() Vantage {
	return Vantage{LookFrom: LookFrom{Look: Look{Every: 20 * time.Second, Jitter: 0.1, Timeout: 10 * time.Second}}}
}

func (a *Admin) fields() []field {
	v := &a.Vantage
	return []field{section("vantage",
		scalar("listen", &v.Listen, text("an address to listen at", "192.0.2.7:8026"), optional(listenAddress)),
		file("certificate", &v.Certificate),
		file("key", &v.Key),
		file("token_file", &v.TokenFile))}
}

func (l *Look) fields() []field {
	return []field{
		duration("every", &l.Every, moment, day),
		fraction("jitter", &l.Jitter, 0, 0.9),
		duration("timeout", &l.Timeout, moment, time.Hour),
	}
}

// sourced is fields, for what does not go the way of an upstream.
func (l *LookFrom) sourced() []field {
	return append(l.fields(), address("source_address", &l.SourceAddress))
}

func (s *Surroundings) fields() []field {
	p, g := &s.Public, &s.Public.Graph
	return []field{
		section("control", append(s.Control.sourced(),
			list("targets", &s.Control.Targets, text("a host with its port", "mx.provider.example:25"), hostPort))...),
		section("dns", append(s.DNS.sourced(),
			list("servers", &s.DNS.Servers, text("an IP address with a port", "192.0.2.53:53"), serverAddress))...),
		mappings("https", "url", "", &s.HTTPS, DefaultPage(), (*Page).fields),
		mappings("vantages", "url", "", &s.Vantages, DefaultVantage(), (*Vantage).fields),
		section("public", append(p.sourced(),
			scalar("feed", &p.Feed, text("the URL of a feed", "https://status.cloud.microsoft/api/feed/mac"), optional(pageURL)),
			file("ca", &p.CA),
			scalar("service", &p.Service, text("the name of a service", "Exchange Online"), serviceName),
			section("graph",
				scalar("tenant", &g.Tenant, text("the id or a domain of the tenant", "corp.onmicrosoft.com"), optional(graphID)),
				scalar("client", &g.Client, text("the id of the application", "00001111-aaaa-2222-bbbb-3333cccc4444"), optional(graphID)),
				file("secret", &g.Secret),
				file("certificate", &g.Certificate),
				file("key", &g.Key),
				scalar("login", &g.Login, text("a URL", "https://login.microsoftonline.com"), cloudURL),
				scalar("graph", &g.Graph, text("a URL", "https://graph.microsoft.com"), cloudURL)))...),
	}
}

func (p *Page) fields() []field {
	return append(p.sourced(),
		scalar("url", &p.URL, text("a URL", "https://portal.example/"), optional(pageURL)),
		file("ca", &p.CA))
}

func (v *Vantage) fields() []field {
	return append(v.sourced(),
		scalar("name", &v.Name, text("a name", "mx3"), optional(upstreamName)),
		scalar("url", &v.URL, text("https:// and a host", "https://mx3.corp.example:8026"), optional(relayURL)),
		file("ca", &v.CA),
		file("token_file", &v.TokenFile))
}

func (c *Canary) fields() []field {
	return append(c.Look.fields(),
		scalar("recipient", &c.Recipient, text("an address", "canary@corp.example"), optional(mailbox)),
		scalar("from", &c.From, text("an address", "postmaster@corp.example"), optional(mailbox)))
}

// hostPort is a name or an address, with a port.
func hostPort(s string) verdict {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if _, wrong := netip.ParseAddr(host); err != nil || port == "0" || wrong != nil && domainName(host).message != "" {
		return verdict{fmt.Sprintf("%q is not a host with its port", s), "Write it like mx.provider.example:25 or 192.0.2.7:443"}
	}
	return verdict{}
}

// pageURL is one that can be asked for.
func pageURL(s string) verdict {
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return verdict{fmt.Sprintf("%q is not https:// and a host, with or without a path", s), "Write it like https://portal.example/"}
	}
	return verdict{}
}

// relayURL is where another relay is asked.
func relayURL(s string) verdict {
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" || s != "https://"+u.Host {
		return verdict{fmt.Sprintf("%q is not https:// and a host", s), "Write it like https://mx3.corp.example:8026"}
	}
	return verdict{}
}

func serviceName(s string) verdict {
	if s == "" || len(s) > 100 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return verdict{fmt.Sprintf("%.100q is not the name of a service", s), "Write it like Exchange Online"}
	}
	return verdict{}
}

func (c *Config) checkSurroundings(say report) {
	v := c.Admin.Vantage
	checkPair(v.Certificate, v.Key, say, "admin.vantage")
	for _, f := range []struct{ key, value string }{{"certificate", v.Certificate}, {"token_file", v.TokenFile}} {
		switch {
		case v.Listen != "" && f.value == "":
			say("admin.vantage."+f.key, "it is missing", "Write "+f.key+": and a file, or take listen out")
		case v.Listen == "" && f.value != "":
			say("admin.vantage."+f.key, "it has no use where nothing listens", "Write listen: and an address, or take it out")
		}
	}
	for i, p := range c.Health.HTTPS {
		if p.URL == "" {
			say(fmt.Sprintf("health.https[%d].url", i), "it is missing", "Write url: and an address, like https://portal.example/")
		}
	}
	names := map[string]bool{}
	for i, one := range c.Health.Vantages {
		path := fmt.Sprintf("health.vantages[%d]", i)
		for _, f := range []struct{ key, value, like string }{{"name", one.Name, "mx3"}, {"url", one.URL, "https://mx3.corp.example:8026"},
			{"token_file", one.TokenFile, "/etc/mxkeep/vantage.token"}} {
			if f.value == "" {
				say(path+"."+f.key, "it is missing", "Write it like "+f.key+": "+f.like)
			}
		}
		if names[one.Name] && one.Name != "" {
			say(path+".name", "another vantage point has the name "+one.Name, "Give each its own")
		}
		names[one.Name] = true
	}
	c.checkGraph(say)
}

func (c *Config) checkGraph(say report) {
	g, path := c.Health.Public.Graph, "health.public.graph"
	checkPair(g.Certificate, g.Key, say, path)
	if g.Tenant == "" {
		for _, f := range []struct{ key, value string }{{"client", g.Client}, {"secret", g.Secret}, {"certificate", g.Certificate}} {
			if f.value != "" {
				say(path+"."+f.key, "it has no use without a tenant", "Write tenant: and the id of the tenant, or take it out")
			}
		}
		return
	}
	if g.Client == "" {
		say(path+".client", "it is missing", "Write client: and the id of the application that may read service health")
	}
	switch {
	case g.Secret == "" && g.Certificate == "" && g.Key == "":
		say(path+".secret", "there is no secret, and no certificate", "Write secret: and the file of the client secret, or certificate: and key:")
	case g.Secret != "" && g.Certificate != "":
		say(path+".secret", "there is a certificate as well", "Keep one of the two")
	}
}

// checkCanary finds a mailbox that the upstream does not have.
func checkCanary(c Canary, domains []string, say report, path string) {
	if _, domain, found := strings.Cut(c.Recipient, "@"); found && len(domains) > 0 && !slices.Contains(domains, strings.ToLower(domain)) {
		say(path+".recipient", domain+" is not a domain of this upstream, which would refuse it", "Take an address at "+strings.Join(domains, " or "))
	}
}
