package recipients

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

func path(t testing.TB, s string) smtp.Path {
	t.Helper()
	p, err := smtp.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t *testing.T, file, text string, age time.Duration) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
}

const sample = "\xef\xbb\xbf# people\r\nA.Meyer@Corp.Example\r\n\r\n  info@corp.example\t# the desk\n" +
	"a#b@corp.example\n\"odd #1\"@corp.example\nä@bücher.example\n#gone@corp.example\n"

func TestKnows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "recipients")
	write(t, file, sample, time.Hour)
	l, err := Load(file, "corp.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	if l.Len() != 5 {
		t.Errorf("%d addresses, want 5", l.Len())
	}
	for address, want := range map[string]bool{
		"a.meyer@corp.example":         true,
		"A.MEYER@CORP.EXAMPLE":         true,
		`"a.meyer"@corp.example`:       true,
		"info@corp.example":            true,
		"a#b@corp.example":             true,
		`"odd #1"@corp.example`:        true,
		"Ä@BÜCHER.example":             true,
		"ä@xn--bcher-kva.example":      true,
		"Postmaster":                   true,
		"postmaster@elsewhere.example": true,
		"gone@corp.example":            false,
		"a@corp.example":               false,
		"info@corp.example.org":        false,
		"info@sub.corp.example":        false,
		"":                             false,
	} {
		if got := l.Knows(path(t, address)); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

func TestWrongFiles(t *testing.T) {
	var many strings.Builder
	for i := range 20 {
		fmt.Fprintf(&many, "wrong %d\n", i)
	}
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"lines":        {"a@corp.example\nnobody\n@corp.example\nb@corp.example c@corp.example\n<d@corp.example>\npostmaster\n", []string{"list:2: ", "list:3: ", "list:4: ", "list:5: ", "list:6: "}},
		"empty":        {"", []string{"list: there is no address in it"}},
		"comments":     {"# nobody yet\n", []string{"list: there is no address in it"}},
		"UTF-16":       {"\xff\xfea\x00@\x00\n", []string{"UTF-16, and cut off within a letter"}},
		"long line":    {"a@corp.example\n" + strings.Repeat("x", 70000), []string{"list:2: ", "too long"}},
		"not too many": {many.String(), []string{"list:10: "}},
	} {
		_, err := parse("list", strings.NewReader(c.text))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q, want %q in it", name, err, want)
			}
		}
		if lines := strings.Count(err.Error(), "\n"); lines >= 10 {
			t.Errorf("%s: %d lines of errors", name, lines+1)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "nothing"), "corp.example", nil); err == nil {
		t.Error("no error for a file that is not there")
	}
	if _, err := Load(t.TempDir(), "corp.example", nil); err == nil {
		t.Error("no error for a folder")
	}
}

// TestListOfAnotherDomain: it would refuse everybody.
func TestListOfAnotherDomain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "recipients")
	write(t, file, "a@corp.example\nx@lab.example\n", time.Hour)
	l, err := Load(file, "corp.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = "there is no address of corp.example in it, but 1 of other domains"
	write(t, file, "a@lab.example\n", -time.Minute)
	if err := l.reload(time.Now()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("read again: %v", err)
	}
	if !l.Knows(path(t, "a@corp.example")) {
		t.Error("what was known before does not hold")
	}
	if _, err := Load(file, "corp.example", nil); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("at the start: %v", err)
	}
}

func TestReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "recipients")
	var log bytes.Buffer
	write(t, file, "a@corp.example\n", time.Hour)
	l, err := Load(file, "corp.example", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := l.looked
	look := func(after time.Duration) { now = now.Add(after); l.look(now) }
	want := func(step, known string, lines int) {
		t.Helper()
		if _, ok := l.known[known]; !ok || len(l.known) != 1 {
			t.Errorf("%s: %v, want only %s", step, l.known, known)
		}
		if got := strings.Count(log.String(), "\n"); got != lines {
			t.Errorf("%s: %d log lines, want %d:\n%s", step, got, lines, log.String())
		}
	}
	write(t, file, "b@corp.example\n", -10*time.Minute) // by a clock that is ahead
	look(lookEvery / 2)
	want("too early", "a@corp.example", 0)
	look(lookEvery)
	want("perhaps still being written", "a@corp.example", 0)
	write(t, file, "c@corp.example\n", -20*time.Minute)
	look(lookEvery)
	want("it was", "a@corp.example", 0)
	look(lookEvery)
	want("settled", "c@corp.example", 1)
	look(lookEvery)
	want("unchanged", "c@corp.example", 1)
	write(t, file, "", 10*time.Minute)
	look(lookEvery)
	want("emptied", "c@corp.example", 2)
	look(lookEvery)
	want("said once", "c@corp.example", 2)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	look(lookEvery)
	want("gone", "c@corp.example", 3)
	write(t, file, "d@corp.example\n", 5*time.Minute)
	look(time.Hour)
	want("changed long before somebody asked", "d@corp.example", 4)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("nobody\n\xff\xfe"))
	f.Fuzz(func(t *testing.T, text []byte) {
		known, err := parse("list", bytes.NewReader(text))
		if err != nil {
			return
		}
		for key := range known {
			at := strings.LastIndexByte(key, '@')
			p := smtp.Path{Local: key[:at], Domain: key[at+1:]}
			if again, err := keyOf(p); err != nil || again != key {
				t.Errorf("%q is compared as %q, %v", key, again, err)
			}
		}
		if len(known) == 0 {
			t.Error("an empty list was accepted")
		}
	})
}
