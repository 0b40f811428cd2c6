package watch

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// Vantage is another relay that sees the same primaries from where it is.
type Vantage struct {
	Name      string
	URL       string         // "https://host:port"
	Roots     *x509.CertPool // nil: those of the system
	TokenFile string
	Upstreams []string // ours, which have the same names there
	Dialer    Dialer
}

// Look asks it, and gives one signal for each of our upstreams.
func (v Vantage) Look(ctx context.Context) (all []health.Signal) {
	s := begun(health.SourceVantage, v.Name, time.Now())
	view, err := v.ask(ctx, &s)
	if over(ctx) {
		return nil
	}
	s = ended(s)
	for _, name := range v.Upstreams {
		one := s
		one.Upstream = name
		if err != nil {
			one.Class, one.Reply = health.Temporary, "it does not say: "+plain(err)
		} else {
			one.Class, one.Reply = seen(view, name)
		}
		all = append(all, one)
	}
	return all
}

func (v Vantage) ask(ctx context.Context, s *health.Signal) (view admin.VantageView, err error) {
	token, err := admin.ReadToken(v.TokenFile)
	if err != nil {
		return view, err
	}
	status, body, err := get(ctx, client(v.Roots, v.Dialer), v.URL+admin.PathVantage, token, s)
	switch {
	case err != nil:
		return view, err
	case status == http.StatusUnauthorized:
		return view, fmt.Errorf("it refuses the token in %s", v.TokenFile)
	case status != http.StatusOK:
		return view, fmt.Errorf("it answers %s", statusLine(status))
	}
	return parseView(body)
}

// parseView reads what another relay answered.
func parseView(body []byte) (view admin.VantageView, err error) {
	if err := json.Unmarshal(body, &view); err != nil {
		return view, fmt.Errorf("its answer: %w", err)
	}
	if view.Schema != admin.SchemaVantage {
		return view, fmt.Errorf("its answer has the schema %.40q", view.Schema)
	}
	return view, nil
}

// viewAge is how old the last probe of another relay may be, by its own clock.
const viewAge = 2 * time.Minute

// seen is what the other relay's view means for us. What it does not know, or
// only guesses, is Temporary, which counts for nothing.
func seen(view admin.VantageView, name string) (health.Class, string) {
	for _, u := range view.Upstreams {
		if u.Name != name {
			continue
		}
		words := u.State
		if len(u.Probes) > 0 {
			worst := u.Probes[0]
			for _, p := range u.Probes {
				if p.Class == health.Outage.String() {
					worst = p
				}
			}
			words = strings.TrimSpace(words + ": " + worst.Reply)
		}
		words = cut(words)
		switch {
		case len(u.Probes) == 0 || view.At.Sub(u.Probes[0].At.Time) > viewAge:
			return health.Temporary, "it has not looked lately; then " + words
		case u.CutOff:
			return health.Temporary, "its own network is broken"
		case u.State == health.Down.String(), u.BadRounds >= 2:
			return health.Outage, words
		case u.Throttled:
			return health.Throttle, words
		case u.Refuses:
			return health.Temporary, "it is refused; " + words
		case u.State == health.Up.String() && u.GoodRounds > 0:
			return health.OK, words
		}
		return health.Temporary, words
	}
	return health.Temporary, "it has no upstream of this name"
}
