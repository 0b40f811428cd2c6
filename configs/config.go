// Package configs reads the configuration file.
//
// The file is YAML and read strictly: unknown and repeated keys, wrong types,
// values out of range and contradictions are all reported at once, each with
// its place and the next step. Nothing is written or connected to. What the
// file leaves out has the value of Default; Example explains every key.
//
// The shortest file is three lines:
//
//	hostname: mx2.corp.example
//	domain: corp.example
//	upstream: corp-example.mail.protection.outlook.com
package configs

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

const day = 24 * time.Hour

// Config is a whole configuration. Names of domains and hosts are in lower case.
type Config struct {
	Hostname  string // ours, for greeting, EHLO and Received
	Data      string // folder of what has to last
	Socket    string // of the operators' commands
	User      string // to become once the ports are open; "" changes nobody
	HTTP      HTTP
	Log       Log
	Admin     Admin
	Health    Surroundings
	Inbound   Inbound
	Domains   []Domain
	Upstreams []Upstream
	Queue     Queue
	DSN       DSN
	Incident  Incident
	History   History
	DNS       DNS
	Auth      Auth
}

// HTTP is the listener of /healthz and /readyz.
type HTTP struct{ Listen string } // "" is none

// Log says what is logged, and how.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// Inbound says how mail is accepted.
type Inbound struct {
	Listen           []string // "ip:port"; without an IP all of ours
	Certificate, Key string   // files; "" is a self-signed one, made and kept
	ACME             ACME
	MinFree          int64 // bytes of the disk below which nothing is accepted
	Admission              // of domains that say nothing else
	Limits           Limits
	Timeouts         InboundTimeouts
	Rates            Rates
	Proxies          []netip.Prefix // whose connections begin with a header of the PROXY protocol
	Lists            Lists
	Greylist         Greylist
	Filters          []Filter       // in the order in which they are asked
	Trusted          []netip.Prefix // for whose clients neither Rates nor the limits of an address count
	Returning        Returning
}

// The challenges of ACME.
const (
	ChallengeHTTP = "http-01"
	ChallengeTLS  = "tls-alpn-01"
)

// ACME says who issues our certificate (RFC 8555).
type ACME struct {
	Directory string // URL; "" is nobody
	Email     string // of the account
	Challenge string
	Listen    string // where the challenge is answered; "" is the port that the challenge wants
	CA        string // file of certificates to trust for the directory; "" are the system's
}

// Address is where the challenge is answered.
func (a ACME) Address() string {
	switch {
	case a.Listen != "":
		return a.Listen
	case a.Challenge == ChallengeTLS:
		return ":443"
	}
	return ":80"
}

// The words of Admission.
const (
	RoleFallback = "fallback"
	RoleFront    = "front"
	WhenDefer    = "defer"
	WhenPass     = "pass"
	WhenTake     = "take"
)

// Admission says what is done with mail while its primary takes mail itself.
type Admission struct {
	Role     string // RoleFallback or RoleFront
	WhenUp   string // of a fallback: WhenDefer or WhenPass
	WhenBusy string // of mail to pass, without a session to be had: WhenTake or WhenDefer
}

// Limits bound what clients may use.
type Limits struct {
	Sessions           int // at the same time
	SessionsPerAddress int
	SessionsPerNetwork int
	MessageSize        int64 // bytes
	Recipients         int   // of one transaction
	Refusals           int   // refused recipients after which a session ends
	TarpitAfter        int   // refused recipients after which each has to be waited for
	Received           int   // Received fields with which a message goes in circles
	Rate               int64 // bytes per second that content must reach on average
}

// InboundTimeouts bound the phases of a session with a client.
type InboundTimeouts struct {
	Greeting   time.Duration // that a client must keep silent before it is greeted; 0: it need not
	Command    time.Duration
	Handshake  time.Duration
	Idle       time.Duration
	Session    time.Duration
	Tarpit     time.Duration // that a client has to wait for the refusal of a recipient, after some; 0: it need not
	Write      time.Duration
	ReverseDNS time.Duration
	Drain      time.Duration
}

// Lists are DNS lists that are asked about clients.
type Lists struct {
	Block, Allow []string // zones
	Action       string   // ListDefer or ListReject
	Timeout      time.Duration
}

// What becomes of the mail of clients that are listed.
const (
	ListDefer  = "defer"
	ListReject = "reject"
)

// Greylist makes senders that were never seen come twice before mail of theirs is held.
type Greylist struct {
	Delay time.Duration // 0: nobody has to
	Keep  time.Duration // since its last mail, that a sender is known
}

// Rates bound what clients use in a minute.
type Rates struct{ PerAddress, PerNetwork, All Rate }

