package configs

import "time"

// The bounds that many keys share. A time of less than a millisecond is a slip,
// and so is one of more than a day where something is waited for.
const (
	moment = time.Millisecond
	large  = 1 << 20
)

// fields are the keys of the file, and where their values go.
func (c *Config) fields(fresh defaults) []field {
	domain, domains := elements("domain", "domains", "name", &c.Domains, fresh.domain, (*Domain).fields)
	upstream, upstreams := elements("upstream", "upstreams", "hosts", &c.Upstreams, fresh.upstream, (*Upstream).fields)
	return []field{
		scalar("hostname", &c.Hostname, name("our host name", "mx2.corp.example"), optional(hostName)),
		domain, domains, upstream, upstreams,
		file("data", &c.Data),
		file("socket", &c.Socket),
		scalar("user", &c.User, text("the name of a user", "mxkeep"), optional(userName)),
		section("http", scalar("listen", &c.HTTP.Listen, text("an address to listen at", "127.0.0.1:8025"), optional(listenAddress))),
		section("log",
			choice("level", &c.Log.Level, "debug", "info", "warn", "error"),
			choice("format", &c.Log.Format, "text", "json")),
		section("admin", c.Admin.fields()...),
		section("health", c.Health.fields()...),
		section("inbound", c.Inbound.fields()...),
		section("queue", c.Queue.fields()...),
		section("dsn", c.DSN.fields()...),
		section("incident", c.Incident.fields()...),
		section("history", c.History.fields()...),
		section("dns",
			list("servers", &c.DNS.Servers, text("an IP address with a port", "192.0.2.53:53"), serverAddress),
			yesNo("trusted", &c.DNS.Trusted),
			duration("timeout", &c.DNS.Timeout, moment, time.Minute),
			number("tries", &c.DNS.Tries, 1, 10)),
		section("auth",
			choice("verify", &c.Auth.Verify, Yes, No),
			scalar("authserv_id", &c.Auth.ID, name("a domain name of ours", "mx2.corp.example"), optional(domainName)),
			choice("received_spf", &c.Auth.ReceivedSPF, No, Yes),
			duration("timeout", &c.Auth.Timeout, moment, 30*time.Second),
			choice("dmarc", &c.Auth.DMARC, DMARCObserve, DMARCEnforce),
			choice("held_when_unauthenticated", &c.Auth.Held, No, Yes),
			section("arc",
				file("key", &c.Auth.ARC.Key),
				scalar("selector", &c.Auth.ARC.Selector, text("the name of the key in the DNS", "arc1"), optional(selectorName)),
				scalar("domain", &c.Auth.ARC.Domain, name("a domain of ours", "corp.example"), optional(domainName)),
				list("headers", &c.Auth.ARC.Headers, text("the name of a header field", "from"), sealedField))),
	}
}

func (r *Rate) fields() []field {
	return []field{
		number("connections", &r.Connections, 0, 1<<30),
		number("messages", &r.Messages, 0, 1<<30),
		number("recipients", &r.Recipients, 0, 1<<30),
		size("bytes", &r.Bytes, 0, 1<<50),
		number("bad_commands", &r.BadCommands, 0, 1<<30),
		number("bad_recipients", &r.BadRecipients, 0, 1<<30),
	}
}

