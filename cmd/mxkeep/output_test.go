package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// inScene runs a test against the backlog of an outage, at a time that is always the same.
func inScene(t *testing.T, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		down(r)
		backlog(r)
		r.exo.Dialogue = []string{"connect 127.0.0.25:25", "S: 220 mx.corp.example ESMTP", "C: EHLO mx2.corp.example"}
		r.exo.Transitions = []admin.Transition{{At: time.Now(), From: health.Degraded, To: health.Down, Why: "three bad rounds"}}
		r.serveInBubble()
		test(r)
	})
}

func TestViews(t *testing.T) {
	inScene(t, func(r *rig) {
		first := slices.Sorted(func(yield func(string) bool) {
			for id := range r.states() {
				if !yield(string(id)) {
					return
				}
			}
		})[0]
		for _, view := range []struct {
			name string
			args []string
		}{
			{"list", []string{"queue", "list"}},
			{"list-size", []string{"queue", "list", "--sort", "size", "--reverse", "--limit", "2"}},
			{"show", []string{"queue", "show", first}},
			{"stats", []string{"queue", "stats"}},
			{"stats-reply", []string{"queue", "stats", "--by", "reply"}},
			{"trace", []string{"trace", "a.meyer@corp.example"}},
			{"health", []string{"health", "show"}},
			{"probe", []string{"health", "probe", "-v", "--rcpt", "canary@corp.example"}},
			{"cat", []string{"queue", "cat", first}},
			{"retry", []string{"queue", "retry", "--all"}},
			{"hold-dry", []string{"queue", "hold", "--all", "--dry-run"}},
		} {
			for _, width := range []int{80, 120} {
				got := r.terminal(width, "", view.args...)
				golden(t, fmt.Sprintf("%s-%d", view.name, width), got.out)
			}
			golden(t, view.name+"-pipe", r.run(view.args...).out)
		}
		if r.exo.Probed != "canary@corp.example" {
			t.Errorf("probed %q", r.exo.Probed)
		}
		for _, format := range []string{"json", "jsonl", "csv", "id", "mailq"} {
			got := r.run("queue", "list", "-o", format)
			if got.code != 0 || got.errs != "" {
				t.Errorf("%s: exit %d, %q", format, got.code, got.errs)
			}
			golden(t, "list-"+format, got.out)
		}
		golden(t, "show-json", r.run("queue", "show", first, "--json").out)
		golden(t, "trace-json", r.run("trace", first, "--json").out)
		golden(t, "change-json", r.run("queue", "hold", first, "--json", "-n").out)
	})
}

func TestTablesFitTheScreenAndPipesAreNotCut(t *testing.T) {
	inScene(t, func(r *rig) {
		for _, args := range [][]string{{"queue", "list"}, {"queue", "list", "--fields", "id,from,to,last_reply"}, {"queue", "list", "--sort", "size"},
			{"trace", "a.meyer@corp.example"}, {"queue", "stats"}, {"queue", "stats", "--by", "reply"}, {"health", "show"}, {"status"}} {
			for _, width := range []int{80, 100, 120} {
				for _, line := range strings.Split(r.terminal(width, "", args...).out, "\n") {
					if cellWidth(line) > width {
						t.Errorf("%v, %d columns: %q has %d", args, width, line, cellWidth(line))
					}
				}
			}
		}
		if got := r.terminal(20, "", "queue", "list").out; !strings.Contains(got, "1q3asyp00000") || strings.Contains(got, "SIZE") {
			t.Errorf("20 columns: %q", got)
		}
		pipe := r.run("queue", "list").out
		if strings.Contains(pipe, "…") || !strings.Contains(pipe, "sales@corp.example,b@corp.example") || !strings.Contains(pipe, "2000-01-01T00:00:00.000Z") {
			t.Errorf("pipe: %q", pipe)
		}
		lines := strings.Split(strings.TrimSuffix(pipe, "\n"), "\n")
		if len(lines) != 3 || strings.Count(lines[0], "\t") != shownColumns-1 {
			t.Errorf("%d lines, the first with %d tabs", len(lines), strings.Count(lines[0], "\t"))
		}
	})
}