// Rate is what may be used in a minute; 0 is no limit.
type Rate struct {
	Connections   int
	Messages      int
	Recipients    int
	Bytes         int64
	BadCommands   int
	BadRecipients int
}

// Returning says when a sender that was told to use the primary is believed
// that it cannot: after it has come back Times times, over at least Over.
type Returning struct {
	Times int
	Over  time.Duration
}

// The words of switches, and of Policy.DMARC.
const (
	Yes          = "yes"
	No           = "no"
	DMARCObserve = "observe"
	DMARCEnforce = "enforce"
)

// Auth says how it is found out who wrote a message.
type Auth struct {
	Verify      string // Yes or No: nothing is found out, written or taken out
	ID          string // our authserv-id; "" is Hostname
	ReceivedSPF string // Yes or No: a Received-SPF field is written, too
	Timeout     time.Duration
	Policy      // of domains that say nothing else
	ARC         ARC
}

// ARC says how mail is sealed (RFC 8617). Without a key nothing is.
type ARC struct {
	Key              string // a file in PEM
	Selector, Domain string // where its public half is in the DNS
	Headers          []string
}

// Policy says what is made of what was found out.
type Policy struct {
	DMARC string // DMARCObserve or DMARCEnforce
	Held  string // Yes or No: unauthenticated mail is held
}

// Domain is one to accept mail for.
type Domain struct {
	Name       string
	Upstream   string // its name; the only one if not given
	Recipients Recipients
	TLS        string // TLSRequired: no mail in plaintext; "" is TLSOpportunistic
	Admission         // "" is what Inbound says
	Auth       Policy // "" is what Config.Auth says
}

// The sources of what is known about recipients, and the policies for those
// about whom nothing is.
const (
	SourceList      = "list"
	SourceLearned   = "learned"
	SourceCallAhead = "call-ahead"
	SourceDirectory = "directory"

	NotKnownAccept = "accept"
	NotKnownDefer  = "defer"
	NotKnownReject = "reject"
)

// Recipients says how it is known who exists in a domain. The zero value says
// that everybody does.
type Recipients struct {
	Sources    []string      // none, and a File: list
	File       string        // of list: addresses, or an export of Exchange Online; "" is only what is imported
	MaxAge     time.Duration // of a list, after which absence from it proves nothing; 0 is none
	NotKnown   string        // policy while the upstream cannot be asked
	Subaddress string        // what begins the tag of a sub-address; "" is that there is none
	Learned    Learned
	CallAhead  CallAhead
	Directory  Directory
}

// Learned bounds what is learned from the upstream.
type Learned struct {
	Keep    time.Duration // since it took an address last
	Refused time.Duration // since it refused one as unknown
	Max     int           // addresses
}

// CallAhead bounds the questions to the upstream.
type CallAhead struct {
	Timeout   time.Duration
	AtOnce    int
	PerMinute int
}

// Directory says how to read the directory of a tenant by Microsoft Graph.
type Directory struct {
	Tenant, Client   string
	Secret           string // file, or
	Certificate, Key string // files
	Login, Graph     string // URLs of the cloud
	Every            time.Duration
	Jitter           float64
	MaxAge           time.Duration // after which absence from it proves nothing
	Shrink           float64       // share of the addresses that may go at once
}

// Used are the sources that count.
func (r Recipients) Used() []string {
	if len(r.Sources) == 0 && r.File != "" {
		return []string{SourceList}
	}
	return r.Sources
}

// Upstream is a primary that mail is delivered to.
type Upstream struct {
	Name            string   // "primary" if it is the only one and not given
	Hosts           []string // names, addresses, or "mx:DOMAIN"; see HostsOf for "mx"
	Port            int
	TLS             TLS
	SourceAddress   netip.Addr
	PrivateNetworks []netip.Prefix
	Timeouts        OutboundTimeouts
	Delivery        Delivery
	Probe           Probe
	Canary          Canary
	Health          Health
	Spike           Spike
	Queue           Share
}

// Share bounds what may be held for one upstream. 0 is no bound.
type Share struct {
	MaxMessages int64
	MaxBytes    int64
}

// The TLS policies.
const (
	TLSRequired      = "required"
	TLSOpportunistic = "opportunistic"
	TLSNone          = "none"
)

// TLS says how sessions with a primary are secured. Files that are "" are none.
type TLS struct {
	Policy           string
	ServerName       string
	CA               string
	Certificate, Key string
}

// OutboundTimeouts bound the phases of a session with a primary.
type OutboundTimeouts struct {
	Connect, Greeting, Hello, TLS, Mail, Rcpt, Data, Block, Final, Reset, Quit time.Duration
}

