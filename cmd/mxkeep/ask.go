package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// asks reports whether there is a person who can be asked.
func (a *app) asks() bool { return a.screen.in && !a.flags.noInput }

// ask puts a question. No answer is an answer: "".
func (a *app) ask(ctx context.Context, question string) (string, error) {
	fmt.Fprint(a.errs, question)
	answer, err := await(ctx, func() string {
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		return strings.TrimSpace(line)
	})
	if err != nil {
		fmt.Fprintln(a.errs) // the cursor stands behind the question
	}
	return answer, err
}

func (a *app) askYes(ctx context.Context, question string) error {
	answer, err := a.ask(ctx, question)
	if err != nil {
		return err
	}
	switch strings.ToLower(answer) {
	case "y", "yes":
		return nil
	}
	return failure{"not_confirmed", "not confirmed"}
}

// await waits for what may take for ever, such as a read of the terminal. When
// ctx ends it is left alone, and ends with the process.
func await[T any](ctx context.Context, do func() T) (T, error) {
	done := make(chan T, 1)
	go func() { done <- do() }()
	select {
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	case result := <-done:
		return result, nil
	}
}
