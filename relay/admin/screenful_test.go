package admin_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// TestAScreenfulOfAll: the totals come from the counters, and the rest of the
// queue is not read.
func TestAScreenfulOfAll(t *testing.T) {
	r := newRig()
	for i := range 20 {
		r.accept(t, "a@b.example", fmt.Sprintf("c%d@corp.example", i))
	}
	most := 0
	r.store.OnList = func(nth int) error {
		most = max(most, nth)
		return nil
	}
	r.store.OnStats = func(s *queue.Stats) error {
		s.Unreadable = 2
		return nil
	}
	client := serve(t, r.server.Handler())
	list := func(request admin.ListRequest) (rows int, sum admin.Summary) {
		sum, err := client.List(t.Context(), request, func(admin.Message) error {
			rows++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return rows, sum
	}
	all := int64(20 * len("Subject: x\r\n\r\nbody\r\n"))
	rows, sum := list(admin.ListRequest{Limit: 3})
	if rows != 3 || sum.Shown != 3 || sum.Matching != 18 || sum.Damaged != 2 || sum.MatchingBytes != all || sum.Queued != 20 || most > 3 {
		t.Errorf("%d rows, %+v, %d read", rows, sum, most)
	}
	r.store.OnStats = nil
	chosen := admin.Select{Where: []string{"to=c1*"}}
	if rows, sum = list(admin.ListRequest{Limit: 3, Select: chosen}); rows != 3 || sum.Matching != 11 || sum.Queued != 20 {
		t.Errorf("%d rows, %+v", rows, sum)
	}
	r.store.OnStats = func(*queue.Stats) error { return errors.New("the disk") }
	if answer := r.ask("POST /v1/queue/list", `{"limit":3}`); lastError(t, answer).Code != admin.CodeStoreFailed {
		t.Errorf("%s", answer.Body)
	}
}

// noFlush is a client that is gone when it is to be sent what was written.
type noFlush struct {
	*httptest.ResponseRecorder
	flushed int
}

func (n *noFlush) FlushError() error {
	if n.flushed++; n.flushed > 1 {
		return errors.New("gone")
	}
	return nil
}

var _ http.ResponseWriter = (*noFlush)(nil)

// TestRowsAreSentBeforeTheRestIsCounted: and who is gone is not counted for.
func TestRowsAreSentBeforeTheRestIsCounted(t *testing.T) {
	r := newRig()
	for range 20 {
		r.accept(t, "a@b.example", "c@corp.example")
	}
	most := 0
	r.store.OnList = func(nth int) error {
		most = max(most, nth)
		return nil
	}
	w := &noFlush{ResponseRecorder: httptest.NewRecorder()}
	r.server.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/v1/queue/list", strings.NewReader(`{"limit":3,"where":["from=a@*"]}`)))
	if w.flushed != 2 || most > 3 {
		t.Errorf("%d flushed, %d read", w.flushed, most)
	}
}
