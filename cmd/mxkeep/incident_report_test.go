package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/incident"
)

// evidence is what is recorded of the closed incident of outage: two messages
// that were delivered, and one that waits.
func evidence(r *rig) {
	outage(r)
	i := r.incidents.Records[0].Incident
	at := func(minutes int) time.Time { return i.Began.Add(time.Duration(minutes) * time.Minute) }
	var lines []queue.Entry
	for n, id := range []queue.ID{"000000000001", "000000000002", "000000000003"} {
		lines = append(lines, queue.Entry{At: at(n + 1), Event: queue.Accepted, ID: id, Upstream: "exo", ReversePath: "a@sender.example", Recipients: []string{"b@corp.example"}, MessageID: "<" + string(id) + "@sender.example>", Size: 2000})
	}
	for n, id := range []queue.ID{"000000000001", "000000000002"} {
		lines = append(lines, queue.Entry{At: at(290 + n), Event: queue.Attempted, ID: id, Upstream: "exo", Recipients: []string{"b@corp.example"},
			Results: []queue.Result{{At: at(290 + n), Action: queue.Delivered, Reply: queue.Reply{Command: "DATA", Code: 250, Enhanced: "2.6.0", Text: "Queued mail for delivery"}, RemoteSession: "08DB22AA6F2A4E1B"}}})
	}
	x := &bytes.Buffer{}
	export := queue.NewExportWriter(x, queue.ExportHead{At: r.started})
	hash := queue.Digest{}
	r.incidents.Pieces = []incident.Piece{{Sample: &health.Signal{At: at(3), Source: health.SourceProbe, Class: health.Outage, Reply: "451 4.3.2 x"}}}
	for n := range lines {
		lines[n].Seq = uint64(n + 1)
		body, err := json.Marshal(lines[n])
		if err != nil {
			r.t.Fatal(err)
		}
		record := append(binary.BigEndian.AppendUint32([]byte{1}, crc32.ChecksumIEEE(body)), body...)
		hash = queue.ChainLink(hash[:], lines[n].Seq, record)
		if err := export.Line(lines[n].Seq, hash, record); err != nil {
			r.t.Fatal(err)
		}
		r.incidents.Pieces = append(r.incidents.Pieces, incident.Piece{Line: &lines[n]})
	}
	if err := export.End(); err != nil {
		r.t.Fatal(err)
	}
	r.files.Exported = x.String()
	r.incidents.Pieces = append(r.incidents.Pieces, incident.Piece{Waiting: &incident.Waiting{ID: "000000000003", Recipients: []string{"b@corp.example"}, States: []queue.State{queue.StateHeld}}},
		incident.Piece{End: &incident.End{Through: uint64(len(lines))}})
}

const closedIncident = "INC-1999-12-31-1"

func TestIncidentReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		evidence(r)
		dir := t.TempDir()
		for want, args := range map[string]string{
			"## D. Figures":                   closedIncident,
			"## A. Summary":                   closedIncident + " --audience management",
			"<!DOCTYPE html>":                 closedIncident + " --format html",
			"\"schema\": \"mxkeep.incident.r": closedIncident + " --json",
			"id,message_id,":                  closedIncident + " --format csv",
			"INC-2000-01-01-1":                "", // the one that goes on
			"@d":                              closedIncident + " --redact --format csv",
		} {
			if got := r.run(append([]string{"incident", "report"}, strings.Fields(args)...)...); got.code != 0 || !strings.Contains(got.out, want) {
				t.Errorf("%s: %d %s %.200s", args, got.code, got.errs, got.out)
			}
		}
		for _, kind := range []string{"plain", "redact"} {
			file := filepath.Join(dir, kind+".zip")
			args := []string{"incident", "report", closedIncident, "--format", "bundle", "-O", file}
			if kind == "redact" {
				args = append(args, "--redact")
			}
			if got := r.run(args...); got.code != 0 || !strings.Contains(got.errs, "Wrote "+file) {
				t.Fatalf("%s: %d %s", kind, got.code, got.errs)
			}
			got := r.run("incident", "verify", file)
			if got.code != 0 || !strings.Contains(got.out, "is whole") || !strings.Contains(got.out, "ledger lines 1 to 5") || strings.Contains(got.out, "Note: it is redacted") != (kind == "redact") {
				t.Errorf("%s: %d %s %s", kind, got.code, got.out, got.errs)
			}
			if got := r.run("incident", "verify", file, "--json"); got.code != 0 || !strings.Contains(got.out, `"rows":3`) {
				t.Errorf("%s: %d %s", kind, got.code, got.out)
			}
			if got := r.run(args...); got.code != 2 || !strings.Contains(got.errs, "E1111") {
				t.Errorf("written over: %d %s", got.code, got.errs)
			}
		}
		if left, _ := filepath.Glob(dir + "/*"); len(left) != 2 {
			t.Errorf("%v is left", left)
		}
		for args, want := range map[string]string{"--format pdf": "no form", "--audience us": "no audience", "--format csv --audience microsoft": "--audience chooses", "--format bundle": "-O FILE"} {
			if got := r.run(append([]string{"incident", "report"}, strings.Fields(args)...)...); got.code != 2 || !strings.Contains(got.errs, want) {
				t.Errorf("%s: %d %s", args, got.code, got.errs)
			}
		}
	})
}

