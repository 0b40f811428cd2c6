package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// TestMain is the program itself when a test runs it as a process of its own.
func TestMain(m *testing.M) {
	line, ok := os.LookupEnv("MXKEEP_TEST_ARGUMENTS")
	if !ok {
		os.Exit(m.Run())
	}
	os.Args = append([]string{"mxkeep"}, strings.Fields(line)...)
	main()
}

// process runs the program with the standard output given, and returns its exit code and its words.
func (r *rig) process(out *os.File, arguments string) (int, string) {
	r.t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MXKEEP_TEST_ARGUMENTS="+arguments, "MXKEEP_SOCKET="+r.socket)
	cmd.Stdout, cmd.Stderr = out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), errs.String()
}

func TestTheReaderHasSeenEnough(t *testing.T) {
	r := newRig(t)
	id := r.accept("a@b.example", "c@corp.example")
	for range 300 {
		r.accept("a@b.example", "c@corp.example")
	}
	r.serve()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	for _, arguments := range []string{"queue list", "queue list -o json", "queue list -o table", "queue list -o csv", "queue list -o id", "status",
		"queue stats", "queue cat --raw " + string(id), "trace a@b.example", "version", "health show", "completion bash", "queue hold " + string(id) + " -o id"} {
		if code, errs := r.process(write, arguments); code != 0 || strings.Contains(errs, "E1") {
			t.Errorf("%s: exit %d, %q", arguments, code, errs)
		}
	}
	if r.states()[id] != "held" {
		t.Error("a change depends on who reads its answer")
	}
}

// lost is an output whose reader has gone.
type lost struct{}

func (lost) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestALostReaderHidesNoFailure(t *testing.T) {
	r := newRig(t)
	r.accept("a@b.example", "c@corp.example")
	gone := r.accept("a@b.example", "c@corp.example")
	r.leave(gone, queue.ErrState)
	r.serve()
	for _, test := range []struct {
		out  io.Writer
		args []string
		code int
	}{
		{lost{}, []string{"queue", "hold", "--all"}, 3},
		{lost{}, []string{"queue", "list"}, 0},
		{lost{}, []string{"queue", "list", "--socket", r.socket + ".other"}, 4},
		{failing{}, []string{"queue", "list"}, 1}, // a full disk is a failure
	} {
		var errs bytes.Buffer
		a := &app{in: strings.NewReader(""), out: test.out, errs: &errs, now: time.Now(), env: func(name string) string { return map[string]string{"MXKEEP_SOCKET": r.socket}[name] }}
		if code := a.run(context.Background(), test.args); code != test.code {
			t.Errorf("%v: exit %d, %q", test.args, code, errs.String())
		}
	}
}

// failing is an output on a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// noticing tells when a question is asked.
type noticing struct {
	bytes.Buffer
	asked chan struct{} // closed when the word is written
	word  string
}

func (n *noticing) Write(text []byte) (int, error) {
	if bytes.Contains(text, []byte(n.word)) {
		close(n.asked)
	}
	return n.Buffer.Write(text)
}

