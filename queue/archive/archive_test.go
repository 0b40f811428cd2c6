package archive_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/archive"
)

var began = time.Date(2026, 3, 12, 15, 4, 5, 678, time.UTC)

func head() archive.Head {
	return archive.Head{Host: "mx2.corp.example", Version: "0.1.0", At: began, Where: []string{"state=held"}}
}

// letter is the nth message, with a content of that size.
func letter(n, size int) (archive.Envelope, []byte) {
	content := bytes.Repeat([]byte("bytes\r\n\xff\x00"), size/9+1)[:size]
	m := queue.Message{ID: queue.NextID("", began.Add(time.Duration(n)*time.Second)), AcceptedAt: began, NextAttempt: began, Lifetime: 5 * 24 * time.Hour,
		Size: int64(size), Digest: sha256.Sum256(content), MessageID: "<1@client.example>", Held: "phish?", HeldAt: began,
		Envelope: queue.Envelope{Upstream: "exo", ReversePath: "alice@client.example", Params: queue.Params{Body: "8BITMIME", SMTPUTF8: true, Ret: "HDRS", EnvID: "4711"},
			Recipients: []queue.Recipient{{ForwardPath: `"a b"@corp.example`, ORcpt: "rfc822;a", Notify: []string{"SUCCESS", "DELAY"}}, {ForwardPath: "bob@corp.example", Notify: []string{"NEVER"},
				Last: queue.Result{At: began, Action: queue.Delivered, Reply: queue.Reply{Code: 250, Text: "ok\nthere"}}}}}}
	return archive.Envelope{Trace: []byte("Received: from client.example\r\n\tby mx2.corp.example; Thu\r\nX-Trace: \xff\r\n"), Message: m}, content
}

// sizes are around what matters to a tar, and to our buffers.
var sizes = []int{0, 1, 511, 512, 513, 70_000, 300_000}