func TestFormatsThatDoNotFit(t *testing.T) {
	inScene(t, func(r *rig) {
		for _, args := range [][]string{
			{"status", "-o", "mailq"}, {"status", "-o", "xml"}, {"trace", "a.meyer@corp.example", "-o", "mailq"},
			{"queue", "list", "--fields", "nonsense"}, {"queue", "list", "--json", "--fields", "nonsense"},
			{"status", "--json=2"}, {"status", "--utc", "--local"}, {"queue", "list", "--sort", "colour"},
			{"queue", "list", "--limit", "-1"}, {"queue", "stats", "--by", "colour"}, {"queue", "list", "--older", "soon"},
			{"queue", "list", "--not"}, {"queue", "list", "--not", "--not", "--state", "held"}, {"queue", "hold", "7hq2m8"}, {"queue", "cat", "000000000000", "-o", "csv"}, {"queue", "stats", "-o", "id"}, {"help", "nonsense"}, {"completion"}, {"completion", "tcsh"},
			{"status", "--format", "xml"}, {"status", "--wait", "sleeping"}, {"status", "--watch", "--exit-code"}, {"status", "--watch=-1s"}, {"queue", "hold", "--all", "--limit", "-1"}, {"queue", "retry", "--all", "--now", "--spread", "25h"}, {"queue", "retry", "--all", "--spread", "soon"},
			{"queue", "cat", "--raw", "--headers", "000000000000"}, {"trace", "what is this"}, {"trace", "a@b.example", "--limit", "0"},
		} {
			if got := r.run(args...); got.code != 2 || got.out != "" || !regexp.MustCompile(`^(E11\d\d |\{"schema":"mxkeep.error/1",)`).MatchString(got.errs) {
				t.Errorf("%v: exit %d, %q, %q", args, got.code, got.out, got.errs)
			}
		}
	})
}

func TestErrorsAsJSON(t *testing.T) {
	r := newRig(t)
	got := r.run("status", "--json")
	var e errorDocument
	if err := json.Unmarshal([]byte(got.errs), &e); err != nil || got.out != "" || strings.Count(got.errs, "\n") != 1 {
		t.Fatalf("%q, %q: %v", got.out, got.errs, err)
	}
	if e.Schema != "mxkeep.error/1" || e.Code != "daemon_unreachable" || e.Number != "E1203" || e.Exit != 4 || got.code != 4 || e.Hint == "" {
		t.Errorf("%+v, exit %d", e, got.code)
	}
}

