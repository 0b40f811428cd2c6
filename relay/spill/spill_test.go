package spill

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestMoreThanFitsIntoMemory(t *testing.T) {
	dir := t.TempDir()
	s, err := NewWithin(dir, 1000)
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000 // more than 128 files of some 17 records
	for i := range n {
		if err := s.Add(fmt.Sprintf("%04d", i*7919%1000), fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // it can be read again
		last, order, count := "", -1, 0
		for r, err := range s.Sorted() {
			var value int
			if _, scan := fmt.Sscan(string(r.Value), &value); err != nil || scan != nil {
				t.Fatal(err, scan)
			}
			if r.Key < last || r.Key == last && value < order {
				t.Fatalf("%s/%d after %s/%d", r.Key, value, last, order)
			}
			last, order = r.Key, value
			count++
		}
		if count != n {
			t.Fatalf("%d records", count)
		}
	}
	if len(s.runs) == 0 || len(s.runs) >= maxRuns {
		t.Errorf("%d files", len(s.runs))
	}
	groups := 0
	for g, err := range s.Groups(3) {
		if err != nil || len(g) > 3 {
			t.Fatal(len(g), err)
		}
		groups++
	}
	if distinct, err := s.Distinct(); distinct != 1000 || err != nil || groups != 2000 {
		t.Errorf("%d different keys, %d groups, %v", distinct, groups, err)
	}
	for range s.Sorted() {
		break
	}
	for range s.Groups(1) {
		break
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

func TestADiskThatFails(t *testing.T) {
	if _, err := New(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a folder that is not there")
	}
	fill := func() *Sorter {
		s, err := NewWithin(t.TempDir(), 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"a", "b", "c", "d"} {
			if err := s.Add(key, make([]byte, 60)); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	fails := func(s *Sorter, what string) {
		t.Helper()
		if _, err := s.Distinct(); err == nil {
			t.Error(what)
		}
		failed := false
		for _, err := range s.Groups(9) {
			failed = failed || err != nil
		}
		if !failed {
			t.Error(what, "in groups")
		}
	}
	s := fill()
	if err := s.runs[0].Truncate(20); err != nil {
		t.Fatal(err)
	}
	fails(s, "a file that is cut off")
	s = fill()
	s.runs[1].Close()
	fails(s, "a file that is closed")
	s = fill()
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Add("e", make([]byte, 100)); err == nil {
		t.Error("a folder that is gone")
	}
}