func (i *Inbound) fields() []field {
	l, t := &i.Limits, &i.Timeouts
	return []field{
		list("listen", &i.Listen, text("an address to listen at", `":25"`), listenAddress),
		file("certificate", &i.Certificate),
		file("key", &i.Key),
		section("acme", i.ACME.fields()...),
		size("min_free", &i.MinFree, 1, 1<<50),
		choice("role", &i.Role, RoleFallback, RoleFront),
		choice("when_up", &i.WhenUp, WhenDefer, WhenPass),
		choice("when_busy", &i.WhenBusy, WhenTake, WhenDefer),
		section("limits",
			number("sessions", &l.Sessions, 1, large),
			number("sessions_per_address", &l.SessionsPerAddress, 1, large),
			number("sessions_per_network", &l.SessionsPerNetwork, 1, large),
			size("message_size", &l.MessageSize, 64<<10, 4<<30), // RFC 5321 4.5.3.1.7 asks for at least 64 KiB
			number("recipients", &l.Recipients, 100, 10000),     // RFC 5321 4.5.3.1.8 asks for at least 100
			number("refusals", &l.Refusals, 1, large),
			number("tarpit_after", &l.TarpitAfter, 1, large),
			number("received", &l.Received, 10, 1000),
			size("rate", &l.Rate, 1, 1<<30)),
		section("timeouts",
			duration("greeting", &t.Greeting, 0, time.Minute),
			duration("command", &t.Command, moment, day),
			duration("handshake", &t.Handshake, moment, day),
			duration("idle", &t.Idle, moment, day),
			duration("session", &t.Session, moment, day),
			duration("tarpit", &t.Tarpit, 0, 30*time.Second),
			duration("write", &t.Write, moment, day),
			duration("reverse_dns", &t.ReverseDNS, moment, time.Minute),
			duration("drain", &t.Drain, moment, time.Hour)),
		section("rates",
			section("per_address", i.Rates.PerAddress.fields()...),
			section("per_network", i.Rates.PerNetwork.fields()...),
			section("all", i.Rates.All.fields()...)),
		section("dns_lists",
			list("block", &i.Lists.Block, text("the zone of a list", "zen.spamhaus.org"), domainName),
			list("allow", &i.Lists.Allow, text("the zone of a list", "list.dnswl.org"), domainName),
			choice("action", &i.Lists.Action, ListDefer, ListReject),
			duration("timeout", &i.Lists.Timeout, moment, 30*time.Second)),
		section("greylist",
			duration("delay", &i.Greylist.Delay, 0, time.Hour),
			duration("keep", &i.Greylist.Keep, time.Hour, 365*day)),
		mappings("filters", "address", "", &i.Filters, DefaultFilter(), (*Filter).fields),
		networks("proxies", &i.Proxies),
		networks("trusted", &i.Trusted),
		section("returning",
			number("times", &i.Returning.Times, 1, 1000),
			duration("over", &i.Returning.Over, moment, day)),
	}
}

func (a *ACME) fields() []field {
	return []field{
		scalar("directory", &a.Directory, text("the URL of a directory", "https://acme-v02.api.letsencrypt.org/directory"), optional(secureURL)),
		scalar("email", &a.Email, text("an address", "postmaster@corp.example"), optional(mailbox)),
		choice("challenge", &a.Challenge, ChallengeHTTP, ChallengeTLS),
		scalar("listen", &a.Listen, text("an address to listen at", `":80"`), optional(listenAddress)),
		file("ca", &a.CA),
	}
}

func (d *Domain) fields() []field {
	return []field{
		scalar("name", &d.Name, name("a domain", "corp.example"), optional(domainName)),
		scalar("upstream", &d.Upstream, text("the name of an upstream", "primary"), anything),
		sectionOr("recipients", file("file", &d.Recipients.File), d.Recipients.fields()...),
		choiceOrNone("role", &d.Role, RoleFallback, RoleFront),
		choiceOrNone("when_up", &d.WhenUp, WhenDefer, WhenPass),
		choiceOrNone("when_busy", &d.WhenBusy, WhenTake, WhenDefer),
		section("auth",
			choiceOrNone("dmarc", &d.Auth.DMARC, DMARCObserve, DMARCEnforce),
			choiceOrNone("held_when_unauthenticated", &d.Auth.Held, No, Yes)),
		scalar("tls", &d.TLS, text("one of required, opportunistic", TLSRequired), optional(domainTLS)),
	}
}