func TestExitCodes(t *testing.T) {
	inScene(t, func(r *rig) {
		for _, test := range []struct {
			args   []string
			code   int
			number string
		}{
			{[]string{"queue", "show", "000000000000"}, 5, "E1401"},
			{[]string{"queue", "show", "zz"}, 5, "E1401"},
			{[]string{"queue", "show", "1q3"}, 2, "E1402"},
			{[]string{"queue", "cat", "000000000000"}, 5, "E1401"},
			{[]string{"queue", "list", "zzz"}, 5, "E1401"},
			{[]string{"queue", "stats", "1q3"}, 2, "E1402"},
			{[]string{"trace", "zzz"}, 5, "E1401"},
			{[]string{"trace", "1q3"}, 2, "E1402"},
			{[]string{"queue", "show", "000000000000", "--no-color"}, 5, "E1401"},
			{[]string{"trace", "nobody@nowhere.example"}, 5, "E1405"},
			{[]string{"health", "probe", "--upstream", "lab"}, 2, "E1403"},
			{[]string{"health", "probe"}, 1, "E1504"},
			{[]string{"queue", "lst"}, 2, "did you mean cat or list"},
			{[]string{"statsu"}, 2, "did you mean status"},
			{[]string{"queue", "list", "--colour"}, 2, "E1101"},
			{[]string{"flush"}, 2, "mxkeep queue retry --all"},
			{[]string{"mailq", "-v"}, 2, "mxkeep queue list -o mailq"},
			{[]string{"postqueue", "-f"}, 2, "mxkeep queue retry --all"},
			{[]string{"ready"}, 0, ""},
			{[]string{"version"}, 0, ""},
		} {
			before := snapshot(r)
			got := r.run(test.args...)
			if got.code != test.code || !strings.Contains(got.errs, test.number) {
				t.Errorf("%v: exit %d, %q", test.args, got.code, got.errs)
			}
			if snapshot(r) != before {
				t.Errorf("%v changed something", test.args)
			}
		}
		r.exo.Probing = func(ctx context.Context) { <-ctx.Done() }
		if got := r.run("health", "probe", "--timeout", "30s"); got.code != 6 || !strings.Contains(got.errs, "E1003") {
			t.Errorf("an answer that takes too long: exit %d, %q", got.code, got.errs)
		}
		r.ready = errors.New("the listener is not open")
		if got := r.run("ready"); got.code != 1 || !strings.Contains(got.errs, "E1206") || !strings.Contains(got.errs, "the listener is not open") {
			t.Errorf("ready: exit %d, %q", got.code, got.errs)
		}
		if got := r.run("ready", "--wait", "--timeout", "1m"); got.code != 6 {
			t.Errorf("ready --wait: exit %d, %q", got.code, got.errs)
		}
	})
}

func TestInterrupted(t *testing.T) {
	r := newRig(t)
	r.serve()
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, errs: &errs, now: time.Now(), env: func(string) string { return "" }}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if code := a.run(ctx, []string{"status", "--socket", r.socket}); code != 130 {
		t.Errorf("exit %d, %q", code, errs.String())
	}
}

func TestPermissionDenied(t *testing.T) {
	a := &app{began: true}
	err := fmt.Errorf("%w: %w", admin.ErrUnreachable, os.ErrPermission)
	if code := a.codeOf(err); code != "permission_denied" || lookup(code).exit != 4 {
		t.Errorf("%s", code)
	}
}

func TestTheTableOfErrors(t *testing.T) {
	numbers, codes := map[string]bool{}, map[string]bool{}
	for _, p := range problems {
		if numbers[p.number] || codes[p.code] || p.hint == "" || p.exit == 0 || !regexp.MustCompile(`^E[12]\d{3}$`).MatchString(p.number) {
			t.Errorf("row %+v", p)
		}
		numbers[p.number], codes[p.code] = true, true
	}
	for _, code := range admin.Codes() {
		if !codes[code] {
			t.Errorf("the API answers %q, and the table has no such row", code)
		}
	}
	if p := lookup("from_the_future"); p.exit != exitFailed || p.code != "from_the_future" {
		t.Errorf("an unknown code: %+v", p)
	}
}

// hostile has what must never reach a terminal or a table as it is.
const hostile = "a\x1b]0;owned\x07b\x9b31mc\u009b2Jd\u202ee\nf\rg\th\x7fi\u2066j\x00k\u0085l\u200b"

func TestHostileStringsNeverComeOutRaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		id := r.accept(hostile+"@b.example", hostile+"@corp.example", func(a *queue.Acceptance) {
			a.MessageID = "<" + hostile + "@x>"
			spf := queue.SPF{Result: hostile, Domain: hostile, Reason: hostile}
			a.Envelope.Origin = queue.Origin{Address: hostile, Host: hostile, Hello: hostile, TLS: hostile, Reason: hostile,
				Auth: queue.Verdicts{By: hostile, MailFrom: spf, Hello: spf, Claims: 1, Unchecked: 1,
					DKIM:  []queue.Signature{{Result: hostile, Domain: hostile, Selector: hostile, Algorithm: hostile, Identifier: hostile, Value: hostile, Reason: hostile}},
					DMARC: queue.DMARC{Result: hostile, Domain: hostile, Record: hostile, Policy: hostile, Disposition: hostile, Reason: hostile}}}
		})
		bad := deferred(451, hostile, hostile)
		bad.Address, bad.Host, bad.Reply.Command, bad.Scope = hostile, hostile, hostile, queue.ScopeMessage
		r.attempt(id, bad)
		r.attempt(r.accept("x@y.example", "z@corp.example"), refused(hostile))
		r.accept("x@y.example", "z@corp.example", func(a *queue.Acceptance) { a.Held = hostile })
		condition := health.Condition{Since: time.Now(), Last: time.Now(), Reply: hostile, Fix: hostile, Scope: health.Scope{Domain: hostile}}
		r.exo.Status = health.Status{Since: time.Now(), Why: hostile, Throttled: condition, Misconfigured: condition, Scope: condition.Scope,
			Recipients: condition, Network: condition,
			Override: &health.Override{State: health.Down, Until: time.Now().Add(time.Hour), Actor: hostile, Reason: hostile}}
		r.exo.Recent = []health.Signal{{At: time.Now(), Source: health.Source(hostile), Phase: health.Phase(hostile), Command: hostile, Reply: hostile, Host: hostile, Address: hostile, Class: health.Outage}}
		r.exo.Transitions = []admin.Transition{{At: time.Now(), Why: hostile}}
		r.exo.Delivery.Paused = admin.Pause{Until: time.Now().Add(time.Hour), Actor: hostile, Reason: hostile}
		r.exo.Dialogue = []string{"S: " + hostile}
		r.inbound.Stats = admin.InboundStats{Refusing: hostile, Refused: map[string]int64{hostile: 1}}
		r.inbound.Given = admin.Explanation{Action: hostile, Rule: hostile, Why: hostile, Reply: hostile, Domain: hostile, Facts: []admin.Fact{{Check: "domain", Finding: hostile}}}
		r.serveInBubble()
		word := string(id)
		for _, args := range [][]string{
			{"status"}, {"queue", "list"}, {"queue", "list", "--fields", "id,client,upstream,message_id,held_reason"}, {"queue", "show", word},
			{"queue", "stats"}, {"queue", "stats", "--by", "from"}, {"queue", "stats", "--by", "reply"}, {"queue", "stats", "--by", "client"},
			{"trace", word}, {"trace", word, "--fields", "from,message_id,actor,recipients"}, {"health", "show"}, {"health", "probe", "-v"}, {"queue", "cat", word, "--raw"}, {"queue", "cat", word, "--envelope"},
			{"queue", "hold", "--all", "-n"}, {"queue", "hold", word, "--reason", hostile}, {"trace", hostile + "@b.example"}, {"queue", "list", "--from", hostile},
			{"status", "--format", "nagios"}, {"status", "--format", "prometheus"}, {"help", hostile}, {"completion", hostile}, {"status", "--wait", hostile},
			{"queue", "delete", word, "--reason", hostile}, {"queue", "undelete", word}, {"queue", "retry", "--all"}, {"health", "override", "up", "-y", "--reason", hostile},
			{"explain", "--from", hostile, "--to", hostile, "--upstream", hostile}, {"explain", "--from", hostile, "--to", hostile, "--client", "192.0.2.1"}, {"queue", "show", hostile}, {hostile}, {"queue", hostile}, {"trace", hostile}, {"queue", "pause", "--inbound", "-y", "--reason", hostile},
		} {
			formats := []string{"table", "wide", "tsv", "csv", "json", "jsonl", "id", "mailq"}
			if slices.Contains(args, "cat") {
				formats = []string{"table", "tsv"}
			}
			for _, format := range formats {
				got := r.terminal(120, "y\n", append(args, "-o", format)...)
				harmless(t, fmt.Sprintf("%q as %s", args, format), got.out)
				harmless(t, fmt.Sprintf("errors of %q as %s", args, format), got.errs)
			}
			if !slices.Contains(args, "cat") {
				got := r.run(args...)
				harmless(t, fmt.Sprintf("%q on a pipe", args), got.out+got.errs)
			}
		}
		// What is asked for must still be there, escaped.
		if got := r.run("queue", "list", "--fields", "id,client"); !strings.Contains(got.out, "owned") {
			t.Errorf("the value is gone: %q", got.out)
		}
		if lines := strings.Count(r.run("queue", "list").out, "\n"); lines != 3 {
			t.Errorf("3 messages in %d lines", lines)
		}
	})
}

