package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var logged = regexp.MustCompile(`\.(?:Info|Warn|Error|Debug|Log)\((?:ctx, )?(?:level, |slog\.Level[A-Za-z]+, )?"([a-z_]+)(\.[a-z_]+)"`)

// TestEveryLogLineIsExplained: who greps for a line finds it in the guide.
func TestEveryLogLineIsExplained(t *testing.T) {
	page, events := topic("logs"), map[string]bool{}
	for _, root := range []string{"../../relay", "../../queue", "../../health", "."} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, found := range logged.FindAllStringSubmatch(string(source), -1) {
				event, of, what := found[1]+found[2], found[1], found[2]
				events[event] = true
				shared := (what == ".unsaved" || what == ".forgotten") && regexp.MustCompile(`(?m)\b`+of+`[,:]`).MatchString(page)
				if !shared && !regexp.MustCompile(`\b`+regexp.QuoteMeta(event)+`\b`).MatchString(page) {
					t.Errorf("%s: %s is not explained", path, event)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(events) < 90 {
		t.Errorf("only %d events found", len(events))
	}
}