func (u *Upstream) fields() []field {
	t, d, h := &u.Timeouts, &u.Delivery, &u.Health
	return []field{
		scalar("name", &u.Name, text("a name", "primary"), optional(upstreamName)),
		list("hosts", &u.Hosts, name("a host", "corp-example.mail.protection.outlook.com"), upstreamHost),
		number("port", &u.Port, 1, 65535),
		section("tls",
			choice("policy", &u.TLS.Policy, TLSRequired, TLSOpportunistic, TLSNone),
			scalar("server_name", &u.TLS.ServerName, name("a host name", "mail.protection.outlook.com"), optional(domainName)),
			file("ca", &u.TLS.CA),
			file("certificate", &u.TLS.Certificate),
			file("key", &u.TLS.Key)),
		address("source_address", &u.SourceAddress),
		networks("private_networks", &u.PrivateNetworks),
		section("timeouts",
			duration("connect", &t.Connect, moment, day),
			duration("greeting", &t.Greeting, moment, day),
			duration("hello", &t.Hello, moment, day),
			duration("tls", &t.TLS, moment, day),
			duration("mail", &t.Mail, moment, day),
			duration("rcpt", &t.Rcpt, moment, day),
			duration("data", &t.Data, moment, day),
			duration("block", &t.Block, moment, day),
			duration("final", &t.Final, moment, day),
			duration("reset", &t.Reset, moment, day),
			duration("quit", &t.Quit, moment, day)),
		section("delivery",
			number("connections", &d.Connections, 1, 1000),
			number("messages", &d.Messages, 1, large),
			duration("age", &d.Age, moment, day),
			duration("idle", &d.Idle, moment, day),
			number("recipients", &d.Recipients, 1, 100),
			number("start_rate", &d.StartRate, 1, large),
			number("max_rate", &d.MaxRate, 0, large),
			duration("attempt", &d.Attempt, moment, day),
			duration("wait", &d.Wait, moment, day),
			duration("max_wait", &d.MaxWait, moment, day),
			duration("doubt", &d.Doubt, moment, day)),
		section("probe",
			scalar("recipient", &u.Probe.Recipient, text("an address", "postmaster@corp.example"), optional(mailbox)),
			duration("every", &u.Probe.Every, moment, day),
			duration("every_bad", &u.Probe.EveryBad, moment, day),
			fraction("jitter", &u.Probe.Jitter, 0, 0.9),
			duration("timeout", &u.Probe.Timeout, moment, day)),
		section("canary", u.Canary.fields()...),
		section("health",
			number("bad", &h.Bad, 1, 1000),
			number("good", &h.Good, 1, 1000),
			number("quiet", &h.Quiet, 1, 1000),
			number("trials", &h.Trials, 1, 1000),
			number("attempts", &h.Attempts, 1, 1000),
			number("relapse", &h.Relapse, 1, 1000),
			number("senders", &h.Senders, 1, 1000),
			duration("span", &h.Span, moment, day),
			duration("relief", &h.Relief, moment, day),
			duration("ease", &h.Ease, moment, day)),
		section("spike",
			fraction("share", &u.Spike.Share, 0.01, 1),
			number("least", &u.Spike.Least, 1, 1000),
			duration("window", &u.Spike.Window, time.Minute, day),
			duration("patience", &u.Spike.Patience, time.Hour, 30*day)),
		section("queue",
			amount("max_messages", &u.Queue.MaxMessages, 0, 1<<40),
			size("max_bytes", &u.Queue.MaxBytes, 0, 1<<50)),
	}
}

func (d *DSN) fields() []field {
	return []field{
		scalar("via", &d.Via, text("off, internet or the name of an upstream", ViaOff), upstreamName),
		scalar("from", &d.From, text("an address", "postmaster@corp.example"), optional(mailbox)),
		duration("delay", &d.Delay, 0, 30*day),
		duration("probation", &d.Probation, 0, 30*day),
		number("per_sender", &d.PerSender, 0, large),
	}
}

func (q *Queue) fields() []field {
	s := &q.Schedule
	return []field{
		section("schedule",
			duration("first", &s.First, moment, day),
			fraction("factor", &s.Factor, 1, 100),
			duration("max", &s.Max, moment, day),
			fraction("jitter", &s.Jitter, 0, 0.9)),
		duration("lifetime", &q.Lifetime, moment, 30*day),
		duration("trash", &q.Trash, moment, 3650*day),
		duration("refused", &q.Refused, moment, 3650*day),
		duration("refused_spam", &q.RefusedSpam, moment, 3650*day),
		duration("interrupted", &q.Interrupted, moment, day),
		duration("ledger", &q.Ledger, day, 3650*day),
		amount("max_messages", &q.MaxMessages, 0, 1<<40),
		size("max_bytes", &q.MaxBytes, 0, 1<<50),
		size("generation_size", &q.GenerationSize, 1<<20, 1<<40),
		duration("generation_age", &q.GenerationAge, moment, 30*day),
	}
}
