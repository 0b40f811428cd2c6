package admin_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/archive"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// elsewhere makes an archive of messages that another relay accepted a day ago.
func elsewhere(t testing.TB, n int, change func(n int, e *archive.Envelope)) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, archive.Head{Host: "mx3.corp.example", At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	last := queue.ID("")
	for i := range n {
		content := fmt.Appendf(nil, "Subject: %d\r\n\r\n", i)
		at := time.Now().Add(-24 * time.Hour).Truncate(time.Millisecond)
		last = queue.NextID(last, at)
		e := archive.Envelope{Trace: []byte(aTrace), Message: queue.Message{ID: last, AcceptedAt: at, NextAttempt: at, Lifetime: queue.DefaultLifetime, Size: int64(len(content)), Digest: sha256.Sum256(content),
			Envelope: queue.Envelope{Upstream: "exo", ReversePath: "a@b.example", Recipients: []queue.Recipient{{ForwardPath: "c@corp.example"}}}}}
		if change != nil {
			change(i, &e)
		}
		if err := w.Add(e, bytes.NewReader(content)); err != nil && !errors.Is(err, archive.ErrContent) {
			t.Fatal(err)
		}
	}
	if _, _, err := w.Close(time.Now()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// takeIn sends an archive over a real socket.
func (r *rig) takeIn(t testing.TB, request admin.ImportRequest, from io.Reader) (sum admin.Import, lines []string, err error) {
	t.Helper()
	if request.Source == "" {
		request.Source = "x.tar"
	}
	sum, err = serve(t, r.server.Handler()).Import(context.Background(), request, from, func(l admin.ImportLine) error {
		lines = append(lines, l.Outcome+" "+l.ID+" "+l.Why)
		return nil
	})
	return sum, lines, err
}

func TestImportRules(t *testing.T) {
	for _, test := range []struct {
		rule   string
		change func(*archive.Envelope)
		why    string // "" if it is taken in
	}{
		{"as it is", func(*archive.Envelope) {}, ""},
		{"the null reverse-path", func(e *archive.Envelope) { e.Envelope.ReversePath = "" }, ""},
		{"another upstream", func(e *archive.Envelope) { e.Envelope.Upstream = "other" }, `no upstream "other" here; --upstream`},
		{"another domain", func(e *archive.Envelope) { e.Envelope.Recipients[0].ForwardPath = "c@elsewhere.example" }, `no domain "elsewhere.example" here`},
		{"no domain", func(e *archive.Envelope) { e.Envelope.Recipients[0].ForwardPath = "postmaster" }, `no domain "" here`},
		{"the domain of another upstream", func(e *archive.Envelope) { e.Envelope.Recipients[0].ForwardPath = "c@LAB.example" }, "mail for lab.example goes to lab here, not to exo; --upstream lab"},
		{"a U-label", func(e *archive.Envelope) {
			e.Envelope.Recipients[0].ForwardPath, e.Envelope.Params.SMTPUTF8 = "c@bücher.example", true
		}, ""},
		{"an A-label", func(e *archive.Envelope) { e.Envelope.Recipients[0].ForwardPath = "c@xn--bcher-kva.example" }, ""},
		{"a U-label without SMTPUTF8", func(e *archive.Envelope) { e.Envelope.Recipients[0].ForwardPath = "c@bücher.example" }, "needs SMTPUTF8"},
		{"no path", func(e *archive.Envelope) { e.Envelope.Recipients[0].ForwardPath = "c d@corp.example" }, "recipient: invalid path"},
		{"a parameter in a path", func(e *archive.Envelope) { e.Envelope.Recipients[0].ForwardPath = "c@corp.example> NOTIFY=NEVER" }, "recipient: invalid path"},
		{"no reverse-path", func(e *archive.Envelope) { e.Envelope.ReversePath = "@" }, "reverse-path: invalid path"},
		{"delivered elsewhere, the rest is ours", func(e *archive.Envelope) {
			e.Envelope.Recipients = append(e.Envelope.Recipients, queue.Recipient{ForwardPath: "c@elsewhere.example", Last: queue.Result{At: time.Now(), Action: queue.Delivered}})
		}, ""},
		{"nothing is left to do", func(e *archive.Envelope) { e.Envelope.Recipients[0].Last.Action = queue.Delivered }, "nothing is left to do"},
	} {
		r := newRig()
		upstreams := []admin.Upstream{r.exo.Part("exo", "corp.example", "bücher.example"), r.exo.Part("lab", "lab.example")}
		r.server = admin.New(admin.Options{Store: r.store, Upstreams: upstreams, Inbound: r.inbound.Part(), Ready: func() error { return nil }})
		text := elsewhere(t, 1, func(_ int, e *archive.Envelope) { test.change(e) })
		sum, lines, err := r.takeIn(t, admin.ImportRequest{Count: 5}, bytes.NewReader(text))
		said := strings.Join(lines, "\n")
		if err != nil || (sum.Messages == 1) != (test.why == "") || (sum.Refused == 1) != (test.why != "") || !strings.Contains(said, test.why) {
			t.Errorf("%s: %+v, %q, %v", test.rule, sum, said, err)
		}
	}
}

func TestImportHoldsAndTells(t *testing.T) {
	r := newRig()
	text := elsewhere(t, 3, func(n int, e *archive.Envelope) {
		switch n {
		case 1:
			e.Held, e.HeldAt = "phish?", e.AcceptedAt
		case 2:
			e.Digest[0] ^= 1
		}
	})
	before := r.snapshot(t)
	sum, lines, err := r.takeIn(t, admin.ImportRequest{DryRun: true}, bytes.NewReader(text))
	if err != nil || sum.Messages != 2 || sum.Unusable != 1 || !sum.DryRun || len(lines) != 1 || r.snapshot(t) != before {
		t.Errorf("dry run: %+v, %q, %v", sum, lines, err)
	}
	sum, lines, err = r.takeIn(t, admin.ImportRequest{Count: 2}, bytes.NewReader(text))
	if err != nil || sum.Messages != 2 || sum.Recipients != 2 || sum.Unusable != 1 || sum.Host != "mx3.corp.example" || !sum.Held || len(lines) != 1 || !strings.HasPrefix(lines[0], "unusable ") {
		t.Errorf("%+v, %q, %v", sum, lines, err)
	}
	held := 0
	for m, err := range r.store.Messages(context.Background(), queue.Filter{States: []queue.State{queue.StateHeld}}) {
		held++
		if err != nil || !strings.HasPrefix(m.Held, "imported from x.tar, exported by mx3.corp.example at ") {
			t.Errorf("%+v, %v", m, err)
		}
	}
	noted := ""
	for e, err := range r.store.Memory.Ledger(context.Background(), queue.LedgerFilter{Events: []queue.Event{queue.Noted}}) {
		if err == nil {
			noted += e.Reason + "\n"
		}
	}
	if held != 2 || strings.Count(noted, "\n") != 1 || !strings.Contains(noted, "imported 2 messages from x.tar") || !strings.Contains(noted, "1 were unusable") {
		t.Errorf("%d are held, noted %q", held, noted)
	}
	sum, _, err = r.takeIn(t, admin.ImportRequest{Count: 2, Deliver: true}, bytes.NewReader(text))
	if err != nil || sum.Messages != 0 || sum.Present != 2 {
		t.Errorf("again: %+v, %v", sum, err)
	}
	if sum, _, err = r.takeIn(t, admin.ImportRequest{DryRun: true}, bytes.NewReader(text)); err != nil || sum.Messages != 0 || sum.Present != 2 {
		t.Errorf("a dry run: %+v, %v", sum, err)
	}
	r = newRig()
	if sum, _, err = r.takeIn(t, admin.ImportRequest{Count: 2, Deliver: true, Upstream: "exo"}, bytes.NewReader(text)); err != nil || sum.Held || sum.Messages != 2 {
		t.Errorf("%+v, %v", sum, err)
	}
	for m, err := range r.store.Messages(context.Background(), queue.Filter{}) {
		if err != nil || m.Held != "" && m.Held != "phish?" {
			t.Errorf("%+v, %v", m, err)
		}
	}
}

// TestImportOfAnIDThatIsTaken: two relays may give the same ID to two messages.
func TestImportOfAnIDThatIsTaken(t *testing.T) {
	r := newRig()
	id := r.accept(t, "a@b.example", "c@corp.example")
	text := elsewhere(t, 1, func(_ int, e *archive.Envelope) { e.ID = id })
	sum, lines, err := r.takeIn(t, admin.ImportRequest{Count: 1}, bytes.NewReader(text))
	if err != nil || sum.Messages != 1 || len(lines) != 1 || !strings.HasPrefix(lines[0], "renamed "+string(id)+" another message has this id here: it was imported as ") {
		t.Errorf("%+v, %q, %v", sum, lines, err)
	}
	if sum, _, err := r.takeIn(t, admin.ImportRequest{Count: 1}, bytes.NewReader(text)); err != nil || sum.Present != 1 {
		t.Errorf("again: %+v, %v", sum, err)
	}
}

func TestImportStops(t *testing.T) {
	broken := errors.New("input/output error")
	whole := elsewhere(t, 5, nil)
	for _, test := range []struct {
		rule    string
		request admin.ImportRequest
		from    io.Reader
		fail    func(r *rig)
		code    string
		done    int // messages that are here afterwards
	}{
		{"no number", admin.ImportRequest{}, bytes.NewReader(whole), nil, admin.CodeCountRequired, 0},
		{"a number below zero", admin.ImportRequest{Count: -1}, bytes.NewReader(whole), nil, admin.CodeBadRequest, 0},
		{"a long source", admin.ImportRequest{Count: 1, Source: strings.Repeat("x", 2000)}, bytes.NewReader(whole), nil, admin.CodeBadRequest, 0},
		{"an upstream that is none", admin.ImportRequest{Count: 5, Upstream: "other"}, bytes.NewReader(whole), nil, admin.CodeUnknownUpstream, 0},
		{"more than asked for", admin.ImportRequest{Count: 3}, bytes.NewReader(whole), nil, admin.CodeCountChanged, 3},
		{"no archive", admin.ImportRequest{Count: 3}, strings.NewReader(strings.Repeat("x", 5000)), nil, admin.CodeBadArchive, 0},
		{"nothing", admin.ImportRequest{Count: 3}, strings.NewReader(""), nil, admin.CodeBadArchive, 0},
		{"a store that fails", admin.ImportRequest{Count: 5}, bytes.NewReader(whole), func(r *rig) {
			n := 0
			r.store.OnAdopt = func(queue.Adoption) error { n++; return map[bool]error{n > 2: broken}[true] }
		}, admin.CodeStoreFailed, 2},
		{"a disk that is full", admin.ImportRequest{Count: 5}, bytes.NewReader(whole), func(r *rig) { r.store.Fill() }, admin.CodeStoreFailed, 0},
		{"a ledger that fails", admin.ImportRequest{Count: 5}, bytes.NewReader(whole), func(r *rig) { r.store.OnNote = func(queue.Entry) error { return broken } }, admin.CodeStoreFailed, 5},
		{"much, and a store that fails at once", admin.ImportRequest{Count: 5}, io.MultiReader(bytes.NewReader(whole), &zeros{left: 50 << 20}),
			func(r *rig) { r.store.OnAdopt = func(queue.Adoption) error { return broken } }, admin.CodeStoreFailed, 0},
		{"much, and no number", admin.ImportRequest{}, &zeros{left: 50 << 20}, nil, admin.CodeCountRequired, 0},
	} {
		r := newRig()
		if test.fail != nil {
			test.fail(r)
		}
		_, _, err := r.takeIn(t, test.request, test.from)
		var refused *admin.Error
		if !errors.As(err, &refused) || refused.Code != test.code {
			t.Errorf("%s: %v", test.rule, err)
		}
		here := 0
		for range r.store.Memory.Messages(context.Background(), queue.Filter{}) {
			here++
		}
		if here != test.done || test.done > 0 && test.code != admin.CodeBadRequest && !strings.Contains(err.Error(), fmt.Sprintf("%d messages were imported before this", test.done)) {
			t.Errorf("%s: %d messages are here, %v", test.rule, here, err)
		}
	}
}

// zeros are many bytes.
type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	clear(p[:n])
	z.left -= n
	return n, nil
}

func TestImportOfWhatIsNotWhole(t *testing.T) {
	whole := elsewhere(t, 5, nil)
	second := bytes.Index(whole, []byte("Subject: 1"))
	for _, test := range []struct {
		rule    string
		text    []byte
		done    int64
		problem string
	}{
		{"cut in a content", whole[:second+5], 1, "breaks off"},
		{"cut in a header", whole[:second+600], 2, "breaks off"},
		{"garbage behind it", append(bytes.Clone(whole), "garbage"...), 5, "something follows its end"},
		{"a header that is none", append(bytes.Clone(whole[:second+502]), bytes.Repeat([]byte("x"), 1024)...), 1, "not a sound archive"},
	} {
		r := newRig()
		for _, dry := range []bool{true, false} {
			sum, _, err := r.takeIn(t, admin.ImportRequest{Count: 9, DryRun: dry}, bytes.NewReader(test.text))
			if err != nil || sum.Messages < test.done || sum.Messages > test.done+1 || !strings.Contains(sum.Problem, test.problem) {
				t.Errorf("%s: %+v, %v", test.rule, sum, err)
			}
		}
		if sum, _, err := r.takeIn(t, admin.ImportRequest{Count: 9}, bytes.NewReader(whole)); err != nil || sum.Problem != "" || sum.Messages+sum.Present != 5 {
			t.Errorf("%s, and then the whole: %+v, %v", test.rule, sum, err)
		}
	}
}

// TestImportPassesAForeignEntry: what is of no message is told, and the rest goes on.
func TestImportPassesAForeignEntry(t *testing.T) {
	whole := elsewhere(t, 2, nil)
	var foreign bytes.Buffer
	w := tar.NewWriter(&foreign)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "README", Typeflag: tar.TypeReg, Size: 5}), writeAll(w, "hello"), w.Flush()); err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(whole, []byte("manifest.json"))
	r := newRig()
	sum, lines, err := r.takeIn(t, admin.ImportRequest{Count: 2}, io.MultiReader(bytes.NewReader(whole[:at]), &foreign, bytes.NewReader(whole[at:])))
	if err != nil || sum.Messages != 2 || sum.Unusable != 1 || sum.Problem != "" || !strings.Contains(lines[0], `entry "README"`) {
		t.Errorf("%+v, %q, %v", sum, lines, err)
	}
}

