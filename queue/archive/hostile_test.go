package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/archive"
)

// TestWhatAnybodyCouldSend changes the archive of three messages, and looks at
// what is left of it. The entries are archive, 0.json, 0.eml, 1.json, 1.eml,
// 2.json, 2.eml, manifest.
func TestWhatAnybodyCouldSend(t *testing.T) {
	plain := func(name, text string) entry { return entry{name: name, text: []byte(text), kind: tar.TypeReg} }
	for _, test := range []struct {
		rule   string
		change func([]entry) []entry
		good   int    // messages
		bad    string // in an error about one entry
		end    error
	}{
		{"nothing is changed", func(all []entry) []entry { return all }, 3, "", nil},
		{"repacked in another order", func(all []entry) []entry { all[1], all[2] = all[2], all[1]; return all }, 2, "not behind its envelope", archive.ErrArchive},
		{"messages in another order", func(all []entry) []entry { return slices.Concat(all[:1], all[3:5], all[1:3], all[5:]) }, 3, "", archive.ErrArchive},
		{"one twice", func(all []entry) []entry { return slices.Concat(all[:3], all[1:]) }, 4, "", archive.ErrArchive},
		{"a content without envelope", func(all []entry) []entry { return slices.Delete(all, 1, 2) }, 2, "not behind its envelope", archive.ErrArchive},
		{"an envelope without content", func(all []entry) []entry { return slices.Delete(all, 2, 3) }, 2, "not behind its envelope, or", archive.ErrArchive},
		{"the last envelope without content", func(all []entry) []entry { return slices.Delete(all, 6, 7) }, 2, "not behind its envelope, or", archive.ErrArchive},
		{"an envelope under another name", func(all []entry) []entry { all[1].text = all[3].text; return all }, 2, "it is that of", archive.ErrArchive},
		{"a content of another size", func(all []entry) []entry { all[2].text = append(all[2].text, 'x'); return all }, 2, "another size", archive.ErrArchive},
		{"another content", func(all []entry) []entry { all[2].text[0] ^= 1; return all }, 2, "", archive.ErrArchive},
		{"an envelope that is no JSON", func(all []entry) []entry { all[3].text = []byte("{"); return all }, 2, "cannot be used: unexpected end", archive.ErrArchive},
		{"an envelope of another version", func(all []entry) []entry { all[3].text = []byte(`{"schema":"mxkeep.queue.envelope/2"}`); return all }, 2, "this version reads", archive.ErrArchive},
		{"an envelope with a word that nobody knows", func(all []entry) []entry {
			all[3].text = bytes.Replace(all[3].text, []byte(`"delivered"`), []byte(`"eaten"`), 1)
			return all
		}, 2, `unknown word "eaten"`, archive.ErrArchive},
		{"a huge envelope", func(all []entry) []entry { all[3].text = bytes.Repeat([]byte("["), 33<<20); return all }, 2, "are allowed", archive.ErrArchive},
		{"deep JSON", func(all []entry) []entry { all[3].text = bytes.Repeat([]byte("["), 1<<20); return all }, 2, "exceeded max depth", archive.ErrArchive},
		{"a link", func(all []entry) []entry { all[2] = entry{name: all[2].name, kind: tar.TypeSymlink}; return all }, 2, "or has another size", archive.ErrArchive},
		{"a hard link in front", func(all []entry) []entry {
			return slices.Insert(all, 1, entry{name: all[1].name, kind: tar.TypeLink})
		}, 3, "is of no message", nil},
		{"a sparse file", func(all []entry) []entry {
			all[2].pax = map[string]string{"MXKEEP.x": "1"}
			return slices.Insert(all, 1, entry{name: "big", kind: tar.TypeReg, pax: map[string]string{"SCHILY.xattr.user.x": "1"}})
		}, 3, "is of no message", nil},
		{"a path", func(all []entry) []entry { return slices.Insert(all, 1, plain("../../etc/passwd", "x")) }, 3, "is of no message", nil},
		{"a path before an ID", func(all []entry) []entry { all[1].name = "./" + all[1].name; return all }, 2, "is of no message", archive.ErrArchive},
		{"a folder", func(all []entry) []entry { return slices.Insert(all, 1, entry{name: "x/", kind: tar.TypeDir}) }, 3, "is of no message", nil},
		{"a name of control characters", func(all []entry) []entry { return slices.Insert(all, 1, plain("\x1b]0;x\a", "x")) }, 3, `"\x1b]0;x\a"`, nil},
		{"a long name", func(all []entry) []entry { return slices.Insert(all, 1, plain(strings.Repeat("x", 5000), "x")) }, 3, "xxx...", nil},
		{"no manifest", func(all []entry) []entry { return all[:7] }, 3, "", archive.ErrCutOff},
		{"nothing", func([]entry) []entry { return nil }, 0, "", archive.ErrCutOff},
		{"no head", func(all []entry) []entry { return all[1:] }, 0, "", archive.ErrArchive},
		{"a head that is no JSON", func(all []entry) []entry { all[0].text = []byte("x"); return all }, 0, "", archive.ErrArchive},
		{"a head of another version", func(all []entry) []entry { all[0].text = []byte(`{"schema":"mxkeep.queue.archive/2"}`); return all }, 0, "", archive.ErrArchive},
		{"a huge head", func(all []entry) []entry { all[0].text = make([]byte, 2<<20); return all }, 0, "", archive.ErrArchive},
		{"a huge manifest", func(all []entry) []entry { all[7].text = make([]byte, 33<<20); return all }, 3, "", archive.ErrArchive},
		{"a manifest that is no JSON", func(all []entry) []entry { all[7].text = nil; return all }, 3, "", archive.ErrArchive},
		{"a manifest of other numbers", func(all []entry) []entry {
			all[7].text = bytes.Replace(all[7].text, []byte(`"messages":3`), []byte(`"messages":4`), 1)
			return all
		}, 3, "", archive.ErrArchive},
		{"the manifest first", func(all []entry) []entry { return slices.Concat(all[:1], all[7:], all[1:7]) }, 0, "", archive.ErrArchive},
		{"something behind the manifest", func(all []entry) []entry { return append(all, plain("x", "x")) }, 3, "", archive.ErrArchive},
	} {
		g := read(pack(t, test.change(entries(t, written(t, 10, 600, 20)))))
		if len(g.ids) != test.good || !errors.Is(g.end, test.end) || !strings.Contains(strings.Join(g.bad, "\n"), test.bad) || len(g.bad) > 0 && test.bad == "" {
			t.Errorf("%s: %d messages, bad %q, %q, end %v", test.rule, len(g.ids), g.bad, g.contents, g.end)
		}
		if len(g.bad) > 2 {
			t.Errorf("%s: too many words about one thing: %q", test.rule, g.bad)
		}
	}
}

