package relay

import (
	"log/slog"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
)

// TestFiltersAsConfigured: what the file says is what filters go by.
func TestFiltersAsConfigured(t *testing.T) {
	chain, err := filters([]configs.Filter{
		{Name: "a", Address: "unix:/run/a", OnFailure: configs.FailureAccept, Timeout: time.Second, Connections: 1},
		{Name: "b", Address: "h:1", OnFailure: configs.FailureHold},
		{Name: "c", Address: "h:2", OnFailure: configs.FailureDefer},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range shownFilters(chain.Status()) {
		want := []string{"a unix:/run/a accept", "b h:1 hold", "c h:2 defer"}[i]
		if f.Name+" "+f.Address+" "+f.OnFailure != want || f.Failure != "" || f.Answers["accept"] != 0 {
			t.Errorf("%+v, want %s", f, want)
		}
	}
	if _, err := filters([]configs.Filter{{Name: "a"}}, nil); err == nil {
		t.Error("a filter without an address")
	}
}
