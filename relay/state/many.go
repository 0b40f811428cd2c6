package state

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"
)

// Change puts values, and deletes keys, of one owner in one transaction.
func (f *File) Change(owner string, put map[string]any, remove []string) error {
	texts := make(map[string][]byte, len(put))
	for key, value := range put {
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("state %s/%s: %w", owner, key, err)
		}
		texts[key] = text
	}
	return f.named(owner, "*", f.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte(owner))
		if err != nil {
			return err
		}
		for _, key := range remove {
			if err := bucket.Delete([]byte(key)); err != nil {
				return err
			}
		}
		for key, text := range texts {
			if err := bucket.Put([]byte(key), text); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Each calls each with every key of an owner and its value as JSON, in the order
// of the keys, until it returns an error. It must not keep the value, nor use the file.
func (f *File) Each(owner string, each func(key string, value []byte) error) error {
	return f.named(owner, "*", f.db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(owner))
		if bucket == nil {
			return nil
		}
		return bucket.ForEach(func(key, value []byte) error { return each(string(key), value) })
	}))
}
