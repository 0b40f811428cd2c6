package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		rule string
		ages []int // under 5, 10, 20, 40, 80, 160, 320 minutes, and older
		says string
	}{
		{"nothing", []int{0, 0, 0, 0, 0, 0, 0, 0}, ""},
		{"too few to have a shape", []int{0, 0, 0, 0, 0, 19, 0, 0}, ""},
		{"stuck", []int{0, 0, 0, 0, 0, 20, 0, 0}, "stuck"},
		{"stuck for long", []int{0, 0, 0, 5, 10, 20, 80, 900}, "stuck"},
		{"even", []int{224, 224, 448, 896, 1792, 2140, 0, 0}, "Even arrival for 128 minutes"},
		{"even, with a slow oldest column", []int{50, 50, 100, 200, 1, 0, 0, 0}, "Even arrival"},
		{"even, fast at the end", []int{150, 100, 100, 200, 400, 0, 0, 0}, "Even arrival"},
		{"even for long", []int{5, 5, 10, 20, 40, 80, 160, 5000}, "Even arrival"},
		{"too short to tell", []int{100, 100, 200, 100, 0, 0, 0, 0}, ""},
		{"all of it young", []int{1000, 0, 0, 0, 0, 0, 0, 0}, ""},
		{"a burst", []int{1000, 1, 1, 2, 4, 0, 0, 0}, "burst"},
		{"a burst some time ago", []int{0, 0, 1000, 0, 4, 0, 0, 0}, "burst"},
		{"neither", []int{100, 1, 1, 100, 100, 100, 0, 0}, ""},
		{"a gap", []int{50, 0, 100, 200, 400, 0, 0, 0}, ""},
	} {
		got := verdict(test.ages, 128*time.Minute+30*time.Second)
		if test.says == "" && got != "" || !strings.Contains(got, test.says) {
			t.Errorf("%s: %q", test.rule, got)
		}
	}
}

func TestAgeColumns(t *testing.T) {
	for age, want := range map[time.Duration]int{-time.Second: 0, 0: 0, 5*time.Minute - 1: 0, 5 * time.Minute: 1, 19 * time.Minute: 2,
		20 * time.Minute: 3, 159 * time.Minute: 5, 319 * time.Minute: 6, 320 * time.Minute: 7, 100 * time.Hour: 7} {
		if got := ageColumn(age); got != want {
			t.Errorf("%v: column %d, want %d", age, got, want)
		}
	}
}

func TestManyNamesShareARow(t *testing.T) {
	rows := map[string]*Row{}
	for i := range maxRows + 5 {
		rowOf(rows, time.Duration(i).String()).count(0)
	}
	if len(rows) != maxRows+1 || rows[others].Total != 5 {
		t.Errorf("%d rows, %d in the shared one", len(rows), rows[others].Total)
	}
}

func TestWhatATraceIsAbout(t *testing.T) {
	for query, want := range map[string]queue.LedgerFilter{
		"7hq2m8x4kd3w":           {ID: "7hq2m8x4kd3w"},
		" 7HQ2M8X4KD3W\n":        {ID: "7hq2m8x4kd3w"},
		"<1@b.example>":          {MessageID: "<1@b.example>"},
		"<with space@b.example>": {MessageID: "<with space@b.example>"},
		"a@b.example":            {Address: "a@b.example"},
		"1@b.example":            {Address: "1@b.example"},
		`"a\"b"@b.example`:       {Address: `"a\"b"@b.example`},
		"Received: from x by mx with ESMTPS id 7hq2m8x4kd3w; Thu": {ID: "7hq2m8x4kd3w"},
		"by mx with ESMTP\r\n\tID 7HQ2M8X4KD3W":                   {ID: "7hq2m8x4kd3w"},
	} {
		if got, err := traceFilter(query); err != nil || got.ID != want.ID || got.MessageID != want.MessageID || got.Address != want.Address {
			t.Errorf("%q: %+v, %v", query, got, err)
		}
	}
	for _, query := range []string{"", " ", "<>", "hello", "with space@b.example", "id 7hq2m8x4kdu!"} {
		if got, err := traceFilter(query); err == nil {
			t.Errorf("%q: %+v", query, got)
		}
	}
}

func TestRates(t *testing.T) {
	var r rates
	at := time.Date(2026, 3, 12, 13, 0, 0, 0, time.UTC)
	if _, _, ok := r.perMinute(); ok {
		t.Error("a rate of nothing")
	}
	r.add(sample{at: at, accepted: 100, delivered: 10})
	if _, _, ok := r.perMinute(); ok {
		t.Error("a rate of one sample")
	}
	r.add(sample{at: at.Add(30 * time.Second), accepted: 145, delivered: 10})
	if in, out, ok := r.perMinute(); !ok || in != 90 || out != 0 {
		t.Errorf("%g in, %g out, %v", in, out, ok)
	}
	for i := range 100 { // what is older than the span does not count any more
		r.add(sample{at: at.Add(time.Minute + time.Duration(i)*sampleEvery), accepted: 145, delivered: 10 + int64(i)})
	}
	if in, out, ok := r.perMinute(); !ok || in != 0 || out != 6 || len(r.samples) > 40 {
		t.Errorf("%g in, %g out, %v, %d samples", in, out, ok, len(r.samples))
	}
}

func TestCodesHaveAStatus(t *testing.T) {
	for _, code := range Codes() {
		if status := statuses[code]; status < 400 {
			t.Errorf("%s: status %d", code, status)
		}
	}
	for err, want := range map[error]string{
		errors.New("input/output error"): CodeStoreFailed,
		context.Canceled:                 CodeStoreFailed,
		queue.ErrNotFound:                CodeNotFound,
		queue.ErrDamaged:                 CodeContentDamaged,
		queue.ErrWhere:                   CodeBadFilter,
		fail(CodeRefused, "x"):           CodeRefused,
	} {
		if got := asError(err).Code; got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

func TestRepliesAreCountedByWhoWaits(t *testing.T) {
	taken := queue.Result{Action: queue.Delivered, Reply: queue.Reply{Code: 250, Text: "taken"}}
	later := queue.Result{Action: queue.Deferred, Reply: queue.Reply{Code: 451, Text: "later [XX1.prod.outlook.com 2026-11-25T18:53:59.919Z 08DE2ECFE9FF23DF]"}}
	for want, results := range map[string][]queue.Result{
		"451 later":  {taken, later},
		"250 taken":  {taken, {}},
		"(none yet)": {{}},
	} {
		var m queue.Message
		for _, r := range results {
			m.Envelope.Recipients = append(m.Envelope.Recipients, queue.Recipient{Last: r})
		}
		if got := lastReply(m, briefs{}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestBriefsAreBounded(t *testing.T) {
	seen := briefs{}
	for i := range maxRows + 10 {
		reply := queue.Reply{Code: 451, Text: fmt.Sprintf("later %d [DB5EUR.prod.outlook.com 2026-03-01T10:00:00.000Z 08DC0123456789AB]", i)}
		for range 2 {
			if got, want := seen.of(reply), fmt.Sprintf("451 later %d", i); got != want {
				t.Fatalf("%q, not %q", got, want)
			}
		}
	}
	if len(seen) != maxRows {
		t.Errorf("%d replies are remembered", len(seen))
	}
}
