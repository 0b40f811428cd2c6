package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0 if it has no place in the file
	Key          string // like upstreams[0].tls.policy; "" is the file as a whole
	Message      string // what is wrong
	Next         string // what to do
}

// String is the problem in one line.
func (p Problem) String() string {
	text := p.File
	if p.Line > 0 {
		text += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	if p.Key != "" {
		text += ": " + p.Key
	}
	text = strings.TrimPrefix(text+": "+p.Message, ": ")
	if p.Next != "" {
		text += ". " + p.Next
	}
	return text
}

// Problems are all the problems of a configuration, in the order of the file.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// sorted brings problems into the order of the file, and makes nil an error without problems.
func (p Problems) sorted() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p
}

// report takes note of what is wrong with the value at a path, and of the next step.
type report func(path, message, next string)
