package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
)

// flipVariable tells the test binary to damage files and open them: what that
// does to the process must not end the other tests.
const flipVariable = "BOLT_TEST_FLIP"

// inChild runs the test in a process of its own. It reports whether this is it.
func inChild(t *testing.T) bool {
	t.Helper()
	if os.Getenv(flipVariable) != "" {
		return true
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), flipVariable+"=1")
	out, err := child.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out[max(0, len(out)-4000):])
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "figures: ") {
			t.Log(strings.TrimSpace(line))
		}
	}
	return false
}

// sample is a closed store of one file with mail, and what is in it.
type sample struct {
	file, note []byte // the file and its summary
	content    map[queue.ID][]byte
	used       int64 // bytes of the file
}

func newSample(t *testing.T) sample {
	t.Helper()
	dir, ids := fileWithPages(t)
	s := open(t, dir, Options{})
	x := sample{content: map[queue.ID][]byte{}, used: s.generations[0].standing().size}
	for _, id := range ids {
		r, err := s.Content(t.Context(), id)
		if err == nil {
			x.content[id], err = io.ReadAll(r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	err := s.Close()
	if err == nil {
		x.file, err = os.ReadFile(filepath.Join(dir, generationName(1)))
	}
	if err == nil {
		x.note, err = os.ReadFile(filepath.Join(dir, summaryName(1)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// verdict is what became of a damaged file.
type verdict struct{ aside, doubt, broken, whole int }

func (v verdict) String() string {
	return fmt.Sprintf("%d set aside, %d in doubt, %d with damage found in place, %d as before", v.aside, v.doubt, v.broken, v.whole)
}

// judge opens a damaged copy and wants that nothing is lost in silence: each
// message is there and says the same, or something says that it is not.
func (x sample) judge(t *testing.T, what string, file []byte, clean bool, sum *verdict) {
	t.Helper()
	dir := t.TempDir()
	defer os.RemoveAll(dir)
	err := errors.Join(os.WriteFile(filepath.Join(dir, generationName(1)), file, 0o600), os.WriteFile(filepath.Join(dir, summaryName(1)), x.note, 0o600))
	if clean {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, cleanMark), nil, 0o600))
	} else {
		err = errors.Join(err, os.Remove(filepath.Join(dir, summaryName(1))))
	}
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("  ", what) // the last line of a process that ends tells what ended it
	s, err := Open(dir, Options{GenerationSize: 256 << 10, Check: inProcess})
	if err != nil {
		if clean || !strings.Contains(err.Error(), "use the version that wrote it") {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	defer s.Close()
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if len(stats.Aside) == 1 && !stats.Aside[0].InUse {
		sum.aside++
		if n := stats.Aside[0].Recipients; clean && n != int64(len(x.content)) {
			t.Errorf("%s: %d recipients are set aside", what, n)
		}
		did, err := s.Salvage(t.Context(), stats.Aside[0].File, "carol", false)
		if err != nil || did.Messages > int64(len(x.content)) {
			t.Errorf("%s: salvage %+v, %v", what, did, err)
		}
		return
	}
	same := x.same(t, what, s)
	switch {
	case len(stats.Aside) > 0:
		sum.doubt++
	case same:
		sum.whole++
	default:
		sum.broken++
		found := 0
		if _, err := s.Audit(t.Context(), func(queue.Finding) error { found++; return nil }); found == 0 || err != nil {
			t.Errorf("%s: mail is missing in silence; %v", what, err)
		}
	}
}

// same reports whether every message is as it was. Content that differs must
// say so.
func (x sample) same(t *testing.T, what string, s *Store) bool {
	t.Helper()
	same := true
	for id, want := range x.content {
		if m, err := s.Message(t.Context(), id); err != nil || m.State() != queue.StateQueued {
			same = false
			continue
		}
		r, err := s.Content(t.Context(), id)
		if err != nil {
			same = false
			continue
		}
		got, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(got, want) {
			t.Errorf("%s: other content of %s, and no error", what, id)
		}
		same = same && err == nil
	}
	return same && slices.Equal(dueIDs(t, s), sortedKeys(x.content))
}

// TestFlippedBytes changes every byte that counts of both meta pages, and 1,000
// others, one at a time, after a clean stop and after another.
func TestFlippedBytes(t *testing.T) {
	if !inChild(t) {
		return
	}
	x := newSample(t)
	random := rand.New(rand.NewPCG(3, 19))
	page := int64(os.Getpagesize())
	for _, clean := range []bool{true, false} {
		var metas, others verdict
		flip := func(at int64, sum *verdict) {
			file := slices.Clone(x.file)
			file[at] ^= byte(1 + random.IntN(255))
			x.judge(t, fmt.Sprintf("byte %d is %#x, was %#x, clean %t", at, file[at], x.file[at], clean), file, clean, sum)
		}
		for at := range int64(pageHeader + metaLength) {
			flip(at, &metas)
			flip(page+at, &metas)
		}
		for range 500 {
			flip(2*page+random.Int64N(x.used-2*page), &others)
		}
		t.Logf("figures: clean %t: meta pages: %v; others: %v", clean, metas, others)
	}
}

// TestTruncatedFile cuts the file off at many lengths.
func TestTruncatedFile(t *testing.T) {
	if !inChild(t) {
		return
	}
	x := newSample(t)
	var sum verdict
	for at := int64(0); at < int64(len(x.file)); at += 1 + at/8 + 500*(at&1) {
		x.judge(t, fmt.Sprintf("cut to %d of %d bytes in use", at, x.used), x.file[:at], true, &sum)
		if at+1+at/8 > x.used && at < x.used {
			x.judge(t, "cut by the last byte in use", x.file[:x.used-1], true, &sum)
			x.judge(t, "cut behind the last byte in use", x.file[:x.used], true, &sum)
		}
	}
	t.Logf("figures: %v", sum)
	if sum.aside == 0 || sum.whole == 0 || sum.doubt+sum.broken > 0 {
		t.Errorf("%v", sum)
	}
}

// FuzzRuins reads anything as a file: an error, or what is in it, but no panic
// and no end without end.
func FuzzRuins(f *testing.F) {
	dir := f.TempDir()
	s := open(f, dir, Options{GenerationSize: 1})
	if _, err := tryAccept(s, benchAcceptance(f), []byte("kept")); err != nil {
		f.Fatal(err)
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	small, err := os.ReadFile(filepath.Join(dir, generationName(1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small[:min(len(small), 40<<10)], uint16(8192), byte(1))
	f.Fuzz(func(t *testing.T, file []byte, at uint16, flip byte) {
		if int(at) < len(file) {
			file = slices.Clone(file)
			file[at] ^= flip
		}
		r := &ruins{file: bytes.NewReader(file), size: int64(len(file)), pageSize: 4096}
		if h, err := r.look(); err == nil {
			w := newWalk(r, h.newest.end)
			if w.free, err = r.free(h.newest); err == nil {
				_ = w.tree("", h.newest.root)
			}
		}
		found, err := searchIn(&ruins{file: bytes.NewReader(file), size: int64(len(file)), pageSize: 4096})
		if err != nil {
			t.Fatal(err)
		}
		for id, left := range found.messages {
			if left.record.length > 0 {
				if m, err := found.record(id); err != nil || m.ID != id {
					t.Errorf("%s: %+v, %v", id, m, err)
				}
			}
		}
	})
}
