package bolt

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
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
	"testing/synctest"
	"time"

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
		if strings.Contains(line, "figures: ") || err != nil && (strings.Contains(line, "_test.go:") || strings.HasPrefix(line, "sample ")) {
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

// newSample makes the sample, or takes the one of a run that failed. Its times
// and IDs are the same each time, but not the order of its pages: bbolt writes
// the buckets of a transaction in any.
func newSample(t *testing.T) (x sample) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { x = writeSample(t) })
	if path := os.Getenv("BOLT_TEST_FLIP_SAMPLE"); path != "" {
		text, err := os.ReadFile(path)
		if err == nil {
			x.file, x.note, err = readTold(text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// told is a sample in the log.
type told struct{ File, Note []byte }

// tell writes the files of the sample as text, so that a run can be repeated.
func (x sample) tell() (lines []string, err error) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if err := errors.Join(json.NewEncoder(w).Encode(told{x.file, x.note}), w.Close()); err != nil {
		return nil, err
	}
	for part := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(packed.Bytes())), 200) {
		lines = append(lines, "sample "+string(part))
	}
	return lines, nil
}

// readTold reads the lines of tell among others.
func readTold(text []byte) (file, note []byte, err error) {
	var packed []byte
	for line := range bytes.Lines(text) {
		if _, part, ok := bytes.Cut(bytes.TrimSpace(line), []byte("sample ")); ok {
			packed = append(packed, part...)
		}
	}
	r, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(packed)))
	if err != nil {
		return nil, nil, err
	}
	var was told
	err = json.NewDecoder(r).Decode(&was)
	return was.File, was.Note, err
}

// TestToldSample reads from a log what was written there.
func TestToldSample(t *testing.T) {
	x := newSample(t)
	lines, err := x.tell()
	if err != nil {
		t.Fatal(err)
	}
	file, note, err := readTold([]byte("=== RUN\n    flip_test.go:9: " + strings.Join(lines, "\n    flip_test.go:9: ") + "\nFAIL\n"))
	if err != nil || !bytes.Equal(file, x.file) || !bytes.Equal(note, x.note) {
		t.Errorf("%d of %d bytes, %v", len(file), len(x.file), err)
	}
}

func writeSample(t *testing.T) sample {
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
		if clean || !errors.Is(err, ErrNewer) { // without a summary nobody can tell
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	defer s.Close()
	stats, err := s.Stats(t.Context())
	if errors.Is(err, ErrDamagedFile) && errors.Is(s.Err(), ErrDamagedFile) { // it met the page before the audit
		sum.broken++
		x.judgeNext(t, what, dir)
		return
	}
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
	// First what reads without bbolt: what points out of a bucket may end the process.
	found := 0
	_, err = s.Audit(t.Context(), "", func(queue.Finding) error { found++; return nil })
	switch {
	case len(stats.Aside) > 0:
		sum.doubt++
	case errors.Is(s.Err(), ErrDamagedFile):
		sum.broken++
		x.judgeNext(t, what, dir)
	case found > 0:
		sum.broken++
	case err != nil:
		t.Errorf("%s: %v", what, err)
	case x.same(t, what, s):
		sum.whole++
	default:
		t.Errorf("%s: mail is missing in silence", what)
	}
}

// judgeNext wants that the start after a damaged page was met in use sets the
// file aside, with everybody in it.
func (x sample) judgeNext(t *testing.T, what, dir string) {
	t.Helper()
	copied := t.TempDir() // the process of a store that failed ends, and lets go of its files
	defer os.RemoveAll(copied)
	copyFiles(t, dir, copied)
	s, err := Open(copied, Options{GenerationSize: 256 << 10, Check: inProcess})
	if err != nil {
		t.Errorf("%s: the next start: %v", what, err)
		return
	}
	defer s.Close()
	stats, err := s.Stats(t.Context())
	if err != nil || len(stats.Aside) != 1 || stats.Aside[0].InUse || stats.Aside[0].Recipients != int64(len(x.content)) {
		t.Errorf("%s: the next start: set aside %+v, %v", what, stats.Aside, err)
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
	var due []queue.ID
	for summary, err := range s.Due(t.Context(), "primary", time.Now()) {
		if err != nil {
			return false
		}
		due = append(due, summary.ID)
	}
	return same && slices.Equal(due, sortedKeys(x.content))
}

// flipSeed chooses the bytes that TestFlippedBytes changes, and how.
const flipSeed = 19

// TestFlippedBytes changes every byte that counts of both meta pages, and 1,000
// others, one at a time, after a clean stop and after another. With
// MXKEEP_SOAK=1 it changes every byte in use. What it needs to be repeated is in
// the output of one that fails: BOLT_TEST_FLIP_SAMPLE=FILE, with those lines in
// the file, takes the same sample again.
func TestFlippedBytes(t *testing.T) {
	if !inChild(t) {
		return
	}
	x := newSample(t)
	random := rand.New(rand.NewPCG(3, flipSeed))
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
		for at := 2 * page; at < x.used && os.Getenv("MXKEEP_SOAK") != ""; at++ {
			flip(at, &others)
		}
		t.Logf("figures: seed %d, clean %t: meta pages: %v; others: %v", flipSeed, clean, metas, others)
	}
	if t.Failed() {
		lines, err := x.tell()
		fmt.Println(strings.Join(lines, "\n"), err)
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
	s = open(f, dir, Options{GenerationSize: 1})
	if err := errors.Join(s.FileLedger(f.Context()), s.Close()); err != nil {
		f.Fatal(err)
	}
	lines, err := os.ReadFile(filepath.Join(dir, files(f, dir, "ledger-")[0]))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(lines, uint16(8192), byte(1))
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
		_ = r.inMeta(keyBooks)
		if h, err := r.look(); err == nil {
			_ = r.edges(h.newest)
		}
		filed := searchFiled(&ruins{file: bytes.NewReader(file), size: int64(len(file)), pageSize: 4096})
		for number := range filed.lines {
			if _, err := filed.line(number); err != nil {
				t.Errorf("line %d: %v", number, err)
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
