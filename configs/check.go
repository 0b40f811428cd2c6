package configs

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Check finds what is wrong with a configuration that was put together by
// hand; Parse and Load check what they read. The error is Problems.
func (c Config) Check() error {
	var problems Problems
	c.check(defaults{}, func(path, message, next string) {
		problems = append(problems, Problem{Key: path, Message: message, Next: next})
	})
	return problems.sorted()
}

// complete names what has an evident name.
func (c *Config) complete() {
	if len(c.Upstreams) != 1 {
		return
	}
	if c.Upstreams[0].Name == "" {
		c.Upstreams[0].Name = "primary"
	}
	for i := range c.Domains {
		if c.Domains[i].Upstream == "" {
			c.Domains[i].Upstream = c.Upstreams[0].Name
		}
	}
}

func (c *Config) check(fresh defaults, say report) {
	checkAll(c.fields(fresh), say, "")
	c.checkPresence(say)
	c.checkDomains(say)
	c.checkInbound(say)
	c.checkQueue(say)
	c.checkARC(say)
	c.checkDSN(say)
	c.checkSurroundings(say)
	c.checkHistory(say)
	names := map[string]bool{}
	for i, u := range c.Upstreams {
		path := fmt.Sprintf("upstreams[%d]", i)
		if names[u.Name] && u.Name != "" {
			say(path+".name", "another upstream has the name "+u.Name, "Give each its own")
		}
		names[u.Name] = true
		c.checkUpstream(u, say, path)
		c.checkLoop(u, say, path)
		c.checkShare(u, say, path+".queue")
	}
}

func (c *Config) checkPresence(say report) {
	for _, v := range []struct {
		key     string
		missing bool
		next    string
	}{
		{"hostname", c.Hostname == "", "Write hostname: and our own name in the DNS, like mx2.corp.example"},
		{"domains", len(c.Domains) == 0, "Write domain: and the one to accept mail for, like corp.example"},
		{"upstreams", len(c.Upstreams) == 0, "Write upstream: and the host that takes its mail, like corp-example.mail.protection.outlook.com"},
		{"data", c.Data == "", "Write data: and a folder, like /var/lib/mxkeep"},
		{"socket", c.Socket == "", "Write socket: and a path, like /run/mxkeep/admin.sock"},
		{"inbound.listen", len(c.Inbound.Listen) == 0, `Write listen: [":25"] below inbound`},
	} {
		if v.missing {
			say(v.key, "it is missing", v.next)
		}
	}
}

func (c *Config) checkDomains(say report) {
	known := make([]string, len(c.Upstreams))
	for i, u := range c.Upstreams {
		known[i] = u.Name
	}
	seen := map[string]bool{}
	for i, d := range c.Domains {
		path := fmt.Sprintf("domains[%d]", i)
		switch {
		case d.Name == "":
			say(path+".name", "a domain without a name", "Write name: and the domain, like corp.example")
		case seen[d.Name]:
			say(path+".name", d.Name+" is in the list already", "Keep one of the two")
		}
		seen[d.Name] = true
		checkRecipients(d.Recipients, say, path+".recipients")
		checkAdmission(d.Admission, c.AdmissionOf(d).Role, say, path)
		switch {
		case len(known) == 0 || slices.Contains(known, d.Upstream) && d.Upstream != "":
		case d.Upstream == "":
			say(path+".upstream", "it is not said which upstream takes its mail", "Write upstream: and one of "+strings.Join(known, ", "))
		default:
			say(path+".upstream", fmt.Sprintf("there is no upstream %q", d.Upstream), "Take "+meant(d.Upstream, known, "one of "+strings.Join(known, ", ")))
		}
	}
}

// checkAdmission finds a choice that the role leaves no use for.
func checkAdmission(a Admission, role string, say report, path string) {
	if role == RoleFront && a.WhenUp == WhenDefer {
		say(path+".when_up", "a front has nobody to send its senders to: it passes mail on", "Take it out, or write role: fallback")
	}
}

