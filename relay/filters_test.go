package relay

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/d--j/go-milter"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
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

// careful is a filter that wants a person to look at all mail.
type careful struct{ milter.NoOpMilter }

func (careful) EndOfMessage(m milter.Modifier) (*milter.Response, error) {
	return milter.RespAccept, m.Quarantine("look at it")
}

// TestAFilterOfTheRelay: what a filter holds waits for a person, and leaves when
// that has released it. When the filter has gone, senders keep their mail, and
// the status says why.
func TestAFilterOfTheRelay(t *testing.T) {
	c, s := configured(t)
	path := filepath.Join(filepath.Dir(c.Socket), "filter.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	filter := milter.NewServer(milter.WithMilter(func() milter.Milter { return careful{} }), milter.WithActions(milter.OptQuarantine))
	served := make(chan error, 1)
	go func() { served <- filter.Serve(l) }()
	c.Inbound.Filters = []configs.Filter{configs.DefaultFilter()}
	c.Inbound.Filters[0].Name, c.Inbound.Filters[0].Address = "careful", "unix:"+path
	r := run(t, c)
	r.override(health.Down)
	r.accept("b@corp.example")
	st := r.status()
	if st.Queue.ByState["held"] != 1 || len(st.Inbound.Filters) != 1 || st.Inbound.Filters[0].Answers["hold"] != 1 || st.Inbound.Filters[0].Failure != "" {
		t.Errorf("%+v %+v", st.Queue, st.Inbound.Filters)
	}

	filter.Close()
	<-served
	wantReply(t, r.offer("b@corp.example"), "451 4.3.0 the message cannot be checked now")
	st = r.status()
	if st.Queue.ByState["held"] != 1 || st.Inbound.Filters[0].Failure == "" || st.Inbound.Refused["filter_failed"] != 1 {
		t.Errorf("%+v %+v", st.Queue, st.Inbound)
	}
	if !strings.Contains(st.Todo[0].Text, "The filter careful at unix:"+path+" has failed since ") {
		t.Errorf("%+v", st.Todo)
	}

	r.override(health.Up)
	if _, err := r.client.Change(context.Background(), admin.ChangeRequest{Verb: "release", Select: admin.Select{Where: []string{"state=held"}}, Reason: "looked at it"}); err != nil {
		t.Fatal(err)
	}
	received(t, s, 1)
	r.stop()
}
