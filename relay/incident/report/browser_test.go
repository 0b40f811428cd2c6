package report

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestABrowserShowsAndPrintsIt opens the page without a network, and prints it.
func TestABrowserShowsAndPrintsIt(t *testing.T) {
	binary, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	r, _ := outage().build(t, Options{})
	page, err := HTML(r, Everybody)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "report.html")
	if err := os.WriteFile(file, page, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	run := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--proxy-server=127.0.0.1:1", "--enable-logging=stderr", "--user-data-dir=" + filepath.Join(dir, "profile")}, args...)
		browser := exec.CommandContext(ctx, binary, append(args, "file://"+file)...)
		browser.Stdout, browser.Stderr = &out, &errs
		if err := browser.Run(); err != nil {
			t.Fatalf("%v: %s", err, errs.String())
		}
		if strings.Contains(errs.String(), "CONSOLE") {
			t.Errorf("the browser complains: %s", errs.String())
		}
		return out.String()
	}
	shown := run("--dump-dom")
	for word, want := range map[string]int{"<svg": 3, "<h2>": 6, "<script": 0, "<polygon": 1, "<table": 5} {
		if got := strings.Count(shown, word); got != want {
			t.Errorf("%d of %s, want %d", got, word, want)
		}
	}
	pdf := filepath.Join(dir, "report.pdf")
	run("--print-to-pdf="+pdf, "--no-pdf-header-footer")
	text, err := os.ReadFile(pdf)
	if pages := bytes.Count(text, []byte("/Type /Page\n")); err != nil || pages < 2 || pages > 7 {
		t.Errorf("%d pages, %v", pages, err)
	}
}
