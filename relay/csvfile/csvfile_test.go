package csvfile

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
)

// wideText writes UTF-16 with a mark.
func wideText(text string, big bool) string {
	var b strings.Builder
	for _, u := range append([]uint16{0xfeff}, utf16.Encode([]rune(text))...) {
		if big {
			b.WriteByte(byte(u >> 8))
		}
		b.WriteByte(byte(u))
		if !big {
			b.WriteByte(byte(u >> 8))
		}
	}
	return b.String()
}

func TestText(t *testing.T) {
	long := strings.Repeat("aé€😀", 2000)
	for name, test := range map[string]struct {
		in, want string
		err      error
	}{
		"plain":                    {"abc", "abc", nil},
		"empty":                    {"", "", nil},
		"UTF-8 with a mark":        {"\xef\xbb\xbfabc", "abc", nil},
		"little-endian":            {wideText(long, false), long, nil},
		"big-endian":               {wideText(long, true), long, nil},
		"a first surrogate alone":  {"\xfe\xff\xd8\x3d\x00a", "\ufffda", nil},
		"one at the end":           {"\xfe\xff\xd8\x3d", "\ufffd", nil},
		"a second surrogate alone": {"\xfe\xff\xde\x00\x00a", "\ufffda", nil},
		"cut off":                  {"\xfe\xff\x00a\x00", "a", ErrCutOff},
	} {
		for _, r := range []io.Reader{strings.NewReader(test.in), iotest.OneByteReader(strings.NewReader(test.in))} {
			if got, err := io.ReadAll(Text(r)); string(got) != test.want || !errors.Is(err, test.err) {
				t.Errorf("%s: %.40q, %v", name, got, err)
			}
		}
	}
	if _, err := io.ReadAll(Text(io.MultiReader(strings.NewReader("\xff\xfea\x00"), iotest.ErrReader(iotest.ErrTimeout)))); !errors.Is(err, iotest.ErrTimeout) {
		t.Error(err)
	}
}

func ab(titles []string) bool { return slices.Equal(titles, []string{"a", "b"}) }

func TestTable(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		rows string
		err  string
	}{
		"commas":             {"a,b\n1,2\n", "1|2 ", ""},
		"after PowerShell":   {"#TYPE X\r\n\"a\",\"b\"\r\n1,\"x\r\ny\"\r\n", "1|x\ny ", ""},
		"after Excel":        {"sep=;\n\na;b\n1;2", "1|2 ", ""},
		"tabs in UTF-16":     {wideText("a\tb\n1\t😀\n", false), "1|😀 ", ""},
		"a short row":        {"a,b\n1\n1,2,3\n", "1| 1|2|3 ", ""},
		"other titles":       {"a,c\n", "", "no header"},
		"nothing":            {"\n\n", "", "no header"},
		"a bad quote":        {"sep=,\na,b\n1,2\n1,x\"y\n", "1|2 ", "line 4: "},
		"a row without end":  {"a,b\n1,\"" + strings.Repeat("x", 2<<20), "", "too long"},
		"a title of a table": {"a,b", "", ""},
	} {
		table, err := Open(strings.NewReader(test.in), ab)
		rows := ""
		for err == nil {
			var row []string
			if row, err = table.Row(); err == nil {
				rows += strings.Join(row, "|") + " "
			}
		}
		if errors.Is(err, io.EOF) {
			err = errors.New("")
		}
		if rows != test.rows || !strings.Contains(err.Error(), test.err) || (test.err == "") != (err.Error() == "") {
			t.Errorf("%s: %q, %v", name, rows, err)
		}
	}
	if _, err := Open(iotest.ErrReader(iotest.ErrTimeout), ab); !errors.Is(err, iotest.ErrTimeout) {
		t.Error(err)
	}
	if Plain("Message-Trace_Id x") != "messagetraceidx" {
		t.Error(Plain("Message-Trace_Id x"))
	}
}

// FuzzTable has no input that takes the reader down, or makes a row without its cells.
func FuzzTable(f *testing.F) {
	for _, seed := range []string{"a,b\n1,2\n", "sep=;\na;b\n\"1\n", wideText("a\tb\n1\t2", true), "\xff\xfea"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, err := Open(strings.NewReader(text), func(titles []string) bool { return len(titles) > 1 })
		for err == nil {
			var row []string
			if row, err = table.Row(); err == nil && len(row) < len(table.Titles) {
				t.Fatalf("%q", row)
			}
		}
	})
}
