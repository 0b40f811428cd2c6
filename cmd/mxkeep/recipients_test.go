package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// inRecipients runs a test with a source of each kind and state, at a time that
// is always the same.
func inRecipients(t *testing.T, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		at := func(ago time.Duration) admin.Time { return admin.Time{Time: time.Now().Add(-ago)} }
		r.recipients.Shown = []admin.RecipientSource{
			{Domain: "corp.example", Source: "directory", Count: 12847, At: at(17 * time.Minute), NextAt: at(-43 * time.Minute), NotKnown: "defer"},
			{Domain: "corp.example", Source: "learned", Count: 1911, At: at(4 * time.Second), NotKnown: "defer"},
			{Domain: "corp.example", Source: "call-ahead", Asked: 1204, NotKnown: "defer"},
			{Domain: "lab.example", Source: "list", Count: 1, At: at(400 * 24 * time.Hour), Stale: true, Wrong: "list:7: invalid path: no domain: \"\x1b]0;x\"", NotKnown: "accept"},
			{Domain: "lab.example", Source: "directory", Stale: true, Wrong: "Graph answers 403 Authorization_RequestDenied", NotKnown: "accept"},
			{Domain: "lab.example", Source: "list", Count: 3, At: at(time.Hour), Wrong: "gone", NotKnown: "reject"},
		}
		r.recipients.Known = []string{"a.meyer@corp.example"}
		r.recipients.Synced = []admin.RecipientSync{{Domain: "corp.example", Count: 12850, Added: 4, Lost: 1}}
		r.recipients.Planned = admin.RecipientImport{Count: 12847, Elsewhere: 17, Added: 2}
		r.upstreams = []admin.Upstream{r.exo.Part("exo", "corp.example", "lab.example")}
		r.serveInBubble()
		test(r)
	})
}

func TestRecipientsViews(t *testing.T) {
	file := filepath.Join(t.TempDir(), "export.csv")
	if err := os.WriteFile(file, []byte("a@corp.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inRecipients(t, func(r *rig) {
		for _, view := range []struct {
			name string
			code int
			args []string
		}{
			{"recipients-list", 0, []string{"recipients", "list"}},
			{"recipients-known", 0, []string{"recipients", "check", "A.Meyer@corp.example"}},
			{"recipients-not-known", 1, []string{"recipients", "check", "nobody@corp.example"}},
			{"recipients-sync", 0, []string{"recipients", "sync"}},
			{"recipients-import-dry", 0, []string{"recipients", "import", file, "corp.example", "-n"}},
			{"recipients-import", 0, []string{"recipients", "import", file, "corp.example"}},
			{"recipients-status", 0, []string{"status"}},
		} {
			for _, width := range []int{80, 120} {
				got := r.terminal(width, "", view.args...)
				if got.code != view.code || got.errs != "" {
					t.Errorf("%s: exit %d, %q", view.name, got.code, got.errs)
				}
				golden(t, fmt.Sprintf("%s-%d", view.name, width), got.out)
			}
			if view.name != "recipients-status" {
				golden(t, view.name+"-pipe", r.run(view.args...).out)
			}
		}
		golden(t, "recipients-list-json", r.run("recipients", "list", "lab.example", "--json").out)
		golden(t, "recipients-check-json", r.run("recipients", "check", "nobody@corp.example", "--json").out)
		if len(r.recipients.Imported) != 3 || !strings.HasPrefix(r.recipients.Imported[0], "corp.example export.csv a@corp.example") {
			t.Errorf("imported %q", r.recipients.Imported)
		}
		r.recipients.Shown, r.recipients.Synced = nil, nil
		for args, says := range map[string]string{"recipients list": "There is no source: every address is taken to exist.", "recipients sync": "There is no file and no directory to read."} {
			if got := r.run(strings.Fields(args)...); got.code != 0 || !strings.Contains(got.out, says) {
				t.Errorf("%s: exit %d, %q", args, got.code, got.out)
			}
		}
	})
}

