package main

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/state"
	"github.com/spf13/cobra"
)

func newServe(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the relay until it is told to stop (SIGTERM or SIGINT)",
		Long: "Runs the relay in the foreground and logs to standard error. When it is told to stop, it lets mail that is\n" +
			"being received or delivered come to its end first; told a second time, it ends at once, and no accepted mail\n" +
			"is lost. A service manager that sets NOTIFY_SOCKET is told when mail is accepted (Type=notify).\n\n" +
			"If the disk fails, senders that wait are told to try again, nothing more is accepted, and the relay ends with\n" +
			"exit code 74. It may be started again at once, as a service manager does: only that shows what was kept.\n\n" +
			"Files of an older version are copied and then changed, see mxkeep help upgrade. Files of a newer one are left\n" +
			"as they are, and the relay ends with exit code 78.",
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
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			r, err := relay.Open(relay.Options{Config: config, Text: text, Version: version, Manager: a.env("NOTIFY_SOCKET"), Log: newLog(a.errs, config.Log), Check: checkFile})
			if err != nil {
				return failure{whyNotStarted(err), "the relay cannot start: " + err.Error()}
			}
			err = r.Run(cmd.Context())
			if diskFailed(err) {
				return failure{codeDiskFailed, err.Error()}
			}
			return err
		},
	}
}

// diskFailed reports whether the disk is why the relay has ended, or cannot start.
func diskFailed(err error) bool {
	for _, reason := range []error{bolt.ErrFailed, syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// whyNotStarted is the code of an error of relay.Open.
func whyNotStarted(err error) string {
	listening := &net.OpError{}
	switch port := errors.As(err, &listening) && listening.Op == "listen"; {
	case errors.Is(err, admin.ErrInUse), errors.Is(err, state.ErrInUse):
		return "already_running"
	case port && errors.Is(err, syscall.EADDRINUSE):
		return "port_in_use"
	case port && errors.Is(err, syscall.EACCES):
		return "port_not_allowed"
	case port && errors.Is(err, syscall.EADDRNOTAVAIL):
		return "address_not_ours"
	case errors.Is(err, bolt.ErrNewer):
		return codeNewerFormat
	case errors.Is(err, bolt.ErrNoRoom):
		return "no_room_for_copy"
	case diskFailed(err):
		return codeDiskFailed
	}
	return "start_failed"
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
