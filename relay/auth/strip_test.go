package auth

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const claim1 = "Authentication-Results: mx2.corp.example; dkim=pass header.d=bank.example\r\n"

func TestStrip(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"nothing":             {"", ""},
		"no claim":            {"A: b\r\n\r\nbody\r\n", "A: b\r\n\r\nbody\r\n"},
		"one":                 {"A: b\r\n" + claim1 + "C: d\r\n\r\nbody\r\n", "A: b\r\nC: d\r\n\r\nbody\r\n"},
		"first":               {claim1 + "C: d\r\n\r\n", "C: d\r\n\r\n"},
		"last":                {"C: d\r\n" + claim1 + "\r\n", "C: d\r\n\r\n"},
		"header alone":        {"C: d\r\n" + claim1, "C: d\r\n"},
		"no line end":         {"C: d\r\nAuthentication-Results: mx2.corp.example", "C: d\r\n"},
		"in the body":         {"C: d\r\n\r\n" + claim1, "C: d\r\n\r\n" + claim1},
		"other case":          {"AUTHENTICATION-results:MX2.corp.EXAMPLE ; spf=pass\r\n", ""},
		"folded":              {"Authentication-Results:\r\n\tmx2.corp.example;\r\n spf=pass\r\n\t\r\nB: c\r\n", "B: c\r\n"},
		"folded before the ;": {"Authentication-Results: mx2.corp.example\r\n\t; spf=pass\r\nB: c\r\n", "B: c\r\n"},
		"version":             {"Authentication-Results: mx2.corp.example 1; none\r\n", ""},
		"old version":         {"Authentication-Results: mx2.corp.example/1; none\r\n", ""},
		"comment":             {"Authentication-Results: (a (b\\) c); ) mx2.corp.example(d); none\r\n", ""},
		"quoted":              {"Authentication-Results: \"mx2.\\corp.example\"; none\r\n", ""},
		"final dot":           {"Authentication-Results: mx2.corp.example.; none\r\n", ""},
		"blank before colon":  {"Authentication-Results \t: mx2.corp.example; none\r\n", ""},
		"folded before colon": {"Authentication-Results\r\n : mx2.corp.example; none\r\nB: c\r\n", "B: c\r\n"},
		"no result":           {"Authentication-Results: mx2.corp.example\r\n", ""},
		"two":                 {claim1 + claim1 + "B: c\r\n", "B: c\r\n"},
		"long comment":        {"Authentication-Results: (" + strings.Repeat("x\r\n ", 4000) + ") other.example; none\r\nB: c\r\n", "B: c\r\n"},
		"long blanks":         {"Authentication-Results" + strings.Repeat(" \r\n", 5000) + " : mx2.corp.example\r\nB: c\r\n", "B: c\r\n"},
		"other":               {"Authentication-Results: mx.other.example; spf=pass\r\n", "same"},
		"other below ours":    {"Authentication-Results: a.mx2.corp.example; spf=pass\r\n", "same"},
		"other, ours in it":   {"Authentication-Results: other.example; spf=pass (mx2.corp.example;)\r\n", "same"},
		"comment alone":       {"Authentication-Results: (mx2.corp.example;) other.example\r\n", "same"},
		"empty":               {"Authentication-Results:\r\nB: c\r\n", "same"},
		"comment without end": {"Authentication-Results: (mx2.corp.example; none\r\nB: c\r\n", "same"},
		"quotes without end":  {"Authentication-Results: \"mx2.corp.example; none\r\nB: c\r\n", "same"},
		"ARC":                 {"ARC-Authentication-Results: i=1; mx2.corp.example; none\r\n", "same"},
		"longer name":         {"Authentication-Results-Original: mx2.corp.example; none\r\n", "same"},
		"shorter name":        {"Authentication-Result: mx2.corp.example; none\r\n", "same"},
		"no colon":            {"Authentication-Results mx2.corp.example\r\nB: c\r\n", "same"},
		"Received":            {"Received: from x by y; z\r\n" + claim1 + "B: c\r\n", "Received: from x by y; z\r\nB: c\r\n"},
		"empty line first":    {"\r\n" + claim1, "same"},
	} {
		want := c.want
		if want == "same" {
			want = c.in
		}
		for _, size := range []int{1, 2, 3, 7, 1000, 1 << 20} {
			if got, n := stripIn(c.in, size); got != want || (n > 0) != (want != c.in) {
				t.Errorf("%s, in pieces of %d: %q (%d), want %q", name, size, got, n, want)
			}
		}
		h, _ := readHead(strings.NewReader(c.in))
		if got := h.claims(ourID); (got > 0) != (want != c.in) {
			t.Errorf("%s: %d claims are counted", name, got)
		}
	}
}

