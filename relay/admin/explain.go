package admin

import (
	"net/http"
	"net/netip"

	"github.com/mxkeep/mxkeep/health"
)

// ExplainRequest asks what would become of mail from From to To.
type ExplainRequest struct {
	From     string `json:"from"` // "" is the null reverse-path
	To       string `json:"to"`
	Client   string `json:"client,omitempty"`   // IP address; "" is none in particular
	Upstream string `json:"upstream,omitempty"` // state to suppose: up, degraded, down or recovering; "" is as it is
}

// Supposed is the state to suppose; nil if there is none.
func (r ExplainRequest) Supposed() (*health.State, error) {
	if r.Upstream == "" {
		return nil, nil
	}
	var state health.State
	if err := state.UnmarshalText([]byte(r.Upstream)); err != nil {
		return nil, fail(CodeBadRequest, "no state %q of an upstream (there are up degraded down recovering)", r.Upstream)
	}
	return &state, nil
}

// Address is that of the client; the zero Addr if there is none.
func (r ExplainRequest) Address() (netip.Addr, error) {
	if r.Client == "" {
		return netip.Addr{}, nil
	}
	address, err := netip.ParseAddr(r.Client)
	if err != nil {
		return netip.Addr{}, fail(CodeBadRequest, "%.80q is no IP address", r.Client)
	}
	return address.Unmap(), nil
}

// Explanation is how mail would be received, and why.
type Explanation struct {
	Schema   string `json:"schema"`
	From     string `json:"from"`
	To       string `json:"to"`
	Client   string `json:"client"`
	Domain   string `json:"domain"`
	Upstream string `json:"upstream"` // "" if the domain is not ours
	State    string `json:"state"`    // of the upstream; "" if there is none
	Supposed bool   `json:"supposed"` // the state is that of the request
	Action   string `json:"action"`   // pass, take, defer or refuse
	Rule     string `json:"rule"`     // as it is stored with messages, and counts refusals
	Why      string `json:"why"`
	Reply    string `json:"reply"` // what the client would be told; "" if the recipient is accepted
	Facts    []Fact `json:"facts"`
}

// Fact is what one check found.
type Fact struct {
	Check   string `json:"check"`
	Finding string `json:"finding"`
}

func (s *Server) explain(r *http.Request) (any, error) {
	var request ExplainRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	if _, err := request.Supposed(); err != nil {
		return nil, err
	}
	if _, err := request.Address(); err != nil {
		return nil, err
	}
	given, err := s.options.Inbound.Explain(request)
	if err != nil {
		return nil, fail(CodeBadRequest, "%v", err)
	}
	given.Schema, given.From, given.To, given.Client = SchemaExplain, request.From, request.To, request.Client
	return given, nil
}
