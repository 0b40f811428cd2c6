package admin_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

func TestRecipients(t *testing.T) {
	r := newRig()
	now := admin.Time{Time: time.Now().Truncate(time.Millisecond)}
	r.recipients.Shown = []admin.RecipientSource{{Domain: "corp.example", Source: "list", Count: 7, At: now}, {Domain: "lab.example", Source: "learned"}}
	r.recipients.Known = []string{"a@corp.example"}
	client := serve(t, r.server.Handler())

	all, err := client.RecipientSources(t.Context(), "")
	if err != nil || len(all.Sources) != 2 || all.Schema != admin.SchemaRecipientList || all.Sources[0].State != "fresh" || all.Sources[1].State != "fresh" {
		t.Errorf("%+v, %v", all, err)
	}
	all, err = client.RecipientSources(t.Context(), "CORP.example")
	if err != nil || len(all.Sources) != 1 || all.Sources[0].Count != 7 || !all.Sources[0].At.Equal(now.Time) || all.Sources[0].Schema != admin.SchemaRecipientSource {
		t.Errorf("%+v, %v", all, err)
	}
	check, err := client.CheckRecipient(t.Context(), "A@corp.EXAMPLE")
	if err != nil || check.Verdict != "known" || check.Domain != "corp.example" || check.Address != "A@corp.EXAMPLE" || check.Schema != admin.SchemaRecipientCheck {
		t.Errorf("%+v, %v", check, err)
	}
}

// TestSyncByForceIsOnRecord: and nothing is done that cannot be recorded.
func TestSyncByForceIsOnRecord(t *testing.T) {
	r := newRig()
	r.recipients.Synced = []admin.RecipientSync{{Domain: "corp.example", Count: 7, Lost: 2}}
	client := serve(t, r.server.Handler())
	for _, request := range []admin.RecipientSyncRequest{{}, {Domain: "corp.example"}, {Domain: "corp.example", Force: true}} {
		did, err := client.SyncRecipients(t.Context(), request)
		if err != nil || did.Schema != admin.SchemaRecipientSync || len(did.Synced) != 1 || did.Synced[0].Lost != 2 {
			t.Errorf("%+v: %+v, %v", request, did, err)
		}
	}
	if notes := r.notes(t); len(notes) != 1 || notes[0] != "recipients sync --force corp.example" || !slices.Equal(r.recipients.Forced, []string{"corp.example"}) {
		t.Errorf("notes %q, forced %q", notes, r.recipients.Forced)
	}
	r.store.OnNote = func(queue.Entry) error { return errors.New("disk") }
	if _, err := client.SyncRecipients(t.Context(), admin.RecipientSyncRequest{Force: true}); codeOf(err) != admin.CodeStoreFailed || len(r.recipients.Forced) != 1 {
		t.Errorf("without a ledger: %v", err)
	}
	r.recipients.Fail = errors.New("nothing to read")
	if _, err := client.SyncRecipients(t.Context(), admin.RecipientSyncRequest{}); codeOf(err) != admin.CodeUnknownDomain {
		t.Errorf("nothing to read: %v", err)
	}
}

