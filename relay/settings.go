package relay

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/auth"
	"github.com/mxkeep/mxkeep/relay/auth/arc"
	"github.com/mxkeep/mxkeep/relay/dns"
	"github.com/mxkeep/mxkeep/relay/dsn"
	"github.com/mxkeep/mxkeep/relay/inbound"
	"github.com/mxkeep/mxkeep/relay/outbound"
	"github.com/mxkeep/mxkeep/relay/state"
)

// The functions of this file hand the settings of the configuration to the parts.

func storeOptions(c configs.Config, log *slog.Logger) bolt.Options {
	return bolt.Options{GenerationSize: c.Queue.GenerationSize, GenerationAge: c.Queue.GenerationAge,
		LedgerKeep: c.Queue.Ledger, Keep: keep(c), Interrupted: c.Queue.Interrupted, MinFree: uint64(c.Inbound.MinFree), Limits: limits(c), Log: log}
}

func limits(c configs.Config) queue.Limits {
	l := queue.Limits{All: queue.Limit{Messages: c.Queue.MaxMessages, Bytes: c.Queue.MaxBytes}, Upstreams: map[string]queue.Limit{}}
	for _, u := range c.Upstreams {
		l.Upstreams[u.Name] = queue.Limit{Messages: u.Queue.MaxMessages, Bytes: u.Queue.MaxBytes}
	}
	return l
}

func keep(c configs.Config) queue.Keep {
	return queue.Keep{Trash: c.Queue.Trash, Refused: c.Queue.Refused, Spam: min(c.Queue.RefusedSpam, c.Queue.Refused)}
}

func dnsOptions(c configs.Config, file *state.File, log *slog.Logger) dns.Options {
	return dns.Options{Servers: c.DNS.Servers, Timeout: c.DNS.Timeout, Tries: c.DNS.Tries, Trusted: c.DNS.Trusted, Keep: file, Log: log}
}

func upstreamOptions(c configs.Config, u configs.Upstream, resolver *dns.Resolver) (outbound.Options, error) {
	secured, err := tlsOptions(u.TLS)
	if err != nil {
		return outbound.Options{}, fmt.Errorf("upstream %s: %w", u.Name, err)
	}
	d := u.Delivery
	return outbound.Options{Name: u.Name, Connections: d.Connections, Hosts: u.Hosts, Port: u.Port, Hello: c.Hostname, TLS: secured,
		SourceAddress: u.SourceAddress, Private: u.PrivateNetworks, Timeouts: outbound.Timeouts(u.Timeouts),
		MaxMessages: d.Messages, MaxAge: d.Age, MaxIdle: d.Idle, Recipients: d.Recipients, Resolver: resolver, Exchanges: resolver}, nil
}

func tlsOptions(t configs.TLS) (outbound.TLS, error) {
	o := outbound.TLS{ServerName: t.ServerName} // the policy is TLSRequired
	switch t.Policy {
	case configs.TLSOpportunistic:
		o.Policy = outbound.TLSOpportunistic
	case configs.TLSNone:
		o.Policy = outbound.TLSNone
	}
	var err error
	if o.Roots, err = readRoots(t.CA); err != nil {
		return o, err
	}
	if t.Certificate != "" {
		certificate, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
		if err != nil {
			return o, err
		}
		o.Certificate = &certificate
	}
	return o, nil
}

func dispatcherOptions(c configs.Config, p *primary, store outbound.Store, log *slog.Logger) outbound.DispatcherOptions {
	d := p.config.Delivery
	return outbound.DispatcherOptions{Upstream: p.upstream, Store: store, Health: p.monitor, Schedule: queue.Schedule(c.Queue.Schedule),
		Connections: d.Connections, Trials: p.config.Health.Trials, StartRate: d.StartRate, MaxRate: d.MaxRate,
		Attempt: d.Attempt, Wait: d.Wait, MaxWait: d.MaxWait, Doubt: d.Doubt,
		Spike: outbound.SpikeRules(p.config.Spike), Outgoing: outgoing, Log: log}
}

func notifierOptions(c configs.Config, log *slog.Logger) dsn.Options {
	o := dsn.Options{Via: c.DSN.Via, Hostname: c.Hostname, From: c.DSN.From, Delay: c.DSN.Delay, Probation: c.DSN.Probation,
		Lifetime: c.Queue.Lifetime, PerSender: c.DSN.PerSender, Log: log}
	if o.Via == configs.ViaOff {
		o.Via = ""
	}
	return o
}