// written is an archive of letters of these sizes.
func written(t testing.TB, sizes ...int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, head())
	if err != nil {
		t.Fatal(err)
	}
	for n, size := range sizes {
		e, content := letter(n, size)
		if err := w.Add(e, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := w.Close(began); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// got is what a reader makes of an archive.
type got struct {
	ids      []queue.ID
	bad      []string // entries
	contents []string // errors of contents
	end      error    // nil is the end of a whole archive
	manifest archive.Manifest
}

func read(text []byte) (g got) {
	r, err := archive.NewReader(bytes.NewReader(text))
	if err != nil {
		return got{end: err}
	}
	for {
		e, err := r.Next()
		bad := new(archive.EntryError)
		switch {
		case errors.As(err, &bad):
			g.bad = append(g.bad, bad.Error())
			continue
		case errors.Is(err, io.EOF):
			g.manifest = r.Manifest()
			return g
		case err != nil:
			g.end = err
			return g
		}
		sum := sha256.New()
		switch n, err := io.Copy(sum, r); {
		case errors.Is(err, archive.ErrContent):
			g.contents = append(g.contents, err.Error())
		case err != nil:
			g.end = err
			return g
		case n != e.Size || queue.Digest(sum.Sum(nil)) != e.Digest:
			g.end = fmt.Errorf("%s was read as another content", e.ID)
			return g
		default:
			g.ids = append(g.ids, e.ID)
		}
	}
}

func TestAnArchiveIsReadAsItWasWritten(t *testing.T) {
	text := written(t, sizes...)
	r, err := archive.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if h := r.Head(); h.Host != "mx2.corp.example" || !h.At.Equal(began) || h.Version != "0.1.0" || len(h.Where) != 1 {
		t.Errorf("head %+v", h)
	}
	total := 0
	for n, size := range sizes {
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		want, bytesOf := letter(n, size)
		want.Schema = archive.SchemaEnvelope
		if err != nil || !bytes.Equal(content, bytesOf) || asJSON(t, e) != asJSON(t, want) {
			t.Errorf("size %d: %v, %d bytes, %+v", size, err, len(content), e)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("behind the end: %d, %v", n, err)
		}
		total += size
	}
	for range 2 {
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	if m := r.Manifest(); m.Messages != int64(len(sizes)) || m.Bytes != int64(total) || m.Failed != 0 || m.Left != 0 {
		t.Errorf("manifest %+v", m)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTheDigestIsThatOfSha256sum recomputes it as a person would, with other tools.
func TestTheDigestIsThatOfSha256sum(t *testing.T) {
	sum, manifest := sha256.New(), archive.Manifest{}
	for _, one := range entries(t, written(t, sizes...)) {
		if one.name == "manifest.json" {
			if err := json.Unmarshal(one.text, &manifest); err != nil {
				t.Fatal(err)
			}
			continue
		}
		fmt.Fprintf(sum, "%x  %s\n", sha256.Sum256(one.text), one.name)
	}
	if want := queue.Digest(sum.Sum(nil)); manifest.Digest != want {
		t.Errorf("%s, want %s", manifest.Digest, want)
	}
}

// TestArchivesOfOthers reads what another program writes, in the format of GNU
// tar and with extended headers of POSIX.
func TestArchivesOfOthers(t *testing.T) {
	for _, name := range []string{"gnu.tar", "pax.tar"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if g := read(text); g.end != nil || len(g.ids) != 1 || len(g.bad) > 0 {
			t.Errorf("%s: %+v", name, g)
		}
	}
}

func TestContentsThatNobodyReads(t *testing.T) {
	r, err := archive.NewReader(bytes.NewReader(written(t, sizes...)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; err == nil; n++ {
		_, err = r.Next()
	}
	if !errors.Is(err, io.EOF) || n != len(sizes)+1 || r.Manifest().Messages != int64(len(sizes)) {
		t.Errorf("%d messages, %v", n-1, err)
	}
}

// failing reads some bytes, and then fails.
type failing struct {
	from io.Reader
	err  error
}

func (f failing) Read(p []byte) (int, error) {
	n, err := f.from.Read(p)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, err
}

func TestABadContentDoesNotStopTheRest(t *testing.T) {
	e, content := letter(1, 100_000)
	for name, bad := range map[string]io.Reader{
		"another byte": bytes.NewReader(append([]byte("B"), content[1:]...)),
		"too short":    bytes.NewReader(content[:len(content)-1]),
		"empty":        strings.NewReader(""),
		"damaged":      failing{bytes.NewReader(append([]byte("B"), content[1:]...)), queue.ErrDamaged},
		"gone":         failing{bytes.NewReader(content[:70_000]), queue.ErrNotFound},
	} {
		var out bytes.Buffer
		w, err := archive.NewWriter(&out, head())
		if err != nil {
			t.Fatal(err)
		}
		first, firstContent := letter(0, 10)
		last, lastContent := letter(2, 10)
		if err := w.Add(first, bytes.NewReader(firstContent)); err != nil {
			t.Fatal(err)
		}
		if err := w.Add(e, bad); !errors.Is(err, archive.ErrContent) {
			t.Errorf("%s: %v", name, err)
		}
		w.Skip(e.ID, name)
		w.Left(3)
		w.Failed(2)
		if err := w.Add(last, bytes.NewReader(lastContent)); err != nil {
			t.Fatal(err)
		}
		if n, size := w.Written(); n != 2 || size != 20 {
			t.Errorf("%d messages, %d bytes", n, size)
		}
		m, _, err := w.Close(began)
		if err != nil || m.Failed != 3 || m.Skipped[0] != (archive.Skip{ID: e.ID, Why: name}) {
			t.Errorf("%+v, %v", m, err)
		}
		g := read(out.Bytes())
		if g.end != nil || len(g.contents) != 1 || len(g.ids) != 2 || g.manifest.Left != 3 {
			t.Errorf("%s: %+v", name, g)
		}
	}
}

func TestAnErrorOfTheSourceIsNoErrorOfOneMessage(t *testing.T) {
	broken := errors.New("broken")
	e, content := letter(0, 1000)
	w, err := archive.NewWriter(io.Discard, head())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(e, failing{bytes.NewReader(content[:500]), broken}); !errors.Is(err, broken) || errors.Is(err, archive.ErrContent) {
		t.Error(err)
	}
}

// room takes so many bytes.
type room int

func (r *room) Write(p []byte) (int, error) {
	if len(p) > int(*r) {
		return 0, errors.New("no room")
	}
	*r -= room(len(p))
	return len(p), nil
}

func TestADiskThatIsFull(t *testing.T) {
	whole := len(written(t, 100_000))
	for size := 0; size < whole; size += 512 {
		left := room(size)
		w, err := archive.NewWriter(&left, head())
		e, content := letter(0, 100_000)
		if err == nil && size%1024 == 0 {
			err = w.Add(e, bytes.NewReader(content))
		} else if err == nil { // also while padding
			if err = w.Add(e, bytes.NewReader(content[:10])); errors.Is(err, archive.ErrContent) {
				err = nil
			}
		}
		if err == nil {
			_, _, err = w.Close(began)
		}
		if err == nil {
			t.Errorf("%d of %d bytes were enough", size, whole)
		}
	}
}

func TestWhatIsNoEnvelopeIsNotWritten(t *testing.T) {
	e, _ := letter(0, 10)
	e.Envelope.Recipients = nil
	w, err := archive.NewWriter(io.Discard, head())
	if err != nil {
		t.Fatal(err)
	}
	bad := new(archive.EntryError)
	if err := w.Add(e, nil); !errors.As(err, &bad) || bad.ID != e.ID {
		t.Error(err)
	}
	e, _ = letter(0, 10)
	e.Envelope.Recipients[1].Last.At = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := w.Add(e, nil); !errors.As(err, &bad) || !strings.Contains(bad.Why, "cannot be written") {
		t.Error(err)
	}
	if _, err := archive.NewWriter(io.Discard, archive.Head{At: e.Envelope.Recipients[1].Last.At}); err == nil {
		t.Error("a head of the year 12000")
	}
	e, _ = letter(0, 10)
	for range 10_000 {
		e.Envelope.Recipients[1].Last.Reply.Text = strings.Repeat("x", 4000)
		e.Envelope.Recipients = append(e.Envelope.Recipients, e.Envelope.Recipients[1])
	}
	e.Envelope.Recipients = e.Envelope.Recipients[:10_000]
	if err := w.Add(e, nil); !errors.As(err, &bad) || !strings.Contains(bad.Why, "are allowed") {
		t.Error(err)
	}
}

func TestTimesThatATarCannotWrite(t *testing.T) {
	e, content := letter(0, 1)
	e.AcceptedAt = time.Time{}
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, archive.Head{})
	if err == nil {
		err = w.Add(e, bytes.NewReader(content))
	}
	if err == nil {
		_, _, err = w.Close(time.Date(5000, 1, 1, 0, 0, 0, 0, time.UTC))
	}
	if g := read(out.Bytes()); err != nil || g.end != nil || len(g.ids) != 1 {
		t.Errorf("%v, %+v", err, g)
	}
}

// entry is a file of a tar.
type entry struct {
	name string
	text []byte
	kind byte
	pax  map[string]string
}

func entries(t testing.TB, text []byte) (all []entry) {
	t.Helper()
	for in := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		one, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{name: h.Name, text: one, kind: h.Typeflag})
	}
}

// pack makes a tar of entries, as anybody could.
func pack(t testing.TB, all []entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, one := range all {
		h := &tar.Header{Typeflag: one.kind, Name: one.name, Size: int64(len(one.text)), Mode: 0o644, PAXRecords: one.pax}
		if one.kind == tar.TypeSymlink || one.kind == tar.TypeLink {
			h.Linkname = "/etc/passwd"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(one.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