func TestAnInterruptEndsAQuestion(t *testing.T) {
	r := newRig(t)
	population(r)
	r.serve()
	before := snapshot(r)
	for _, test := range []struct {
		word string
		args []string
	}{
		{"Type the number", []string{"queue", "delete", "--all", "--reason", "x"}},
		{"Pause", []string{"queue", "pause", "--inbound", "--reason", "x"}},
		{"whatever the probes say", []string{"health", "override", "down", "--reason", "x"}},
	} {
		in, typed := io.Pipe() // nobody types anything
		errs := &noticing{asked: make(chan struct{}), word: test.word}
		var out bytes.Buffer
		a := &app{in: in, out: &out, errs: errs, now: time.Now(), screen: screen{in: true, out: true, width: 80},
			env: func(name string) string { return map[string]string{"MXKEEP_SOCKET": r.socket}[name] }}
		ctx, interrupt := context.WithCancel(context.Background())
		code := make(chan int, 1)
		go func() { code <- a.run(ctx, test.args) }()
		<-errs.asked
		interrupt()
		if got := <-code; got != 130 || snapshot(r) != before {
			t.Errorf("%v: exit %d, %q", test.args, got, errs)
		}
		if err := typed.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAnInterruptEndsTheReadingOfIDs(t *testing.T) {
	in, typed := io.Pipe()
	defer typed.Close()
	ctx, interrupt := context.WithCancel(context.Background())
	interrupt()
	a := &app{in: in}
	if _, err := a.ids(ctx, []string{"-"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := typed.CloseWithError(errors.New("input/output error")); err != nil {
		t.Error(err)
	}
	if _, err := a.ids(context.Background(), []string{"-"}); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("%v", err)
	}
}

func TestNoInputNeverAsks(t *testing.T) {
	r := newRig(t)
	population(r)
	r.serve()
	before := snapshot(r)
	for _, args := range [][]string{
		{"queue", "delete", "--from", "promo@*", "--reason", "x"},
		{"queue", "pause", "--inbound", "--reason", "x"},
		{"health", "override", "up", "--reason", "x"},
	} {
		if got := r.terminal(80, "3\ny\n", append(args, "--no-input")...); got.code != 2 || snapshot(r) != before {
			t.Errorf("%v: exit %d, %q", args, got.code, got.errs)
		}
	}
}

func TestLook(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, test := range []struct {
		name        string
		environment map[string]string
		want        screen
	}{
		{"nothing is known", nil, screen{width: 80}},
		{"UTF-8", map[string]string{"LANG": "de_DE.UTF-8"}, screen{width: 80, utf8: true}},
		{"utf8", map[string]string{"LANG": "C.utf8"}, screen{width: 80, utf8: true}},
		{"another letter set", map[string]string{"LANG": "de_DE.ISO-8859-1"}, screen{width: 80}},
		{"LC_ALL wins", map[string]string{"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, screen{width: 80}},
		{"LC_CTYPE wins over LANG", map[string]string{"LC_CTYPE": "de_DE.UTF-8", "LANG": "C"}, screen{width: 80, utf8: true}},
		{"columns", map[string]string{"COLUMNS": "132"}, screen{width: 132}},
		{"nonsense columns", map[string]string{"COLUMNS": "7"}, screen{width: 80}},
		{"forced", map[string]string{"CLICOLOR_FORCE": "1"}, screen{width: 80, color: true}},
		{"not forced", map[string]string{"CLICOLOR_FORCE": "0"}, screen{width: 80}},
		{"NO_COLOR wins", map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, screen{width: 80}},
		{"ours wins", map[string]string{"CLICOLOR_FORCE": "1", "MXKEEP_NO_COLOR": "1"}, screen{width: 80}},
	} {
		if got := look(file, file, func(name string) string { return test.environment[name] }); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestCompletion(t *testing.T) {
	r := newRig(t)
	for _, shell := range shells {
		got := r.run("completion", shell.name)
		if got.code != 0 || got.errs != "" || !strings.Contains(got.out, "mxkeep") {
			t.Errorf("%s: exit %d, %q", shell.name, got.code, got.errs)
		}
	}
	for _, test := range []struct{ typed, want string }{
		{"queue st", "stats"},
		{"queue list --state he", ""},
		{"health override ", "auto"},
		{"completion f", "fish"},
	} {
		words := strings.Split(test.typed, " ")
		if got := r.run(append([]string{"__complete"}, words...)...); got.code != 0 || !strings.Contains(got.out, test.want) {
			t.Errorf("%q: exit %d, %q", test.typed, got.code, got.out)
		}
	}
	if got := r.run("__complete", "queue", "list", "--state", ""); !strings.Contains(got.out, "held") {
		t.Errorf("states: %q", got.out)
	}
}

func TestHelpPages(t *testing.T) {
	r := newRig(t)
	for _, p := range problems {
		for _, word := range []string{p.number, strings.ToLower(p.number), p.code} {
			if got := r.run("help", word); got.code != 0 || !strings.Contains(got.out, p.hint) {
				t.Errorf("help %s: exit %d, %q", word, got.code, got.out)
			}
		}
	}
	overview := r.run("help")
	for _, name := range append([]string{errorsTopic}, topics...) {
		if got := r.run("help", name); got.code != 0 || len(got.out) < 100 || strings.Contains(got.out, "\x1b") {
			t.Errorf("%s: exit %d, %q", name, got.code, got.out)
		}
		if !strings.Contains(overview.out, "\n  "+name+" ") {
			t.Errorf("%s is not listed", name)
		}
	}
	if got := r.run("help", "queue", "list"); got.code != 0 || !strings.Contains(got.out, "mxkeep queue list") {
		t.Errorf("help queue list: exit %d, %q", got.code, got.out)
	}
}
