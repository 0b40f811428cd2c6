package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/relay"
)

// TestMain is mxkeep, as far as a demonstration needs it, when the test runs itself as a child.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := beMxkeep(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// With childVariable set the test is mxkeep; with mute it says nothing.
const (
	childVariable = "MXKEEP_DEMO_CHILD"
	mute          = "mute"
)

// beMxkeep obeys "serve --config FILE" and "demo --sender JSON".
func beMxkeep(ctx context.Context, args []string) error {
	if os.Getenv(childVariable) == mute {
		<-ctx.Done()
		return nil
	}
	if args[0] == "demo" {
		var o SenderOptions
		if err := json.Unmarshal([]byte(args[2]), &o); err != nil {
			return err
		}
		return RunSender(ctx, o, os.Stdin, os.Stdout)
	}
	c, err := configs.Load(args[2])
	if err != nil {
		return err
	}
	r, err := relay.Open(relay.Options{Config: c, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	return r.Run(ctx)
}

// told is what people read, and tells when a word has come.
type told struct {
	word string
	come func() // called once

	mu   sync.Mutex
	text bytes.Buffer
}

func (w *told) Write(text []byte) (int, error) {
	w.mu.Lock()
	before := w.come == nil || strings.Contains(w.text.String(), w.word)
	w.text.Write(text)
	now := !before && strings.Contains(w.text.String(), w.word)
	w.mu.Unlock()
	if now {
		w.come()
	}
	return len(text), nil
}

func (w *told) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// shell is a program that does what a script says, in the place of mxkeep.
func shell(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mxkeep")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// mxkeep is this test as a program; mute is one that never answers.
func mxkeep(t *testing.T, how string) string {
	t.Helper()
	return shell(t, childVariable+"="+how+" exec "+os.Args[0]+` "$@"`)
}

// found finds a script.
func found(t *testing.T, name string) Script {
	t.Helper()
	script, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return script
}

// children lists the processes that have the folder in their command line, on systems that tell.
func children(t *testing.T, folder string) (all []string) {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && bytes.Contains(text, []byte(folder)) {
			all = append(all, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return all
}

// TestRun plays a whole script: its duplicates are marked, and a message that
// is forgotten is noticed.
func TestRun(t *testing.T) {
	t.Parallel()
	out := &told{}
	folder := filepath.Join(t.TempDir(), strings.Repeat("long", 25)) // too long for a socket
	report, err := Run(t.Context(), Options{Script: found(t, "lost-ack"), Folder: folder, Binary: mxkeep(t, "works"), Out: out, Forget: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	a := report.Account
	if report.Good || len(report.Faults) != 1 || report.Faults[0] != "1 message is lost" || len(a.Lost) != 1 || a.Sent != a.Delivered+1 {
		t.Errorf("report %+v\n%s", report, out)
	}
	if !report.Declared || report.HeldBefore == 0 || report.HeldAfter < report.HeldBefore || len(a.ByRelay()) != 3 || len(report.Unmarked) != 0 {
		t.Errorf("report %+v\n%s", report, out)
	}
	story := regexp.MustCompile(`(?s)healthy .*OUTAGE .*DOWN .*declares the primary down, .* s after .*holding .*KILLED .*restarted .*sender .*RECOVERY .*drained .*forget `)
	if !story.MatchString(out.String()) {
		t.Errorf("the story:\n%s", out)
	}
	_, story80, _ := strings.Cut(out.String(), " status\n") // the command before may be long
	for line := range strings.Lines(story80) {
		if len(line) > storyWidth+1 || strings.HasSuffix(line, " \n") {
			t.Errorf("too long, or trailing blanks: %q", line)
		}
	}
	socket := regexp.MustCompile(`--socket (\S+) status`).FindStringSubmatch(out.String())
	if socket == nil || len(socket[1]) > maxSocket {
		t.Fatalf("no socket, or a path that is too long:\n%s", out)
	}
	if _, err := os.Stat(filepath.Dir(socket[1])); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of the socket is still there: %v", err)
	}
	if left := children(t, folder); len(left) > 0 {
		t.Errorf("still running: %s", left)
	}
}

// TestBrokenOff ends all children, wherever the demonstration is.
func TestBrokenOff(t *testing.T) {
	for _, test := range []struct{ word, how string }{
		{"While it runs", "works"},
		{"healthy", "works"},
		{"OUTAGE", "works"},
		{"While it runs", mute},
	} {
		t.Run(test.word+" "+test.how, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			o := Options{Script: found(t, ""), Folder: t.TempDir(), Binary: mxkeep(t, test.how), Out: &told{word: test.word, come: cancel}}
			if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v\n%s", err, o.Out)
			}
			if left := children(t, o.Folder); len(left) > 0 {
				t.Errorf("still running: %s", left)
			}
			if _, err := os.Stat(filepath.Join(o.Folder, "admin.sock")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is still there: %v", err)
			}
		})
	}
}

// TestAChildThatEnds is reported with the end of its log.
func TestAChildThatEnds(t *testing.T) {
	for _, test := range []struct{ name, script, err, log string }{
		{"the relay does not start", `for n in 1 2 3 4 5 6 7; do printf 'line %s of \033[31m\n' $n >&2; done; exit 3`,
			"mxkeep serve has ended: exit status 3", "The end of relay.log:\n  line 3 of \\x1b[31m\n"},
		{"the relay just ends", "exit 0", "mxkeep serve has ended", ""},
		{"the sender ends", `[ "$1" = serve ] && ` + childVariable + "=1 exec " + os.Args[0] + ` "$@"; echo 'no ink' >&2; exit 4`,
			"mxkeep demo has ended: exit status 4", "The end of sender.log:\n  no ink\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out := &told{}
			o := Options{Script: found(t, ""), Folder: t.TempDir(), Binary: shell(t, test.script), Out: out}
			_, err := Run(t.Context(), o)
			if err == nil || err.Error() != test.err || !strings.Contains(out.String(), test.log) {
				t.Errorf("Run: %v\n%s", err, out)
			}
			if left := children(t, o.Folder); len(left) > 0 {
				t.Errorf("still running: %s", left)
			}
		})
	}
}

// TestWhatCannotBegin names what is in the way.
func TestWhatCannotBegin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	obstructed := func(name string) string {
		folder := t.TempDir()
		if err := os.MkdirAll(filepath.Join(folder, name, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	for _, test := range []struct{ name, folder, binary, words string }{
		{"the folder is a file", file, "", "not a directory"},
		{"the record cannot be kept", obstructed("primary/record.jsonl"), "", "simulated primary: record: "},
		{"the authority cannot be written", obstructed("ca.pem"), "", "ca.pem: is a directory"},
		{"the configuration cannot be written", obstructed("mxkeep.yaml"), "", "mxkeep.yaml: is a directory"},
		{"the log cannot be written", obstructed("relay.log"), "", "relay.log: is a directory"},
		{"there is no program", t.TempDir(), "/nowhere/mxkeep", "/nowhere/mxkeep: no such file"},
		{"the sender's log cannot be written", obstructed("sender.log"), mxkeep(t, "works"), "sender.log: is a directory"},
		{"the journal cannot be written", obstructed("journal.jsonl"), mxkeep(t, "works"), "demo has ended: exit status 1"},
	} {
		out := &told{}
		o := Options{Script: found(t, ""), Folder: test.folder, Binary: test.binary, Out: out}
		if o.Binary == "" {
			o.Binary = mxkeep(t, mute)
		}
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v\n%s", test.name, err, out)
		}
		if left := children(t, test.folder); len(left) > 0 {
			t.Errorf("%s: still running: %s", test.name, left)
		}
	}
}

// TestUntil says what it waited for in vain.
func TestUntil(t *testing.T) {
	t.Parallel()
	out := &told{}
	s := &stage{o: Options{Script: found(t, ""), Folder: t.TempDir(), Binary: mxkeep(t, mute), Out: out}}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.open(ctx); err == nil {
		t.Error("a relay that never answers is ready")
	}
	defer s.clear()
	err := s.until(context.Background(), "the end of the world", time.Nanosecond, func(view) bool { return false })
	if want := "waited 1ns in vain for the end of the world (0 written 0 at the primary 0 held relay: no answer)"; err == nil || err.Error() != want {
		t.Errorf("until: %v", err)
	}
}

func TestChild(t *testing.T) {
	child, err := start("/bin/sh", filepath.Join(t.TempDir(), "log"), nil, nil, "-c", "exec sleep 1000")
	if err != nil {
		t.Fatal(err)
	}
	if child.over() {
		t.Error("it has ended by itself")
	}
	if err := child.end(killed); err == nil || !child.over() {
		t.Errorf("killed: %v", err)
	}
	if err := child.failure(); err == nil || err.Error() != "sh -c has ended: signal: killed" {
		t.Errorf("failure: %v", err)
	}
	if exit := (&exec.ExitError{}); !errors.As(child.failure(), &exit) {
		t.Error("the exit status is lost")
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	deaf, err := start(mxkeep(t, mute), filepath.Join(t.TempDir(), "log"), nil, nil, "serve")
	if err != nil {
		t.Fatal(err)
	}
	if err := deaf.cmd.Process.Signal(syscall.SIGSTOP); err != nil { // it hears no SIGTERM now
		t.Fatal(err)
	}
	if err := deaf.stop(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("stop: %v", err)
	}
	_ = deaf.end(killed)
}
