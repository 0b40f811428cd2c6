package admintest

import (
	"context"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// Backups are made as the test says.
type Backups struct {
	All   []admin.Backup // the newest first
	Fail  error
	Begun func(ctx context.Context, progress func(done, of int64)) error // nil is at once
}

var _ admin.Backups = (*Backups)(nil)

// Make makes the first of All, with another name.
func (b *Backups) Make(ctx context.Context, dir string, progress func(done, of int64)) (admin.Backup, error) {
	if b.Begun != nil {
		if err := b.Begun(ctx, progress); err != nil {
			return admin.Backup{}, err
		}
	}
	if b.Fail != nil {
		return admin.Backup{}, b.Fail
	}
	made := admin.Backup{Schema: admin.SchemaBackup}
	if len(b.All) > 0 {
		made = b.All[0]
	}
	made.Dir = dir
	return made, nil
}

// Made lists All.
func (b *Backups) Made() ([]admin.Backup, error) { return b.All, b.Fail }
