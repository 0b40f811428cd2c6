package admin

import (
	"strings"
	"testing"
	"time"
)

// TestTheEndOfACertificateIsSaidInTime: what a person can do is said, and only then.
func TestTheEndOfACertificateIsSaidInTime(t *testing.T) {
	in := func(d time.Duration) Time { return Time{noon.Add(d)} }
	for _, test := range []struct {
		rule        string
		certificate *CertificateStatus
		severity    string
		todo        string
	}{
		{"nothing is known", nil, SeverityOK, ""},
		{"files that last", &CertificateStatus{Source: "files", Until: in(certificateLasts)}, SeverityOK, ""},
		{"files that end", &CertificateStatus{Source: "files", Until: in(certificateLasts - 1)}, SeverityWarning, "The certificate that senders see ends on 26 Mar 2026: put a new one"},
		{"files that have ended", &CertificateStatus{Source: "files", Until: in(-1)}, SeverityWarning, "The certificate that senders see has ended: put a new one"},
		{"an authority that has not issued yet", &CertificateStatus{Source: "acme"}, SeverityOK, ""},
		{"an authority that does not issue", &CertificateStatus{Source: "acme", Failure: "no route"}, SeverityWarning, "has issued nothing yet, so senders see a self-signed certificate: no route"},
		{"an authority that fails long before", &CertificateStatus{Source: "acme", Until: in(30 * 24 * time.Hour), Failure: "no route"}, SeverityOK, ""},
		{"an authority that does not renew", &CertificateStatus{Source: "acme", Until: in(24 * time.Hour), Failure: "no route"}, SeverityWarning, "ends on 13 Mar 2026, and the certificate authority does not renew it: no route"},
		{"self-signed", &CertificateStatus{Source: "self-signed", Until: in(time.Hour)}, SeverityOK, ""},
	} {
		st := standingOf(UpstreamStatus{State: "up"}, nil)
		st.Inbound.Certificate = test.certificate
		judge(&st)
		words := ""
		if len(st.Todo) > 0 {
			words = st.Todo[0].Text
		}
		if st.Severity != test.severity || (test.todo == "") != (words == "") || !strings.Contains(words, test.todo) {
			t.Errorf("%s: %s, %+v", test.rule, st.Severity, st.Todo)
		}
	}
	c := Certificate{Source: "acme", Until: noon.Time, Failure: "x"}
	if got := c.snapshot(); *got != (CertificateStatus{"acme", noon, "x"}) || (Certificate{}).snapshot() != nil {
		t.Errorf("%+v", got)
	}
}

// TestAnUpstreamThatIsOurselves: the words say what to mend, not that it refuses us.
func TestAnUpstreamThatIsOurselves(t *testing.T) {
	ours := &Condition{Since: noon, Last: noon, Reply: "the host is this relay itself: we listen at 192.0.2.7:25"}
	st := standingOf(UpstreamStatus{State: "up", Misconfigured: ours, LastSignal: &Signal{Class: "misconfigured", Reply: ours.Reply}}, map[string]int64{"queued": 3})
	judge(&st)
	if st.Severity != SeverityCritical || st.State != Holding || !strings.HasPrefix(st.Upstreams[0].Fault, "It is this relay itself") {
		t.Errorf("%s %s: %s", st.State, st.Severity, st.Upstreams[0].Fault)
	}
	if !strings.HasPrefix(st.Headline, "exo leads back to this relay: mail would go in circles. Nothing is lost") || !strings.HasPrefix(st.WhatNext, "automatic when exo leads to the primary: ") {
		t.Errorf("%s\n%s", st.Headline, st.WhatNext)
	}
	if len(st.Todo) != 1 || !strings.HasPrefix(st.Todo[0].Text, "exo leads back to this relay") || st.Todo[0].Command != "mxkeep health probe" {
		t.Errorf("to do: %+v", st.Todo)
	}
}