func (c *Config) checkInbound(say report) {
	checkPair(c.Inbound.Certificate, c.Inbound.Key, say, "inbound")
	c.checkACME(say)
	checkFilters(c.Inbound.Filters, say, "inbound.filters")
	seen := map[string]bool{}
	listen := func(path, address string) {
		if seen[address] && !strings.HasSuffix(address, ":0") {
			say(path, "something else is to listen at "+address, "Take another address or port")
		}
		seen[address] = address != ""
	}
	for i, address := range c.Inbound.Listen {
		listen(fmt.Sprintf("inbound.listen[%d]", i), address)
	}
	listen("http.listen", c.HTTP.Listen)
	listen("admin.vantage.listen", c.Admin.Vantage.Listen)
	if c.Inbound.ACME.Directory != "" {
		listen("inbound.acme.listen", c.Inbound.ACME.Address())
	}
}

// checkACME finds what an account needs, and settings without one.
func (c *Config) checkACME(say report) {
	a := c.Inbound.ACME
	switch {
	case a.Directory == "" && (a.Email != "" || a.Listen != "" || a.CA != ""):
		say("inbound.acme.directory", "it is missing", "Write directory: and the URL of a certificate authority, or take acme out")
	case a.Directory == "":
	case c.Inbound.Certificate != "":
		say("inbound.acme.directory", "there is a certificate already, from files", "Take out certificate and key, or acme")
	case a.Email == "":
		say("inbound.acme.email", "it is missing", "Write email: and an address where the certificate authority reaches you")
	}
}

func (c *Config) checkQueue(say report) {
	q := &c.Queue
	if q.Schedule.First > q.Schedule.Max {
		say("queue.schedule.first", fmt.Sprintf("%s is longer than max, which is %s", showDuration(q.Schedule.First), showDuration(q.Schedule.Max)), "Shorten it, or lengthen max")
	}
	if q.GenerationSize < c.Inbound.Limits.MessageSize {
		say("queue.generation_size", fmt.Sprintf("%s are fewer than a message may have, which are %s", showSize(q.GenerationSize), showSize(c.Inbound.Limits.MessageSize)),
			"Raise it, or lower inbound.limits.message_size")
	}
	c.checkMost(q.MaxBytes, say, "queue.max_bytes")
}

// checkMost finds a limit that would keep single messages out for ever.
func (c *Config) checkMost(bytes int64, say report, path string) {
	if bytes > 0 && bytes < c.Inbound.Limits.MessageSize {
		say(path, fmt.Sprintf("%s are fewer than one message may have, which are %s: it would never be taken", showSize(bytes), showSize(c.Inbound.Limits.MessageSize)),
			"Raise it, or lower inbound.limits.message_size")
	}
}

// checkShare finds limits of one upstream that the limits of all make useless.
func (c *Config) checkShare(u Upstream, say report, path string) {
	c.checkMost(u.Queue.MaxBytes, say, path+".max_bytes")
	next := "Lower it, or raise the limit of all"
	if most := c.Queue.MaxBytes; most > 0 && u.Queue.MaxBytes > most {
		say(path+".max_bytes", fmt.Sprintf("%s are more than queue.max_bytes, which is %s: it has no use", showSize(u.Queue.MaxBytes), showSize(most)), next)
	}
	if most := c.Queue.MaxMessages; most > 0 && u.Queue.MaxMessages > most {
		say(path+".max_messages", fmt.Sprintf("%d are more than queue.max_messages, which is %d: it has no use", u.Queue.MaxMessages, most), next)
	}
}

