package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/cmd/mxkeep/demo"
)

// The demonstrations themselves run in the tests of the package demo and, with
// the built binary, in those of integration.

func TestDemoList(t *testing.T) {
	r := &rig{t: t}
	got := r.terminal(80, "", "demo", "--list")
	if got.code != 0 || got.errs != "" {
		t.Errorf("exit %d, %s", got.code, got.errs)
	}
	golden(t, "demo-list-80", got.out)
	if wide := r.run("demo", "--list"); strings.Count(wide.out, "\n") != len(demo.Scripts()) {
		t.Errorf("on a pipe each is one line:\n%s", wide.out)
	}
	var document scenarios
	got = r.run("demo", "--list", "--json")
	if err := json.Unmarshal([]byte(got.out), &document); err != nil || document.Schema != "mxkeep.demo.scenarios/1" || len(document.Scenarios) != len(demo.Scripts()) ||
		document.Scenarios[0].Name != demo.Scripts()[0].Name || document.Scenarios[0].About != demo.Scripts()[0].About {
		t.Errorf("%v: %s", err, got.out)
	}
}

func TestDemoUsage(t *testing.T) {
	used, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	for _, path := range []string{file, filepath.Join(used, "letter")} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args  string
		code  int
		words string
	}{
		{"demo --keep " + used, exitUsage, "E1101 usage: --keep " + used + ": the folder is not empty"},
		{"demo --keep " + file, exitFailed, "not a directory"},
		{"demo --scenario nonsense", exitUsage, `E1101 usage: --scenario: no scenario "nonsense"; there are 451-4.3.2, `},
		{"demo --list -o csv", exitUsage, "E1101 usage: this command has no output as csv"},
		{"demo --sender nonsense", exitUsage, "E1101 usage: --sender: invalid character"},
		{"demo --sender {}", exitFailed, "no such file"},
		{"demo now", exitUsage, "E1101 usage"},
	} {
		if got := (&rig{t: t}).run(strings.Fields(test.args)...); got.code != test.code || !strings.Contains(got.errs, test.words) || got.out != "" {
			t.Errorf("%s: exit %d, %s%s", test.args, got.code, got.errs, got.out)
		}
	}
	if left, err := os.ReadDir(used); err != nil || len(left) != 1 {
		t.Errorf("a folder that was refused: %v, %v", left, err)
	}
}

func TestDemoFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	folder, remove, err := demoFolder("")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "data"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	remove()
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	kept := filepath.Join(t.TempDir(), "a", "b")
	for range 2 { // missing, then empty
		if folder, remove, err = demoFolder(kept); err != nil || folder != kept {
			t.Fatalf("%s, %v", folder, err)
		}
		remove()
		if at, err := os.Stat(kept); err != nil || at.Mode().Perm() != 0o700 {
			t.Errorf("the folder to keep: %v, %v", at, err)
		}
	}

	t.Setenv("TMPDIR", "/nowhere")
	if _, _, err := demoFolder(""); err == nil {
		t.Error("a temporary folder nowhere")
	}
	a := &app{env: func(string) string { return "" }}
	if err := a.demo(context.Background(), demo.Options{}, ""); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("demo: %v", err)
	}
}
