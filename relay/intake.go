package relay

import (
	"context"
	"net/netip"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/inbound"
	"github.com/mxkeep/mxkeep/relay/outbound"
)

// intake is the SMTP server with its pause.
type intake struct {
	*inbound.Server
	pauses      pauses
	certificate func() admin.Certificate
}

// openIntake makes the SMTP server.
func (r *Relay) openIntake() error {
	o := inboundOptions(r.config, r.log)
	o.Limits.Sessions = r.places(o.Limits.Sessions)
	secured, certificate, err := r.certificate()
	if err != nil {
		return err
	}
	o.TLS, o.RequireTLS = secured, r.requiresTLS
	o.Store, o.State, o.Observe, o.ReverseDNS = r.store, r.stateOf, r.observe, r.reverse
	o.Recipients, o.Lists.Ask = r.recipients, r.resolver.LookupA
	if o.Authentication.Verifier, err = verifier(r.config, r.resolver, r.log); err != nil {
		return err
	}
	if o.Authentication.Sealer, err = sealer(r.config); err != nil {
		return err
	}
	o.Primaries = map[string]*outbound.Upstream{}
	for _, p := range r.primaries {
		o.Primaries[p.name] = p.upstream
	}
	if o.Filters, err = filters(r.config.Inbound.Filters, r.log); err != nil {
		return err
	}
	server, err := inbound.New(o)
	if err != nil {
		return err
	}
	r.intake = &intake{server, pauses{file: r.state, key: "intake"}, certificate}
	if pause, ok := r.intake.pauses.load(r.log); ok {
		server.Pause(inbound.Pause(pause))
	}
	return nil
}

// stateOf is what counts about an upstream now.
func (r *Relay) stateOf(upstream string) health.State {
	for _, p := range r.primaries {
		if p.name == upstream {
			return p.state()
		}
	}
	return health.Degraded
}

// requiresTLS reports whether an upstream keeps REQUIRETLS.
func (r *Relay) requiresTLS(upstream string) bool {
	for _, p := range r.primaries {
		if p.name == upstream {
			return p.config.TLS.Policy == configs.TLSRequired && p.promise.holds()
		}
	}
	return false
}

// observe hands a signal to the monitor of its upstream.
func (r *Relay) observe(s health.Signal) {
	for _, p := range r.primaries {
		if p.name == s.Upstream {
			p.monitor.Observe(s)
		}
	}
}

// reverse is the confirmed name of a client, "" if there is none.
func (r *Relay) reverse(ctx context.Context, address netip.Addr) string {
	name, err := r.resolver.LookupPTR(ctx, address)
	if err != nil {
		return ""
	}
	return name
}

// shown is the intake as operators see and steer it.
func (i *intake) shown() admin.Inbound {
	return admin.Inbound{
		Stats: func() admin.InboundStats {
			s := i.Stats()
			return admin.InboundStats{Sessions: s.Sessions, Accepted: s.Accepted, Passed: s.Passed, Unnoted: s.Unnoted, Refused: s.Refused,
				ListsFailed: s.ListsFailed, Refusing: s.Refusing, Full: s.Full, Paused: admin.Pause(s.Paused), Certificate: i.certificate(), Filters: shownFilters(s.Filters)}
		},
		Pause: func(pause admin.Pause) error {
			if err := i.pauses.save(pause); err != nil {
				return err
			}
			i.Pause(inbound.Pause(pause))
			return nil
		},
		Resume: func() error {
			if err := i.pauses.end(); err != nil {
				return err
			}
			i.Resume()
			return nil
		},
		Explain: i.explain,
	}
}

// explain asks the admission policy for an operator.
func (i *intake) explain(r admin.ExplainRequest) (admin.Explanation, error) {
	state, err := r.Supposed()
	if err != nil {
		return admin.Explanation{}, err
	}
	client, err := r.Address()
	if err != nil {
		return admin.Explanation{}, err
	}
	e, err := i.Explain(inbound.Question{ReversePath: r.From, Recipient: r.To, Client: client, Suppose: state})
	if err != nil {
		return admin.Explanation{}, err
	}
	given := admin.Explanation{Domain: e.Domain, Upstream: e.Upstream, Supposed: state != nil, Action: e.Action, Rule: e.Rule,
		Why: e.Why, Reply: e.Reply, Facts: []admin.Fact{}}
	if e.Upstream != "" {
		given.State = e.State.String()
	}
	for _, f := range e.Facts {
		given.Facts = append(given.Facts, admin.Fact(f))
	}
	return given, nil
}
