package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/admin"
)

const asideName = "gen-000003.db.damaged-20260122T193000Z"

// files gives a rig two files in use, and one of each kind that is not.
func files(r *rig) {
	now := time.Now()
	r.files.Used = []queue.File{
		{Name: "gen-000002.db", CreatedAt: now.Add(-3 * time.Hour), Size: 260 << 20, Used: 256 << 20, Reusable: 50 << 20, Oldest: now.Add(-3 * time.Hour), Bytes: 200 << 20,
			Messages: map[queue.State]int64{queue.StateQueued: 5724, queue.StateHeld: 2}, Account: queue.Account{Accepted: 6000, Queued: 5726, Held: 2, Delivered: 272}},
		{Name: "gen-000004.db", CreatedAt: now.Add(-5 * time.Minute), Size: 64 << 10, Used: 32 << 10, Youngest: true, Messages: map[queue.State]int64{}},
	}
	r.files.Is = queue.Identity{ID: "0123456789abcdef0123456789abcdef", CreatedAt: now.Add(-1000 * time.Hour)}
	r.files.Copied = []queue.Copy{{Path: "/var/lib/mxkeep/queue/before-format-2-19991231T180000Z", At: now.Add(-6 * time.Hour), Until: now.Add(66 * time.Hour), Size: 516 << 20}}
	r.files.Compacts = queue.Compaction{Before: 516 << 20, After: 300 << 20, Took: 1500 * time.Millisecond, Files: []queue.CompactedFile{
		{Name: "gen-000002.db", Before: 256 << 20, After: 256 << 20, Needed: 200 << 20, Outcome: queue.Kept},
		{Name: "gen-000003.db", Before: 260 << 20, Needed: 40 << 20, Outcome: queue.Freed},
		{Name: "gen-000004.db", After: 44 << 20, Needed: 40 << 20, Outcome: queue.Grew},
		{Name: "gen-000005.db", Before: 64 << 10, After: 64 << 10, Outcome: queue.Busy},
		{Name: "gen-000006.db", Before: 64 << 10, After: 64 << 10, Outcome: queue.NoRoom},
		{Name: "gen-000007.db", Before: 64 << 10, After: 64 << 10, Outcome: queue.Stuck}}}
	r.files.Damaged = []queue.Aside{
		{File: "gen-000001.db.damaged-20251222T193000Z", At: now.Add(-720 * time.Hour), Why: "it is cut off: 4096 bytes of 65536", Closed: now.Add(-700 * time.Hour), Reason: "senders were asked"},
		{File: asideName, At: now.Add(-time.Hour), Why: "damaged page 7: is of no kind: 0x44", Recipients: 1200, Certainty: queue.About},
		{File: "gen-000002.db", InUse: true, At: now.Add(-time.Minute), Why: "one of its two meta pages cannot be read", Certainty: queue.Unknown},
	}
}

// inFiles runs a test with files, at a time that is always the same.
func inFiles(t *testing.T, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		files(r)
		r.serveInBubble()
		test(r)
	})
}

