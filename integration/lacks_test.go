package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// TestPrimaryLacks: mail that a primary cannot take as it is, is refused while its
// sender waits. What was taken in an outage is kept with the reason, and goes out
// unchanged when the primary can take it. Nothing is converted.
func TestPrimaryLacks(t *testing.T) {
	t.Parallel()
	f := newFrontOf(t, serve, t.TempDir(), primary.Options{})
	f.play("down")
	f.until("down")
	for i, params := range []string{"", " BODY=8BITMIME", " SMTPUTF8"} {
		if reply := f.eightBit(i, params); !strings.HasPrefix(reply, "250 2.0.0 queued as ") {
			t.Fatalf("%s: %q", params, reply)
		}
	}
	if err := f.exo.Play(primary.Scenario{Name: "plain", Lacks: "8BITMIME SMTPUTF8"}); err != nil {
		t.Fatal(err)
	}
	f.until("up")
	f.relay.until("refused", 30*time.Second, func(s admin.Status) bool {
		return s.Account != nil && s.Account.Refused == 2 && s.Account.Delivered == 1
	})
	f.wantEightBit("")
	listed := f.relay.cli("queue", "list", "--state", "refused", "--json")
	for _, word := range []string{"8BITMIME", "SMTPUTF8"} {
		if !strings.Contains(listed, "the message needs "+word+", which the primary does not offer") {
			t.Errorf("nothing is said of %s: %s", word, listed)
		}
	}
	for params, want := range map[string]string{" BODY=8BITMIME": "554 5.6.3 ", " SMTPUTF8": "550 5.6.7 ", "": "250 2.6.0 "} {
		if reply := f.eightBit(0, params); !strings.HasPrefix(reply, want) {
			t.Errorf("%s: %q, want %s", params, reply, want)
		}
	}
	f.wantEightBit("", "")

	f.play("down") // no session is left that knows of the lack
	f.until("down")
	f.play("healthy")
	f.until("up")
	f.relay.cli("queue", "retry", "--state", "refused")
	f.relay.until("account", 30*time.Second, func(s admin.Status) bool { return s.NothingLost && s.Queue.Messages == 0 && s.Account.Delivered == 3 })
	f.wantEightBit("", "", " BODY=8BITMIME", " SMTPUTF8")
}

// eightBit sends 8-bit content, and returns the reply that decides.
func (f *front) eightBit(number int, params string) (reply string) {
	f.t.Helper()
	s, err := connect(f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	defer s.Close()
	content := eightBitContent(params)
	for _, text := range []string{fmt.Sprintf("MAIL FROM:<s%d@client.example>%s\r\n", number, params), rcptCommand, fmt.Sprintf("BDAT %d LAST\r\n%s", len(content), content)} {
		if reply, err = ask(s, text); err != nil {
			f.t.Fatal(err)
		}
		if reply[0] != '2' {
			break
		}
	}
	return reply
}

func eightBitContent(params string) string {
	return "From: gr\u00fc\u00dfe@client.example\r\nSubject: caf\xe9" + params + "\r\n\r\n\xff\xfe \r\n.\r\n"
}

// wantEightBit looks at all that the primary has by now: a message of each of the
// parameters, unchanged, in any order.
func (f *front) wantEightBit(params ...string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
	defer cancel()
	received, err := f.exo.Await(ctx, len(params))
	if err != nil {
		f.t.Fatal(err)
	}
	want := map[string]int{}
	for _, p := range params {
		want[p]++
	}
	for _, d := range received {
		for p := range want {
			if compare(d.Content, []byte(eightBitContent(p))) == "" && promised(d.Params) == strings.TrimSpace(p) {
				want[p]--
			}
		}
	}
	for p, missing := range want {
		if missing != 0 || len(received) != len(params) {
			f.t.Errorf("%d messages of%s are missing among %d: %+v", missing, p, len(received), received)
		}
	}
}