// harmless checks that nothing but letters that print, line ends and our own tabs come out.
func harmless(t *testing.T, what, text string) {
	t.Helper()
	for _, r := range text {
		if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x202e || r == 0x2066 || r == 0x200b || r == 0xfeff {
			t.Errorf("%s: %U in %q", what, r, text)
			return
		}
	}
}

func TestHostileContentNeverReachesATerminal(t *testing.T) {
	r := newRig(t)
	id, err := r.store.Accept(context.Background(), "Subject: "+hostile+"\r\nX-\x1b[2J\u202eName: x\r\n\x9b31m\r\n "+hostile+"\r\n\r\nbody "+hostile+strings.Repeat("\x1b", 3*longestLine),
		queue.Acceptance{At: time.Now(), Envelope: queue.Envelope{Upstream: "exo", Recipients: []queue.Recipient{{ForwardPath: "c@corp.example"}}}})
	if err != nil {
		t.Fatal(err)
	}
	r.serve()
	for _, args := range [][]string{{}, {"--headers"}, {"--raw"}, {"-o", "tsv"}, {"--raw", "-o", "tsv"}, {"--raw", "-o", "table"}, {"--raw", "-o", "wide"}, {"--envelope"}} {
		got := r.terminal(80, "", append([]string{"queue", "cat", string(id)}, args...)...)
		if harmless(t, fmt.Sprint(args), got.out+got.errs); got.code != 0 || got.out == "" {
			t.Errorf("%v: exit %d, %q", args, got.code, got.errs)
		}
	}
	for _, format := range []string{"table", "wide"} { // asked for on a pipe, too
		got := r.run("queue", "cat", string(id), "--raw", "-o", format)
		harmless(t, format, got.out+got.errs)
	}
}

func TestCSVHasNoFormulas(t *testing.T) {
	inScene(t, func(r *rig) {
		r.accept("=cmd|calc@b.example", "+1@corp.example")
		rows, err := csv.NewReader(strings.NewReader(r.run("queue", "list", "-o", "csv", "--fields", "from,to").out)).ReadAll()
		if err != nil || len(rows) != 5 || rows[0][0] != "from" || rows[4][0] != "'=cmd|calc@b.example" || rows[4][1] != "'+1@corp.example" {
			t.Errorf("%q, %v", rows, err)
		}
	})
}

