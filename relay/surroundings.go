package relay

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/health/probe"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/dns"
	"github.com/mxkeep/mxkeep/relay/graph"
	"github.com/mxkeep/mxkeep/relay/inbound"
	"github.com/mxkeep/mxkeep/relay/outbound"
	"github.com/mxkeep/mxkeep/relay/watch"
)

// looker looks at something besides the probes of a primary, again and again.
type looker struct {
	name    string
	check   func(context.Context) []health.Signal
	observe func(health.Signal)
	prober  *probe.Prober
}

// openSurroundings makes what is looked at besides the primaries. All of it goes
// to the monitors by observe, as every signal does.
func (r *Relay) openSurroundings() error {
	c := r.config.Health
	if len(c.Control.Targets) > 0 {
		control := watch.Control{Targets: c.Control.Targets, Dialer: r.dialer(c.Control.LookFrom)}
		r.look("looks at the control targets", c.Control.Look, control.Look)
	}
	for _, p := range r.primaries {
		if err := r.openLooks(p); err != nil {
			return err
		}
	}
	for _, one := range c.HTTPS {
		roots, err := readRoots(one.CA)
		if err != nil {
			return fmt.Errorf("health.https %s: %w", one.URL, err)
		}
		r.look("looks at "+one.URL, one.Look, watch.Page{URL: one.URL, Roots: roots, Dialer: r.dialer(one.LookFrom)}.Look)
	}
	for _, one := range c.Vantages {
		roots, err := readRoots(one.CA)
		if err != nil {
			return fmt.Errorf("health.vantages %s: %w", one.Name, err)
		}
		v := watch.Vantage{Name: one.Name, URL: one.URL, Roots: roots, TokenFile: one.TokenFile, Dialer: r.dialer(one.LookFrom)}
		for _, p := range r.primaries {
			v.Upstreams = append(v.Upstreams, p.name)
		}
		r.look("views of "+one.Name, one.Look, v.Look)
	}
	return r.openPublic()
}

// openLooks makes what is looked at of one primary: its names, and the canary.
func (r *Relay) openLooks(p *primary) error {
	dnsLook := r.config.Health.DNS
	resolver := r.resolver
	if dnsLook.SourceAddress.IsValid() {
		options := dnsOptions(r.config, nil, r.log)
		options.Dial, options.Keep = dialFrom(dnsLook.SourceAddress), nil
		var err error
		if resolver, err = dns.New(options); err != nil {
			return err
		}
	}
	if names := watch.NewNames(resolver, p.config.Hosts, dnsLook.Servers); names.Any() {
		r.lookFor(p, "names of "+p.name, dnsLook.Look, names.Look)
	}
	c := p.config.Canary
	if c.Recipient == "" {
		return nil
	}
	canary := outbound.Canary{Recipient: c.Recipient, From: cmp.Or(c.From, "postmaster@"+r.config.Hostname)}
	r.lookFor(p, "canary of "+p.name, c.Look, func(ctx context.Context) []health.Signal {
		if p.dispatcher.Delivery().Paused.Active(time.Now()) { // a person wants nothing to be delivered
			return nil
		}
		return p.upstream.Canary(ctx, canary)
	})
	return nil
}

// dialFrom connects to DNS servers from an address of ours.
func dialFrom(source netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: source.AsSlice(), Zone: source.Zone()}}
		if network == "tcp" {
			d.LocalAddr = &net.TCPAddr{IP: source.AsSlice(), Zone: source.Zone()}
		}
		return d.DialContext(ctx, network, address)
	}
}

func (r *Relay) openPublic() error {
	c := r.config.Health.Public
	roots, err := readRoots(c.CA)
	if err != nil {
		return fmt.Errorf("health.public: %w", err)
	}
	if c.Feed != "" {
		feed := &watch.Feed{URL: c.Feed, Roots: roots, Dialer: r.dialer(c.LookFrom)}
		r.look("public status", c.Look, feed.Look)
	}
	if g := c.Graph; g.Tenant != "" {
		app := graph.App{Tenant: g.Tenant, Client: g.Client, Secret: g.Secret, Certificate: g.Certificate, Key: g.Key, Login: g.Login, Address: g.Graph}
		r.look("service health", c.Look, watch.NewService(c.Service, app, roots, r.dialer(c.LookFrom)).Look)
	}
	return nil
}

// look adds what is about no primary alone: each monitor observes it.
func (r *Relay) look(name string, c configs.Look, check func(context.Context) []health.Signal) {
	r.addLook(name, c, check, func(s health.Signal) {
		for _, p := range r.primaries {
			p.monitor.Observe(s) // which leaves out what is of another
		}
	})
}

// lookFor adds what is about one primary.
func (r *Relay) lookFor(p *primary, name string, c configs.Look, check func(context.Context) []health.Signal) {
	r.addLook(name, c, check, func(s health.Signal) {
		s.Upstream = p.name
		p.monitor.Observe(s)
	})
}

func (r *Relay) addLook(name string, c configs.Look, check func(context.Context) []health.Signal, observe func(health.Signal)) {
	prober := probe.New(probe.Options{Every: c.Every, EveryBad: c.Every, Jitter: c.Jitter, Timeout: c.Timeout, Check: check, Observe: observe, Log: r.log})
	r.looks = append(r.looks, looker{name, check, observe, prober})
}

func (r *Relay) dialer(c configs.LookFrom) watch.Dialer {
	return watch.Dialer{Lookup: r.resolver, Source: c.SourceAddress}
}

// openVantage reads what is shown to other relays; nothing if they may not ask.
func (r *Relay) openVantage() error {
	c := r.config.Admin.Vantage
	if c.Listen == "" {
		return nil
	}
	if _, err := admin.ReadToken(c.TokenFile); err != nil {
		return fmt.Errorf("admin.vantage: %w", err)
	}
	own, err := inbound.NewCertificate(c.Certificate, c.Key, r.log)
	if err != nil {
		return fmt.Errorf("admin.vantage: %w", err)
	}
	r.secured = own.Config()
	return nil
}
