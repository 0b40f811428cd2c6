// Package integration tests the whole relay from outside: the built binary,
// real sockets, real peers.
package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// binary is the built mxkeep.
var binary string

func TestMain(m *testing.M) {
	if address := os.Getenv(discardEnv); address != "" {
		fmt.Fprintln(os.Stderr, discard(address))
		os.Exit(1)
	}
	if order := os.Getenv(attackEnv); order != "" {
		if err := besiege(order, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	folder, err := os.MkdirTemp("", "mxkeep-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(folder, "mxkeep")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/mxkeep").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	runAbreast()
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// parallel is how many of the tests that call Parallel run at a time.
const parallel = 6

// runAbreast lets more tests run at a time than there are processors, since they
// wait for processes most of the time; unless -parallel says how many, or times
// are judged.
func runAbreast() {
	flag.Parse()
	given := os.Getenv("MXKEEP_SOAK") != ""
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(parallel)) // it is a number
	}
}

// peer finds a program of another mail system, or skips the test.
func peer(t *testing.T, name, debianPackage string) string {
	t.Helper()
	for _, folder := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		if path := filepath.Join(folder, name); exec.Command("test", "-x", path).Run() == nil {
			return path
		}
	}
	t.Skipf("%s is missing: apt-get install %s", name, debianPackage)
	return ""
}

// daemon is a relay that runs.
type daemon struct {
	t      testing.TB
	folder string
	cmd    *exec.Cmd
	client *admin.Client
}

// serve starts the binary on a configuration and waits until it accepts mail.
func serve(t testing.TB, folder, config string) *daemon {
	t.Helper()
	path := filepath.Join(folder, "mxkeep.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(folder, "relay.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d := &daemon{t: t, folder: folder, cmd: exec.Command(binary, "serve", "--allow-root", "--config", path), client: admin.NewClient(filepath.Join(folder, "admin.sock"))}
	d.cmd.Stderr = log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	d.cli("ready", "--wait", "--timeout", "20s")
	return d
}

// stop ends the relay as a service manager would, and shows its log if the test failed.
func (d *daemon) stop() {
	if d.cmd.ProcessState == nil {
		_ = d.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
		if err := d.cmd.Wait(); err != nil {
			d.t.Errorf("the relay ended with: %v", err)
		}
	}
	if d.t.Failed() {
		text, _ := os.ReadFile(filepath.Join(d.folder, "relay.log"))
		d.t.Logf("log of the relay:\n%s", text[max(0, len(text)-8000):])
	}
}

// cli runs a command against the relay and returns what it printed.
func (d *daemon) cli(args ...string) string {
	d.t.Helper()
	cmd := exec.Command(binary, append([]string{"--socket", filepath.Join(d.folder, "admin.sock")}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.stop()
		d.t.Fatalf("mxkeep %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// until asks for the status until it is as expected.
func (d *daemon) until(expected string, limit time.Duration, come func(admin.Status) bool) admin.Status {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := d.client.Status(ctx)
		if err == nil && come(status) {
			return status
		}
		select {
		case <-ctx.Done():
			d.t.Fatalf("no %s within %s; last status: %+v %v", expected, limit, status, err)
		case <-tick.C:
		}
	}
}
