package bolt

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// wholeMessage has a value in every member.
func wholeMessage() queue.Message {
	at := time.Date(2026, 3, 1, 10, 0, 0, 123456789, time.UTC)
	m := queue.Message{ID: "0123456789ab", AcceptedAt: at, NextAttempt: at.Add(time.Hour), LeasedUntil: at.Add(2 * time.Hour), Lifetime: 120 * time.Hour,
		Extended: time.Hour, Attempts: 3, Step: 2, Size: 2048, MessageID: "<1@client.example>", Digest: queue.Digest{1, 2, 254}, Held: "a reason",
		HeldAt: at.Add(time.Second), DeletedAt: at.Add(time.Minute), Purged: true, Damaged: true}
	result := queue.Result{At: at, Action: queue.Deferred, Scope: queue.ScopeOneRecipient, Host: "mx.example", Address: "192.0.2.1:25",
		RemoteSession: "a\"b\nü", Took: time.Second, MaybeDuplicate: true, Kept: queue.KeptSpike, Reply: queue.Reply{Command: "RCPT", Code: 451, Enhanced: "4.7.1", Text: "later please"}}
	m.Envelope = queue.Envelope{Upstream: "exo", ReversePath: "alice@client.example",
		Recipients: []queue.Recipient{{ForwardPath: "bob@corp.example", ORcpt: "rfc822;bob@corp.example", Notify: []string{"FAILURE", "DELAY"}, Last: result, Deleted: true}, {ForwardPath: "carol@corp.example"}},
		Params:     queue.Params{Body: "8BITMIME", SMTPUTF8: true, Ret: "HDRS", EnvID: "e1", RequireTLS: true},
		Origin:     queue.Origin{Address: "192.0.2.9", Host: "client.example", Hello: "client.example", TLS: "TLS1.3", Reason: "upstream down", Auth: wholeVerdicts()},
		Cause:      queue.Cause{ID: "0123456789aa", Attempt: 4, Kind: "failure"}}
	return m
}

func wholeVerdicts() queue.Verdicts {
	spf := queue.SPF{Result: "pass", Domain: "client.example", Reason: "matched ip"}
	return queue.Verdicts{By: "mx2.corp.example", MailFrom: spf, Hello: spf,
		DKIM: []queue.Signature{{Result: "fail", Domain: "client.example", Selector: "s1", Algorithm: "rsa-sha256", Identifier: "@client.example",
			Value: "AbC/+=", Reason: "body hash did not verify"}, {Result: "pass", Domain: "other.example"}},
		Unchecked: 3, DMARC: queue.DMARC{Result: "fail", Domain: "a.client.example", Record: "client.example", Policy: "reject", Percent: 50,
			Disposition: "quarantine", Reason: "nothing is aligned"},
		ARC:         queue.ARC{Result: "pass", OldestPass: 2, Sealers: []string{"a.example", "b.example"}, Reason: "none", Sealed: true},
		ReversePath: true, Author: true, Unknown: true, Claims: 2, Took: time.Second}
}

// TestParserKnowsWhatIsWritten: no member makes the parser leave a record to encoding/json.
func TestParserKnowsWhatIsWritten(t *testing.T) {
	whole := wholeMessage()
	everyMember(t, reflect.ValueOf(whole), "message")
	short := queue.Message{ID: whole.ID, Envelope: queue.Envelope{Upstream: "exo", Recipients: []queue.Recipient{{ForwardPath: "bob@corp.example"}}}}
	for _, m := range []queue.Message{whole, short} {
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []*words{nil, newWords()} {
			for range 2 {
				got, ok := parseMessage(body, w)
				if !ok || !reflect.DeepEqual(got, m) {
					t.Errorf("%s\nis read (%v) as %+v", body, ok, got)
				}
			}
		}
	}
}

