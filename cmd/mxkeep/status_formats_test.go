package main

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

func TestNagios(t *testing.T) {
	codes := map[string]int{"ok": 0, "warning": 1, "critical": 2}
	for _, scene := range scenes {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			scene.set(r)
			r.serveInBubble()
			got := r.run("status", "--format", "nagios")
			if got.code != codes[scene.severity] || strings.Count(got.out, "\n") != 1 || !strings.HasPrefix(got.out, "MXKEEP "+strings.ToUpper(scene.severity)+" - ") {
				t.Errorf("%s: exit %d, %q", scene.name, got.code, got.out)
			}
			if scene.name == "holding" || scene.name == "refusing-store" {
				golden(t, "nagios-"+scene.name, got.out)
			}
		})
	}
	r := newRig(t) // nobody answers
	if got := r.run("status", "--format", "nagios"); got.code != 3 || !strings.HasPrefix(got.out, "MXKEEP UNKNOWN - no answer on the control socket") {
		t.Errorf("without a relay: exit %d, %q", got.code, got.out)
	}
	bar := admin.Status{State: admin.Standby, Severity: "ok", Trouble: []string{"a|b"}}
	if line := nagios(bar); strings.Contains(line, "|") {
		t.Errorf("%q", line)
	}
}

// sample is a line of the text format of Prometheus that is no comment.
var sample = regexp.MustCompile(`^mxkeep_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [-+.e0-9]+$`)

func TestPrometheus(t *testing.T) {
	inScene(t, func(r *rig) {
		r.inbound.Stats.Refused, r.inbound.Stats.ListsFailed = map[string]int64{"dns_listed": 2, "greylisted": 0}, 1
		got := r.run("status", "--format", "prometheus")
		for _, line := range strings.Split(strings.TrimSuffix(got.out, "\n"), "\n") {
			if !strings.HasPrefix(line, "# ") && !sample.MatchString(line) {
				t.Errorf("%q is no sample", line)
			}
		}
		golden(t, "status-prometheus", got.out)
		r.store.OnStats = func(*queue.Stats) error { return errors.New("input/output error") }
		if got := r.run("status", "--format", "prometheus"); got.code != 0 || strings.Contains(got.out, "queue_messages") || !strings.Contains(got.out, "mxkeep_nothing_lost 0\n") {
			t.Errorf("without a store: exit %d, %q", got.code, got.out)
		}
	})
	var f exposition
	f.filters(nil)
	f.filters([]admin.FilterStatus{{Name: "clamav", Failure: "no route", Failed: 2}, {Name: "rspamd", Answers: map[string]int64{"reject": 3}, Took: 1.5}})
	for _, line := range []string{`filter_up{filter="clamav"} 0`, `filter_up{filter="rspamd"} 1`, `filter_messages_total{filter="clamav",result="failed"} 2`,
		`filter_messages_total{filter="rspamd",result="reject"} 3`, `filter_messages_total{filter="rspamd",result="hold"} 0`, `filter_seconds_total{filter="rspamd"} 1.5`} {
		if !strings.Contains(f.String(), "\nmxkeep_"+line+"\n") || strings.Count(f.String(), "# TYPE ") != 3 {
			t.Errorf("no %s in\n%s", line, f.String())
		}
	}
	var e exposition
	e.value("x", 1, "upstream", `a"b\c`)
	if got := e.String(); got != `mxkeep_x{upstream="a\"b\\c"} 1`+"\n" {
		t.Errorf("%q", got)
	}
}

func TestWaitForAState(t *testing.T) {
	inScene(t, func(r *rig) {
		go func() {
			time.Sleep(time.Minute - time.Second/2)
			r.exo.Set(func() { r.exo.Status = health.Status{State: health.Up} })
		}()
		began := time.Now()
		if got := r.run("status", "--wait", "draining"); got.code != 0 || !strings.Contains(got.out, "DRAINING") || time.Since(began) != time.Minute {
			t.Errorf("exit %d after %v, %q", got.code, time.Since(began), got.out)
		}
		if got := r.run("status", "--wait", "holding", "--timeout", "5s"); got.code != 6 || got.out != "" || !strings.Contains(got.errs, "E1003") || !strings.Contains(got.errs, "the relay is draining, not holding") {
			t.Errorf("exit %d, %q", got.code, got.errs)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t) // nobody answers
		if got := r.run("status", "--wait", "standby", "--timeout", "5500ms"); got.code != 6 || !strings.Contains(got.errs, "no answer on the control socket") {
			t.Errorf("without a relay: exit %d, %q", got.code, got.errs)
		}
	})
}

func TestWatch(t *testing.T) {
	inScene(t, func(r *rig) {
		var out, errs bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, errs: &errs, dial: r.dial, now: time.Now(), screen: screen{out: true, width: 80},
			env: func(string) string { return "" }}
		ctx, interrupt := context.WithCancel(context.Background())
		go func() {
			time.Sleep(5 * time.Second)
			interrupt()
		}()
		if code := a.run(ctx, []string{"status", "--watch"}); code != 130 || errs.String() != "" {
			t.Errorf("exit %d, %q", code, errs.String())
		}
		if screens := strings.Split(out.String(), "\x1b[H\x1b[2J"); len(screens) != 4 || screens[0] != "" || !strings.HasPrefix(screens[3], "* HOLDING") {
			t.Errorf("%d screens: %q", len(screens), out.String())
		}
		if got := r.run("status", "--watch=1s", "--timeout", "2500ms", "-o", "jsonl"); got.code != 6 || strings.Count(got.out, "\n") != 3 || strings.Contains(got.out, "\x1b") {
			t.Errorf("exit %d, %q", got.code, got.out)
		}
		lostOnes := &app{in: strings.NewReader(""), out: lost{}, errs: &errs, dial: r.dial, now: time.Now(), env: func(string) string { return "" }}
		if code := lostOnes.run(context.Background(), []string{"status", "--watch"}); code != 0 {
			t.Errorf("nobody reads: exit %d", code)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t) // nobody answers
		if got := r.run("status", "--watch", "--timeout", "3s"); got.code != 6 || strings.Count(got.errs, "E1203") != 2 {
			t.Errorf("without a relay: exit %d, %q", got.code, got.errs)
		}
	})
}