// Delivery bounds attempts and their connections.
type Delivery struct {
	Connections int           // at most so many at once
	Messages    int           // on one connection
	Age, Idle   time.Duration // of a connection
	Recipients  int           // of one transaction
	StartRate   int           // messages a minute at first, and after an outage
	MaxRate     int           // messages a minute, at most; 0 is no limit
	Attempt     time.Duration // deadline
	Wait        time.Duration // after a failure that is not about the message, before the next attempt
	MaxWait     time.Duration // it doubles up to this
	Doubt       time.Duration // after it came up; refusals for good are not believed so long
}

// Probe says how a primary is probed.
type Probe struct {
	Recipient       string // "" is the postmaster of its first domain
	Every, EveryBad time.Duration
	Jitter          float64
	Timeout         time.Duration
}

// Health are the thresholds of the decision whether a primary can take mail.
type Health struct {
	Bad, Good, Quiet, Trials   int
	Attempts, Relapse, Senders int
	Span, Relief, Ease         time.Duration
}

// Spike says when an upstream is taken to refuse recipients that it has.
type Spike struct {
	Share    float64       // of the recipients known to exist that were heard of
	Least    int           // recipients
	Window   time.Duration // within which they count
	Patience time.Duration // after which its refusals are believed after all
}

// The ways out for notifications that are no upstream.
const (
	ViaOff      = "off"
	ViaInternet = "internet"
)

// DSN says whether and how senders are told what became of their mail.
type DSN struct {
	Via       string        // ViaOff, ViaInternet, or the name of an upstream
	From      string        // "" is MAILER-DAEMON at our host name
	Delay     time.Duration // after which they are told that their mail waits; 0 is never
	Probation time.Duration // after an upstream came up, within which refusals are not believed
	PerSender int           // notifications to one address in an hour; 0 is no limit
}

// Queue says how long mail is kept and when it is tried again.
type Queue struct {
	Schedule       Schedule
	Lifetime       time.Duration
	Trash, Refused time.Duration
	RefusedSpam    time.Duration // by policy, of senders that are not authenticated
	Interrupted    time.Duration // wait, times its attempts, of a message whose attempt a stop of ours cut short
	Ledger         time.Duration // how long its lines are kept
	MaxMessages    int64         // held at most, of all upstreams; 0 is no bound
	MaxBytes       int64         // of their content; 0 is no bound
	GenerationSize int64
	GenerationAge  time.Duration
}

// Schedule says when a deferred message is tried again.
type Schedule struct {
	First  time.Duration
	Factor float64
	Max    time.Duration
	Jitter float64
}

// DNS says who is asked for names.
type DNS struct {
	Servers []string // "ip:port"; none: those of /etc/resolv.conf
	Trusted bool     // they validate DNSSEC, and the way to them is safe
	Timeout time.Duration
	Tries   int
}

// Default is a configuration without the three things that have no default: a
// host name, a domain and an upstream.
func Default() Config {
	return Config{
		Data:   "/var/lib/mxkeep",
		Socket: "/run/mxkeep/admin.sock",
		HTTP:   HTTP{Listen: "127.0.0.1:8025"},
		Log:    Log{Level: "info", Format: "text"},
		Health: defaultSurroundings(),
		Inbound: Inbound{
			Listen:    []string{":25"},
			MinFree:   512 << 20,
			Admission: Admission{Role: RoleFallback, WhenUp: WhenDefer, WhenBusy: WhenTake},
			ACME:      ACME{Challenge: ChallengeHTTP},
			Limits: Limits{Sessions: 5000, SessionsPerAddress: 50, SessionsPerNetwork: 200, Recipients: 100, Refusals: 20, TarpitAfter: 5, Received: 100, Rate: 500,
				MessageSize: 150 << 20}, // what Exchange Online says: nothing it takes is refused here, and nothing more is kept
			Timeouts: InboundTimeouts{Greeting: time.Second, Command: 5 * time.Minute, Handshake: 30 * time.Second, Idle: 3 * time.Minute,
				Session: time.Hour, Tarpit: time.Second, Write: time.Minute, ReverseDNS: 5 * time.Second, Drain: 30 * time.Second},
			Rates: Rates{PerAddress: Rate{Connections: 600, BadCommands: 200, BadRecipients: 200},
				PerNetwork: Rate{Connections: 3000, BadCommands: 1000, BadRecipients: 1000}},
			Greylist:  Greylist{Keep: 30 * day},
			Lists:     Lists{Action: ListDefer, Timeout: 3 * time.Second},
			Returning: Returning{Times: 2, Over: 5 * time.Minute},
		},
		Queue: Queue{
			Schedule: Schedule{First: time.Minute, Factor: 2, Max: time.Hour, Jitter: 0.1},
			Lifetime: 5 * day, Trash: 3 * day, Refused: 30 * day, RefusedSpam: 7 * day, Interrupted: time.Minute, Ledger: 90 * day,
			GenerationSize: 256 << 20, GenerationAge: time.Hour,
		},
		DSN:      DSN{Via: ViaOff, Probation: 6 * time.Hour, PerSender: 20},
		Incident: Incident{Quiet: 15 * time.Minute},
		History:  History{Keep: 90 * day, Fine: 3 * day, Bytes: 64 << 20},
		DNS:      DNS{Timeout: 2 * time.Second, Tries: 2},
		Auth:     Auth{Verify: Yes, ReceivedSPF: No, Timeout: 5 * time.Second, Policy: Policy{DMARC: DMARCObserve, Held: No}},
	}
}

