package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// part is what of a message "queue cat" shows.
type part struct{ headers, raw, envelope bool }

func newQueueCat(a *app) *cobra.Command {
	var p part
	cmd := &cobra.Command{
		Use:         "cat ID",
		Annotations: map[string]string{hasFields: "of the envelope"},
		Short:       "The content of one message; the access is recorded in the ledger",
		Long: "The content of one message: its headers by default. On a pipe the stored bytes, exactly;\n" +
			"on a terminal, or with -o table, nothing in them is left unescaped. The access is recorded in the ledger.",
		Example: "  mxkeep queue cat 7hq2m8x4kd3w\n" +
			"  mxkeep queue cat 7hq2m8x4kd3w --raw > message.eml",
		Args: exactly("the id of a message"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.cat(cmd.Context(), args[0], p) },
	}
	f := cmd.Flags()
	f.BoolVar(&p.headers, "headers", false, "the header section (the default)")
	f.BoolVar(&p.raw, "raw", false, "all bytes: the trace fields we added, then what was received")
	f.BoolVar(&p.envelope, "envelope", false, "the envelope as JSON; no content is read")
	return cmd
}

// cat shows a part of a message.
func (a *app) cat(ctx context.Context, id string, p part) error {
	format, err := a.format()
	switch {
	case err != nil:
		return err
	case p.headers && p.raw, p.headers && p.envelope, p.raw && p.envelope:
		return usage("--headers, --raw and --envelope exclude each other")
	case p.envelope:
		return a.catEnvelope(ctx, id)
	case format == formatJSON, format == formatJSONL:
		return usage("content has no output as %s; the envelope has: --envelope", format)
	}
	name := "headers"
	if p.raw {
		name = "raw"
	}
	if a.screen.out || !a.exact() {
		err = a.catClean(ctx, id, name)
	} else {
		err = a.client().Content(ctx, id, name, a.out)
	}
	if err == nil {
		a.words("The access to the content of %s is recorded.", clean(id))
	}
	return err
}

// catEnvelope writes the envelope as JSON, whatever the format.
func (a *app) catEnvelope(ctx context.Context, id string) error {
	m, err := a.client().Message(ctx, id)
	if err != nil {
		return err
	}
	line, err := a.chosen(m)
	if err != nil {
		return err
	}
	_, err = a.out.Write(line)
	return err
}

// catClean shows content on a terminal: line by line, escaped.
func (a *app) catClean(ctx context.Context, id, part string) error {
	from, to := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := a.client().Content(ctx, id, part, to)
		to.CloseWithError(err)
		sent <- err
	}()
	shown := copyClean(a.out, from)
	from.CloseWithError(shown)
	if err := <-sent; err != nil {
		return err
	}
	return shown
}

// longestLine is where a line is broken that has no end.
const longestLine = 64 << 10

// copyClean copies text so that a terminal can show it: tabs stay, everything else that does not print is escaped.
func copyClean(w io.Writer, from io.Reader) error {
	in, out := bufio.NewReaderSize(from, longestLine), bufio.NewWriter(w)
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
			var parts []string
			for _, part := range strings.Split(text, "\t") {
				parts = append(parts, clean(part))
			}
			if _, failed := out.WriteString(strings.Join(parts, "\t") + "\n"); failed != nil {
				return failed
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return out.Flush()
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return errors.Join(err, out.Flush())
		}
	}
}
