package arc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// python is that of Debian, which the packages python3-dkim and python3-authres are for.
const python = "/usr/bin/python3"

type job struct {
	Verify   string `json:"verify,omitempty"`
	Zone     zone   `json:"zone,omitempty"`
	Seal     string `json:"seal,omitempty"`
	Key      string `json:"key,omitempty"`
	Domain   string `json:"domain,omitempty"`
	Selector string `json:"selector,omitempty"`
	ID       string `json:"id,omitempty"`
}

type answer struct {
	CV, Why, Set string
	Sets         []struct {
		Instance      int
		Message, Seal bool
	}
}

// dkimpy does jobs with another implementation.
func dkimpy(t *testing.T, jobs ...job) []answer {
	t.Helper()
	in, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath(python); err != nil || exec.Command(python, "-c", "import dkim, authres").Run() != nil {
		t.Skip("dkimpy is not here: apt-get install python3-dkim python3-authres")
	}
	command := exec.Command(python, "testdata/dkimpy.py")
	command.Stdin = bytes.NewReader(in)
	var errs bytes.Buffer
	command.Stderr = &errs
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, errs.Bytes())
	}
	var answers []answer
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatal(err)
	}
	return answers
}

// dkimpySeal puts a set of dkimpy in front. It takes the results from the field
// of its own server, of which there may be one.
func dkimpySeal(t *testing.T, content string, cv Status) string {
	t.Helper()
	pem := testRSA().PEM()
	id := fmt.Sprintf("mx%d.other.example", strings.Count(content, "ARC-Seal:"))
	content = "Authentication-Results: " + id + "; spf=pass smtp.mailfrom=client.example;\r\n\tarc=" + string(cv) + "\r\n" + content
	got := dkimpy(t, job{Seal: base64.StdEncoding.EncodeToString([]byte(content)), Key: string(pem), Domain: "a.example", Selector: "r", ID: id})
	set, err := base64.StdEncoding.DecodeString(got[0].Set)
	if err != nil || len(set) == 0 {
		t.Fatalf("no set: %v", err)
	}
	return string(set) + content
}

// TestDkimpyBelievesUs: every message that we seal, by either kind of key and
// several times, passes another implementation, set by set.
func TestDkimpyBelievesUs(t *testing.T) {
	z := dns(t)
	var jobs []job
	var rules []string
	add := func(rule, content string) {
		jobs = append(jobs, job{Verify: base64.StdEncoding.EncodeToString([]byte(content)), Zone: z})
		rules = append(rules, rule)
	}
	for name, content := range shapes() {
		for _, key := range []*Key{testRSA(), testEd25519()} {
			once := seal(t, content, sealer(t, key), z)
			add(name+" by "+key.Algorithm(), once)
			add(name+" by "+key.Algorithm()+", then the other", seal(t, seal(t, once, sealer(t, testEd25519()), z), sealer(t, testRSA(), "received", "to"), z))
		}
	}
	for i, got := range dkimpy(t, jobs...) {
		if got.CV != "pass" {
			t.Errorf("%s: dkimpy says %s: %s", rules[i], got.CV, got.Why)
		}
		for _, s := range got.Sets {
			if !s.Message || !s.Seal {
				t.Errorf("%s: dkimpy says %+v", rules[i], s)
			}
		}
	}
}

// TestMixedChains: sets of both implementations in one chain.
func TestMixedChains(t *testing.T) {
	z := dns(t)
	ours := sealer(t, testEd25519())
	content := dkimpySeal(t, letter, None)
	wantStatus(t, verify(t, content, z), Pass, "")
	content = dkimpySeal(t, seal(t, content, ours, z), Pass)
	content = seal(t, content, sealer(t, testRSA()), z)
	chain := verify(t, content, z)
	wantStatus(t, chain, Pass, "")
	if len(chain.Sets) != 4 || chain.OldestPass != 0 {
		t.Errorf("%d sets, oldest pass %d", len(chain.Sets), chain.OldestPass)
	}
	got := dkimpy(t, job{Verify: base64.StdEncoding.EncodeToString([]byte(content)), Zone: z})[0]
	if got.CV != "pass" || len(got.Sets) != 4 {
		t.Errorf("dkimpy says %+v", got)
	}
}

// TestDkimpyEndsWithUs: of a chain that we found broken, dkimpy says that it has
// ended, and our last set holds for itself.
func TestDkimpyEndsWithUs(t *testing.T) {
	z := dns(t)
	content := strings.Replace(seal(t, letter, sealer(t, testRSA()), z), "bob@", "eve@", 1)
	content = seal(t, content, sealer(t, testRSA()), z)
	got := dkimpy(t, job{Verify: base64.StdEncoding.EncodeToString([]byte(content)), Zone: z})[0]
	if got.CV != "ended" || !got.Sets[0].Message {
		t.Errorf("dkimpy says %+v", got)
	}
	sets, _, _ := gather(split([]byte(content)), &Chain{})
	last := &sets[1]
	if last.seal.tags["cv"] != string(Fail) {
		t.Errorf("the last seal is not cv=fail: %s", last.seal.raw)
	}
	v := verifier{keys: keyring{resolver: z}}
	if err := v.signature(t.Context(), last.seal.tags, sealHash(nil, last)); err != nil {
		t.Errorf("the seal of the last set alone: %v", err)
	}
}

// shapes are messages whose form is hard on canonicalization.
func shapes() map[string]string {
	head := letter[:strings.Index(letter, "\r\n\r\n")+2]
	all := map[string]string{"letter": letter, "no body": head, "empty body": head + "\r\n", "lines only": head + "\r\n\r\n\r\n",
		"white space only": head + "\r\n \t\r\n\t\r\n", "no last line end": head + "\r\nend", "white space at the end": head + "\r\na \r\nb\t \t\r\n",
		"8-bit": head + "\r\n\xe4\xf6\xfc \x00\x01\r\n", "long line": head + "\r\n" + strings.Repeat("x ", 40000) + "\r\n",
		"white space across pieces": head + "\r\n" + strings.Repeat("0123456789abcd\r\n", (16<<10-len(head))/16) + strings.Repeat(" ", 40) + "x\r\n",
		"empty fields":              "From:\r\nTo: \r\nSubject:\r\n\t\r\nSubject: \r\n \r\n\tx\r\nReply-To:  a@b  \r\n\r\nx\r\n",
		"two of a kind":             "From: a@a.example\r\nFrom: b@b.example\r\nTo: 1\r\nTo: 2\r\n\r\nx\r\n",
		"folds":                     "From: a\r\n b\r\n\t c\r\n   @d.example\r\nSubject: x:y; z=\"=\" \r\n  \r\n\r\nx\r\n",
		"UTF-8":                     "From: d\xc3\xb6rte@b\xc3\xbccher.example\r\nSubject: \xe2\x82\xac\r\n\r\n\xe2\x82\xac\r\n",
		"mixed case":                "FROM: a@a.example\r\nsUbJeCt: X\r\n\r\nx\r\n"}
	for n := range 5 {
		all[fmt.Sprintf("%d lines at the end", n)] = head + "\r\nx" + strings.Repeat("\r\n", n)
	}
	return all
}