func TestSyncThatFails(t *testing.T) {
	inRecipients(t, func(r *rig) {
		failed := admin.RecipientSync{Domain: "corp.example", Error: "Graph answers 403"}
		doubted := admin.RecipientSync{Domain: "lab.example", Error: "90 of 100 addresses would be gone", Doubted: true}
		for _, test := range []struct {
			synced []admin.RecipientSync
			says   string
		}{
			{[]admin.RecipientSync{failed}, "E1702 sync_failed: corp.example: Graph answers 403"},
			{[]admin.RecipientSync{failed, doubted}, "E1703 sync_doubted: lab.example: 90 of 100"},
		} {
			r.recipients.Synced = test.synced
			if got := r.run("recipients", "sync"); got.code != 1 || !strings.Contains(got.errs, test.says) || !strings.Contains(got.out, "corp.example: Graph answers 403") {
				t.Errorf("exit %d, %q, %q", got.code, got.out, got.errs)
			}
		}
		r.recipients.Synced = nil
		if got := r.run("recipients", "sync", "corp.example", "--force"); got.code != 0 || len(r.recipients.Forced) != 1 {
			t.Errorf("by force: exit %d, %q", got.code, got.errs)
		}
	})
}

// TestRecipientsAreNotChangedUnasked: mistakes change nothing.
func TestRecipientsAreNotChangedUnasked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte("a@corp.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inRecipients(t, func(r *rig) {
		r.recipients.Planned.Lost = 12
		for _, test := range []struct {
			rule, input string
			terminal    bool
			args        []string
			code        int
			says        string
		}{
			{"no domain", "", false, []string{"import", file}, 2, "E1101 usage: give a file and a domain"},
			{"no file", "", false, []string{"import", file + ".gone", "corp.example"}, 1, "E1001 failed: open "},
			{"another domain", "", false, []string{"import", file, "elsewhere.example"}, 5, "E1407 unknown_domain"},
			{"addresses would go, and nobody is there", "", false, []string{"import", file, "corp.example"}, 2, "12 addresses of corp.example would no longer be in the imported list"},
			{"addresses would go, and the answer is no", "n\n", true, []string{"import", file, "corp.example"}, 2, "E1109"},
			{"a sync that is dry", "", false, []string{"sync", "-n"}, 2, "E1101 usage: sync has no dry run"},
			{"a sync of another domain", "", false, []string{"sync", "elsewhere.example", "--force"}, 5, "E1407"},
			{"a check of nobody", "", false, []string{"check"}, 2, "E1101 usage: give an address"},
			{"a check of prose", "", false, []string{"check", "a b"}, 2, "E1104"},
			{"a list of another domain", "", false, []string{"list", "elsewhere.example"}, 5, "E1407"},
		} {
			got := r.with(screen{in: test.terminal, out: test.terminal, width: 80}, test.input, append([]string{"recipients"}, test.args...)...)
			if got.code != test.code || !strings.Contains(got.errs, test.says) || len(r.recipients.Imported)+len(r.recipients.Forced) > 0 {
				t.Errorf("%s: exit %d, %q", test.rule, got.code, got.errs)
			}
		}
		if got := r.terminal(80, "y\n", "recipients", "import", file, "corp.example"); got.code != 0 || len(r.recipients.Imported) != 1 {
			t.Errorf("the answer is yes: exit %d, %q", got.code, got.errs)
		}
		if got := r.run("recipients", "import", file, "corp.example", "--yes"); got.code != 0 || len(r.recipients.Imported) != 2 {
			t.Errorf("--yes: exit %d, %q", got.code, got.errs)
		}
		r.recipients.Fail = errors.New("list:1: nobody")
		if got := r.run("recipients", "import", file, "corp.example", "--yes"); got.code != 1 || !strings.Contains(got.errs, "E1701 bad_list: list:1: nobody") {
			t.Errorf("a wrong line: exit %d, %q", got.code, got.errs)
		}
		r.recipients.Planned = admin.RecipientImport{Count: 1}
		r.recipients.Fail = nil
		if got := r.run("recipients", "import", file, "corp.example"); got.out != "Imported 1 address of corp.example: 0 new, 0 gone.\n" {
			t.Errorf("%q", got.out)
		}
	})
	r := newRig(t) // nobody answers
	for _, args := range []string{"list", "check a@corp.example", "sync", "import " + file + " corp.example"} {
		if got := r.run(append([]string{"recipients"}, strings.Fields(args)...)...); got.code != 4 {
			t.Errorf("%s without a relay: exit %d, %q", args, got.code, got.errs)
		}
	}
}
