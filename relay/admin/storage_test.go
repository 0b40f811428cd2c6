package admin_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// TestStorageIsTold: which store it is, and its copies, in the status and with the files.
func TestStorageIsTold(t *testing.T) {
	r := damaged(queue.Exact)
	at := time.Date(2026, 1, 22, 19, 30, 0, 0, time.UTC)
	r.files.Is = queue.Identity{ID: "0123456789abcdef0123456789abcdef", CreatedAt: at}
	r.files.Copied = []queue.Copy{{Path: "/data/queue/before-format-2-20260122T193000Z", At: at, Until: at.Add(72 * time.Hour), Size: 4096}}
	want := &admin.StoreReport{ID: "0123456789abcdef0123456789abcdef", CreatedAt: admin.Time{Time: at},
		Copies: []admin.Copy{{Path: "/data/queue/before-format-2-20260122T193000Z", At: admin.Time{Time: at}, Until: admin.Time{Time: at.Add(72 * time.Hour)}, Size: 4096}}}
	report, err := serve(t, r.server.Handler()).FileStats(t.Context())
	if err != nil || !reflect.DeepEqual(report.Store, want) {
		t.Errorf("files: %+v, %v", report.Store, err)
	}
	if st := r.server.Status(t.Context()); !reflect.DeepEqual(st.Store, want) {
		t.Errorf("status: %+v", st.Store)
	}
	without := admin.New(admin.Options{Store: r.store, Inbound: r.inbound.Part(), Ready: func() error { return nil }})
	if st := without.Status(t.Context()); st.Store != nil {
		t.Errorf("a store without files: %+v", st.Store)
	}
}

func TestCompact(t *testing.T) {
	r := damaged(queue.Exact)
	r.files.Compacts = queue.Compaction{Before: 5000, After: 3000, Took: 1500 * time.Millisecond,
		Files: []queue.CompactedFile{{Name: "gen-000001.db", Before: 5000, Needed: 700, Outcome: queue.Freed}, {Name: "gen-000002.db", After: 3000, Outcome: queue.Grew}}}
	client := serve(t, r.server.Handler())
	for _, dry := range []bool{true, false} {
		did, err := client.Compact(t.Context(), admin.CompactRequest{DryRun: dry})
		want := admin.Compaction{Schema: admin.SchemaCompact, DryRun: dry, Before: 5000, After: 3000, Seconds: 1.5, Files: []admin.CompactedFile{
			{Name: "gen-000001.db", Before: 5000, Needed: 700, Outcome: "freed"}, {Name: "gen-000002.db", After: 3000, Outcome: "grew"}}}
		if err != nil || !reflect.DeepEqual(did, want) {
			t.Errorf("did %+v, %v", did, err)
		}
	}
	r.files.Fail = errors.New("write: input/output error")
	if e := lastError(t, r.ask("POST /v1/db/compact", "{}")); e.Code != admin.CodeStoreFailed {
		t.Errorf("a disk that fails: %+v", e)
	}
	if e := lastError(t, r.ask("POST /v1/db/compact", `{"dry":true}`)); e.Code != admin.CodeBadRequest {
		t.Errorf("a mistyped member: %+v", e)
	}
	r.server = admin.New(admin.Options{Store: r.store, Inbound: r.inbound.Part(), Ready: func() error { return nil }})
	if e := lastError(t, r.ask("POST /v1/db/compact", "{}")); e.Code != admin.CodeBadRequest {
		t.Errorf("a store without files: %+v", e)
	}
}
