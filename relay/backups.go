package relay

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/backup"
	"github.com/mxkeep/mxkeep/relay/state"
)

// backupsOwner is the bucket of what is known of backups.
const backupsOwner = "backups"

// madeKept is how many backups are remembered.
const madeKept = 20

// backups makes backups of this relay, one at a time, and remembers them.
type backups struct {
	source backup.Source
	state  *state.File
	log    *slog.Logger
	busy   sync.Mutex
}

func (r *Relay) backups(config []byte) *backups {
	return &backups{state: r.state, log: r.log, source: backup.Source{Data: r.config.Data, Store: r.store, State: r.state, History: r.history.Copy,
		Config: config, Version: r.version, Reserve: r.config.Inbound.MinFree, Check: r.check}}
}

// Make makes a backup in a folder.
func (b *backups) Make(ctx context.Context, dir string, progress func(done, of int64)) (admin.Backup, error) {
	if !b.busy.TryLock() {
		return admin.Backup{}, &admin.Error{Schema: admin.SchemaError, Code: admin.CodeBackupBusy, Message: backup.ErrBusy.Error()}
	}
	defer b.busy.Unlock()
	m, err := b.source.Make(ctx, dir, progress)
	for wrong, code := range map[error]string{backup.ErrDestination: admin.CodeBadDestination, backup.ErrRoom: admin.CodeNoRoom} {
		if errors.Is(err, wrong) {
			return admin.Backup{}, &admin.Error{Schema: admin.SchemaError, Code: code, Message: err.Error()}
		}
	}
	if err != nil {
		b.log.Error("backup.failed", "folder", dir, "error", err)
		return admin.Backup{}, &admin.Error{Schema: admin.SchemaError, Code: admin.CodeBackupFailed, Message: err.Error()}
	}
	made := admin.Backup{Schema: admin.SchemaBackup, Dir: dir, BeganAt: admin.Time{Time: m.BeganAt}, MadeAt: admin.Time{Time: m.MadeAt},
		Seconds: m.TookSeconds, Files: len(m.Files), Size: m.Size(), Messages: m.Held(), Bytes: m.Bytes, Damaged: m.Damaged}
	b.log.Info("backup.made", "folder", dir, "bytes", made.Size, "messages", made.Messages, "took", time.Duration(made.Seconds*float64(time.Second)).String())
	b.remember(made)
	return made, nil
}

const madeKey = "made"

// remember adds one to the list. That it cannot be written does not unmake the backup.
func (b *backups) remember(made admin.Backup) {
	before, err := b.Made()
	if err != nil {
		b.log.Warn("backups.forgotten", "error", err)
	}
	all := append([]admin.Backup{made}, before...)
	if err := b.state.Put(backupsOwner, madeKey, all[:min(len(all), madeKept)]); err != nil {
		b.log.Warn("backups.unsaved", "error", err)
	}
}

// Made are the last backups, the newest first.
func (b *backups) Made() (made []admin.Backup, err error) {
	_, err = b.state.Get(backupsOwner, madeKey, &made)
	return made, err
}

// RestoreTarget is where a relay with this configuration keeps what it keeps.
// check reads a file of the store in a process of its own; nil is no check.
func RestoreTarget(c configs.Config, check func(ctx context.Context, path string) error, log *slog.Logger) backup.Target {
	options := storeOptions(c, log)
	options.Check = check
	return backup.Target{Data: c.Data, Store: options}
}