func TestDBViews(t *testing.T) {
	inFiles(t, func(r *rig) {
		r.files.Findings = []queue.Finding{
			{File: "gen-000002.db", ID: "374kdrw00000", What: "content of 374kdrw00000: content differs from its digest"},
			{File: "gen-000002.db", What: "damaged page 9: key \"\x1b]0;x\" is out of order"},
		}
		r.files.Sum = queue.Checked{Files: 2, Messages: 5726, Lines: 17000, Bytes: 200 << 20, Damaged: 2}
		r.files.Brought = queue.Salvage{Messages: 800, Recipients: 1100, Bytes: 99 << 20, Damaged: 1, Rebuilt: 2, Final: 3, Present: 4, Lines: 5000, Rest: 100, Certainty: queue.About}
		for _, view := range []struct {
			name string
			code int
			args []string
		}{
			{"db-stats", 0, []string{"db", "stats"}},
			{"db-check", 1, []string{"db", "check"}},
			{"db-salvage", 0, []string{"db", "salvage", asideName}},
			{"db-salvage-dry", 0, []string{"db", "salvage", asideName, "-n"}},
			{"db-compact", 0, []string{"db", "compact"}},
			{"db-compact-dry", 0, []string{"db", "compact", "-n"}},
			{"db-loss-dry", 0, []string{"db", "accept-loss", asideName, "--reason", "x", "-n"}},
		} {
			for _, width := range []int{80, 120} {
				got := r.terminal(width, "", view.args...)
				if got.code != view.code {
					t.Errorf("%s: exit %d, %q", view.name, got.code, got.errs)
				}
				golden(t, fmt.Sprintf("%s-%d", view.name, width), got.out)
			}
			golden(t, view.name+"-pipe", r.run(view.args...).out)
		}
		golden(t, "db-stats-json", r.run("db", "stats", "--json").out)
		golden(t, "db-compact-json", r.run("db", "compact", "--json").out)
		golden(t, "status-copy-80", r.terminal(80, "", "status").out)
		golden(t, "db-check-json", r.run("db", "check", "--json").out)
		got := r.run("db", "check")
		if got.code != 1 || !strings.Contains(got.errs, "E1505 damage_found: 2 things are damaged in 2 files, 5,726 messages, 200 MiB of content, 17,000 ledger lines") {
			t.Errorf("exit %d, %q", got.code, got.errs)
		}
		r.files.Findings, r.files.Sum.Damaged = r.files.Findings[:1], 1
		if got := r.run("db", "check"); got.code != 1 || !strings.Contains(got.errs, ": 1 thing is damaged") {
			t.Errorf("exit %d, %q", got.code, got.errs)
		}
		r.files.Findings, r.files.Sum.Damaged = nil, 0
		if got := r.terminal(80, "", "db", "check"); got.code != 0 || got.out != "" || !strings.Contains(got.errs, "All is sound: 2 files") {
			t.Errorf("exit %d, %q, %q", got.code, got.out, got.errs)
		}
	})
}

// TestSalvageWords: what is left decides what is said next.
func TestSalvageWords(t *testing.T) {
	inFiles(t, func(r *rig) {
		for _, test := range []struct {
			brought queue.Salvage
			says    string
			not     string
		}{
			{queue.Salvage{Messages: 1, Recipients: 1}, "Nothing of the file is missing.", "accept-loss"},
			{queue.Salvage{Messages: 1, Recipients: 1, Certainty: queue.About}, "Nobody is known to be missing", "Nothing of"},
			{queue.Salvage{Rest: 7}, "Still set aside: 7 recipients.\nTo give up the rest: mxkeep db accept-loss " + asideName, "release them"},
			{queue.Salvage{Rest: 7, Certainty: queue.Unknown}, "Still set aside: an unknown number of recipients.", "release them"},
		} {
			r.files.Brought = test.brought
			if got := r.run("db", "salvage", asideName); got.code != 0 || !strings.Contains(got.out, test.says) || strings.Contains(got.out, test.not) {
				t.Errorf("%+v: exit %d, %q", test.brought, got.code, got.out)
			}
		}
	})
}

