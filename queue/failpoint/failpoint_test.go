package failpoint

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// childVariable makes the test binary visit all points, each three times, and then exit with 0.
const childVariable = "FAILPOINT_TEST_CHILD"

// liar is the exit code of a child process that is armed with Lie.
const liar = 3

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	for range 3 {
		for _, p := range Points() {
			Hit(p)
		}
	}
	if Armed(Lie) {
		os.Exit(liar)
	}
}

// visit lets a process visit all points with one armed.
func visit(armed string) *exec.Cmd {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"=1", Variable+"="+armed)
	child.Stderr = &bytes.Buffer{}
	_ = child.Run() // the state says how it ended
	return child
}

func TestHit(t *testing.T) {
	if !built {
		for _, armed := range []string{"", "lie", "no such point", string(InboundMail)} {
			if child := visit(armed); child.ProcessState.ExitCode() != 0 {
				t.Errorf("without the tag %q did something: %v, %s", armed, child.ProcessState, child.Stderr)
			}
		}
		return
	}
	for _, p := range Points() {
		for armed, killed := range map[string]bool{string(p): true, string(p) + ":3": true, string(p) + ":4": false} {
			child := visit(armed)
			said := strings.TrimSpace(child.Stderr.(*bytes.Buffer).String())
			status := child.ProcessState.Sys().(syscall.WaitStatus)
			if died := status.Signaled() && status.Signal() == syscall.SIGKILL; died != killed || died != (said == Epitaph(p)) {
				t.Errorf("%s: %v, %q", armed, child.ProcessState, said)
			}
		}
	}
	if child := visit(string(Lie)); child.ProcessState.ExitCode() != liar {
		t.Errorf("lie: %v", child.ProcessState)
	}
	for _, armed := range []string{"no.such.point", "inbound.mail:0", "inbound.mail:x"} {
		if child := visit(armed); child.ProcessState.ExitCode() != 2 {
			t.Errorf("%q was not refused: %v", armed, child.ProcessState)
		}
	}
}

func TestPointsAreDifferent(t *testing.T) {
	seen := map[Point]bool{"": true, Lie: true}
	for _, p := range Points() {
		if seen[p] {
			t.Errorf("%q is no name of its own", p)
		}
		seen[p] = true
	}
}