func TestCatIsExactOnAPipe(t *testing.T) {
	r := newRig(t)
	id := r.accept("a@b.example", "c@corp.example", func(a *queue.Acceptance) { a.Trace = []byte("Received: from x\r\n") })
	r.serve()
	body, err := r.store.Content(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.run("queue", "cat", string(id), "--raw"); got.out != string(want) || !strings.Contains(got.errs, "is recorded") {
		t.Errorf("%q, %q", got.out, got.errs)
	}
	if got := r.run("queue", "cat", string(id), "-q"); got.out != "Received: from x\r\nSubject: hello\r\nX-Nasty: \x1b]0;owned\a\r\n" || got.errs != "" {
		t.Errorf("headers: %q, %q", got.out, got.errs)
	}
	notes := r.ledger(queue.Noted)
	if len(notes) != 2 || notes[0].ID != id || notes[0].Reason != "read content: raw" || notes[1].Reason != "read content: headers" {
		t.Errorf("ledger: %+v", notes)
	}
	r.store.Damage(id)
	if got := r.run("queue", "cat", string(id), "--raw"); got.code != 1 || !strings.Contains(got.errs, "E1502") {
		t.Errorf("damaged: exit %d, %q", got.code, got.errs)
	}
	r.store.Fail(errors.New("input/output error"))
	if got := r.run("queue", "cat", string(id), "--raw"); got.code != 1 || got.out != "" {
		t.Errorf("an access that cannot be recorded: exit %d, %q", got.code, got.out)
	}
}

func TestIDsFromStandardInput(t *testing.T) {
	r := newRig(t)
	a, b := r.accept("a@b.example", "c@corp.example"), r.accept("a@b.example", "c@corp.example")
	c := r.accept("a@b.example", "c@corp.example")
	r.serve()
	script := screen{width: 80}
	if got := r.with(script, fmt.Sprintf("%s\tdeferred\n\n%s\n", a, b), "queue", "hold", "-"); got.code != 0 {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
	if s := r.states(); s[a] != "held" || s[b] != "held" || s[c] != "queued" {
		t.Errorf("%v", s)
	}
	for _, input := range []string{"", "\n\n"} { // an empty list is not "everything"
		if got := r.with(script, input, "queue", "release", "-"); got.code != 2 || !strings.Contains(got.errs, "E1102") {
			t.Errorf("%q: exit %d, %q", input, got.code, got.errs)
		}
	}
	if got := r.with(script, "nonsense\n", "queue", "release", "-"); got.code != 2 || r.states()[a] != "held" {
		t.Errorf("exit %d, %q", got.code, got.errs)
	}
}

func TestNotNegatesTheNextFlagOnly(t *testing.T) {
	inScene(t, func(r *rig) {
		got := r.run("queue", "list", "--not", "--from", "<>", "--to", "@corp.example", "--fields", "from")
		if got.out != "billing@supplier.example\nr.ito@partner.example\n" {
			t.Errorf("%q, %q", got.out, got.errs)
		}
	})
}

func TestEnvironmentAndFlags(t *testing.T) {
	r := newRig(t)
	r.serve()
	environment := map[string]string{"MXKEEP_SOCKET": r.socket, "MXKEEP_OUTPUT": "json"}
	run := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, errs: &errs, now: time.Now(), env: func(name string) string { return environment[name] }}
		return a.run(context.Background(), args), out.String()
	}
	if code, out := run("ready"); code != 0 || out != `{"schema":"mxkeep.ready/1","ready":true}`+"\n" {
		t.Errorf("environment: %d, %q", code, out)
	}
	if code, out := run("ready", "-o", "tsv"); code != 0 || out != "ready\n" {
		t.Errorf("a flag wins: %d, %q", code, out)
	}
	if code, _ := run("ready", "--socket", r.socket+".other"); code != 4 {
		t.Errorf("a flag wins: %d", code)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 59 * time.Second: "59s", 7*time.Minute + 30*time.Second: "7m", 2*time.Hour + 7*time.Minute: "2h07m",
		117 * time.Hour: "4d21h", -time.Minute: "-1m"} {
		if got := span(d); got != want {
			t.Errorf("span %v: %s, want %s", d, got, want)
		}
	}
	for bytes, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 38912: "38 KiB", 4300000: "4.1 MiB", 10 << 20: "10 MiB", 20 << 30: "20 GiB"} {
		if got := size(bytes); got != want {
			t.Errorf("size %d: %s, want %s", bytes, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 5724: "5,724", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := admin.Thousands(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for word, want := range map[string]string{"": "''", "a@b": "a@b", "it's": `'it'\''s'`, "<>": "'<>'", "451*": "'451*'", "$(x)": "'$(x)'"} {
		if got := shell(word); got != want {
			t.Errorf("shell %q: %s, want %s", word, got, want)
		}
	}
	for cell, want := range map[string]string{"abcdef": "abcd…", "abcde": "abcde", "日本語": "日本…", "e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301": "e\u0301e\u0301e\u0301e\u0301…"} {
		if got := cut(cell, 5, true); got != want {
			t.Errorf("cut %q: %q, want %q", cell, got, want)
		}
	}
}
