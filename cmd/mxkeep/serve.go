package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay"
	"github.com/spf13/cobra"
)

func newServe(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the relay until it is told to stop (SIGTERM or SIGINT)",
		Long: "Runs the relay in the foreground and logs to standard error. When it is told to stop, it lets mail that is\n" +
			"being received or delivered come to its end first.\n\n" +
			"If the disk fails, senders that wait are told to try again, nothing more is accepted, and the relay ends with\n" +
			"exit code 74. It may be started again at once, as a service manager does: only that shows what was kept.",
		Example: "  mxkeep serve --config /etc/mxkeep/mxkeep.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file := a.configFile()
			if file == "" {
				return usage("no configuration file: say --config FILE, or set MXKEEP_CONFIG")
			}
			config, err := configs.Load(file)
			if err != nil {
				return err
			}
			r, err := relay.Open(relay.Options{Config: config, Version: version, Log: newLog(a.errs, config.Log)})
			if err != nil {
				return named(fmt.Errorf("start: %w", err))
			}
			return named(r.Run(cmd.Context()))
		},
	}
}

// named gives an error of the relay its code, if the disk is to blame.
func named(err error) error {
	for _, reason := range []error{bolt.ErrFailed, syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		if errors.Is(err, reason) {
			return failure{codeDiskFailed, err.Error()}
		}
	}
	return err
}

// newLog makes a log with one line for each event.
func newLog(w io.Writer, c configs.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // the configuration was checked
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		switch {
		case len(groups) > 0:
		case a.Key == slog.MessageKey:
			a.Key = "event"
		case a.Key == slog.LevelKey:
			a.Value = slog.StringValue(strings.ToLower(a.Value.String()))
		case a.Key == slog.TimeKey:
			a.Value = slog.TimeValue(a.Value.Time().UTC())
		}
		return a
	}}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
