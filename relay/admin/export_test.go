package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/archive"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// archived is what an export comes to.
type archived struct {
	ids      []queue.ID
	contents []string
	traces   []string
	manifest archive.Manifest
	err      error // how it broke off
}

// export asks over a real socket.
func (r *rig) export(t testing.TB, request admin.ExportRequest) (got archived) {
	t.Helper()
	answer, err := serve(t, r.server.Handler()).Export(context.Background(), request)
	if err != nil {
		return archived{err: err}
	}
	defer answer.Close()
	in, err := archive.NewReader(answer)
	for err == nil {
		var e archive.Envelope
		if e, err = in.Next(); err != nil {
			break
		}
		var content []byte
		if content, err = io.ReadAll(in); err == nil || errors.Is(err, archive.ErrContent) {
			got.ids, got.contents, got.traces = append(got.ids, e.ID), append(got.contents, string(content)), append(got.traces, string(e.Trace))
			err = nil
		}
	}
	if errors.Is(err, io.EOF) {
		got.manifest = in.Manifest()
		return got
	}
	got.err = err
	return got
}

// acceptAs takes a message with a trace and a content of its own.
func (r *rig) acceptAs(t testing.TB, trace, content string) queue.ID {
	t.Helper()
	id, err := r.store.Accept(context.Background(), content, queue.Acceptance{At: time.Now(), Lifetime: queue.DefaultLifetime, Trace: []byte(trace),
		Envelope: queue.Envelope{Upstream: "exo", ReversePath: "a@b.example", Recipients: []queue.Recipient{{ForwardPath: "c@corp.example"}}}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

const aTrace = "Received: from b.example\r\n\tby mx2.corp.example\r\n"

func TestExportKeepsTheTraceApart(t *testing.T) {
	r := newRig()
	contents := []string{"", "Subject: x\r\n\r\n", strings.Repeat("x", 1<<20), strings.Repeat("y", 1<<20-len(aTrace)), strings.Repeat("z", 3<<20)}
	for _, content := range contents {
		r.acceptAs(t, aTrace, content)
	}
	r.acceptAs(t, "", "no trace")
	got := r.export(t, admin.ExportRequest{})
	if got.err != nil || len(got.ids) != len(contents)+1 || got.manifest.Messages != int64(len(got.ids)) || got.manifest.Failed+got.manifest.Left != 0 {
		t.Fatalf("%d messages, %+v, %v", len(got.ids), got.manifest, got.err)
	}
	for i, content := range contents {
		if got.contents[i] != content || got.traces[i] != aTrace {
			t.Errorf("message %d: %d bytes behind %q", i, len(got.contents[i]), got.traces[i])
		}
	}
	if got.traces[len(contents)] != "" || got.contents[len(contents)] != "no trace" {
		t.Errorf("%+v", got)
	}
}

func TestExportChooses(t *testing.T) {
	r := newRig()
	var ids []string
	for n := range 150 {
		ids = append(ids, string(r.accept(t, fmt.Sprintf("sender%d@b.example", n), "c@corp.example")))
	}
	have := append([]string{ids[140], ids[7]}, ids[20:100]...)
	got := r.export(t, admin.ExportRequest{Have: have})
	if got.err != nil || len(got.ids) != 150-82 {
		t.Errorf("%d messages, %v", len(got.ids), got.err)
	}
	for _, id := range got.ids {
		for _, one := range have {
			if string(id) == one {
				t.Errorf("%s is not wanted again", id)
			}
		}
	}
	if got := r.export(t, admin.ExportRequest{Select: admin.Select{Where: []string{"from=sender3@b.example"}}}); len(got.ids) != 1 || got.err != nil {
		t.Errorf("%+v", got)
	}
	for _, where := range []string{"from=/(/", "nothing"} {
		var refused *admin.Error
		if got := r.export(t, admin.ExportRequest{Select: admin.Select{Where: []string{where}}}); !errors.As(got.err, &refused) || refused.Code != admin.CodeBadFilter {
			t.Errorf("%s: %v", where, got.err)
		}
	}
	if answer := r.ask("POST /v1/queue/export", `{"unknown":1}`); answer.Code != http.StatusBadRequest {
		t.Errorf("status %d", answer.Code)
	}
}

func TestExportIsInTheLedgerFirst(t *testing.T) {
	r := newRig()
	id := r.accept(t, "a@b.example", "c@corp.example")
	r.store.OnContent = func(queue.ID) error {
		for e, err := range r.store.Memory.Ledger(context.Background(), queue.LedgerFilter{ID: id, Events: []queue.Event{queue.Noted}}) {
			if err == nil && e.Reason == "read content: export" && e.Actor != "" {
				return nil
			}
		}
		return errors.New("content is read before the access is in the ledger")
	}
	if got := r.export(t, admin.ExportRequest{}); got.err != nil || len(got.ids) != 1 {
		t.Error(got.err)
	}
}

func TestExportLeavesOut(t *testing.T) {
	for _, test := range []struct {
		rule         string
		happens      func(r *rig, id queue.ID)
		failed, left int64
	}{
		{"damaged content", func(r *rig, id queue.ID) { r.store.Damage(id) }, 1, 0},
		{"a damaged record", func(r *rig, id queue.ID) {
			r.store.OnMessage = func(one queue.ID) error {
				if one == id {
					return queue.ErrDamaged
				}
				return nil
			}
		}, 1, 0},
		{"content that has gone", func(r *rig, id queue.ID) {
			r.store.OnContent = func(one queue.ID) error {
				if one == id {
					return queue.ErrNotFound
				}
				return nil
			}
		}, 0, 1},
		{"a message that was delivered meanwhile", func(r *rig, id queue.ID) {
			r.store.OnContent = func(one queue.ID) error {
				if one != id {
					return nil
				}
				claimed, err := r.store.Claim(context.Background(), []queue.ID{id}, time.Minute)
				if err != nil || len(claimed) == 0 {
					return err // it is read twice
				}
				return r.store.Settle(context.Background(), queue.Settlement{ID: id, Attempt: claimed[0].Attempts,
					Results: map[int]queue.Result{0: {At: time.Now(), Action: queue.Delivered}}})
			}
		}, 0, 1},
		{"content that is damaged the second time", func(r *rig, id queue.ID) {
			n := 0
			r.store.OnContent = func(one queue.ID) error {
				if one == id {
					if n++; n == 2 {
						return queue.ErrDamaged
					}
				}
				return nil
			}
		}, 1, 0},
	} {
		r := newRig()
		first := r.accept(t, "a@b.example", "c@corp.example")
		id := r.acceptAs(t, aTrace, strings.Repeat("x", 2<<20))
		last := r.accept(t, "a@b.example", "c@corp.example")
		test.happens(r, id)
		got := r.export(t, admin.ExportRequest{})
		if got.err != nil || len(got.ids) != 2 || got.ids[0] != first || got.ids[1] != last || got.manifest.Failed != test.failed || got.manifest.Left != test.left {
			t.Errorf("%s: %v, %+v, %v", test.rule, got.ids, got.manifest, got.err)
		}
		if test.failed > 0 && got.manifest.Skipped[0].ID != id {
			t.Errorf("%s: %+v", test.rule, got.manifest.Skipped)
		}
	}
}

func TestExportPassesADamagedRecord(t *testing.T) {
	r := newRig()
	r.accept(t, "a@b.example", "c@corp.example")
	r.store.OnList = func(nth int) error {
		if nth == 1 {
			return fmt.Errorf("record: %w", queue.ErrDamaged)
		}
		return nil
	}
	if got := r.export(t, admin.ExportRequest{}); got.err != nil || len(got.ids) != 1 || got.manifest.Failed != 1 {
		t.Errorf("%+v", got)
	}
}

// odd is a store whose contents are not as their records say, without a word.
type odd struct {
	admin.Store
	change func(nth int, content []byte) (io.Reader, error)
	nth    int
}

func (o *odd) Content(ctx context.Context, id queue.ID) (io.ReadCloser, error) {
	from, err := o.Store.Content(ctx, id)
	if err != nil {
		return nil, err
	}
	whole, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	o.nth++
	changed, err := o.change(o.nth, whole)
	return io.NopCloser(changed), err
}

// cutting fails behind its text.
func cutting(text []byte, err error) io.Reader {
	return io.MultiReader(bytes.NewReader(text), failed{err})
}

type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

func TestExportBelievesNoRecord(t *testing.T) {
	broken := errors.New("input/output error")
	for _, test := range []struct {
		rule   string
		size   int
		change func(nth int, content []byte) (io.Reader, error)
		breaks bool
	}{
		{"shorter", 100, func(_ int, c []byte) (io.Reader, error) { return bytes.NewReader(c[:50]), nil }, false},
		{"a large one is shorter", 2 << 20, func(_ int, c []byte) (io.Reader, error) { return bytes.NewReader(c[:3<<19]), nil }, false},
		{"a large one is damaged the second time", 2 << 20, func(nth int, c []byte) (io.Reader, error) {
			if nth == 2 {
				c[1<<20] ^= 1
			}
			return bytes.NewReader(c), nil
		}, false},
		{"a large one goes the second time", 2 << 20, func(nth int, c []byte) (io.Reader, error) {
			if nth == 2 {
				return cutting(c[:1<<20], queue.ErrNotFound), nil
			}
			return bytes.NewReader(c), nil
		}, false},
		{"a large one is damaged in its trace the second time", 2 << 20, func(nth int, c []byte) (io.Reader, error) {
			if nth == 2 {
				return cutting(c[:5], queue.ErrDamaged), nil
			}
			return bytes.NewReader(c), nil
		}, false},
		{"the disk fails", 100, func(_ int, c []byte) (io.Reader, error) { return cutting(c[:50], broken), nil }, true},
		{"the disk fails behind a megabyte", 2 << 20, func(_ int, c []byte) (io.Reader, error) { return cutting(c[:3<<19], broken), nil }, true},
		{"the disk fails the second time", 2 << 20, func(nth int, c []byte) (io.Reader, error) {
			if nth == 2 {
				return cutting(c[:3<<19], broken), nil
			}
			return bytes.NewReader(c), nil
		}, true},
		{"it cannot be opened the second time", 2 << 20, func(nth int, c []byte) (io.Reader, error) {
			if nth == 2 {
				return bytes.NewReader(nil), broken
			}
			return bytes.NewReader(c), nil
		}, true},
	} {
		r := newRig()
		r.acceptAs(t, aTrace, strings.Repeat("x", test.size))
		r.server = admin.New(admin.Options{Store: &odd{Store: r.store, change: test.change}, Upstreams: []admin.Upstream{r.exo.Part("exo", "corp.example")}, Inbound: r.inbound.Part(), Ready: func() error { return nil }})
		got := r.export(t, admin.ExportRequest{})
		var refused *admin.Error
		switch {
		case test.breaks && (!errors.As(got.err, &refused) || refused.Code != admin.CodeStoreFailed):
			t.Errorf("%s: %+v", test.rule, got.err)
		case !test.breaks && (got.err != nil || got.manifest.Messages != 0 || got.manifest.Failed+got.manifest.Left != 1):
			t.Errorf("%s: %+v, %v", test.rule, got.manifest, got.err)
		}
	}
}

// TestNoExportIsCutOffSilently: whatever fails on the way, the client sees it.
func TestNoExportIsCutOffSilently(t *testing.T) {
	broken := errors.New("input/output error")
	for rule, fail := range map[string]func(r *rig){
		"the list":  func(r *rig) { r.store.OnList = func(nth int) error { return map[bool]error{nth == 100: broken}[true] } },
		"a message": func(r *rig) { r.store.OnMessage = func(queue.ID) error { return broken } },
		"a ledger line": func(r *rig) {
			r.store.OnNote = func(e queue.Entry) error { return map[bool]error{e.ID != "": broken}[true] }
		},
		"the last line": func(r *rig) {
			r.store.OnNote = func(e queue.Entry) error { return map[bool]error{e.ID == "": broken}[true] }
		},
		"a content":       func(r *rig) { r.store.OnContent = func(queue.ID) error { return broken } },
		"the whole store": func(r *rig) { r.store.OnList = func(int) error { return broken } },
	} {
		r := newRig()
		for range 130 {
			r.accept(t, "a@b.example", "c@corp.example")
		}
		fail(r)
		got := r.export(t, admin.ExportRequest{})
		var refused *admin.Error
		if !errors.As(got.err, &refused) || refused.Code != admin.CodeStoreFailed {
			t.Errorf("%s: %d messages, %v", rule, len(got.ids), got.err)
		}
	}
	// a relay that dies
	client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("archive"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	answer, err := client.Export(context.Background(), admin.ExportRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(answer); !errors.Is(err, admin.ErrCutOff) {
		t.Error(err)
	}
}

// full is a client that has gone.
type full struct{ *httptest.ResponseRecorder }

func (full) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAnExportThatNobodyReads(t *testing.T) {
	fail := func(size int, body string) {
		r := newRig()
		r.acceptAs(t, aTrace, strings.Repeat("x", size))
		w := full{httptest.NewRecorder()}
		r.server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://mxkeep/v1/queue/export", strings.NewReader(body)))
		if w.Header().Get("Mxkeep-Error") == "" {
			t.Errorf("%d bytes: no word of it", size)
		}
	}
	for size := 60 << 10; size < 66<<10; size += 256 { // the first that is written is each entry in turn
		fail(size, "{}")
	}
	fail(10, fmt.Sprintf(`{"where":["!from=%s"]}`, strings.Repeat("x,", 50_000)+"x"))
}

// BenchmarkExport exports messages of a store on disk over a real socket.
func BenchmarkExport(b *testing.B) {
	for name, size := range map[string]int{"4KiB": 4 << 10, "75KiB": 75 << 10, "5MiB": 5 << 20} {
		b.Run(name, func(b *testing.B) {
			const total = 64 << 20
			n := min(4000, total/size)
			store, err := bolt.Open(filepath.Join(b.TempDir(), "queue"), bolt.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			r := newRig()
			r.server = admin.New(admin.Options{Store: store, Upstreams: []admin.Upstream{r.exo.Part("exo", "corp.example")}, Inbound: r.inbound.Part(), Ready: func() error { return nil }})
			content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
			for range n {
				d, err := store.Create(context.Background())
				if err == nil {
					_, err = d.Write(content)
				}
				if err == nil {
					err = d.Commit(context.Background(), queue.Acceptance{At: time.Now(), Trace: []byte(aTrace), Lifetime: queue.DefaultLifetime,
						Envelope: queue.Envelope{Upstream: "exo", Recipients: []queue.Recipient{{ForwardPath: "c@corp.example"}}}})
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			client := serve(b, r.server.Handler())
			b.SetBytes(int64(n * size))
			for b.Loop() {
				answer, err := client.Export(context.Background(), admin.ExportRequest{})
				if err == nil {
					_, err = io.Copy(io.Discard, answer)
				}
				if err != nil {
					b.Fatal(err)
				}
				answer.Close()
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
