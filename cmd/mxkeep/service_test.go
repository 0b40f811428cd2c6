package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// TestRootIsRefused: a relay that nobody told to run as root does not, and opens nothing.
func TestRootIsRefused(t *testing.T) {
	s := newServed(t, onLoopback)
	var errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &errs, errs: &errs, now: time.Now(), root: true, env: func(string) string { return "" }}
	if code := a.run(t.Context(), []string{"serve", "--config", s.file}); code != exitUsage || !strings.Contains(errs.String(), "E2209 root_refused: the relay does not run as root") ||
		!strings.Contains(errs.String(), "config example systemd") || !strings.Contains(errs.String(), "--allow-root") {
		t.Errorf("exit %d, %s", code, errs.String())
	}
	if _, err := os.Stat(filepath.Join(s.folder, "data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of the data: %v", err)
	}
}

func TestUnitsArePrinted(t *testing.T) {
	for _, kind := range []string{"systemd", "socket"} {
		if got := (&rig{t: t}).run("config", "example", kind); got.code != 0 || got.out != string(configs.Unit(kind)) {
			t.Errorf("%s: exit %d, %s%s", kind, got.code, got.out, got.errs)
		}
	}
	for _, line := range []string{"config example cron", "config example systemd socket"} {
		if got := (&rig{t: t}).run(strings.Fields(line)...); got.code != exitUsage {
			t.Errorf("%s: exit %d, %s", line, got.code, got.out)
		}
	}
	command := regexp.MustCompile(`(?m)^ExecStart=/\S+/mxkeep (.*)$`).FindSubmatch(configs.Unit("systemd"))
	if string(command[1]) != "serve --config /etc/mxkeep/mxkeep.yaml" {
		t.Errorf("the unit runs %s", command[1])
	}
}

func TestWatchdogOfTheEnvironment(t *testing.T) {
	own := fmt.Sprint(os.Getpid())
	for _, test := range []struct {
		microseconds, pid string
		want              time.Duration
	}{
		{"", "", 0}, {"120000000", "", 2 * time.Minute}, {"120000000", own, 2 * time.Minute}, {"120000000", "1", 0},
		{"0", own, 0}, {"-5", "", 0}, {"many", "", 0}, {"9000000000000000", "", 0},
	} {
		a := &app{env: func(name string) string {
			return map[string]string{"WATCHDOG_USEC": test.microseconds, "WATCHDOG_PID": test.pid}[name]
		}}
		if got := a.watchdog(); got != test.want {
			t.Errorf("%q of %q: %s, want %s", test.microseconds, test.pid, got, test.want)
		}
	}
}

// started is the program as a service manager starts it.
type started struct {
	cmd  *exec.Cmd
	errs *watched
}

// start runs serve with more variables, and with sockets from descriptor 3 on.
// The shell gives LISTEN_PID, which nobody else can know.
func (s served) start(t *testing.T, flags string, env []string, sockets ...*net.TCPListener) started {
	t.Helper()
	p := started{cmd: exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0]), errs: &watched{word: "relay.ready", come: make(chan struct{})}}
	p.cmd.Env = append(append(os.Environ(), env...), "MXKEEP_TEST_ARGUMENTS=serve "+flags+" --config "+s.file)
	p.cmd.Stderr = p.errs
	for _, l := range sockets {
		file, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, file)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // fails if it has ended
	return p
}

// end tells it to stop, and wants a good end.
func (p started) end(t *testing.T) {
	t.Helper()
	if err := errors.Join(p.cmd.Process.Signal(syscall.SIGTERM), p.cmd.Wait()); err != nil {
		t.Errorf("%v:\n%s", err, p.errs)
	}
}

