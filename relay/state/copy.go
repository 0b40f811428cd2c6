package state

import (
	"io"

	"go.etcd.io/bbolt"
)

// Copy writes the whole file as it is at one instant, while it is in use.
func (f *File) Copy(w io.Writer) error {
	return plain(f.db.View(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(w)
		return err
	}))
}