// DefaultDomain is a domain without name and upstream.
func DefaultDomain() Domain {
	return Domain{Recipients: Recipients{NotKnown: NotKnownAccept, Subaddress: "+",
		Learned:   Learned{Keep: 90 * day, Refused: time.Hour, Max: 100000},
		CallAhead: CallAhead{Timeout: 5 * time.Second, AtOnce: 4, PerMinute: 120},
		Directory: Directory{Login: "https://login.microsoftonline.com", Graph: "https://graph.microsoft.com",
			Every: time.Hour, Jitter: 0.1, MaxAge: 3 * day, Shrink: 0.1}}}
}

// DefaultUpstream is an upstream without name and hosts.
func DefaultUpstream() Upstream {
	return Upstream{
		Port: 25,
		TLS:  TLS{Policy: TLSRequired},
		Timeouts: OutboundTimeouts{Connect: 30 * time.Second, Greeting: time.Minute, Hello: time.Minute, TLS: time.Minute,
			Mail: 5 * time.Minute, Rcpt: 5 * time.Minute, Data: 2 * time.Minute, Block: 3 * time.Minute, Final: 10 * time.Minute,
			Reset: time.Minute, Quit: 5 * time.Second},
		Delivery: Delivery{Connections: 20, Messages: 100, Age: 15 * time.Minute, Idle: 20 * time.Second, Recipients: 100, StartRate: 600,
			Attempt: 30 * time.Minute, Wait: time.Second, MaxWait: time.Minute, Doubt: 10 * time.Minute},
		Probe:  Probe{Every: 20 * time.Second, EveryBad: 10 * time.Second, Jitter: 0.1, Timeout: 15 * time.Second},
		Canary: Canary{Look: Look{Every: 15 * time.Minute, Jitter: 0.1, Timeout: 5 * time.Minute}},
		Health: Health{Bad: 3, Good: 3, Quiet: 6, Trials: 20, Attempts: 3, Relapse: 2, Senders: 3,
			Span: 10 * time.Minute, Relief: time.Minute, Ease: 10 * time.Minute},
		Spike: Spike{Share: 0.1, Least: 5, Window: 30 * time.Minute, Patience: day},
	}
}

// Upstream returns the upstream of that name.
func (c Config) Upstream(name string) (Upstream, bool) {
	for _, u := range c.Upstreams {
		if u.Name == name {
			return u, true
		}
	}
	return Upstream{}, false
}

// AdmissionOf is what counts for a domain.
func (c Config) AdmissionOf(d Domain) Admission {
	a := Admission{Role: cmp.Or(d.Role, c.Inbound.Role), WhenUp: cmp.Or(d.WhenUp, c.Inbound.WhenUp), WhenBusy: cmp.Or(d.WhenBusy, c.Inbound.WhenBusy)}
	if a.Role == RoleFront {
		a.WhenUp = WhenPass
	}
	return a
}

// PolicyOf is what counts for a domain.
func (c Config) PolicyOf(d Domain) Policy {
	return Policy{DMARC: cmp.Or(d.Auth.DMARC, c.Auth.DMARC), Held: cmp.Or(d.Auth.Held, c.Auth.Held)}
}

// DomainsOf lists the names of the domains of an upstream, in the order of the file.
func (c Config) DomainsOf(upstream string) []string {
	var names []string
	for _, d := range c.Domains {
		if d.Upstream == upstream {
			names = append(names, d.Name)
		}
	}
	return names
}

// HostsOf are the hosts of an upstream, with the domain that "mx" stands for.
func (c Config) HostsOf(u Upstream) []string {
	hosts := slices.Clone(u.Hosts)
	for i, h := range hosts {
		if domains := c.DomainsOf(u.Name); h == byMX && len(domains) > 0 {
			hosts[i] = byMX + ":" + domains[0] // Check wants exactly one
		}
	}
	return hosts
}

// ProbeRecipient is the address that probes of the upstream name at RCPT.
func (c Config) ProbeRecipient(u Upstream) string {
	if u.Probe.Recipient != "" {
		return u.Probe.Recipient
	}
	for _, domain := range c.DomainsOf(u.Name) {
		return "postmaster@" + domain
	}
	return ""
}
