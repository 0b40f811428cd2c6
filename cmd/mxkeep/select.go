package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// filters are the flags that choose messages: the fields of queue.ParseCondition.
var filters = []struct{ name, value, short string }{
	{"state", "s,...", "in one of these states: see mxkeep help states"},
	{"from", "PAT", "reverse-path; <> is the null reverse-path"},
	{"to", "PAT", "a recipient"},
	{"domain", "PAT", "domain of a recipient"},
	{"client", "IP|CIDR", "address of the client that gave it to us"},
	{"older", "2h", "accepted longer ago (also 3d)"},
	{"newer", "10m", "accepted more recently"},
	{"next", "'<15m'", "time until the next attempt"},
	{"expires", "'<12h'", "time until it expires"},
	{"size", "'>10M'", "size in bytes, K, M or G"},
	{"attempts", "'>=3'", "number of attempts"},
	{"reply", "'451*'", "last reply: three digits, or a pattern for the whole"},
	{"enhanced", "PAT", "enhanced status code of the last reply: 4.7.500"},
	{"message-id", "'<..>'", "Message-ID field"},
}

// selection is what was chosen on the command line.
type selection struct {
	where      []string
	negate     bool
	all        bool
	beginnings bool // the beginning of an id will do
}

// selectFlags gives a command the flags that choose messages.
func selectFlags(cmd *cobra.Command, s *selection) {
	f := cmd.Flags()
	for _, filter := range filters {
		f.Var(ruleFlag{s, filter.name, filter.value}, filter.name, filter.short)
	}
	f.Var((*notFlag)(s), "not", "negate the next flag")
	f.Lookup("not").NoOptDefVal = "true"
	f.BoolVar(&s.all, "all", false, "every message")
	cmd.Long += filterHelp()
	_ = cmd.RegisterFlagCompletionFunc("state", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var words []string
		for _, state := range queue.States() {
			words = append(words, state.String())
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	})
}

// ruleFlag appends a rule whenever it is set, so that the order of the flags is kept for --not.
type ruleFlag struct {
	s          *selection
	field, typ string
}

func (r ruleFlag) String() string { return "" }
func (r ruleFlag) Type() string   { return r.typ }

func (r ruleFlag) Set(value string) error {
	rule := r.field + "=" + value
	if _, err := queue.ParseCondition(r.field, value); err != nil {
		return err
	}
	if r.s.negate {
		rule = "!" + rule
	}
	r.s.negate = false
	r.s.where = append(r.s.where, rule)
	return nil
}

// notFlag makes the next rule its opposite.
type notFlag selection

func (n *notFlag) String() string { return "" }
func (n *notFlag) Type() string   { return "bool" }

func (n *notFlag) Set(string) error {
	if n.negate {
		return fmt.Errorf("--not twice")
	}
	n.negate = true
	return nil
}

// choose reads the ids among the arguments and makes the selection of a request.
func (a *app) choose(ctx context.Context, s *selection, args []string) (admin.Select, error) {
	if s.negate {
		return admin.Select{}, usage("--not negates the flag after it, and there is none")
	}
	chosen := admin.Select{Where: s.where, All: s.all}
	ids, err := a.ids(ctx, args)
	if err != nil {
		return admin.Select{}, err
	}
	for i, id := range ids {
		if ids[i], err = s.whole(ctx, a, id); err != nil {
			return admin.Select{}, err
		}
	}
	if len(ids) > 0 {
		chosen.Where = append([]string{"id=" + strings.Join(ids, ",")}, chosen.Where...)
	}
	return chosen, nil
}

// whole finds the id that a word is the beginning of. Only verbs that read may
// be given a beginning: a change must name what it changes.
func (s *selection) whole(ctx context.Context, a *app, word string) (string, error) {
	if _, err := queue.ParseID(word); err == nil {
		return word, nil
	} else if !s.beginnings {
		return "", usage("%v", err)
	}
	m, err := a.client().Message(ctx, word)
	return m.ID, err
}

// ids collects arguments, and for "-" the first word of each line of standard input.
func (a *app) ids(ctx context.Context, args []string) ([]string, error) {
	var ids []string
	for _, arg := range args {
		if arg != "-" {
			ids = append(ids, arg)
			continue
		}
		var failed error
		words, err := await(ctx, func() (words []string) {
			words, failed = firstWords(a.in)
			return words
		})
		if err != nil {
			return nil, err
		}
		if failed != nil {
			return nil, fmt.Errorf("ids from standard input: %w", failed)
		}
		if ids = append(ids, words...); len(ids) == 0 { // "-" chose nothing: that must never read as "everything"
			return nil, failure{admin.CodeNoSelection, "no id on standard input"}
		}
	}
	return ids, nil
}

// firstWords reads the first word of each line, if there is one.
func firstWords(in io.Reader) (words []string, err error) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if line := strings.Fields(lines.Text()); len(line) > 0 {
			words = append(words, line[0])
		}
	}
	return words, lines.Err()
}

// pasted writes the selection as flags that can be pasted into a shell.
func pasted(chosen admin.Select) string {
	var words []string
	if chosen.All {
		words = append(words, "--all")
	}
	for _, rule := range chosen.Where {
		rule, not := strings.CutPrefix(rule, "!")
		field, value, _ := strings.Cut(rule, "=")
		if not {
			words = append(words, "--not")
		}
		if field == "id" {
			words = append(words, strings.Split(value, ",")...)
			continue
		}
		words = append(words, "--"+field, shell(value))
	}
	return strings.Join(words, " ")
}
