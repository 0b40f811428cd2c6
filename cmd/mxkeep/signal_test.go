package main

import (
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

func TestSignalWords(t *testing.T) {
	const long = "451 4.3.2 Temporary server error ATTR2 [XX1PEPF00000002.namprd00.prod.outlook.com 2026-11-25T18:53:59.919Z 08DE2ECFE9FF23DF]"
	for _, test := range []struct {
		signal         admin.Signal
		people, wholly string
	}{
		{admin.Signal{Class: "outage", Phase: "rcpt", Reply: long, TookSeconds: 0.204}, "451 4.3.2 Temporary server error ATTR2 (RCPT, 204 ms)", long + " (RCPT, 204 ms)"},
		{admin.Signal{Class: "ok", Phase: "final", Reply: "250 2.6.0 <1@x> [InternalId=1] Queued", TookSeconds: 0.01}, "250 2.6.0 (the final dot, 10 ms)", "250 2.6.0 <1@x> [InternalId=1] Queued (the final dot, 10 ms)"},
		{admin.Signal{Class: "ok", Phase: "rcpt", Reply: "250 OK"}, "250 (RCPT, 0 ms)", "250 OK (RCPT, 0 ms)"},
		{admin.Signal{Class: "outage", Phase: "banner", Reply: "read tcp 127.0.0.1:4->127.0.0.3:25: i/o timeout", TookSeconds: 30.005}, "no answer in time (waiting for its greeting, 30s)", "read tcp 127.0.0.1:4->127.0.0.3:25: i/o timeout (waiting for its greeting, 30s)"},
		{admin.Signal{Class: "outage", Phase: "odd"}, "outage (odd, 0 ms)", "outage (odd, 0 ms)"},
		{admin.Signal{Class: "ok"}, "ok (0 ms)", "ok (0 ms)"},
	} {
		a := &app{env: func(string) string { return "" }}
		for format, want := range map[string]string{formatTable: test.people, formatWide: test.wholly, formatTSV: test.wholly} {
			if a.flags.output = format; a.signalWords(test.signal) != want {
				t.Errorf("%s: %q, want %q", format, a.signalWords(test.signal), want)
			}
		}
	}
}

func TestWhatWasRefusedIsSaidInWords(t *testing.T) {
	for reason, want := range map[string]string{"primary_up": "1,200 told to use the primary", "unknown_recipient": "1,200 refused: unknown recipient"} {
		if got := refusedWords(reason, 1200); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAStateThatNothingWasSeenFor(t *testing.T) {
	start := admin.Time{Time: time.Unix(1000, 0)}
	for since, want := range map[admin.Time]string{
		{}:                        "nothing is known yet: the first look is under way",
		start:                     "nothing is known yet: the first look is under way",
		{Time: time.Unix(900, 0)}: "as it was before the start: the first look is under way",
	} {
		if got := unseen(admin.Status{StartedAt: start}, admin.UpstreamStatus{Since: since}); got != want {
			t.Errorf("%v: %q", since, got)
		}
	}
}

func TestTheReplyThatCountsIsAboutWhoWaits(t *testing.T) {
	said := func(state, text string) admin.Recipient {
		return admin.Recipient{State: state, LastReply: &admin.Reply{Code: 250, Text: text}}
	}
	for _, test := range []struct {
		state string
		of    []admin.Recipient
		want  string
	}{
		{"deferred", []admin.Recipient{said("delivered", "taken"), said("deferred", "later")}, "250 later"},
		{"queued", []admin.Recipient{said("delivered", "taken"), {State: "queued"}}, "250 taken"},
		{"queued", []admin.Recipient{{State: "queued"}}, ""},
	} {
		if got := lastReply(admin.Message{State: test.state, Recipients: test.of}); got != test.want {
			t.Errorf("%+v: %q", test.of, got)
		}
	}
}
