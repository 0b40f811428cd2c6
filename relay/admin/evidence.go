package admin

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/mxkeep/mxkeep/relay/incident"
)

// SchemaEvidence is that of each piece of the evidence of an incident.
const SchemaEvidence = "mxkeep.incident.evidence/1"

// evidencePiece is a piece on its way.
type evidencePiece struct {
	Schema string `json:"schema"`
	incident.Piece
}

// evidence streams all that is recorded of an incident.
func (s *Server) evidence(w http.ResponseWriter, r *http.Request) {
	all, err := s.kept()
	if err != nil {
		writeError(w, err)
		return
	}
	id, err := named(all, r.PathValue("id"))
	if err != nil {
		writeError(w, err)
		return
	}
	out := newStream(w)
	err = all.Evidence(r.Context(), id, func(p incident.Piece) error {
		if p.Head != nil {
			p.Head.Relay, p.Head.Version, p.Head.Domains = s.options.Hostname, s.options.Version, s.domains(p.Head.Record.Incident.Upstream)
		}
		return out.write(evidencePiece{SchemaEvidence, p})
	})
	out.end(incidentError(err))
}

// domains are those of an upstream; none if it is no longer configured.
func (s *Server) domains(upstream string) []string {
	for _, u := range s.options.Upstreams {
		if u.Name == upstream {
			return slices.Clone(u.Domains)
		}
	}
	return nil
}

// Evidence calls each with every piece of the evidence of an incident, by its id
// or LastIncident. It takes the time it needs. ErrCutOff if the last one is missing.
func (c *Client) Evidence(ctx context.Context, id string, each func(incident.Piece) error) error {
	complete := false
	err := c.streamVia(ctx, c.steady, http.MethodGet, "incidents/"+url.PathEscape(id)+"/evidence", nil, func(_ string, line []byte) error {
		return decode(line, func(p evidencePiece) error {
			complete = complete || p.End != nil
			return each(p.Piece)
		})
	})
	if err == nil && !complete {
		err = ErrCutOff
	}
	return err
}
