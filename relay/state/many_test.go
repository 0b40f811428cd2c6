package state

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestMany(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "state.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := func() string {
		t.Helper()
		var words []string
		if err := f.Each("owner", func(key string, value []byte) error {
			words = append(words, key+"="+string(value))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return strings.Join(words, " ")
	}
	if all() != "" {
		t.Errorf("nothing is %q", all())
	}
	if err := f.Change("owner", map[string]any{"b": 2, "a": 1, "c": "x"}, nil); err != nil || all() != `a=1 b=2 c="x"` {
		t.Errorf("%q, %v", all(), err)
	}
	if err := f.Change("owner", map[string]any{"d": 4}, []string{"b", "gone"}); err != nil || all() != `a=1 c="x" d=4` {
		t.Errorf("%q, %v", all(), err)
	}
	enough := errors.New("enough")
	if err := f.Each("owner", func(string, []byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	// All or nothing.
	for _, put := range []map[string]any{{"e": 5, "": 6}, {"e": 5, "f": func() {}}} {
		if err := f.Change("owner", put, []string{"a"}); err == nil || all() != `a=1 c="x" d=4` {
			t.Errorf("%q, %v", all(), err)
		}
	}
	if err := f.Change("", map[string]any{"e": 5}, nil); err == nil {
		t.Error("no owner")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f.Change("owner", nil, []string{"a"}) == nil || f.Each("owner", nil) == nil {
		t.Error("a closed file")
	}
}