func writeAll(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

func TestImportParameters(t *testing.T) {
	r := newRig()
	for _, query := range []string{"", "source=", "source=x&deliver=maybe", "source=x&dry_run=7&x", "source=x&count=many", "source=x&count=1&unknown=1", "source=x&source=y&count=1"} {
		if answer := r.ask("POST /v1/queue/import?"+query, ""); answer.Code != http.StatusBadRequest || lastError(t, answer).Code != admin.CodeBadRequest {
			t.Errorf("%q: status %d, %q", query, answer.Code, answer.Body)
		}
	}
	if answer := r.ask("GET /v1/queue/import", ""); answer.Code != http.StatusNotFound {
		t.Errorf("status %d", answer.Code)
	}
}

func TestAnImportWhoseBodyBreaks(t *testing.T) {
	r := newRig()
	whole := elsewhere(t, 5, nil)
	broken := errors.New("broken")
	for _, size := range []int{0, len(whole) / 2} {
		request := httptest.NewRequest(http.MethodPost, "http://mxkeep/v1/queue/import?source=x&count=9", io.NopCloser(cutting(whole[:size], broken)))
		answer := httptest.NewRecorder()
		r.server.Handler().ServeHTTP(answer, request)
		if e := lastError(t, answer); e.Code != admin.CodeBadRequest || !strings.Contains(e.Message, "the archive did not get through") {
			t.Errorf("%d bytes: %q", size, answer.Body)
		}
	}
}

func TestADomainThatIsNone(t *testing.T) {
	r := newRig()
	r.server = admin.New(admin.Options{Store: r.store, Upstreams: []admin.Upstream{r.exo.Part("exo", "corp example")}, Inbound: r.inbound.Part(), Ready: func() error { return nil }})
	if _, _, err := r.takeIn(t, admin.ImportRequest{Count: 1}, bytes.NewReader(elsewhere(t, 1, nil))); err == nil {
		t.Error("no word of it")
	}
}

func TestAnImportThatNobodyReads(t *testing.T) {
	r := newRig()
	text := elsewhere(t, 2, func(_ int, e *archive.Envelope) { e.Envelope.Upstream = "other" })
	w := full{httptest.NewRecorder()}
	r.server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://mxkeep/v1/queue/import?source=x&count=9", bytes.NewReader(text)))
	notes := 0
	for range r.store.Memory.Ledger(context.Background(), queue.LedgerFilter{Events: []queue.Event{queue.Noted}}) {
		notes++
	}
	if notes != 1 {
		t.Errorf("%d lines in the ledger", notes)
	}
	client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	if _, err := client.Import(context.Background(), admin.ImportRequest{}, strings.NewReader("x"), func(admin.ImportLine) error { return nil }); !errors.Is(err, admin.ErrCutOff) {
		t.Error(err)
	}
}

// FuzzImport sends any archive: the answer is made of documents, and nothing is
// taken in for anybody else than ours.
func FuzzImport(f *testing.F) {
	whole := elsewhere(f, 2, nil)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(bytes.Replace(whole, []byte("c@corp.example"), []byte("c@corp.exampl\xff"), 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := newRig()
		answer := httptest.NewRecorder()
		r.server.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "http://mxkeep/v1/queue/import?source=x&count=9", bytes.NewReader(text)))
		documents(t, answer)
		for m, err := range r.store.Memory.Messages(context.Background(), queue.Filter{}) {
			if err != nil || m.Envelope.Upstream != "exo" {
				t.Errorf("%+v, %v", m, err)
			}
			for _, to := range m.Envelope.Recipients {
				if !to.Last.Action.Final() && !strings.HasSuffix(strings.ToLower(to.ForwardPath), "@corp.example") {
					t.Errorf("%+v", to)
				}
			}
		}
	})
}
