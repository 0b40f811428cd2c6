package dane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/relay/dns"
)

var now = time.Date(2026, 3, 12, 12, 0, 0, 0, time.UTC)

// issued is a certificate with its key.
type issued struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// issue makes a certificate of a name, by an issuer or by itself, valid a day
// before and after at. Without a name it is an authority's.
func issue(t *testing.T, by *issued, name string, at time.Time) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name + " of a test"}, NotBefore: at.AddDate(0, 0, -1), NotAfter: at.AddDate(0, 0, 1)}
	if name == "" {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		template.DNSNames = []string{name}
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{c, key}
}

// record is a TLSA record of a certificate.
func record(usage, selector, matching uint8, of *issued) dns.TLSA {
	data := of.Raw
	if selector == selectKey {
		data = of.RawSubjectPublicKeyInfo
	}
	switch matching {
	case matchSHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case matchSHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return dns.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: data}
}

func TestVerify(t *testing.T) {
	root := issue(t, nil, "", now)
	sub := issue(t, root, "", now)
	leaf := issue(t, sub, "mx.example", now)
	other := issue(t, nil, "", now)
	expired := issue(t, sub, "mx.example", now.AddDate(-1, 0, 0))
	wildcard := issue(t, sub, "*.example", now)
	foreign := issue(t, sub, "mx.elsewhere.example", now)
	alone := issue(t, nil, "whatever.example", now.AddDate(-9, 0, 0))
	type chain []*issued
	whole, short := chain{leaf, sub, root}, chain{leaf}
	for _, test := range []struct {
		name    string
		records []dns.TLSA
		chain   chain
		good    bool
	}{
		{"3 1 1: the key of the host", []dns.TLSA{record(3, 1, 1, leaf)}, short, true},
		{"3 1 2", []dns.TLSA{record(3, 1, 2, leaf)}, short, true},
		{"3 1 0", []dns.TLSA{record(3, 1, 0, leaf)}, short, true},
		{"3 0 1: the certificate of the host", []dns.TLSA{record(3, 0, 1, leaf)}, whole, true},
		{"3 0 0", []dns.TLSA{record(3, 0, 0, leaf)}, whole, true},
		{"3 neither looks at names nor at dates", []dns.TLSA{record(3, 1, 1, alone)}, chain{alone}, true},
		{"3 of another key", []dns.TLSA{record(3, 1, 1, other)}, whole, false},
		{"3 of a certificate that is only shown", []dns.TLSA{record(3, 1, 1, sub)}, whole, false},
		{"the second of two records", []dns.TLSA{record(3, 1, 1, other), record(3, 1, 1, leaf)}, short, true},
		{"2 0 1: the authority", []dns.TLSA{record(2, 0, 1, root)}, whole, true},
		{"2 1 1: the key of the one below it", []dns.TLSA{record(2, 1, 1, sub)}, chain{leaf, sub}, true},
		{"2 1 2", []dns.TLSA{record(2, 1, 2, root)}, whole, true},
		{"2 0 0: an authority that is not shown", []dns.TLSA{record(2, 0, 0, sub)}, short, true},
		{"2 1 1 of an authority that is not shown", []dns.TLSA{record(2, 1, 1, sub)}, short, false},
		{"2 of another authority", []dns.TLSA{record(2, 0, 1, other)}, whole, false},
		{"2 of an authority that is shown, but has not issued", []dns.TLSA{record(2, 0, 1, other)}, chain{leaf, sub, root, other}, false},
		{"2 0 0 of an authority that has not issued", []dns.TLSA{record(2, 0, 0, other)}, whole, false},
		{"2 of the certificate of the host", []dns.TLSA{record(2, 0, 1, leaf)}, whole, false},
		{"2 and a wildcard", []dns.TLSA{record(2, 0, 1, sub)}, chain{wildcard, sub}, true},
		{"2 and the name of another host", []dns.TLSA{record(2, 0, 1, sub)}, chain{foreign, sub}, false},
		{"2 and a certificate that has expired", []dns.TLSA{record(2, 0, 1, sub)}, chain{expired, sub}, false},
		{"no record", nil, whole, false},
		{"no certificate", []dns.TLSA{record(3, 1, 1, leaf)}, nil, false},
	} {
		var shown []*x509.Certificate
		for _, c := range test.chain {
			shown = append(shown, c.Certificate)
		}
		err := Verify(Usable(test.records), []string{"mx.example", "corp.example"}, shown, now)
		if (err == nil) != test.good {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	domain := issue(t, sub, "corp.example", now) // RFC 7672 3.2.2: the domain of the mail is as good as the host
	if err := Verify([]dns.TLSA{record(2, 0, 1, sub)}, []string{"mx.example", "corp.example"}, []*x509.Certificate{domain.Certificate, sub.Certificate}, now); err != nil {
		t.Error(err)
	}
}

func TestUsable(t *testing.T) {
	leaf := issue(t, nil, "mx.example", now)
	for _, test := range []struct {
		name string
		r    dns.TLSA
		want bool
	}{
		{"0", record(0, 1, 1, leaf), false}, {"1", record(1, 1, 1, leaf), false}, {"255", record(255, 1, 1, leaf), false},
		{"2 0 0", record(2, 0, 0, leaf), true}, {"2 1 0", record(2, 1, 0, leaf), true}, {"2 0 1", record(2, 0, 1, leaf), true}, {"3 1 2", record(3, 1, 2, leaf), true},
		{"selector 2", dns.TLSA{Usage: 3, Selector: 2, Matching: 1, Data: make([]byte, 32)}, false},
		{"matching 3", dns.TLSA{Usage: 3, Selector: 1, Matching: 3, Data: make([]byte, 32)}, false},
		{"short digest", dns.TLSA{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 31)}, false},
		{"long digest", dns.TLSA{Usage: 3, Selector: 1, Matching: 2, Data: make([]byte, 65)}, false},
		{"no certificate", dns.TLSA{Usage: 2, Selector: 0, Matching: 0, Data: []byte{1}}, false},
		{"no key", dns.TLSA{Usage: 3, Selector: 1, Matching: 0, Data: []byte{1}}, false},
		{"nothing", dns.TLSA{Usage: 3, Selector: 1, Matching: 1}, false},
	} {
		if got := len(Usable([]dns.TLSA{test.r})) == 1; got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	many := make([]dns.TLSA, 60)
	for i := range many {
		many[i] = record(3, 1, 1, leaf)
	}
	if got := len(Usable(many)); got != maxRecords {
		t.Errorf("%d of %d", got, len(many))
	}
}