func TestWhatFollowsTheEnd(t *testing.T) {
	text := written(t, 10)
	for _, test := range []struct {
		rule string
		tail []byte
		end  error
	}{
		{"a whole record, as others write", make([]byte, 10240), nil},
		{"garbage", []byte("x"), archive.ErrArchive},
		{"zeros without end", make([]byte, 2<<20), archive.ErrArchive},
	} {
		if g := read(slices.Concat(text, test.tail)); len(g.ids) != 1 || !errors.Is(g.end, test.end) {
			t.Errorf("%s: %+v", test.rule, g)
		}
	}
}

// TestCutAnywhere: what breaks off is never taken for a whole archive, and what
// was whole before is read.
func TestCutAnywhere(t *testing.T) {
	text := written(t, 10, 600, 20)
	for size := 0; size <= bytes.LastIndexByte(text, '}'); size += 31 { // what follows is padding
		g := read(text[:size])
		if !errors.Is(g.end, archive.ErrCutOff) || len(g.bad) > 0 || len(g.contents) > 0 {
			t.Fatalf("cut at %d of %d: %+v", size, len(text), g)
		}
	}
}

func TestFlippedAnywhere(t *testing.T) {
	text := written(t, 10, 600)
	for at := 0; at < len(text)-1024; at += 17 {
		flipped := slices.Clone(text)
		flipped[at] ^= 0x20
		g := read(flipped)
		if g.end == nil && (len(g.ids) != 2 || len(g.bad)+len(g.contents) > 0) {
			t.Fatalf("flipped at %d: %+v", at, g)
		}
	}
}

