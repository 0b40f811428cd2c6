package queue_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"encoding/binary"

	"github.com/mxkeep/mxkeep/queue"
)

func sealed(text string) []byte {
	record := binary.BigEndian.AppendUint32([]byte{1}, crc32.ChecksumIEEE([]byte(text)))
	return append(record, text...)
}

// writeExport exports some records, numbered from 8 on, and returns its lines.
func writeExport(t testing.TB, records ...[]byte) (lines []string, head queue.Digest) {
	t.Helper()
	var out bytes.Buffer
	hash := queue.Digest{7}
	x := queue.NewExportWriter(&out, queue.ExportHead{At: time.Unix(9, 0).UTC(), After: 7, Anchor: hash})
	for i, record := range records {
		hash = queue.ChainLink(hash[:], uint64(8+i), record)
		if err := x.Line(uint64(8+i), hash, record); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.End(); err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(out.String(), "\n"), "\n"), hash
}

func TestVerifyExport(t *testing.T) {
	sound, head := writeExport(t, sealed(`{"a":"<&>\u2028"}`), sealed("{\"b\":\"\u2028 ä\"}"), sealed(`{"c":1}`))
	sound[len(sound)-1] += "\n"
	change := func(i int, from, to string) []string {
		lines := append([]string{}, sound...)
		if !strings.Contains(lines[i], from) {
			t.Fatalf("%q has no %q", lines[i], from)
		}
		lines[i] = strings.Replace(lines[i], from, to, 1)
		return lines
	}
	notText, _ := writeExport(t, sealed("\xff"), []byte("short"))
	for _, c := range []struct {
		rule  string
		lines []string
		fault string // "" is none
	}{
		{"sound", sound, ""},
		{"a letter is changed", change(1, `\"a\"`, `\"A\"`), "line 8 does not go on"},
		{"a number is changed", change(2, `"seq":9`, `"seq":10`), "line 10 does not go on"},
		{"a number goes back", change(2, `"seq":9`, `"seq":8`), "line 8 comes after line 8"},
		{"a prefix is changed", change(2, `"prefix":"01`, `"prefix":"02`), "line 9 does not go on"},
		{"a prefix that is none", change(2, `"prefix":"01`, `"prefix":"0x`), `prefix "0x`},
		{"a line is taken out", append(append([]string{}, sound[:2]...), sound[3:]...), "line 10 does not go on"},
		{"the first is taken out", append(append([]string{}, sound[:1]...), sound[2:]...), "line 9 does not go on"},
		{"the last is taken out", append(append([]string{}, sound[:3]...), sound[4]), "the last line says 3 lines up to 10"},
		{"a line twice", append(append([]string{}, sound[:2]...), sound[1:]...), "line 8 comes after line 8"},
		{"no end", sound[:4], "the export was cut off"},
		{"half a line", []string{sound[0], sound[1][:30]}, "unexpected end of JSON"},
		{"something after the end", append(append([]string{}, sound...), "{}\n"), "text line 6 comes after the last one"},
		{"the anchor is changed", change(0, `"anchor":"07`, `"anchor":"08`), "line 8 does not go on"},
		{"another schema", change(0, "export/1", "export/2"), "it is no mxkeep.ledger.export/1"},
		{"another schema at the end", change(4, "end/1", "end/2"), "the last line says"},
		{"an end that is no JSON", change(4, `"lines":3`, `"lines":x`), "invalid character"},
		{"a member more", change(1, `{"seq"`, `{"more":1,"seq"`), "not written as an export is"},
		{"a name in another case", change(1, `"line"`, `"LINE"`), "not written as an export is"},
		{"spaces", change(1, `{"seq"`, `{ "seq"`), "not written as an export is"},
		{"nothing", nil, "cut off"},
		{"a damaged record", notText, "line 9 differs from its checksum"},
	} {
		x, err := queue.VerifyExport(strings.NewReader(strings.Join(c.lines, "")), head[:])
		if err != nil || (len(x.Faults) > 0) != (c.fault != "") || !strings.Contains(strings.Join(x.Faults, "; "), c.fault) {
			t.Errorf("%s: %q, %v", c.rule, x.Faults, err)
		}
	}
	x, err := queue.VerifyExport(strings.NewReader(strings.Join(sound, "")), head[:])
	if err != nil || x.Lines != 3 || x.First != 8 || x.End.Last != 10 || x.End.Head != head || !x.Found || x.FoundAt != 10 {
		t.Errorf("%+v, %v", x, err)
	}
	broken := errors.New("broken")
	if _, err := queue.VerifyExport(iotest.ErrReader(broken), nil); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
}

// TestExportBreak: what is missing is no fault, and told.
func TestExportBreak(t *testing.T) {
	var out bytes.Buffer
	record := sealed("{}")
	x := queue.NewExportWriter(&out, queue.ExportHead{})
	err := errors.Join(x.Line(1, queue.ChainLink(make([]byte, 32), 1, record), record),
		x.Break(5, queue.Digest{9}, "set aside: x"),
		x.Line(6, queue.ChainLink(append([]byte{9}, make([]byte, 31)...), 6, record), record), x.End())
	if err != nil {
		t.Fatal(err)
	}
	v, err := queue.VerifyExport(&out, nil)
	if err != nil || len(v.Faults) > 0 || len(v.Missing) != 1 || v.Missing[0] != "after line 1: set aside: x" || v.Lines != 2 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestExportWriterFails: the first error stays.
func TestExportWriterFails(t *testing.T) {
	x := queue.NewExportWriter(failing{}, queue.ExportHead{})
	for _, err := range []error{x.Line(1, queue.Digest{}, nil), x.Break(1, queue.Digest{}, "x"), x.End()} {
		if !errors.Is(err, errFull) {
			t.Errorf("%v", err)
		}
	}
}

var errFull = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

// FuzzVerifyExport: anything is read to its end; what is found whole has the
// hashes that it says.
func FuzzVerifyExport(f *testing.F) {
	lines, head := writeExport(f, sealed(`{"a":1}`), sealed("\xff"))
	f.Add([]byte(strings.Join(lines, "") + "\n"))
	f.Add([]byte(lines[0] + `{"seq":9,"hash":"` + hex.EncodeToString(head[:]) + `","missing":"x"}` + "\n" + lines[3] + "\n"))
	f.Add([]byte(`{"schema":"mxkeep.ledger.export/1"}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		x, err := queue.VerifyExport(bytes.NewReader(text), head[:])
		if err != nil {
			t.Fatal(err)
		}
		if len(x.Faults) == 0 && (x.Head.Schema != queue.SchemaExport || x.End.Lines != x.Lines || bytes.Count(text, []byte("\n")) != int(x.Lines)+len(x.Missing)+2) {
			t.Errorf("%q: %+v", text, x)
		}
	})
}