func inboundOptions(c configs.Config, log *slog.Logger) inbound.Options {
	o := inbound.Options{Hostname: c.Hostname, Domains: map[string]string{}, Rules: map[string]inbound.Rule{}, Hints: map[string]string{}, Secured: map[string]bool{},
		Limits: inbound.Limits(c.Inbound.Limits), Timeouts: inbound.Timeouts(c.Inbound.Timeouts), Returning: inbound.Returning(c.Inbound.Returning),
		Greylist: inbound.Greylist(c.Inbound.Greylist),
		Proxies:  c.Inbound.Proxies, Trusted: c.Inbound.Trusted,
		Rates: inbound.Rates{PerAddress: inbound.Rate(c.Inbound.Rates.PerAddress), PerNetwork: inbound.Rate(c.Inbound.Rates.PerNetwork),
			All: inbound.Rate(c.Inbound.Rates.All)},
		Lifetime: c.Queue.Lifetime, MinFree: c.Inbound.MinFree, Log: log}
	if o.Lists = (inbound.Lists{Block: c.Inbound.Lists.Block, Allow: c.Inbound.Lists.Allow, Timeout: c.Inbound.Lists.Timeout}); c.Inbound.Lists.Action == configs.ListReject {
		o.Lists.Action = inbound.RejectListed
	}
	o.Authentication = inbound.Authentication{ReceivedSPF: c.Auth.ReceivedSPF == configs.Yes, Rules: map[string]auth.Rule{}}
	for _, d := range c.Domains {
		o.Domains[d.Name], o.Rules[d.Name] = d.Upstream, rule(c.AdmissionOf(d))
		o.Secured[d.Name] = d.TLS == configs.TLSRequired
		o.Authentication.Rules[d.Name] = authRule(c.PolicyOf(d))
	}
	for _, u := range c.Upstreams {
		if host := c.HostsOf(u)[0]; !outbound.ByMX(host) { // senders have the MX records themselves
			o.Hints[u.Name] = host
		}
	}
	return o
}

// authRule is what becomes of mail to one domain for what is known of its author.
func authRule(p configs.Policy) auth.Rule {
	return auth.Rule{Enforce: p.DMARC == configs.DMARCEnforce, HoldUnauthenticated: p.Held == configs.Yes}
}

// verifier finds out who wrote messages; nil if nobody is to.
func verifier(c configs.Config, resolver *dns.Resolver, log *slog.Logger) (*auth.Verifier, error) {
	if c.Auth.Verify != configs.Yes {
		return nil, nil
	}
	return auth.New(auth.Options{ID: cmp.Or(c.Auth.ID, c.Hostname), Resolver: resolver, Timeout: c.Auth.Timeout, Unsealed: c.Auth.ARC.Key == "", Log: log})
}

// sealer seals what is taken into custody; nil if nothing is to be.
func sealer(c configs.Config) (*arc.Sealer, error) {
	if c.Auth.ARC.Key == "" {
		return nil, nil
	}
	key, err := arc.ReadKey(c.Auth.ARC.Key)
	if err != nil {
		return nil, fmt.Errorf("auth.arc: %w", err)
	}
	s, err := arc.NewSealer(key, c.Auth.ARC.Domain, c.Auth.ARC.Selector, c.Auth.ARC.Headers)
	if err != nil {
		return nil, fmt.Errorf("auth.arc: %w", err)
	}
	return s, nil
}

// outgoing takes fields that claim to be ours out of a message that has any.
func outgoing(m queue.Message, stored io.Reader) io.Reader {
	if v := m.Envelope.Origin.Auth; v.Claims > 0 {
		return auth.Strip(stored, v.By)
	}
	return stored
}

// rule is what the admission of one domain goes by.
func rule(a configs.Admission) inbound.Rule {
	var r inbound.Rule
	if a.Role == configs.RoleFront {
		r.Role = inbound.Front
	}
	if a.WhenUp == configs.WhenPass {
		r.WhenUp = inbound.Pass
	}
	if a.WhenBusy == configs.WhenDefer {
		r.WhenBusy = inbound.DeferBusy
	}
	return r
}
