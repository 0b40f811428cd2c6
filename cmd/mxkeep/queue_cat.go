package main

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func newQueueCat(a *app) *cobra.Command {
	var headers, raw, envelope bool
	cmd := &cobra.Command{
		Use:   "cat ID",
		Short: "The content of one message; the access is recorded in the ledger",
		Long: "The content of one message: its headers by default. On a pipe the stored bytes, exactly;\n" +
			"on a terminal nothing in them can reach it unescaped. The access is recorded in the ledger.",
		Example: "  mxkeep queue cat 7hq2m8x4kd3w\n" +
			"  mxkeep queue cat 7hq2m8x4kd3w --raw > message.eml",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if envelope {
				m, err := a.client().Message(cmd.Context(), args[0])
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
			part := "headers"
			if raw {
				part = "raw"
			}
			a.words("The access to the content of %s is recorded.", clean(args[0]))
			if !a.screen.out {
				return a.client().Content(cmd.Context(), args[0], part, a.out)
			}
			return a.catClean(cmd, args[0], part)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&headers, "headers", false, "the header section (the default)")
	f.BoolVar(&raw, "raw", false, "all bytes: the trace fields we added, then what was received")
	f.BoolVar(&envelope, "envelope", false, "the envelope as JSON; this is not recorded, no content is read")
	cmd.MarkFlagsMutuallyExclusive("headers", "raw", "envelope")
	return cmd
}

// catClean shows content on a terminal: line by line, escaped.
func (a *app) catClean(cmd *cobra.Command, id, part string) error {
	from, to := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := a.client().Content(cmd.Context(), id, part, to)
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