// TestIncidentReportThatFails leaves nothing that looks like a report.
func TestIncidentReportThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		if got := r.run("incident", "report"); got.code != 5 || !strings.Contains(got.errs, "E1401") {
			t.Errorf("no incident: %d %s", got.code, got.errs)
		}
		evidence(r)
		dir := t.TempDir()
		bundle := func(want string) {
			t.Helper()
			got := r.run("incident", "report", closedIncident, "--format", "bundle", "-O", filepath.Join(dir, "x.zip"))
			if left, _ := filepath.Glob(dir + "/*"); got.code != 1 || !strings.Contains(got.errs, want) || len(left) > 0 {
				t.Errorf("%d %s, left %v; want %s", got.code, got.errs, left, want)
			}
		}
		whole := r.files.Exported
		r.files.Exported = strings.Replace(whole, "b@corp", "c@corp", 1)
		bundle("E1505")
		r.files.Exported = whole
		r.files.Fail = errors.New("the disk fails")
		bundle("E1501")
		r.files.Fail = nil
		pieces := r.incidents.Pieces
		r.incidents.Pieces = pieces[:len(pieces)-1]
		bundle("E1205")
		r.incidents.Pieces = pieces
		if got := r.run("incident", "report", "-O", filepath.Join(dir, "missing", "x")); got.code != 1 {
			t.Errorf("a folder that is not there: %d %s", got.code, got.errs)
		}
		r.files.Fail = &admin.Error{Schema: admin.SchemaError, Code: admin.CodeRefused, Message: "no ledger files"}
		r.files.Exported = ""
		for _, form := range []string{"md", "bundle"} {
			file := filepath.Join(dir, form)
			if got := r.run("incident", "report", closedIncident, "--format", form, "-O", file); got.code != 0 {
				t.Errorf("a store without ledger files, %s: %d %s", form, got.code, got.errs)
			}
		}
	})
}

func TestIncidentVerifyFindsWhatWasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		evidence(r)
		file := filepath.Join(t.TempDir(), "x.zip")
		if got := r.run("incident", "report", closedIncident, "--format", "bundle", "-O", file); got.code != 0 {
			t.Fatal(got.errs)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text[100] ^= 0xff
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := r.run("incident", "verify", file); got.code != 1 || !strings.Contains(got.errs, "E1912") || !strings.Contains(got.errs, "README.txt") {
			t.Errorf("%d %s", got.code, got.errs)
		}
		if err := os.WriteFile(file, []byte("no ZIP file"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := r.run("incident", "verify", file, "--json"); got.code != 1 || !strings.Contains(got.errs, `"number":"E1911"`) {
			t.Errorf("%d %s", got.code, got.errs)
		}
		if got := r.run("incident", "verify", file+".missing"); got.code != 1 {
			t.Errorf("%d %s", got.code, got.errs)
		}
		if got := r.run("incident", "verify"); got.code != 2 {
			t.Errorf("%d %s", got.code, got.errs)
		}
	})
}

func TestIncidentReconcile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.serveInBubble()
		evidence(r)
		dir := t.TempDir()
		write := func(name, text string) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		head := "Received,SenderAddress,RecipientAddress,Status,MessageId,MessageTraceId\n"
		row := func(n, status string) string {
			return "1999-12-31T12:10:00,a@sender.example,b@corp.example," + status + ",<00000000000" + n + "@sender.example>,N" + n + "\n"
		}
		one, both := write("one.csv", head+row("1", "Quarantined")), write("both.csv", head+row("1", "FilteredAsSpam")+row("2", "Delivered")+row("9", "Delivered"))
		for name, args := range map[string][]string{"80": {"incident", "reconcile", closedIncident, "--trace", both}, "120": {"incident", "reconcile", closedIncident, "--trace", both}} {
			width := map[string]int{"80": 80, "120": 120}[name]
			golden(t, "incident-reconcile-"+name, r.terminal(width, "", args...).out)
		}
		got := r.run("incident", "reconcile", closedIncident, "--trace", both, "--json")
		golden(t, "incident-reconcile-json", got.out)
		if got.code != 0 || !strings.Contains(got.errs, "0 missing, 0 failed, 0 quarantined, 1 filtered, 0 duplicate, 0 pending, 1 not_relayed, 1 delivered; 3 rows of the trace, 1 of other mail.") {
			t.Errorf("%d %s", got.code, got.errs)
		}
		got = r.run("incident", "reconcile", closedIncident, "--trace", one, "--only", "missing", "-o", "id")
		if got.code != 3 || got.out != "000000000002\n" || !strings.Contains(got.errs, "E1914") {
			t.Errorf("%d %s %s", got.code, got.out, got.errs)
		}
		golden(t, "incident-reconcile-pipe", r.run("incident", "reconcile", closedIncident, "--trace", one, "--trace", both).out)
		bad := write("bad.csv", "a,b\n1,2\n")
		for want, args := range map[string][]string{"E1913": {"--trace", bad}, "name the exports": {}, "no verdict": {"--trace", one, "--only", "lost"}, "missing.csv": {"--trace", filepath.Join(dir, "missing.csv")}, "no field": {"--trace", one, "--fields", "x"}} {
			if got := r.run(append([]string{"incident", "reconcile", closedIncident}, args...)...); got.code == 0 || !strings.Contains(got.errs, want) {
				t.Errorf("%v: %d %s", args, got.code, got.errs)
			}
		}
		if got := r.run("incident", "reconcile", "INC-7", "--trace", one); got.code != 5 {
			t.Errorf("%d %s", got.code, got.errs)
		}
	})
}
