package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

const (
	aMessage = `{"schema":"mxkeep.queue.message/1","id":"7hq2m8x4kd3w"}` + "\n"
	aSummary = `{"schema":"mxkeep.queue.summary/1","shown":1}` + "\n"
	anError  = `{"schema":"mxkeep.error/1","code":"store_failed","message":"input/output error"}` + "\n"
)

func TestAnswersThatAreNotWhole(t *testing.T) {
	list := func(c *admin.Client) error {
		_, err := c.List(context.Background(), admin.ListRequest{}, func(admin.Message) error { return nil })
		return err
	}
	status := func(c *admin.Client) error {
		_, err := c.Status(context.Background())
		return err
	}
	content := func(c *admin.Client) error { return c.Content(context.Background(), "7hq2m8x4kd3w", "raw", io.Discard) }
	for _, test := range []struct {
		rule   string
		status int
		text   string
		length string // Content-Length
		ask    func(*admin.Client) error
		cutOff bool
		code   string
	}{
		{"a whole listing", 200, aMessage + aSummary, "", list, false, ""},
		{"a listing with other spaces", 200, ` { "schema" : "mxkeep.queue.message/1" }` + "\n" + aSummary, "", list, false, ""},
		{"an empty listing", 200, aSummary, "", list, false, ""},
		{"a listing without its end", 200, aMessage, "", list, true, ""},
		{"a listing without anything", 200, "", "", list, true, ""},
		{"a listing that breaks within a line", 200, aMessage[:20], "", list, true, ""},
		{"a listing that the connection cuts", 200, aMessage + aSummary, "1000", list, true, ""},
		{"a listing that ends with an error", 200, aMessage + anError, "", list, false, admin.CodeStoreFailed},
		{"a line that is no object", 200, "[1]\n" + aSummary, "", list, true, ""},
		{"a line that is no message", 200, `{"schema":"mxkeep.queue.message/1","id":7}`, "", list, true, ""},
		{"an error that is none", 200, `{"schema":"mxkeep.error/1","code":7}`, "", list, true, ""},
		{"a refusal", 500, anError, "", list, false, admin.CodeStoreFailed},
		{"a refusal of something else", 502, "<html>bad gateway</html>", "", list, true, ""},
		{"a refusal without our schema", 500, `{"code":"store_failed"}`, "", list, true, ""},
		{"a status", 200, `{"schema":"mxkeep.status/1"}`, "", status, false, ""},
		{"a cut status", 200, `{"schema":"mxkeep.st`, "", status, true, ""},
		{"a status of another type", 200, `{"schema":7}`, "", status, true, ""},
		{"content", 200, "Subject: x\r\n", "", content, false, ""},
		{"content that the connection cuts", 200, "Subject: x\r\n", "1000", content, true, ""},
	} {
		client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if test.length != "" {
				w.Header().Set("Content-Length", test.length)
			}
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.text) // the test looks at what the client makes of it
		}))
		err := test.ask(client)
		var refusal *admin.Error
		errors.As(err, &refusal)
		switch {
		case test.code != "" && (refusal == nil || refusal.Code != test.code),
			errors.Is(err, admin.ErrCutOff) != test.cutOff,
			test.code == "" && !test.cutOff && err != nil:
			t.Errorf("%s: %v", test.rule, err)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	path := socketPath(t)
	err := admin.NewClient(path).Ready(t.Context())
	if !errors.Is(err, admin.ErrUnreachable) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("no socket: %v", err)
	}
	denied := admin.NewClientOver(path, func(context.Context, string) (net.Conn, error) { return nil, os.ErrPermission })
	if err := denied.Ready(t.Context()); !errors.Is(err, admin.ErrUnreachable) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("no permission: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the time is over")
	cancel(why)
	if err := admin.NewClient(path).Ready(ctx); !errors.Is(err, why) || errors.Is(err, admin.ErrUnreachable) {
		t.Errorf("we gave up: %v", err)
	}
}

func TestWeGiveUpInTheMiddle(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, aMessage)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	}))
	_, err := client.List(ctx, admin.ListRequest{}, func(admin.Message) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestTheReaderOfAListingStops(t *testing.T) {
	client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, aMessage, aMessage, aSummary) }))
	enough, seen := errors.New("enough"), 0
	_, err := client.List(t.Context(), admin.ListRequest{}, func(admin.Message) error {
		seen++
		return enough
	})
	if !errors.Is(err, enough) || errors.Is(err, admin.ErrCutOff) || seen != 1 {
		t.Errorf("%v after %d", err, seen)
	}
	full := errors.New("no space left")
	content := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "Subject: x\r\n") }))
	if err := content.Content(t.Context(), "7hq2m8x4kd3w", "raw", refusing{full}); !errors.Is(err, full) || errors.Is(err, admin.ErrCutOff) {
		t.Errorf("content: %v", err)
	}
}

type refusing struct{ err error }

func (r refusing) Write([]byte) (int, error) { return 0, r.err }

// TestAListingIsReadAsItComes has a server that writes the next line only when
// the client has handled the one before: neither side collects.
func TestAListingIsReadAsItComes(t *testing.T) {
	handled := make(chan struct{})
	client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			fmt.Fprint(w, aMessage)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			select {
			case <-handled:
			case <-r.Context().Done():
				return
			}
		}
		fmt.Fprint(w, aSummary)
	}))
	seen := 0
	_, err := client.List(t.Context(), admin.ListRequest{}, func(admin.Message) error {
		seen++
		handled <- struct{}{}
		return nil
	})
	if err != nil || seen != 3 {
		t.Errorf("%d lines, %v", seen, err)
	}
}

// TestTheServerSendsTheFirstLineAtOnce has a store whose second message comes
// only when the client has the first.
func TestTheServerSendsTheFirstLineAtOnce(t *testing.T) {
	r := newRig()
	r.accept(t, "a@b.example", "c@corp.example")
	r.accept(t, "a@b.example", "c@corp.example")
	handled := make(chan struct{})
	r.store.OnList = func(nth int) error {
		if nth == 1 {
			<-handled
		}
		return nil
	}
	client := serve(t, r.server.Handler())
	seen := 0
	_, err := client.List(t.Context(), admin.ListRequest{}, func(admin.Message) error {
		if seen++; seen == 1 {
			close(handled)
		}
		return nil
	})
	if err != nil || seen != 2 {
		t.Errorf("%d lines, %v", seen, err)
	}
}

func TestTimesOnTheWire(t *testing.T) {
	for text, want := range map[string]time.Time{
		"null":                       {},
		`"2026-03-12T13:04:10.412Z"`: time.Date(2026, 3, 12, 13, 4, 10, 412e6, time.UTC),
	} {
		var at admin.Time
		if err := at.UnmarshalJSON([]byte(text)); err != nil || !at.Equal(want) {
			t.Errorf("%s: %v, %v", text, at, err)
		}
		if again, err := at.MarshalJSON(); err != nil || string(again) != text {
			t.Errorf("%s again: %s, %v", text, again, err)
		}
	}
	if err := new(admin.Time).UnmarshalJSON([]byte(`"yesterday"`)); err == nil {
		t.Error("yesterday was read")
	}
	if _, err := admin.Encode(func() {}); err == nil {
		t.Error("a function was written")
	}
}