func TestAcceptLossAsks(t *testing.T) {
	inFiles(t, func(r *rig) {
		closed := func() bool { return !r.files.Damaged[1].Closed.IsZero() }
		for _, test := range []struct {
			rule, input string
			terminal    bool
			args        []string
			code        int
			says        string
		}{
			{"no reason", "", false, []string{asideName}, 2, "E1106"},
			{"nobody to ask", "", false, []string{asideName, "--reason", "x"}, 2, "E1108"},
			{"the answer is no", "n\n", true, []string{asideName, "--reason", "x"}, 2, "E1109"},
			{"no such file", "", false, []string{"gen-000009.db", "--reason", "x", "--yes"}, 5, "E1406"},
			{"a file that is closed", "", false, []string{"gen-000001.db.damaged-20251222T193000Z", "--reason", "x", "--yes"}, 1, "E1503"},
			{"no file", "", false, []string{"--reason", "x"}, 2, "E1101"},
		} {
			args := append([]string{"db", "accept-loss"}, test.args...)
			got := r.with(screen{in: test.terminal, out: test.terminal, width: 80}, test.input, args...)
			if got.code != test.code || !strings.Contains(got.errs, test.says) || closed() {
				t.Errorf("%s: exit %d, %q, closed %t", test.rule, got.code, got.errs, closed())
			}
		}
		got := r.terminal(80, "y\n", "db", "accept-loss", asideName, "--reason", "ticket 7")
		if got.code != 0 || !closed() || !strings.Contains(got.errs, "Give up about 1,200 recipients in "+asideName+"? [y/N]") || !strings.Contains(got.out, "The file stays where it is") {
			t.Errorf("exit %d, %q, %q", got.code, got.out, got.errs)
		}
		got = r.run("db", "accept-loss", "gen-000002.db", "--reason", "looked at", "--yes")
		if got.code != 0 || !strings.Contains(got.out, "Given up: what may be missing of gen-000002.db.") {
			t.Errorf("exit %d, %q, %q", got.code, got.out, got.errs)
		}
		if got := r.run("db", "salvage", asideName); got.code != 1 || !strings.Contains(got.errs, "E1503") {
			t.Errorf("salvage of what is closed: exit %d, %q", got.code, got.errs)
		}
		if got := r.run("db", "salvage", asideName, "--json"); got.code != 1 || !json.Valid([]byte(got.errs)) {
			t.Errorf("%q", got.errs)
		}
	})
	r := newRig(t) // nobody answers
	for _, args := range [][]string{{"db", "stats"}, {"db", "check"}, {"db", "salvage", asideName}, {"db", "accept-loss", asideName, "--reason", "x"}} {
		if got := r.run(args...); got.code != 4 {
			t.Errorf("%v without a relay: exit %d, %q", args, got.code, got.errs)
		}
	}
}

// TestCheckFileAsProcess runs the check as serve does, on files that would end
// this process.
func TestCheckFileAsProcess(t *testing.T) {
	dir := t.TempDir()
	s, err := bolt.Open(dir, bolt.Options{GenerationSize: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Create(t.Context())
	if err == nil {
		err = d.Commit(t.Context(), queue.Acceptance{At: time.Now(), Envelope: queue.Envelope{Upstream: "exo", Recipients: []queue.Recipient{{ForwardPath: "a@b.example"}}}})
	}
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "gen-000001.db")
	check := func() error {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAsProcess$")
		cmd.Env = append(os.Environ(), "MXKEEP_TEST_ARGUMENTS=db check-file "+path)
		return judgeCheck(cmd.CombinedOutput())
	}
	if err := check(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 9000); err != nil {
		t.Fatal(err)
	}
	if err := check(); !errors.Is(err, bolt.ErrDamagedFile) || !strings.Contains(err.Error(), "it is cut off: 9000 bytes of") || strings.Count(err.Error(), "damaged file") != 1 {
		t.Errorf("cut off: %v", err)
	}
}

func TestJudgeCheck(t *testing.T) {
	end := func(script string) (output []byte, err error) {
		return exec.Command("sh", "-c", script).CombinedOutput()
	}
	for _, test := range []struct {
		script  string
		damaged bool
		says    string
	}{
		{"exit 0", false, ""},
		{"echo 'E1001 failed: damaged file: page 7: it is wrong'; echo 'see the log'; exit 1", true, "damaged file: page 7: it is wrong"},
		{"echo 'fatal error: fault'; echo '[signal SIGBUS: bus error]'; exit 2", true, "damaged file: fatal error: fault"},
		{"kill -BUS $$", true, "damaged file"},
		{"kill -KILL $$", false, "signal: killed"},
		{"kill -TERM $$", false, "signal: terminated"},
	} {
		err := judgeCheck(end(test.script))
		if errors.Is(err, bolt.ErrDamagedFile) != test.damaged || (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", test.script, err)
		}
	}
	if err := judgeCheck(exec.Command("/no/such/program").CombinedOutput()); err == nil || errors.Is(err, bolt.ErrDamagedFile) {
		t.Errorf("no program: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := checkFile(ctx, "x"); err == nil || errors.Is(err, bolt.ErrDamagedFile) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestListingSaysWhatItCouldNotRead(t *testing.T) {
	for sum, says := range map[admin.Summary]string{
		{Damaged: 1}:                        "1 message could not be read: mxkeep db check",
		{Shown: 3, Matching: 3, Damaged: 2}: "2 messages could not be read",
	} {
		if words := listSummary(sum); !strings.Contains(words, says) {
			t.Errorf("%q", words)
		}
	}
}
