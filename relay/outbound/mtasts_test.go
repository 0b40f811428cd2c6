package outbound

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/integration/primary"
)

// policy publishes an MTA-STS policy of corp.example, on a web server of loopback.
func (w *world) policy(mode string, mx ...string) {
	w.Helper()
	certificate, err := w.authority.Certificate("mta-sts.corp.example")
	if err != nil {
		w.Fatal(err)
	}
	text := "version: STSv1\r\nmode: " + mode + "\r\nmax_age: 86400\r\n"
	for _, host := range mx {
		text += "mx: " + host + "\r\n"
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", "text/plain")
		io.WriteString(out, text)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	w.Cleanup(server.Close)
	w.options.PolicyPort = server.Listener.Addr().(*net.TCPAddr).Port
	w.zone("_mta-sts.corp.example. 60 IN TXT \"v=STSv1; id="+mode+";\"", "mta-sts.corp.example. 60 IN A 127.0.0.97", "mta-sts.corp.example. 60 IN A 127.0.0.1") // nobody listens at the first
}

// TestMTASTS: what a policy does to a delivery.
func TestMTASTS(t *testing.T) {
	other, err := primary.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	forged := func(w *world, s *sink) { // a certificate that no root has signed
		if s.chain, err = other.Certificate("mx0.example"); err != nil {
			w.Fatal(err)
		}
	}
	wrongName := func(w *world, s *sink) {
		if s.chain, err = w.authority.Certificate("other.example"); err != nil {
			w.Fatal(err)
		}
	}
	signed := func(usage int, data func(t *testing.T, c tls.Certificate) []byte) func(w *world, s *sink) {
		return func(w *world, s *sink) {
			w.server.Sign("example")
			w.tlsa("mx0.example", usage, 1, 1, data(w.T, s.chain))
		}
	}
	wrongKey := func(*testing.T, tls.Certificate) []byte { return make([]byte, 32) }
	for _, test := range []struct {
		name    string
		sink    *sink
		mode    string
		mx      string
		change  func(w *world, s *sink)
		outcome string
		words   string
		taken   string
	}{
		{"enforced, and all is right", &sink{}, "enforce", "mx0.example", nil, "delivered", "", "tls mx0.example a@corp.example"},
		{"a pattern", &sink{}, "enforce", "*.example", nil, "delivered", "", "tls mx0.example a@corp.example"},
		{"the host is not listed", &sink{}, "enforce", "mx9.example", nil, "deferred/message", "the MTA-STS policy of corp.example does not list the host", ""},
		{"no STARTTLS", &sink{startTLS: sinkSilent}, "enforce", "mx0.example", nil, "deferred/message", "does not offer STARTTLS", ""},
		{"STARTTLS refused", &sink{startTLS: sinkRefuses}, "enforce", "mx0.example", nil, "deferred/message", "454", ""},
		{"another authority", &sink{}, "enforce", "mx0.example", forged, "deferred/message", "certificate", ""},
		{"another name", &sink{}, "enforce", "mx0.example", wrongName, "deferred/message", "certificate", ""},
		{"testing, and all is wrong", &sink{startTLS: sinkSilent}, "testing", "mx9.example", nil, "delivered", "", "plain a@corp.example"},
		{"none any more", &sink{}, "none", "mx9.example", forged, "delivered", "", "tls mx0.example a@corp.example"},
		{"DANE is enough", &sink{}, "enforce", "mx0.example", func(w *world, s *sink) { forged(w, s); signed(3, keyOf)(w, s) }, "delivered", "", "tls mx0.example a@corp.example"},
		{"the policy does not heal DANE", &sink{}, "enforce", "mx0.example", signed(3, wrongKey), "deferred/message", "no TLSA record", ""},
		{"the policy is stricter than unusable records", &sink{}, "enforce", "mx0.example", func(w *world, s *sink) { forged(w, s); signed(1, keyOf)(w, s) }, "deferred/message", "certificate", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, nil, test.sink)
			w.zone("corp.example. 60 IN MX 10 mx0.example.")
			w.policy(test.mode, test.mx)
			if test.change != nil {
				test.change(w, test.sink)
			}
			w.want("a@corp.example", test.outcome, test.words)
			if got := test.sink.took(); got != test.taken {
				t.Errorf("taken %q, want %q", got, test.taken)
			}
		})
	}
}

// TestPolicyHostIsChecked: a domain cannot make us connect to what is not
// public, nor follow aliases for long.
func TestPolicyHostIsChecked(t *testing.T) {
	w := newWorld(t, func(o *InternetOptions) { o.Private = nil }, &sink{})
	w.zone("private.example. 60 IN A 127.0.0.1", "private.example. 60 IN A 169.254.169.254",
		"c1.example. 60 IN CNAME c2.example.", "c2.example. 60 IN CNAME c3.example.", "c3.example. 60 IN CNAME c4.example.", "c4.example. 60 IN CNAME mx0.example.")
	for host, want := range map[string]string{"private.example": "no address that may be used", "c1.example": "a chain of 4 aliases", "gone.example": "no such host"} {
		if conn, err := w.dialPolicy(t.Context(), host); conn != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", host, err)
		}
	}
	w.upstream.Private = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	w.options.PolicyPort = 1 // refused
	if conn, err := w.dialPolicy(t.Context(), "private.example"); conn != nil || err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}