// TestCutWhileNobodyReads cuts within what is only passed over.
func TestCutWhileNobodyReads(t *testing.T) {
	all := entries(t, written(t, 5000))
	orphan := pack(t, slices.Delete(slices.Clone(all), 1, 2))
	for _, text := range [][]byte{pack(t, all)[:512*8], orphan[:512*5]} {
		r, err := archive.NewReader(bytes.NewReader(text))
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, archive.ErrCutOff) {
			t.Error(err)
		}
	}
}

func TestAnErrorOfTheReaderBelow(t *testing.T) {
	broken, text := errors.New("broken"), written(t, 10, 70_000)
	for size := 0; size < len(text); size += 211 {
		r, err := archive.NewReader(failing{bytes.NewReader(text[:size]), broken})
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, broken) {
			t.Fatalf("at %d: %v", size, err)
		}
	}
}

func TestEnvelopesThatNoRelayWrites(t *testing.T) {
	for rule, change := range map[string]func(*archive.Envelope){
		"no recipients":              func(e *archive.Envelope) { e.Envelope.Recipients = nil },
		"too many recipients":        func(e *archive.Envelope) { e.Envelope.Recipients = make([]queue.Recipient, 10_001) },
		"a negative size":            func(e *archive.Envelope) { e.Size = -1 },
		"a huge size":                func(e *archive.Envelope) { e.Size = 5 << 30 },
		"negative attempts":          func(e *archive.Envelope) { e.Attempts = -1 },
		"a negative lifetime":        func(e *archive.Envelope) { e.Lifetime = -time.Second },
		"a lifetime without end":     func(e *archive.Envelope) { e.Extended = 1 << 62 },
		"a trace with an empty line": func(e *archive.Envelope) { e.Trace = []byte("A: b\r\n\r\n") },
		"a trace without its end":    func(e *archive.Envelope) { e.Trace = []byte("A: b") },
		"a trace with a bare LF":     func(e *archive.Envelope) { e.Trace = []byte("A: b\nC: d\r\n") },
		"a trace that is no header":  func(e *archive.Envelope) { e.Trace = []byte("hello there\r\n") },
		"a trace without a name":     func(e *archive.Envelope) { e.Trace = []byte(": x\r\n") },
		"a trace with a bad name":    func(e *archive.Envelope) { e.Trace = []byte("A b: x\r\n") },
		"a trace that is folded":     func(e *archive.Envelope) { e.Trace = []byte(" x\r\n") },
		"a long trace":               func(e *archive.Envelope) { e.Trace = []byte("A: " + strings.Repeat("b", 1<<20) + "\r\n") },
		"an unknown body":            func(e *archive.Envelope) { e.Envelope.Params.Body = "BINARYMIME" },
		"an unknown return":          func(e *archive.Envelope) { e.Envelope.Params.Ret = "SOME" },
		"a year":                     func(e *archive.Envelope) { e.HeldAt = time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC) },
		"an unknown notify":          func(e *archive.Envelope) { e.Envelope.Recipients[0].Notify = []string{"X"} },
		"a notify twice":             func(e *archive.Envelope) { e.Envelope.Recipients[0].Notify = []string{"DELAY", "DELAY"} },
		"never, and else":            func(e *archive.Envelope) { e.Envelope.Recipients[0].Notify = []string{"NEVER", "DELAY"} },
		"a command in a recipient":   func(e *archive.Envelope) { e.Envelope.Recipients[0].ForwardPath = "a@b>\r\nRSET" },
		"a line in a verdict": func(e *archive.Envelope) {
			e.Envelope.Origin.Auth = queue.Verdicts{By: "x", DMARC: queue.DMARC{Reason: "a\r\nb"}}
		},
		"a line in a signature": func(e *archive.Envelope) {
			e.Envelope.Origin.Auth = queue.Verdicts{By: "x", DKIM: []queue.Signature{{Selector: "a\nb"}}}
		},
		"a command in a sender": func(e *archive.Envelope) { e.Envelope.ReversePath = "a@b\nRSET" },
		"a command in an ORCPT": func(e *archive.Envelope) { e.Envelope.Recipients[0].ORcpt = "rfc822;a\rb" },
		"a zero in an ENVID":    func(e *archive.Envelope) { e.Envelope.Params.EnvID = "\x00" },
		"a long Message-ID":     func(e *archive.Envelope) { e.MessageID = strings.Repeat("x", 70_000) },
	} {
		e, content := letter(0, 10)
		e.Schema = archive.SchemaEnvelope
		change(&e)
		all := entries(t, written(t, 10))
		all[1].text, all[2].text = []byte(asJSON(t, e)), content
		if g := read(pack(t, all)); len(g.ids) != 0 || len(g.bad) != 1 || !strings.Contains(g.bad[0], "its envelope cannot be used") {
			t.Errorf("%s: %+v", rule, g)
		}
	}
}