func listening(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// greeted wants a greeting of the relay at an address.
func greeted(t *testing.T, address string) {
	t.Helper()
	client, err := smtp.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Quit(); err != nil {
		t.Error(err)
	}
}

// TestSocketsOfAServiceManager: the ports are those that were handed over, and
// not those of the configuration; they outlive the relay, so that one who comes
// while it starts again is greeted by the next.
func TestSocketsOfAServiceManager(t *testing.T) {
	s := newServed(t, "http: {listen: \"\"}\ninbound: {listen: \"192.0.2.1:25\", min_free: 1MiB, timeouts: {greeting: 0s}}\n")
	mail, more, health := listening(t), listening(t), listening(t)
	env := []string{"LISTEN_FDS=3", "LISTEN_FDNAMES=smtp:mxkeep.socket:http"}
	first := s.start(t, "--allow-root", env, mail, more, health)
	first.errs.await(t)
	greeted(t, mail.Addr().String())
	greeted(t, more.Addr().String())
	answer, err := http.Get("http://" + health.Addr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %s", answer.Status)
	}
	first.end(t)
	between, err := net.Dial("tcp", mail.Addr().String()) // nobody is there yet
	if err != nil {
		t.Fatal(err)
	}
	defer between.Close()
	second := s.start(t, "--allow-root", env, mail, more, health)
	var greeting [3]byte
	if _, err := between.Read(greeting[:]); err != nil || string(greeting[:]) != "220" {
		t.Errorf("%q, %v", greeting, err)
	}
	between.Close()
	second.errs.await(t)
	second.end(t)
}

// TestSocketsThatCannotBeUsed are named, and the relay does not start.
func TestSocketsThatCannotBeUsed(t *testing.T) {
	for _, test := range []struct{ rule, fds, names, words string }{
		{"no number", "many", "", `LISTEN_FDS="many" is no number of sockets`},
		{"too many", "1000", "", `LISTEN_FDS="1000" is no number of sockets`},
		{"a name that nobody knows", "1", "imap", `socket 3 ("imap") of the service manager: the names are smtp, http and acme`},
		{"a name twice", "2", "http:http", `socket 4 ("http") of the service manager: there is one of that name already`},
		{"a descriptor that is not there", "3", "smtp:smtp:smtp", `socket 5 ("smtp") of the service manager: `},
		{"a socket for no authority", "2", "smtp:acme", "ACME: the service manager gave a socket, but inbound.acme.directory is not set"},
	} {
		t.Run(test.rule, func(t *testing.T) {
			s := newServed(t, onLoopback)
			p := s.start(t, "--allow-root", []string{"LISTEN_FDS=" + test.fds, "LISTEN_FDNAMES=" + test.names}, listening(t), listening(t))
			if err := p.cmd.Wait(); err == nil || !strings.Contains(p.errs.String(), "E2201 start_failed: the relay cannot start: "+test.words) {
				t.Errorf("%v:\n%s", err, p.errs)
			}
		})
	}
	conn, err := net.Dial("tcp", listening(t).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	local, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	for words, socket := range map[string]interface{ File() (*os.File, error) }{"it does not listen": conn.(*net.TCPConn), "it is not of TCP": local.(*net.UnixListener)} {
		file, err := socket.File()
		if err != nil {
			t.Fatal(err)
		}
		s := newServed(t, onLoopback)
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
		cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "MXKEEP_TEST_ARGUMENTS=serve --allow-root --config "+s.file)
		cmd.ExtraFiles = []*os.File{file}
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), words) {
			t.Errorf("%v:\n%s", err, out)
		}
		file.Close()
	}
}

// TestBecomingAUser: root opens the port, and then every thread of the relay is
// a user without any right, for good. Who is not root cannot become another.
func TestBecomingAUser(t *testing.T) {
	s := newServed(t, "user: nobody\n"+onLoopback)
	if os.Geteuid() != 0 {
		got := (&rig{t: t}).run("serve", "--config", s.file)
		if got.code != exitFailed || !strings.Contains(got.errs, "user nobody: only root can become another user") {
			t.Errorf("exit %d, %s", got.code, got.errs)
		}
		return
	}
	if err := os.Chmod(s.folder, 0o711); err != nil { // the user has to pass through
		t.Fatal(err)
	}
	text := strings.Replace(strings.Replace(read(t, s.file), "data: data", "data: kept/data", 1), "socket: s", "socket: run/s", 1)
	text = strings.Replace(text, "127.0.0.1:0", "127.0.0.33:25", 1)
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := s.start(t, "", nil)
	p.errs.await(t)
	greeted(t, "127.0.0.33:25")
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.cmd.Process.Pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		if err != nil || !regexp.MustCompile(`(?m)^Uid:(\s+65534){4}$`).Match(status) || !regexp.MustCompile(`(?m)^CapEff:\s+0{16}$`).Match(status) || !regexp.MustCompile(`(?m)^CapPrm:\s+0{16}$`).Match(status) {
			t.Errorf("%s: %v\n%s", thread, err, status)
		}
	}
	for _, path := range []string{"kept", "kept/data", "kept/data/queue", "run", "run/s"} {
		info, err := os.Stat(filepath.Join(s.folder, path))
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 65534 || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: of user %d, mode %v", path, owner, info.Mode())
		}
	}
	if err := admin.NewClient(filepath.Join(s.folder, "run/s")).Ready(t.Context()); err != nil {
		t.Errorf("root asks: %v", err)
	}
	p.end(t)
}

// TestUsersThatCannotBe are named before anything is kept.
func TestUsersThatCannotBe(t *testing.T) {
	for name, words := range map[string]string{"root": "user root: it is root", "no-such-user": "user no-such-user: user: unknown user no-such-user"} {
		s := newServed(t, "user: "+name+"\n"+onLoopback)
		got := (&rig{t: t}).run("serve", "--config", s.file)
		if got.code != exitFailed || !strings.Contains(got.errs, "E2201 start_failed: the relay cannot start: "+words) {
			t.Errorf("exit %d, %s", got.code, got.errs)
		}
		if _, err := os.Stat(filepath.Join(s.folder, "data")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder of the data: %v", err)
		}
	}
}