func (c *Config) checkUpstream(u Upstream, say report, path string) {
	if u.Name == "" && len(c.Upstreams) > 1 {
		say(path+".name", "one of several upstreams has no name", "Write name: and one that the domains can say")
	}
	if n := len(u.Hosts); n < 1 || n > 10 {
		say(path+".hosts", fmt.Sprintf("%d hosts", n), "Write hosts: and one to ten")
	}
	domains := c.DomainsOf(u.Name)
	lost := slices.ContainsFunc(c.Domains, func(d Domain) bool {
		_, known := c.Upstream(d.Upstream)
		return !known || d.Upstream == ""
	})
	if len(domains) == 0 && len(c.Domains) > 0 && !lost && u.Name != c.DSN.Via { // one that is lost may be meant for this
		say(path, "no domain has the upstream "+u.Name, "Write upstream: "+u.Name+" at a domain, or take it out")
	}
	checkTLS(u.TLS, say, path+".tls")
	checkCanary(u.Canary, domains, say, path+".canary")
	for i, h := range u.Hosts {
		if h == byMX && len(domains) != 1 {
			say(fmt.Sprintf("%s.hosts[%d]", path, i), fmt.Sprintf("mx stands for the hosts of one domain, and there are %d", len(domains)), "Write mx: and the domain, like mx:corp.example")
		}
		host, _, _ := splitHost(h)
		literal, err := netip.ParseAddr(host)
		if source := u.SourceAddress; err == nil && source.IsValid() && source.Is4() != literal.Unmap().Is4() {
			say(fmt.Sprintf("%s.hosts[%d]", path, i), h+" cannot be reached from "+source.String()+": one is IPv4, the other IPv6", "Change source_address or the host")
		}
	}
	d, p := u.Delivery, u.Probe
	if d.Wait > d.MaxWait {
		say(path+".delivery.wait", showDuration(d.Wait)+" is longer than max_wait, which is "+showDuration(d.MaxWait), "Shorten it, or lengthen max_wait")
	}
	if d.Attempt <= u.Timeouts.Final {
		say(path+".delivery.attempt", fmt.Sprintf("%s leaves no time for the last reply, which may take %s", showDuration(d.Attempt), showDuration(u.Timeouts.Final)), "Lengthen it, or shorten timeouts.final")
	}
	if p.EveryBad > p.Every {
		say(path+".probe.every_bad", fmt.Sprintf("%s is longer than every, which is %s", showDuration(p.EveryBad), showDuration(p.Every)), "Shorten it: after a bad round the next is to come sooner")
	}
	if _, domain, found := strings.Cut(p.Recipient, "@"); found && len(domains) > 0 && !slices.Contains(domains, strings.ToLower(domain)) {
		say(path+".probe.recipient", domain+" is not a domain of this upstream, which would refuse it", "Take an address at "+strings.Join(domains, " or "))
	}
}

func checkTLS(t TLS, say report, path string) {
	checkPair(t.Certificate, t.Key, say, path)
	for _, v := range []struct{ key, value string }{{"server_name", t.ServerName}, {"ca", t.CA}, {"certificate", t.Certificate}, {"key", t.Key}} {
		switch {
		case v.value == "":
		case t.Policy == TLSNone:
			say(path+"."+v.key, "it has no use where nothing is encrypted", "Take it out, or change the policy")
		case t.Policy == TLSOpportunistic && (v.key == "ca" || v.key == "server_name"):
			say(path+"."+v.key, "it has no use where no certificate is verified", "Take it out, or write policy: required")
		}
	}
}

func checkPair(certificate, key string, say report, path string) {
	switch {
	case certificate != "" && key == "":
		say(path+".certificate", "a certificate without its key", "Write key: and the file of its key")
	case certificate == "" && key != "":
		say(path+".key", "a key without its certificate", "Write certificate: and the file of the certificate")
	}
}

// checkLoop finds hosts that are ourselves.
func (c *Config) checkLoop(u Upstream, say report, path string) {
	for i, h := range u.Hosts {
		host, port, _ := splitHost(h)
		if port == 0 {
			port = u.Port
		}
		address := net.JoinHostPort(host, fmt.Sprint(port))
		if host == c.Hostname && host != "" || slices.Contains(c.Inbound.Listen, address) {
			say(fmt.Sprintf("%s.hosts[%d]", path, i), h+" is this relay: mail would go in circles", "Write the host of the primary")
		}
	}
}
