package admin_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// requests are those that have a body.
var requests = []string{"/v1/queue/list", "/v1/queue/stats", "/v1/queue/change", "/v1/health/probe", "/v1/health/override", "/v1/pause", "/v1/resume",
	"/v1/db/check", "/v1/db/salvage", "/v1/db/accept-loss", "/v1/explain", "/v1/recipients/sync", "/v1/recipients/import", "/v1/db/compact", "/v1/backups"}

// FuzzRequest sends any body to any request: the answer is always made of
// documents that may go to a terminal, and what is refused changed nothing.
func FuzzRequest(f *testing.F) {
	for i, body := range []string{`{"sort":"size","limit":1}`, `{"by":"reply"}`, `{"verb":"hold","where":["from=a@b.example"]}`,
		`{"recipient":"canary@corp.example"}`, `{"state":"up","for_seconds":600,"reason":"x"}`, `{"outbound":true,"for_seconds":1e300,"reason":"x"}`, `{"inbound":true,"dry_run":true}`,
		`{"verb":"delete","all":true,"reason":"\u001b","if_count":1}`, `{"where":["to=/(/"]}`} {
		f.Add(uint8(i%len(requests)), []byte(body))
	}
	for path, body := range map[string]string{"/v1/explain": `{"from":"a@b.example","to":"c@corp.example","client":"192.0.2.1%\u001b","upstream":"down"}`,
		"/v1/recipients/sync": `{"domain":"corp.example"}`, "/v1/recipients/import": `{"domain":"corp.example","text":"YUBjb3JwLmV4YW1wbGU="}`,
		"/v1/db/compact": `{"dry_run":true}`, "/v1/backups": `{"dir":"/a\n"}`} {
		f.Add(uint8(slices.Index(requests, path)), []byte(body))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		r := newRig()
		r.accept(t, "a@b.example", "c@corp.example")
		before := r.snapshot(t)
		answer := httptest.NewRecorder()
		r.server.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "http://mxkeep"+requests[int(which)%len(requests)], bytes.NewReader(body)))
		documents(t, answer)
		if answer.Code != http.StatusOK && r.snapshot(t) != before {
			t.Errorf("status %d, and something was changed", answer.Code)
		}
	})
}

// FuzzTrace asks for the life of anything.
func FuzzTrace(f *testing.F) {
	for _, query := range []string{"7hq2m8x4kd3w", "<1@b.example>", "a@b.example", "Received: by mx id 7hq2m8x4kd3w", "1", "\x1b]0;x\x07"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := newRig()
		r.accept(t, "a@b.example", "c@corp.example")
		before := r.snapshot(t)
		request := httptest.NewRequest(http.MethodGet, "http://mxkeep/v1/trace", nil)
		values := request.URL.Query()
		values.Set("q", query)
		values.Set("limit", "10")
		request.URL.RawQuery = values.Encode()
		answer := httptest.NewRecorder()
		r.server.Handler().ServeHTTP(answer, request)
		documents(t, answer)
		if r.snapshot(t) != before {
			t.Error("a trace changed something")
		}
	})
}

// documents checks that an answer is made of documents with a schema, and that an error has one we know.
func documents(t *testing.T, answer *httptest.ResponseRecorder) {
	t.Helper()
	harmless(t, "answer", answer.Body.String())
	n := 0
	for lines := json.NewDecoder(bytes.NewReader(answer.Body.Bytes())); lines.More(); n++ {
		var head struct{ Schema, Code string }
		if err := lines.Decode(&head); err != nil || head.Schema == "" {
			t.Fatalf("%q: %v", answer.Body, err)
		}
		if failed := head.Schema == admin.SchemaError; failed != (answer.Code != http.StatusOK) || failed && head.Code == admin.CodeStoreFailed {
			t.Errorf("status %d, %q", answer.Code, answer.Body)
		}
	}
	if n == 0 && answer.Code != http.StatusOK {
		t.Errorf("status %d without an error", answer.Code)
	}
}
