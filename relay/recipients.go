package relay

import (
	"context"
	"errors"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/outbound"
	"github.com/mxkeep/mxkeep/relay/recipients"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// openRecipients reads what is known about who exists.
func (r *Relay) openRecipients() error {
	o := recipients.Options{Keep: r.state, Log: r.log}
	for _, d := range r.config.Domains {
		one := recipientsOptions(d)
		for _, p := range r.primaries {
			if p.name == d.Upstream {
				one.CallAhead.Ask = p.upstream.Exists
			}
		}
		o.Domains = append(o.Domains, one)
	}
	var err error
	r.recipients, err = recipients.New(o)
	return err
}

func recipientsOptions(d configs.Domain) recipients.Domain {
	c := d.Recipients
	one := recipients.Domain{Name: d.Name, File: c.File, MaxAge: c.MaxAge, NotKnown: recipients.Policy(c.NotKnown), Subaddress: c.Subaddress,
		Learned:   recipients.LearnedRules(c.Learned),
		CallAhead: recipients.CallAhead{Timeout: c.CallAhead.Timeout, AtOnce: c.CallAhead.AtOnce, PerMinute: c.CallAhead.PerMinute},
		Directory: recipients.Directory{Every: c.Directory.Every, Jitter: c.Directory.Jitter, MaxAge: c.Directory.MaxAge, Shrink: c.Directory.Shrink,
			Graph: recipients.Graph{Tenant: c.Directory.Tenant, Client: c.Directory.Client, Secret: c.Directory.Secret,
				Certificate: c.Directory.Certificate, Key: c.Directory.Key, Login: c.Directory.Login, Address: c.Directory.Graph}}}
	for _, source := range c.Used() {
		one.Sources = append(one.Sources, recipients.Source(source))
	}
	return one
}

// heard learns what a primary said about a recipient. One that is not up refuses
// recipients that it has, so it is not believed with that.
func (r *Relay) heard(p *primary, h outbound.Heard) {
	if h.Exists || p.state() == health.Up {
		r.recipients.Learn(recipients.Evidence{Path: h.Path, At: h.At, Exists: h.Exists, Firm: h.Delivered})
	}
}

// shownRecipients is what is known about who exists, as operators see and steer it.
func (r *Relay) shownRecipients() admin.Recipients {
	return admin.Recipients{
		Sources: func() (all []admin.RecipientSource) {
			for _, s := range r.recipients.Sources() {
				all = append(all, admin.RecipientSource{Domain: s.Domain, Source: string(s.Source), Count: s.Count, At: admin.Time{Time: s.At}, Stale: s.Stale,
					Wrong: s.Wrong, NextAt: admin.Time{Time: s.Next}, Asked: s.Asked, NotKnown: string(s.Policy)})
			}
			return all
		},
		Check: func(domain string, path smtp.Path) admin.RecipientCheck {
			a := r.recipients.Look(domain, path)
			words := map[recipients.Outcome]string{recipients.Take: "accept", recipients.Later: "451 4.4.3", recipients.Refuse: "550 5.1.1"}
			return admin.RecipientCheck{Verdict: a.Verdict.String(), Source: string(a.Source), At: admin.Time{Time: a.At}, Why: a.Why,
				Up: words[a.Outcome(recipients.Up)], Degraded: words[a.Outcome(recipients.Doubt)], Down: words[a.Outcome(recipients.Down)]}
		},
		Sync: func(ctx context.Context, domain string, force bool) (all []admin.RecipientSync, err error) {
			done, err := r.recipients.Sync(ctx, domain, force)
			for _, s := range done {
				one := admin.RecipientSync{Domain: s.Domain, Count: s.Count, Added: s.Added, Lost: s.Lost, Doubted: errors.Is(s.Err, recipients.ErrDoubted)}
				if s.Err != nil {
					one.Error = s.Err.Error()
				}
				all = append(all, one)
			}
			return all, err
		},
		Import: func(domain, name, text string, dry bool) (admin.RecipientImport, error) {
			did, err := r.recipients.Import(domain, name, text, dry)
			return admin.RecipientImport{Domain: did.Domain, Count: did.Count, Elsewhere: did.Elsewhere, Added: did.Added, Lost: did.Lost, At: admin.Time{Time: time.Now()}}, err
		},
	}
}
