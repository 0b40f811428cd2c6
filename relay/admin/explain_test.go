package admin_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
)

func TestExplain(t *testing.T) {
	r := newRig()
	client := serve(t, r.server.Handler())
	before := r.snapshot(t)
	r.inbound.Given = admin.Explanation{Action: "take", Rule: "upstream_down", Facts: []admin.Fact{{Check: "domain", Finding: "ours"}}}
	request := admin.ExplainRequest{From: "a@b.example", To: "c@corp.example", Client: "192.0.2.1", Upstream: "down"}
	given, err := client.Explain(t.Context(), request)
	if err != nil || r.inbound.Explain != request || given.Schema != admin.SchemaExplain || given.To != "c@corp.example" || given.Client != "192.0.2.1" || given.Action != "take" || len(given.Facts) != 1 {
		t.Errorf("%+v, %v, asked %+v", given, err, r.inbound.Explain)
	}
	r.inbound.Fail = errors.New("no address")
	for request, text := range map[admin.ExplainRequest]string{
		{To: "c@corp.example"}:                     "no address",
		{To: "c@corp.example", Upstream: "away"}:   `no state "away" of an upstream (there are up degraded down recovering)`,
		{To: "c@corp.example", Client: "192.0.2."}: `"192.0.2." is no IP address`,
	} {
		_, err := client.Explain(t.Context(), request)
		refused := &admin.Error{}
		if !errors.As(err, &refused) || refused.Code != admin.CodeBadRequest || refused.Message != text {
			t.Errorf("%+v: %v", request, err)
		}
	}
	if answer := r.ask("POST /v1/explain", "{"); lastError(t, answer).Code != admin.CodeBadRequest {
		t.Errorf("%s", answer.Body)
	}
	if r.snapshot(t) != before {
		t.Error("it changed something")
	}
}

func TestExplainRequest(t *testing.T) {
	request := admin.ExplainRequest{}
	state, err := request.Supposed()
	address, failure := request.Address()
	if state != nil || address.IsValid() || err != nil || failure != nil {
		t.Errorf("nothing given: %v %v %v %v", state, address, err, failure)
	}
	request = admin.ExplainRequest{Client: "::ffff:192.0.2.1", Upstream: "recovering"}
	state, err = request.Supposed()
	if address, _ = request.Address(); err != nil || *state != health.Recovering || address != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("%v %v %v", state, address, err)
	}
}
