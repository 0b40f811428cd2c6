package admin

import (
	"fmt"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// importRules decide which messages of another relay this one can deliver.
type importRules struct {
	upstreams map[string]bool
	domains   map[string]string // in the form of smtp.ASCIIDomain, to the name of the upstream
	upstream  string            // of all messages; "" is the one that each names
}

// importRules are those of the configuration.
func (s *Server) importRules(upstream string) (importRules, error) {
	r := importRules{upstreams: map[string]bool{}, domains: map[string]string{}, upstream: upstream}
	for _, u := range s.options.Upstreams {
		r.upstreams[u.Name] = true
		for _, name := range u.Domains {
			domain, err := smtp.ASCIIDomain(name)
			if err != nil {
				return r, fmt.Errorf("domain %q of upstream %s: %w", name, u.Name, err)
			}
			r.domains[domain] = u.Name
		}
	}
	if upstream != "" && !r.upstreams[upstream] {
		return r, fail(CodeUnknownUpstream, "no upstream %q here", upstream)
	}
	return r, nil
}

// admit returns the message as it is to be adopted, or says why it cannot be.
func (r importRules) admit(m queue.Message) (queue.Message, error) {
	e := &m.Envelope
	if r.upstream != "" {
		e.Upstream = r.upstream
	}
	if !r.upstreams[e.Upstream] {
		return m, fmt.Errorf("no upstream %q here; --upstream names one that takes it", e.Upstream)
	}
	if _, err := r.path(e.ReversePath, e.Params); err != nil {
		return m, fmt.Errorf("reverse-path: %w", err)
	}
	for _, to := range e.Recipients {
		path, err := r.path(to.ForwardPath, e.Params)
		if err != nil {
			return m, fmt.Errorf("recipient: %w", err)
		}
		if to.Last.Action.Final() {
			continue // nothing is left to do
		}
		domain, _ := smtp.ASCIIDomain(path.Domain) // "" is no domain of ours
		switch upstream, ours := r.domains[domain]; {
		case !ours:
			return m, fmt.Errorf("no domain %q here", path.Domain)
		case upstream != e.Upstream:
			return m, fmt.Errorf("mail for %s goes to %s here, not to %s; --upstream %s makes it so", domain, upstream, e.Upstream, upstream)
		}
	}
	return m, nil
}

// path reads a path that will stand in a command.
func (importRules) path(text string, p queue.Params) (smtp.Path, error) {
	path, err := smtp.ParsePath(text)
	if err == nil && !path.ASCII() && !p.SMTPUTF8 {
		err = fmt.Errorf("%q needs SMTPUTF8", text)
	}
	return path, err
}
