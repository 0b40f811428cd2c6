package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/mxkeep/mxkeep/cmd/mxkeep/demo"
)

// drainLimit is what a recovery may take at the demonstration's settings, in seconds.
const drainLimit = 90

// abreast is how many demonstrations run at a time.
const abreast = 4

// TestScenarios plays an outage of each kind with the built binary: nothing is
// lost, changed or bounced, and without an override everything is delivered
// soon after the recovery.
func TestScenarios(t *testing.T) {
	slots := make(chan struct{}, abreast)
	for _, script := range demo.Scripts() {
		t.Run(script.Name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			report, story, code := runDemo(t, "--scenario", script.Name)
			a := report.Account
			if code != 0 || !report.Good || a.Sent == 0 || a.Sent != a.Delivered || len(a.Lost)+len(a.Changed)+len(a.Bounced) > 0 {
				t.Errorf("exit %d, report %+v\n%s", code, report, story)
			}
			if a.ViaRelay == 0 || report.HeldBefore == 0 || report.HeldAfter+report.Meanwhile < report.HeldBefore {
				t.Errorf("the relay was not needed, or lost count: %+v\n%s", report, story)
			}
			if report.DrainSeconds > drainLimit {
				t.Errorf("drained after %.0f s\n%s", report.DrainSeconds, story)
			}
			if duplicates := a.ByRelay(); (len(duplicates) > 0) != script.Repeats() {
				t.Errorf("duplicates of the relay: %v\n%s", duplicates, story)
			}
			t.Logf("%d by the relay, declared down: %v after %.1f s, drained in %.1f s", a.ViaRelay, report.Declared, report.DetectSeconds, report.DrainSeconds)
		})
	}
}

// TestDemoNoticesALoss: a message that the primary's record lacks must not go unnoticed.
func TestDemoNoticesALoss(t *testing.T) {
	t.Parallel()
	report, story, code := runDemo(t, "--forget")
	if code != 1 || report.Good || len(report.Account.Lost) != 1 {
		t.Errorf("exit %d, report %+v\n%s", code, report, story)
	}
}

// runDemo runs a demonstration and returns its report, what it told, and its exit code.
func runDemo(t *testing.T, args ...string) (report demo.Report, story string, code int) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"demo", "--json", "--keep", filepath.Join(t.TempDir(), "demo")}, args...)...)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	err := cmd.Run()
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("no report: %v\n%s%s", err, out.String(), words.String())
	}
	return report, words.String(), cmd.ProcessState.ExitCode()
}
