package report

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
)

func verify(t testing.TB, bundle []byte) (Verified, error) {
	t.Helper()
	return Verify(bytes.NewReader(bundle), int64(len(bundle)), t.TempDir(), "0.4.0")
}

// unpack reads a bundle; repack makes one, with sums that fit unless they are given.
func unpack(t testing.TB, bundle []byte) map[string]string {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(bundle), int64(len(bundle)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range archive.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(text)
	}
	return files
}

func repack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	out := zip.NewWriter(&b)
	sums := ""
	for name, text := range files {
		if name == fileSums {
			continue
		}
		w, err := out.CreateHeader(&zip.FileHeader{Name: name})
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(text))
		sums += fmt.Sprintf("%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	w, err := out.Create(fileSums)
	if err == nil {
		_, err = io.WriteString(w, sums)
	}
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBundleIsWhole(t *testing.T) {
	plain, redacted := outage().bundled(t, Options{}), outage().bundled(t, Options{Key: []byte("key")})
	v, err := verify(t, plain)
	if err != nil || len(v.Faults) > 0 || len(v.Notes) > 0 || v.Rows != 9 || v.Files != 11 || v.Chain == nil || v.Incident != "INC-2026-03-12-1" || len(v.Fingerprint) != 64 {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := verify(t, repack(t, unpack(t, plain))); err != nil || len(v.Faults) > 0 {
		t.Errorf("packed again: %+v, %v", v, err)
	}
	v, err = verify(t, redacted)
	if err != nil || len(v.Faults) > 0 || !v.Redacted || len(v.Notes) != 1 || v.Files != 10 {
		t.Errorf("%+v, %v", v, err)
	}
	v, err = Verify(bytes.NewReader(plain), int64(len(plain)), t.TempDir(), "0.5.0")
	if err != nil || len(v.Faults) > 0 || len(v.Notes) != 1 {
		t.Errorf("by another version: %+v, %v", v, err)
	}
	if _, err := Verify(bytes.NewReader(plain), int64(len(plain)), "/nowhere/at/all", "0.4.0"); err == nil {
		t.Error("no folder for temporary files")
	}
}

// TestTampering changes a bundle and makes its sums anew, as somebody would who knows how.
func TestTampering(t *testing.T) {
	plain := unpack(t, outage().bundled(t, Options{}))
	swap := func(name, old, new string) func(map[string]string) {
		return func(files map[string]string) {
			if !strings.Contains(files[name], old) {
				t.Errorf("there is no %q in %s", old, name)
			}
			files[name] = strings.Replace(files[name], old, new, 1)
		}
	}
	gone := func(name string) func(map[string]string) {
		return func(files map[string]string) { delete(files, name) }
	}
	for name, test := range map[string]struct {
		change func(map[string]string)
		want   string
	}{
		"a delay":                    {swap(fileMessages, "17040.377", "7040.377"), "delay_s"},
		"a time of delivery":         {swap(fileMessages, "T17:49:10.500Z,17040.377", "T17:49:10.400Z,17040.277"), "by the ledger"},
		"a state":                    {swap(fileMessages, ",held,", ",delivered,"), "by the ledger"},
		"what waits":                 {swap(fileMessages, ",held,", ",queued,"), "do not follow from messages.csv"},
		"a state that there is not":  {swap(fileMessages, ",held,", ",fine,"), "state"},
		"a row less":                 {func(f map[string]string) { f[fileMessages] = dropLine(f[fileMessages], "held@") }, "by the ledger"},
		"the last row":               {func(f map[string]string) { f[fileMessages] = dropLine(f[fileMessages], "old@") }, "messages.csv lacks"},
		"a row more":                 {func(f map[string]string) { f[fileMessages] += lastLine(f[fileMessages]) }, "is not in the ledger"},
		"rows in another order":      {func(f map[string]string) { f[fileMessages] = swapLines(f[fileMessages]) }, "comes after"},
		"a column":                   {swap(fileMessages, "client_ip", "client"), "column"},
		"a quote":                    {swap(fileMessages, ",held,", ",he\"ld,"), "messages.csv: line"},
		"a size":                     {swap(fileMessages, ",2048,", ",2kB,"), "size"},
		"a time":                     {swap(fileMessages, "2026-03-12T13:05:10.123Z", "noon"), "received_at"},
		"a cell less":                {func(f map[string]string) { f[fileMessages] += "x,y,z,1,2" + strings.Repeat(",", 30) + "\r\n" }, "cells in a row"},
		"figures":                    {swap(fileJSON, `"messages": 6`, `"messages": 7`), "do not follow from messages.csv"},
		"an observation":             {swap(fileProbes, ",outage,", ",ok,"), "do not follow from probes.csv"},
		"a time of an observation":   {swap(fileProbes, "2026-03-12T13:04:10.000Z", "noon"), "probes.csv: "},
		"a page":                     {swap(fileMarkdown, "4 h 47 min", "4 min"), "report.md does not follow"},
		"a page is gone":             {gone(fileHTML), "there is no report.html"},
		"the ledger":                 {swap(fileLedger, "gone@corp", "here@corp"), "ledger.jsonl: line"},
		"the ledger is gone":         {gone(fileLedger), "the ledger is missing"},
		"the head of the ledger":     {swap(fileJSON, `"first": 101`, `"first": 100`), "not the one that report.json names"},
		"a ledger that is not named": {func(f map[string]string) { f[fileJSON] = withoutLedger(f[fileJSON]) }, "report.json does not name it"},
		"the page of a table":        {swap(fileTimeline, "on it", "on him"), "timeline.csv does not follow"},
	} {
		files := map[string]string{}
		for name, text := range plain {
			files[name] = text
		}
		test.change(files)
		v, err := verify(t, repack(t, files))
		if err != nil || !strings.Contains(strings.Join(v.Faults, "\n"), test.want) {
			t.Errorf("%s: %q, %v; want %q", name, v.Faults, err, test.want)
		}
	}
}

func dropLine(text, with string) string {
	var kept []string
	for l := range strings.Lines(text) {
		if !strings.Contains(l, with) {
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "")
}

func lastLine(text string) string {
	all := slices.Collect(strings.Lines(text))
	return all[len(all)-1]
}

// swapLines puts the last row first.
func swapLines(text string) string {
	all := slices.Collect(strings.Lines(text))
	return all[0] + all[len(all)-1] + strings.Join(all[1:len(all)-1], "")
}

func withoutLedger(text string) string {
	from := strings.Index(text, ` "ledger": {`)
	until := from + strings.Index(text[from:], "\n },")
	return text[:from] + ` "ledger": null,` + text[until+len("\n },"):]
}

// TestSums finds what was changed by somebody who left the sums alone.
func TestSums(t *testing.T) {
	plain := unpack(t, outage().bundled(t, Options{}))
	pack := func(change func(map[string]string)) []byte {
		files := map[string]string{}
		for name, text := range plain {
			files[name] = text
		}
		change(files)
		var b bytes.Buffer
		out := zip.NewWriter(&b)
		for name, text := range files {
			w, err := out.Create(name)
			if err == nil {
				_, err = io.WriteString(w, text)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for want, change := range map[string]func(map[string]string){
		"report.html differs from its sum":    func(f map[string]string) { f[fileHTML] += " " },
		`"extra" is not in SHA256SUMS`:        func(f map[string]string) { f["extra"] = "x" },
		`SHA256SUMS names "report.md", which`: func(f map[string]string) { delete(f, fileMarkdown) },
		`SHA256SUMS names "report.json"`:      func(f map[string]string) { f[fileSums] += strings.Repeat(lineWith(f[fileSums], fileJSON), 30) },
	} {
		if v, err := verify(t, pack(change)); err != nil || len(v.Faults) == 0 || !strings.Contains(v.Faults[0], want) {
			t.Errorf("%s: %+v, %v", want, v, err)
		}
	}
	for want, change := range map[string]func(map[string]string){
		"there is no SHA256SUMS": func(f map[string]string) { delete(f, fileSums) },
		"report.json is no":      func(f map[string]string) { f[fileJSON] = "{}" },
		"files": func(f map[string]string) {
			for n := range maxEntries {
				f[fmt.Sprint(n)] = ""
			}
		},
	} {
		if _, err := verify(t, pack(change)); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	whole := outage().bundled(t, Options{})
	broken := bytes.Clone(whole)
	copy(broken[100:], "xxxxxxxxxxxxxxxxxxxxxxxx") // within the first file
	if v, err := verify(t, broken); err == nil && len(v.Faults) == 0 {
		t.Error("bytes that were changed are not found")
	}
	if _, err := verify(t, whole[:len(whole)/2]); !errors.Is(err, ErrBundle) {
		t.Error(err)
	}
	var twice bytes.Buffer
	out := zip.NewWriter(&twice)
	for range 2 {
		if _, err := out.Create(fileJSON); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, twice.Bytes()); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), "twice") {
		t.Error(err)
	}
}

func lineWith(text, word string) string {
	for l := range strings.Lines(text) {
		if strings.Contains(l, word) {
			return l
		}
	}
	return ""
}

// TestAStretchOfTheLedger has lines around that are not of the report, and one that is damaged.
func TestAStretchOfTheLedger(t *testing.T) {
	s := outage()
	r, b := s.build(t, Options{})
	s.lines = append(s.lines, queue.Entry{Seq: 999, At: clockTime(410), Event: queue.Delete, ID: "000000000006", Recipients: []string{"held@corp.example"}})
	var text bytes.Buffer
	if err := s.ledger(&text); err != nil {
		t.Fatal(err)
	}
	x, err := queue.VerifyExport(&text, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Chain = ChainOf(x)
	var out bytes.Buffer
	if err := Bundle(&out, r, b, s.ledger); err != nil {
		t.Fatal(err)
	}
	if v, err := verify(t, out.Bytes()); err != nil || len(v.Faults) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
	wrong := errors.New("the disk fails")
	if err := Bundle(io.Discard, r, b, func(io.Writer) error { return wrong }); !errors.Is(err, wrong) {
		t.Error(err)
	}
	if err := Bundle(full{}, r, b, s.ledger); err == nil {
		t.Error("a writer that fails")
	}
	r.Chain = nil
	out.Reset()
	if err := Bundle(&out, r, b, nil); err != nil {
		t.Fatal(err)
	}
	if v, err := verify(t, out.Bytes()); err != nil || len(v.Faults) > 0 || len(v.Notes) != 1 {
		t.Errorf("without a ledger: %+v, %v", v, err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no room") }

// FuzzVerify has no file that takes the check down.
func FuzzVerify(f *testing.F) {
	plain := outage().bundled(f, Options{})
	f.Add(plain, 0, byte(0))
	f.Add(outage().bundled(f, Options{Key: []byte("key")}), 700, byte(3))
	f.Add([]byte("PK\x05\x06"), 0, byte(0))
	f.Fuzz(func(t *testing.T, text []byte, at int, change byte) {
		if at >= 0 && at < len(text) {
			text = bytes.Clone(text)
			text[at] ^= change
		}
		_, _ = verify(t, text)
	})
}

// FuzzBundledFiles has no file within a bundle, with sums that fit, that does.
func FuzzBundledFiles(f *testing.F) {
	plain := unpack(f, outage().bundled(f, Options{}))
	for _, name := range []string{fileReadMe, fileMarkdown, fileHTML, fileReplies, fileStates, fileTimeline} {
		delete(plain, name) // they are compared at the end, or are missing
	}
	f.Add(plain[fileJSON], plain[fileMessages], plain[fileProbes], plain[fileLedger])
	f.Fuzz(func(t *testing.T, document, messages, probes, ledger string) {
		files := maps.Clone(plain)
		files[fileJSON], files[fileMessages], files[fileProbes], files[fileLedger] = document, messages, probes, ledger
		_, _ = verify(t, repack(t, files))
	})
}

// FuzzMessages has no table that takes the count of its rows down.
func FuzzMessages(f *testing.F) {
	_, b := outage().build(f, Options{})
	var rows bytes.Buffer
	if err := b.Messages(&rows); err != nil {
		f.Fatal(err)
	}
	f.Add(rows.String())
	f.Fuzz(func(t *testing.T, text string) {
		c, err := newCounter(t.TempDir(), binsOf(outage().head.Record.Incident, clockTime(400)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if readRows(strings.NewReader(text), c.add) == nil {
			if _, err := c.sum(); err != nil {
				t.Error(err)
			}
		}
	})
}
