package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// every calls do with each command of the tree.
func every(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, below := range cmd.Commands() {
		every(below, do)
	}
}

func TestHelpFitsANarrowScreen(t *testing.T) {
	r := newRig(t)
	root := newRoot(&app{env: func(string) string { return "" }})
	var pages [][]string
	every(root, func(cmd *cobra.Command) {
		if !cmd.Hidden {
			pages = append(pages, append(strings.Fields(cmd.CommandPath())[1:], "--help"))
		}
	})
	for _, name := range append([]string{errorsTopic}, topics...) {
		pages = append(pages, []string{"help", name})
	}
	for _, page := range pages {
		for line := range strings.Lines(r.run(page...).out) {
			// a hint may be pasted: it is one line
			if line = strings.TrimRight(line, "\n"); cellWidth(line) > helpWidth && page[len(page)-1] != errorsTopic {
				t.Errorf("%v: %d columns: %s", page, cellWidth(line), line)
			}
		}
	}
}

func TestEveryPageIsListed(t *testing.T) {
	files, err := guide.ReadDir("help")
	if err != nil || len(files) != len(topics) {
		t.Errorf("%d pages, %d topics, %v", len(files), len(topics), err)
	}
	for _, name := range topics {
		if !strings.HasPrefix(topic(name), "# ") {
			t.Errorf("%s has no title", name)
		}
	}
}

var (
	advised = regexp.MustCompile("(?m)(?:^ {4}(?:.* \\| )?|`)(mxkeep [^`\n]*)")
	word    = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
)

// TestAdviceCanBeRun parses every command line that the guide and the README name.
func TestAdviceCanBeRun(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"README": string(readme)}
	for _, name := range topics {
		texts[name] = topic(name)
	}
	lines := 0
	for name, text := range texts {
		for _, found := range advised.FindAllStringSubmatch(text, -1) {
			line, _, _ := strings.Cut(found[1], "   ") // an explanation follows
			lines++
			var words []string
			for _, w := range word.FindAllString(line, -1) {
				if w == "|" || w == ">" || w == "#" {
					break
				}
				words = append(words, strings.Trim(w, `'"`))
			}
			root := newRoot(&app{env: func(string) string { return "" }})
			root.InitDefaultHelpCmd()
			cmd, rest, err := root.Find(words[1:])
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err == nil && cmd.Name() != "help" {
				err = cmd.ValidateArgs(cmd.Flags().Args())
			}
			if asked := cmd.Flags().Args(); err == nil && cmd.Name() == "help" && len(asked) == 1 && asked[0] != errorsTopic && !slices.Contains(topics, asked[0]) {
				t.Errorf("%s: %q: no such topic", name, line)
			}
			if err != nil {
				t.Errorf("%s: %q: %v", name, line, err)
			}
		}
	}
	if lines < 30 {
		t.Errorf("only %d command lines were found", lines)
	}
}
