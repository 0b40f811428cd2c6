package relay

import (
	"log/slog"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/milter"
)

// filters makes the content filters.
func filters(configured []configs.Filter, log *slog.Logger) (milter.Chain, error) {
	var chain milter.Chain
	for _, c := range configured {
		o := milter.Options{Name: c.Name, Timeout: c.Timeout, Connections: c.Connections, OnFailure: milter.Defer, Log: log}
		o.Network, o.Address = c.Place()
		switch c.OnFailure {
		case configs.FailureAccept:
			o.OnFailure = milter.Accept
		case configs.FailureHold:
			o.OnFailure = milter.Hold
		}
		f, err := milter.New(o)
		if err != nil {
			return nil, err
		}
		chain = append(chain, f)
	}
	return chain, nil
}

// shownFilters is how operators see the filters.
func shownFilters(all []milter.Status) (shown []admin.Filter) {
	for _, s := range all {
		shown = append(shown, admin.Filter{Name: s.Name, Address: s.Address, OnFailure: s.OnFailure.String(), Answers: s.Answers,
			Failed: s.Failed, Fields: s.Fields, Ignored: s.Ignored, Took: s.Took, FailingAt: s.FailingAt, Failure: s.Failure})
	}
	return shown
}
