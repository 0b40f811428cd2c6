package relay

import (
	"net"
	"net/netip"
	"net/smtp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// TestGuardedRelay: behind a load balancer each client has limits of its own, and
// status counts what was refused.
func TestGuardedRelay(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	c.Inbound.Role = configs.RoleFront
	c.Inbound.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	c.Inbound.Lists = configs.Lists{Block: []string{"block.example"}, Timeout: time.Second} // its servers do not answer
	c.Inbound.Rates = configs.Rates{PerAddress: configs.Rate{Messages: 1}}
	r := run(t, c)
	r.log.await(t, "health.changed", "to=up")
	for _, test := range []struct{ client, want string }{
		{"192.0.2.1", ""}, {"192.0.2.2", ""}, {"192.0.2.1", "4.7.1 too much mail"}, {"203.0.113.1", ""},
	} {
		conn, err := net.Dial("tcp", r.addresses()[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("PROXY TCP4 " + test.client + " 127.0.0.1 4025 25\r\n")); err != nil {
			t.Fatal(err)
		}
		s, err := smtp.NewClient(conn, "mx2.corp.example")
		if err != nil {
			t.Fatal(err)
		}
		err = envelope(s, "a@corp.example")
		if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.client, err, test.want)
		}
		s.Close()
	}
	st := r.status().Inbound
	if got := st.Refused["message_rate_of_address"]; got != 1 || st.ListsFailed != 3 {
		t.Errorf("%d were refused, %d questions failed", got, st.ListsFailed)
	}
	if n, counted := st.Refused["dns_listed"]; !counted || n != 0 {
		t.Errorf("nobody was listed, and that is not said: %v", st.Refused)
	}
	e, err := r.client.Explain(t.Context(), admin.ExplainRequest{To: "a@corp.example", Client: "192.0.2.1"})
	if err != nil || e.Action != "defer" || e.Rule != "message_rate_of_address" || !strings.HasPrefix(e.Reply, "451 4.7.1 too much mail") ||
		!slices.Contains(e.Facts, admin.Fact{Check: "rate", Finding: "messages in a minute: 1 of 1 for 192.0.2.1"}) {
		t.Errorf("explained as %+v, %v", e, err)
	}
}