func stripIn(content string, size int) (string, int) {
	s := NewStripper(ourID)
	var b strings.Builder
	for rest := content; rest != ""; {
		n := min(size, len(rest))
		b.Write(s.Next([]byte(rest[:n])))
		rest = rest[n:]
	}
	b.Write(s.Flush())
	return b.String(), s.Stripped()
}

// TestStripBehindOurTrace: our own fields are above our Received field, and stay.
func TestStripBehindOurTrace(t *testing.T) {
	const ours = claim1 + "Received-SPF: pass\r\nReceived: from a by mx2.corp.example\r\n\tid x; date\r\n"
	const rest = "B: c\r\n\r\nbody\r\n"
	in := ours + claim1 + "Received: from x\r\n" + claim1 + rest
	want := ours + "Received: from x\r\n" + rest
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in)),
		"halves": iotest.HalfReader(strings.NewReader(in)), "with the end": iotest.DataErrReader(strings.NewReader(in))} {
		got, err := io.ReadAll(Strip(r, ourID))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if err := iotest.TestReader(Strip(strings.NewReader(in), ourID), []byte(want)); err != nil {
		t.Error(err)
	}
	// The content may end while nobody knows yet what its last field is.
	const undecided = ours + claim1 + "B: c\r\nReceive"
	if got, err := io.ReadAll(Strip(iotest.DataErrReader(strings.NewReader(undecided)), ourID)); err != nil || string(got) != ours+"B: c\r\nReceive" {
		t.Errorf("undecided: %q, %v", got, err)
	}
	// A failure comes through as it is, behind what was read before it.
	disk := errors.New("disk on fire")
	for cut := range len(in) {
		got, err := io.ReadAll(Strip(io.MultiReader(strings.NewReader(in[:cut]), iotest.ErrReader(disk)), ourID))
		if err != disk {
			t.Fatalf("cut at %d: %q, %v", cut, got, err)
		}
	}
}

// TestClaimsBehindALongHeader: what is too long to be verified is not too long
// to be searched.
func TestClaimsBehindALongHeader(t *testing.T) {
	long := strings.Repeat("X: "+strings.Repeat("a", 500)+"\r\n", 1000)
	for want, message := range map[int]string{0: long, 1: long + claim1, 2: claim1 + long + claim1 + "\r\n" + claim1} {
		v := verify(t, town(t), from("alice@sender.example"), message)
		if v.Claims != want {
			t.Errorf("%d claims, want %d", v.Claims, want)
		}
	}
	broken := io.MultiReader(strings.NewReader(claim1+long), iotest.ErrReader(errors.New("disk on fire")))
	if v := verifier(t, town(t)).Verify(t.Context(), from(""), broken); v.Claims != 1 {
		t.Errorf("%d claims", v.Claims)
	}
}

// FuzzStrip: nothing but whole fields of that name is taken out, whatever the
// pieces are, and what is left claims nothing.
func FuzzStrip(f *testing.F) {
	f.Add("A: b\r\n"+claim1+"C: d\r\n\r\nbody", 3)
	f.Add("Authentication-Results\r\n : (x) \"mx2.corp.example\" 1;\r\n\tspf=pass\r\n", 1)
	f.Fuzz(func(t *testing.T, content string, size int) {
		whole, n := stripIn(content, len(content)+1)
		pieces, m := stripIn(content, max(1, size%100))
		if len(content) < maxUndecided && (whole != pieces || n != m) {
			t.Fatalf("%q in pieces of %d is %q, and %q", content, size, pieces, whole)
		}
		if n == 0 && whole != content {
			t.Fatalf("%q became %q", content, whole)
		}
		if again, left := stripIn(whole, len(whole)+1); left > 0 || again != whole {
			t.Fatalf("%q is left of %q, and claims something", whole, content)
		}
	})
}
