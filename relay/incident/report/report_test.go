package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/incident"
)

func TestForms(t *testing.T) {
	r, b := outage().build(t, Options{})
	var rows, probes bytes.Buffer
	if err := errors.Join(b.Messages(&rows), b.Probes(&probes)); err != nil {
		t.Fatal(err)
	}
	page, err := HTML(r, Everybody)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.md", Markdown(r, Everybody))
	golden(t, "report.html", page)
	golden(t, "messages.csv", rows.Bytes())
	golden(t, "management.md", Markdown(r, Management))
	provider := string(Markdown(r, Provider))
	for _, part := range []string{"B. Timeline", "C. Evidence", "D. Figures"} {
		if !strings.Contains(provider, part) {
			t.Errorf("the provider misses %s", part)
		}
	}
	if strings.Contains(provider, "A. Summary") || strings.Contains(provider, "E. What") {
		t.Error("the provider sees what is for us")
	}
}

// TestAccount has figures that were counted by hand.
func TestAccount(t *testing.T) {
	r, _ := outage().build(t, Options{})
	m := r.Mail
	want := incident.Account{Accepted: 9, Delivered: 4, Held: 1, Failed: 1, Expired: 1, Deleted: 1, Remainder: 1} // lost@corp.example has no account
	if m.Account != want || m.Messages != 6 || m.Bytes != 6*2048 || m.MaybeTwice != 1 || m.Domains != 3 || m.Addresses != 9 || m.Tried != 6 {
		t.Errorf("%+v", m)
	}
	if m.Delay != (Delay{17041, 18721, 18721, 18721}) {
		t.Errorf("%+v", m.Delay)
	}
	if r.Aside != 0 || r.Passed != 2 || r.Through != 101+uint64(len(outage().lines))-1 {
		t.Errorf("%d %d %d", r.Aside, r.Passed, r.Through)
	}
	if !m.First.Equal(clockTime(285).Add(500*time.Millisecond)) || !m.Last.Equal(clockTime(292).Add(500*time.Millisecond)) {
		t.Errorf("%v %v", m.First, m.Last)
	}
	// At the first edge late@ waits; at the last one those held and lost.
	if m.Queue[0] != 1 || m.Queue[binCount] != 2 {
		t.Errorf("%v", m.Queue)
	}
}

func TestDelays(t *testing.T) {
	by := map[int64]int64{}
	for n := range int64(100) {
		by[n+1]++
	}
	d, bins := delaysOf(by)
	if d != (Delay{50, 95, 99, 100}) || bins[0].Recipients != 60 || bins[1].Recipients != 40 {
		t.Errorf("%+v %+v", d, bins)
	}
	if d, bins := delaysOf(map[int64]int64{0: 1, 100000: 1}); d != (Delay{0, 100000, 100000, 100000}) || bins[0].Recipients != 1 || bins[7].Recipients != 1 {
		t.Errorf("%+v %+v", d, bins)
	}
	if d, _ := delaysOf(nil); d != (Delay{}) {
		t.Errorf("%+v", d)
	}
}

// TestNoFormula has no cell that a spreadsheet would run, and every text comes back.
func TestNoFormula(t *testing.T) {
	_, b := outage().build(t, Options{})
	var out bytes.Buffer
	if err := b.Messages(&out); err != nil {
		t.Fatal(err)
	}
	all, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range all {
		for _, c := range row {
			if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
				t.Errorf("%q", c)
			}
		}
	}
	var names []string
	if err := b.Rows(func(r Row) error { names = append(names, r.Recipient); return nil }); err != nil || !slices.Contains(names, "=cmd|' /C calc'!A0@corp.example") {
		t.Errorf("%q, %v", names, err)
	}
	for _, text := range []string{"", "=1", "'x", "''", "+", "-", "@a", "a=b", "\tx"} {
		if got := unguard(guard(text)); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := line("a\x00b\r\nc\nd\xff\u2028"); got != "a\ufffdb | c | d\ufffd\ufffd" {
		t.Errorf("%q", got)
	}
}

