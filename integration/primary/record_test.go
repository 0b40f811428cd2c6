package primary

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const childFolder = "MXKEEP_TEST_PRIMARY_FOLDER"

// TestMain acts a server in a process of its own when a test asks for one.
func TestMain(m *testing.M) {
	folder := os.Getenv(childFolder)
	if folder == "" {
		os.Exit(m.Run())
	}
	s, err := Start(context.Background(), Options{Addresses: []string{"127.0.0.2:0", "127.0.0.3:0"}, Folder: folder})
	if err == nil {
		err = s.Control(os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is a server in another process.
type child struct {
	t       *testing.T
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

func startChild(t *testing.T, folder string) *child {
	t.Helper()
	c := &child{t: t, process: exec.Command(os.Args[0])}
	c.process.Env = append(os.Environ(), childFolder+"="+folder)
	c.process.Stderr = os.Stderr
	in, err := c.process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.out = in, bufio.NewReader(out)
	if err := c.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	return c
}

// ask says a line and returns the answer.
func (c *child) ask(line string) string {
	c.t.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
	answer, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSuffix(answer, "\n")
}

// kill ends the process as a crash would. A second time it does nothing.
func (c *child) kill() {
	c.process.Process.Kill()
	c.process.Wait()
}

func TestRecordSurvivesAKill(t *testing.T) {
	folder := t.TempDir()
	said := map[string]bool{}
	for round := range 3 {
		c := startChild(t, folder)
		addresses := strings.Fields(strings.TrimPrefix(c.ask("addresses"), "ok "))
		if len(addresses) != 2 {
			t.Fatalf("addresses are %v", addresses)
		}
		answered := make(chan string)
		var senders sync.WaitGroup
		for n := range 4 {
			senders.Go(func() {
				for i := 0; ; i++ {
					id := fmt.Sprintf("<%d.%d.%d@sender.example>", round, n, i)
					if !sendOne(addresses[n%2], id) {
						return
					}
					answered <- id
				}
			})
		}
		go func() {
			senders.Wait()
			close(answered)
		}()
		before := len(said)
		for id := range answered {
			said[id] = true
			if len(said) == before+25 {
				c.kill() // the senders end when nobody answers
			}
		}
		checkRecord(t, folder, said)
	}
}

// checkRecord wants every answered message once, with its content, and IDs that grow.
func checkRecord(t *testing.T, folder string, said map[string]bool) {
	t.Helper()
	recorded, err := ReadRecord(folder)
	if err != nil {
		t.Fatal(err)
	}
	seen, last := map[string]int{}, int64(0)
	for _, d := range recorded {
		seen[d.MessageID]++
		if want := "Message-ID: " + d.MessageID + "\r\n\r\nhello\r\n"; string(d.Content) != want || d.InternalID <= last {
			t.Errorf("recorded as %+v", d)
		}
		last = d.InternalID
	}
	for id := range said {
		if seen[id] != 1 {
			t.Errorf("%s was answered and is recorded %d times", id, seen[id])
		}
	}
}

func TestControl(t *testing.T) {
	c := startChild(t, t.TempDir())
	address, _, _ := strings.Cut(strings.TrimPrefix(c.ask("addresses"), "ok "), " ")
	for _, step := range []struct{ line, answer string }{
		{"received", "ok 0"},
		{"play lost-ack=1", "ok lost-ack=1"},
		{"play throttle", "ok throttle=30"},
		{" received ", "ok 0"},
		{"play", `error no scenario ""; there are healthy, down, `},
		{"play slow=x", `error scenario slow: want a length of time, such as 2s, not "x"`},
		{"dance", `error no command "dance"; there are play, received, addresses`},
		{"", `error no command ""`},
		{"play down", "ok down"},
		{"play 451-4.3.2", "ok 451-4.3.2"},
	} {
		if got := c.ask(step.line); got != step.answer && (!strings.HasPrefix(step.answer, "error ") || !strings.HasPrefix(got, step.answer)) {
			t.Errorf("%q is answered %q, want %q", step.line, got, step.answer)
		}
	}
	if sendOne(address, "<1@sender.example>") {
		t.Error("the scenario is not played")
	}
	c.ask("play healthy")
	if !sendOne(address, "<2@sender.example>") {
		t.Error("the healthy scenario is not played")
	}
	if got := c.ask("received"); got != "ok 1" {
		t.Errorf("received: %s", got)
	}
	c.in.Close()
	if err := c.process.Wait(); err != nil {
		t.Errorf("at the end of its input: %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestControlWithoutAReader(t *testing.T) {
	s := start(t, Options{})
	if err := s.Control(strings.NewReader("received\nreceived\n"), brokenWriter{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

// A line without its end was never answered. The next server goes on behind the whole ones.
func TestTornRecord(t *testing.T) {
	folder := t.TempDir()
	s := start(t, Options{Folder: folder})
	for range 2 {
		dial(t, s, 0).greeted().deliver(note, "250 ")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, recordName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(whole, whole[:50]...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, arriving+"123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if recorded, err := ReadRecord(folder); len(recorded) != 2 || err != nil {
		t.Errorf("torn: %d, %v", len(recorded), err)
	}
	s = start(t, Options{Folder: folder})
	if n := len(s.Received()); n != 2 {
		t.Errorf("%d messages are known", n)
	}
	dial(t, s, 0).greeted().deliver(note, "250 2.6.0 <note@sender.example> [InternalId=28063237275003,")
	recorded, err := ReadRecord(folder)
	if len(recorded) != 3 || err != nil {
		t.Fatalf("continued: %d, %v", len(recorded), err)
	}
	want := []string{"28063237275001.eml", "28063237275002.eml", "28063237275003.eml", recordName}
	if files := list(t, folder); !slices.Equal(files, want) {
		t.Errorf("the folder has %v", files)
	}
}

func TestReadRecordRefuses(t *testing.T) {
	for rule, harm := range map[string]func(folder string) error{
		"changed content": func(folder string) error {
			return os.WriteFile(filepath.Join(folder, "28063237275001.eml"), []byte("other"), 0o600)
		},
		"lost content": func(folder string) error { return os.Remove(filepath.Join(folder, "28063237275001.eml")) },
		"no JSON": func(folder string) error {
			return os.WriteFile(filepath.Join(folder, recordName), []byte("{}\nx\n"), 0o600)
		},
		"a file elsewhere": func(folder string) error {
			return os.WriteFile(filepath.Join(folder, recordName), []byte(`{"file":"../x.eml"}`+"\n"), 0o600)
		},
		"no file": func(folder string) error {
			return os.WriteFile(filepath.Join(folder, recordName), []byte("{}\n"), 0o600)
		},
		"no record": func(folder string) error { return os.Remove(filepath.Join(folder, recordName)) },
	} {
		folder := t.TempDir()
		s := start(t, Options{Folder: folder})
		dial(t, s, 0).greeted().deliver(note, "250 ")
		if err := harm(folder); err != nil {
			t.Fatal(err)
		}
		if recorded, err := ReadRecord(folder); err == nil {
			t.Errorf("%s: read %+v", rule, recorded)
		}
	}
}

func TestStartRefusesARecordItCannotContinue(t *testing.T) {
	for _, harm := range []func(folder string) error{
		func(folder string) error {
			return os.WriteFile(filepath.Join(folder, recordName), []byte("x\n"), 0o600)
		},
		func(folder string) error { return os.Mkdir(filepath.Join(folder, recordName), 0o700) },
		func(folder string) error { return os.MkdirAll(filepath.Join(folder, arriving+"x", "y"), 0o700) },
	} {
		folder := t.TempDir()
		if err := harm(folder); err != nil {
			t.Fatal(err)
		}
		if s, err := Start(t.Context(), Options{Folder: folder}); err == nil {
			s.Close()
			t.Error("started")
		}
	}
}

// A disk that fails costs a 451 for this message and all later ones, even when it works again.
func TestFailingDisk(t *testing.T) {
	for rule, fail := range map[string]func(s *Server) error{
		"no folder for the content":    func(s *Server) error { return os.RemoveAll(s.options.Folder) },
		"the record cannot be written": func(s *Server) error { return s.record.file.Close() },
		"the content cannot get its name": func(s *Server) error {
			return os.MkdirAll(filepath.Join(s.options.Folder, "28063237275001.eml", "x"), 0o700)
		},
	} {
		s, err := Start(t.Context(), Options{Addresses: []string{"127.0.0.2:0"}, Folder: filepath.Join(t.TempDir(), "record")})
		if err != nil {
			t.Fatal(err)
		}
		if err := fail(s); err != nil {
			t.Fatal(err)
		}
		c := dial(t, s, 0).greeted()
		for range 2 {
			if got := c.deliver(note, "451 4.3.0 Temporary server error. Please try again later ["); !where.MatchString(got) {
				t.Errorf("%s: %q does not end with the bracket", rule, got)
			}
		}
		if n := len(s.Received()); n != 0 {
			t.Errorf("%s: %d messages recorded", rule, n)
		}
		s.Close()
	}
}

func TestAwaitEnds(t *testing.T) {
	s := start(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Await(ctx, 1); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "0 of 1 messages") {
		t.Error(err)
	}
	if got, err := s.Await(ctx, 0); len(got) != 0 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func list(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
