package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/spf13/cobra"
)

func newDB(a *app) *cobra.Command {
	return group("db", "Look at, and mend, the files that mail is kept in",
		newDBCheck(a), newDBStats(a), newDBSalvage(a), newDBAcceptLoss(a), newDBExportLedger(a), newDBCompact(a), newDBMigrate(a), newDBCheckFile())
}

// maxCheckStack bounds the recursion of bbolt over pages that go in circles.
const maxCheckStack = 64 << 20

// newDBCheckFile is what the relay runs before it opens a file that may be
// damaged: reading it can end the process.
func newDBCheckFile() *cobra.Command {
	return &cobra.Command{
		Use:    "check-file PATH",
		Short:  "Read the structure of a file that no relay has open",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			debug.SetMaxStack(maxCheckStack)
			return bolt.CheckFile(args[0])
		},
	}
}

// checkFile runs check-file in a process of its own, which is this program once more.
func checkFile(ctx context.Context, path string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return judgeCheck(exec.CommandContext(ctx, self, "db", "check-file", path).CombinedOutput())
}

// maxCheckWords bounds what is kept of what a check says: a crash says much.
const maxCheckWords = 300

// judgeCheck says what the end of a check means: whatever ended it by itself is
// damage; who was killed has found nothing.
func judgeCheck(output []byte, err error) error {
	var ended *exec.ExitError
	if err == nil || !errors.As(err, &ended) {
		return err
	}
	if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signaled() && (status.Signal() == syscall.SIGKILL || status.Signal() == syscall.SIGTERM) {
		return fmt.Errorf("check-file: %w", err)
	}
	words, _, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
	words = strings.TrimPrefix(words, lookup("failed").number+" failed: ")
	words = strings.TrimPrefix(words, bolt.ErrDamagedFile.Error()+": ")
	return fmt.Errorf("%w: %.*s", bolt.ErrDamagedFile, maxCheckWords, clean(words))
}