func TestHTMLStandsAlone(t *testing.T) {
	r, _ := outage().build(t, Options{})
	page, err := HTML(r, Everybody)
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`(?i)<script|<link|<img|<iframe|<object|\bsrc=|\bhref=|url\(|@import|\son[a-z]+=`).FindAll(page, -1); len(found) > 0 {
		t.Errorf("%q", found)
	}
	if n := bytes.Count(page, []byte("<svg")); n != 3 {
		t.Errorf("%d charts", n)
	}
}

// TestNothingIsInvented has the report of an incident of which nothing is recorded.
func TestNothingIsInvented(t *testing.T) {
	i := health.OpenIncident("INC-2026-03-12-2", "exo", health.Seen{At: clockTime(0), State: health.Up, Why: "users see no mail"}, "j.doe", time.Time{})
	b, err := NewBuilder(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, p := range []incident.Piece{{Head: &incident.Head{At: clockTime(60), Record: incident.Record{Incident: i, Timeline: i.Moments}}}, {End: &incident.End{NoHistory: true, Unread: 3}}} {
		if err := b.Take(p); err != nil {
			t.Fatal(err)
		}
	}
	r, err := b.Finish(nil)
	if err != nil {
		t.Fatal(err)
	}
	text := string(Markdown(r, Everybody))
	golden(t, "empty.md", []byte(text))
	for _, want := range []string{"opened by j.doe", "Observations of the primary: not recorded", "control target that tells our network from theirs: not recorded", "clock of our host was synchronised: not recorded",
		"chain of hashes over the ledger: not recorded", "Replies: not recorded", "3 damaged records could not be read", "history could not be read in full"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if page, err := HTML(r, Everybody); err != nil || !bytes.Contains(page, []byte("nothing is recorded")) {
		t.Errorf("%v", err)
	}
	r.AtClose = &Closing{At: clockTime(60), Account: incident.Account{Accepted: 7}}
	for n := range maxTimeline + 1 {
		r.Timeline = append(r.Timeline, health.Moment{At: clockTime(float64(n)), What: "note"})
	}
	r.Incident.WasDown = true
	text = string(Markdown(r, Everybody))
	for _, want := range []string{"7 recipients were accounted for", "are in timeline.csv", "it was not up when this was prepared", "not over when this was prepared"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
}

func TestRedaction(t *testing.T) {
	s := outage()
	r, b := s.build(t, Options{Key: []byte("key")})
	var rows, probes bytes.Buffer
	if err := errors.Join(b.Messages(&rows), b.Probes(&probes)); err != nil {
		t.Fatal(err)
	}
	all, err := derived(r)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"messages.csv": rows.String(), "probes.csv": probes.String()}
	for _, one := range all {
		texts[one.name] = string(one.text)
	}
	for name, text := range texts {
		for _, secret := range []string{"supplier", "bulk.example", "a.meyer", "@corp.example", "j.doe", "ops-sms", "192.0.2.44", "203.0.113.7", "mx2.corp"} {
			if strings.Contains(strings.ToLower(text), secret) {
				t.Errorf("%s has %s", name, secret)
			}
		}
		if !strings.HasPrefix(name, "README") && name != "timeline.csv" && name != "states.csv" && name != "messages.csv" && !strings.Contains(text, "198.51.100.25") {
			t.Errorf("%s lacks the primary's address", name)
		}
	}
	if !r.Redacted || !strings.Contains(texts["messages.csv"], "<u") || !strings.Contains(texts["report.md"], "pseudonyms") {
		t.Error("it does not look redacted")
	}
	one := &redactor{[]byte("key")}
	if a, b := one.address("A@x.example"), one.address("a@X.example"); a != b || !strings.HasSuffix(a, ".invalid") {
		t.Errorf("%s %s", a, b)
	}
	if one.address("a@x.example") == (&redactor{[]byte("other")}).address("a@x.example") {
		t.Error("another key makes the same")
	}
	for text, want := range map[string]string{"at 13:04:10": "at 13:04:10", "4.3.2": "4.3.2", `no "a b"@x.example here`: "no " + one.address(`"a b"@x.example`) + " here", "from 2001:db8::1 x": "from " + one.ip("2001:db8::1") + " x"} {
		if got := one.text(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
	if one.address("local") == "local" || one.address("") != "" {
		t.Error("an address without a domain, and none")
	}
	var off *redactor
	if got := off.signal(s.samples[0]); !reflect.DeepEqual(got, s.samples[0]) {
		t.Errorf("%+v", got)
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		thousands(-1234567): "-1,234,567", thousands(999): "999", counted(1, "row"): "1 row", counted(2000, "row"): "2,000 rows",
		span(-time.Second): "0 s", span(59 * time.Second): "59 s", span(time.Minute): "1 min", span(284 * time.Minute): "4 h 44 min", span(49 * time.Hour): "2 d 1 h",
		volume(5): "5 bytes", volume(1 << 41): "2048.0 GiB", volume(1536): "1.5 KiB", clock(time.Time{}): "not recorded",
		reply(0, "", "i/o timeout"): "i/o timeout", reply(451, "4.3.2", "x"): "451 4.3.2 x",
		addresses(1): "1 address", day(deadline(time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC))): "28 Feb 2026",
		monthShare(time.Date(2026, 3, 31, 23, 0, 0, 0, time.UTC), time.Date(2026, 4, 1, 1, 0, 0, 0, time.UTC)):     "60.00 of 44640 min in March 2026: 99.866 % available; 60.00 of 43200 min in April 2026: 99.861 % available",
		monthShare(time.Date(2026, 3, 31, 23, 0, 0, 0, time.UTC), time.Date(2036, 4, 1, 1, 0, 0, 0, time.UTC))[:5]: "60.00",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestEvidenceInOrder(t *testing.T) {
	make := func() *Builder {
		b, err := NewBuilder(Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	b := make()
	if err := b.Take(incident.Piece{End: &incident.End{}}); !errors.Is(err, ErrOrder) {
		t.Error(err)
	}
	head := outage().head
	if err := b.Take(incident.Piece{Head: &head}); err != nil {
		t.Error(err)
	}
	if err := b.Take(incident.Piece{Head: &head}); !errors.Is(err, ErrOrder) {
		t.Error(err)
	}
	if _, err := b.Finish(nil); !errors.Is(err, ErrOrder) {
		t.Error(err)
	}
	if err := b.Take(incident.Piece{End: &incident.End{}}); err != nil {
		t.Error(err)
	}
	if err := b.Take(incident.Piece{End: &incident.End{}}); !errors.Is(err, ErrOrder) {
		t.Error(err)
	}
	if _, err := NewBuilder(Options{Dir: "/nowhere/at/all"}); err == nil {
		t.Error("a folder that is not there")
	}
}

// TestReportIsTheSameAfterJSON makes pages of what came through JSON.
func TestReportIsTheSameAfterJSON(t *testing.T) {
	r, _ := outage().build(t, Options{})
	text, err := JSON(r)
	if err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	first, err := derived(r)
	if err != nil {
		t.Fatal(err)
	}
	second, err := derived(again)
	if err != nil {
		t.Fatal(err)
	}
	for n := range first {
		if !bytes.Equal(first[n].text, second[n].text) {
			t.Errorf("%s differs", first[n].name)
		}
	}
}

func TestBins(t *testing.T) {
	b := Bins{From: clockTime(0), Width: 60, Count: 3}
	for _, test := range []struct {
		minutes float64
		in      int
		is      bool
		edge    int
	}{{-1, 0, false, 0}, {0, 0, true, 0}, {0.5, 0, true, 1}, {1, 1, true, 1}, {2.9, 2, true, 3}, {3, 2, true, 3}, {3.1, 0, false, 4}} {
		if n, is := b.in(clockTime(test.minutes)); n != test.in || is != test.is || b.edge(clockTime(test.minutes)) != test.edge {
			t.Errorf("%v: %d %v, edge %d", test, n, is, b.edge(clockTime(test.minutes)))
		}
	}
}