// everyMember fails if a member has its zero value.
func everyMember(t *testing.T, v reflect.Value, name string) {
	if v.IsZero() {
		t.Errorf("%s has no value", name)
	}
	if v.Kind() == reflect.Slice {
		everyMember(t, v.Index(0), name)
	}
	if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[time.Time]() {
		return
	}
	for i := range v.NumField() {
		if member := v.Type().Field(i); member.Tag.Get("json") != "-" {
			everyMember(t, v.Field(i), name+"."+member.Name)
		}
	}
}

func TestParserLeavesTheRest(t *testing.T) {
	body, err := json.Marshal(wholeMessage())
	if err != nil {
		t.Fatal(err)
	}
	text := string(body)
	for _, change := range []struct{ name, old, with string }{
		{"a space", `{"id"`, `{ "id"`},
		{"a member that is not known", `{"id"`, `{"new":1,"id"`},
		{"members in another order", `"attempts":3,"step":2`, `"step":2,"attempts":3`},
		{"a member twice", `"step":2`, `"step":2,"step":2`},
		{"no member where one must be", `"size":2048`, ``},
		{"null", `"held":"a reason"`, `"held":null`},
		{"a fraction", `"size":2048`, `"size":2048.0`},
		{"a zero before a number", `"size":2048`, `"size":02048`},
		{"a long number", `"size":2048`, `"size":2048204820482048204`},
		{"no number", `"size":2048`, `"size":`},
		{"no text", `"held":"a reason"`, `"held":1`},
		{"no truth", `"purged":true`, `"purged":1`},
		{"a time with a place", `T10:00:01.123456789Z`, `T10:00:01.123456789+01:00`},
		{"a time with a comma", `T10:00:01.123456789Z`, `T10:00:01,123456789Z`},
		{"an empty time", `"held_at":"2026-03-01T10:00:01.123456789Z"`, `"held_at":""`},
		{"a digest that is too short", `"digest":"01`, `"digest":"`},
		{"a digest in other letters", `"digest":"01`, `"digest":"xx`},
		{"an unknown action", `"deferred"`, `"dropped"`},
		{"an unknown scope", `"recipient"`, `"nobody"`},
		{"an escape that is none", `"a reason"`, `"a \xeason"`},
		{"an escape without end", `"a reason"`, `"a \"`},
		{"no recipients", text[strings.Index(text, `[{"forward`) : strings.Index(text, `}],"params`)+2], `[]`},
		{"something behind it", `"damaged":true}`, `"damaged":true}}`},
	} {
		if !strings.Contains(text, change.old) {
			t.Fatalf("%s: no %q in %s", change.name, change.old, text)
		}
		if m, ok := parseMessage([]byte(strings.Replace(text, change.old, change.with, 1)), nil); ok {
			t.Errorf("%s is read as %+v", change.name, m)
		}
	}
	for i := range text {
		if _, ok := parseMessage(body[:i], nil); ok {
			t.Errorf("cut off after %d bytes it is read", i)
		}
	}
}

// FuzzParser: what the parser reads, encoding/json reads alike.
func FuzzParser(f *testing.F) {
	for _, m := range []queue.Message{{}, wholeMessage()} {
		body, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := parseMessage(body, newWords())
		if !ok {
			return
		}
		var want queue.Message
		if err := json.Unmarshal(body, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v, not as %+v, %v", body, got, want, err)
		}
	})
}

func TestIsPlain(t *testing.T) {
	for c := range 256 {
		want := c >= ' ' && c < 0x80 && c != '\\'
		for _, place := range []int{0, 7, 8, 15, 16, 17} {
			text := []byte(strings.Repeat("a", 18))
			text[place] = byte(c)
			if got := isPlain(text); got != want {
				t.Errorf("%q is plain: %v", text, got)
			}
		}
	}
}

func BenchmarkParser(b *testing.B) {
	m := wholeMessage()
	m.Envelope.Recipients[1] = m.Envelope.Recipients[0]
	raw := encodeMessage(m)
	b.SetBytes(int64(len(raw)))
	for _, w := range []*words{nil, newWords()} {
		b.Run(map[bool]string{true: "once", false: "many"}[w == nil], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decodeWith(w, m.ID, raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("json", func(b *testing.B) {
		for b.Loop() {
			if err := decode(raw, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