// FuzzRead reads anything: it ends, and what it calls good is good.
func FuzzRead(f *testing.F) {
	whole := written(f, 0, 30)
	f.Add(whole)
	f.Add(whole[:len(whole)-2000])
	all := entries(f, whole)
	all[2], all[3] = all[3], all[2]
	f.Add(pack(f, all))
	f.Add(sparse(whole))
	f.Fuzz(func(t *testing.T, text []byte) {
		g := read(text)
		if g.end != nil && strings.Contains(g.end.Error(), "was read as another") {
			t.Error(g.end)
		}
		if g.end == nil && g.manifest.Messages != int64(len(g.ids)) {
			t.Errorf("%d messages, the manifest says %d", len(g.ids), g.manifest.Messages)
		}
		p, err := archive.ReadPartial(bytes.NewReader(text))
		if err != nil {
			return
		}
		if p.End > int64(len(text)+511) || len(p.IDs) > 0 && p.End == 0 {
			t.Errorf("goes on at %d of %d", p.End, len(text))
		}
	})
}

// sparse makes the first content one that a GNU tar would call sparse.
func sparse(whole []byte) []byte { return retyped(whole, ".eml", 'S') }

// retyped changes the kind of the first entry with that ending.
func retyped(whole []byte, ending string, kind byte) []byte {
	text := slices.Clone(whole)
	for at := 0; at+512 <= len(text); at += 512 {
		if header := text[at : at+512]; bytes.HasSuffix(bytes.TrimRight(header[:100], "\x00"), []byte(ending)) {
			header[156] = kind
			copy(header[148:156], "        ")
			sum := 0
			for _, b := range header {
				sum += int(b)
			}
			copy(header[148:156], octal(sum))
			break
		}
	}
	return text
}

func octal(n int) string {
	digits := []byte("000000\x00 ")
	for i := 5; i >= 0; i-- {
		digits[i] = byte('0' + n&7)
		n >>= 3
	}
	return string(digits)
}

func TestASparseFileIsRefused(t *testing.T) {
	all := entries(t, written(t, 30))
	records := ""
	for _, record := range []string{"GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.name=" + all[2].name, "GNU.sparse.size=30", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,30"} {
		records += fmt.Sprintf("%d %s\n", len(record)+4, record) // each is longer than 9 and shorter than 96 bytes
	}
	all = slices.Insert(all, 2, entry{name: "pax", text: []byte(records), kind: tar.TypeReg})
	if g := read(retyped(pack(t, all), "pax", 'x')); len(g.ids) != 0 || len(g.bad) == 0 {
		t.Errorf("%+v", g)
	}
	if g := read(sparse(written(t, 0, 30))); len(g.ids) == 2 || len(g.bad) == 0 && g.end == nil {
		t.Errorf("%+v", g)
	}
}

var _ io.Reader = (*archive.Reader)(nil)