func TestImportRecipients(t *testing.T) {
	r := newRig()
	r.recipients.Planned = admin.RecipientImport{Count: 2, Added: 1}
	client := serve(t, r.server.Handler())
	request := admin.RecipientImportRequest{Domain: "Corp.example", Name: "export.csv", Text: []byte("\xff\xfea\x00"), DryRun: true}
	did, err := client.ImportRecipients(t.Context(), request)
	if err != nil || !did.DryRun || did.Count != 2 || did.Schema != admin.SchemaRecipientImport || len(r.recipients.Imported) != 0 || len(r.notes(t)) != 0 {
		t.Errorf("dry run: %+v, %v", did, err)
	}
	request.DryRun = false
	did, err = client.ImportRecipients(t.Context(), request)
	if err != nil || did.DryRun || !slices.Equal(r.recipients.Imported, []string{"corp.example export.csv \xff\xfea\x00"}) {
		t.Errorf("%+v, %v, imported %q", did, err, r.recipients.Imported)
	}
	if notes := r.notes(t); len(notes) != 1 || notes[0] != "recipients import export.csv corp.example: 2 addresses" {
		t.Errorf("notes %q", notes)
	}
	r.store.OnNote = func(queue.Entry) error { return errors.New("disk") }
	if _, err := client.ImportRecipients(t.Context(), request); codeOf(err) != admin.CodeStoreFailed || len(r.recipients.Imported) != 1 {
		t.Errorf("without a ledger: %v", err)
	}
	r.recipients.Fail = errors.New("export.csv:3: nobody")
	if _, err := client.ImportRecipients(t.Context(), request); codeOf(err) != admin.CodeBadList || !strings.Contains(err.Error(), "export.csv:3") {
		t.Errorf("a wrong line: %v", err)
	}
	request.Text = make([]byte, admin.MaxImport)
	if _, err := client.ImportRecipients(t.Context(), request); codeOf(err) != admin.CodeBadList {
		t.Errorf("the largest file: %v", err)
	}
	request.Text = make([]byte, admin.MaxImport+1)
	if _, err := client.ImportRecipients(t.Context(), request); err == nil || !strings.Contains(err.Error(), "larger than 11 MiB") {
		t.Errorf("a file that is too large: %v", err)
	}
}

// notes are the reasons of the ledger lines that operators left.
func (r *rig) notes(t *testing.T) (all []string) {
	t.Helper()
	for e, err := range r.store.Memory.Ledger(t.Context(), queue.LedgerFilter{Events: []queue.Event{queue.Noted}}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Reason)
	}
	return all
}

func codeOf(err error) string {
	var refused *admin.Error
	if !errors.As(err, &refused) {
		return ""
	}
	return refused.Code
}

// TestSourcesInTheStatus: what is old or fails is something to do.
func TestSourcesInTheStatus(t *testing.T) {
	day := admin.Time{Time: time.Now().Add(-25 * time.Hour)}
	for _, test := range []struct {
		source   admin.RecipientSource
		state    string
		text     string // of what is to do; "" if nothing
		command  string
		severity string
	}{
		{admin.RecipientSource{Source: "list", At: day}, "fresh", "", "", "ok"},
		{admin.RecipientSource{Source: "learned"}, "fresh", "", "", "ok"},
		{admin.RecipientSource{Source: "call-ahead"}, "fresh", "", "", "ok"},
		{admin.RecipientSource{Source: "list", Stale: true, NotKnown: "accept"}, "missing", "The list of recipients of corp.example was never read: in an outage, who is not known is accepted.", "mxkeep recipients import FILE corp.example", "warning"},
		{admin.RecipientSource{Source: "directory", Stale: true, NotKnown: "defer", Wrong: "401"}, "missing", "The directory of recipients of corp.example was never read (401): in an outage, who is not known is deferred.", "mxkeep recipients sync corp.example", "warning"},
		{admin.RecipientSource{Source: "directory", Stale: true, NotKnown: "reject", At: day, Wrong: "503"}, "stale", "The directory of recipients of corp.example is 1 day old (503): in an outage, who is not known is refused.", "mxkeep recipients sync corp.example", "warning"},
		{admin.RecipientSource{Source: "directory", At: day, Wrong: "503"}, "failing", "The directory of recipients of corp.example could not be read again (503). What was known before still holds.", "mxkeep recipients sync corp.example", "warning"},
	} {
		r := newRig()
		test.source.Domain = "corp.example"
		r.recipients.Shown = []admin.RecipientSource{test.source}
		st := r.server.Status(t.Context())
		if st.Recipients[0].State != test.state || st.Severity != test.severity || (len(st.Todo) == 0) != (test.text == "") ||
			test.text != "" && st.Todo[0] != (admin.Todo{Text: test.text, Command: test.command}) {
			t.Errorf("%+v: %+v, %s, %+v", test.source, st.Recipients, st.Severity, st.Todo)
		}
	}
	bare := admin.New(admin.Options{Store: newRig().store, Inbound: newRig().inbound.Part(), Ready: func() error { return nil }})
	if text, err := json.Marshal(bare.Status(t.Context()).Recipients); err != nil || string(text) != "[]" {
		t.Errorf("without recipients: %s, %v", text, err)
	}
}
