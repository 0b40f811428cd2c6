package integration

import (
	bytesOf "encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// inFormat1 gives files the form that the first version wrote: without an
// identity, without counters by upstream, of trash and of what is done with,
// and without summaries beside them.
func inFormat1(t *testing.T, dir string) {
	t.Helper()
	inFormat(t, dir, 1)
	for _, path := range queueFiles(t, dir, "gen-*.db") {
		editFile(t, path, func(tx *bbolt.Tx) error {
			counters := tx.Bucket([]byte("counters"))
			record := counters.Get([]byte("account"))
			var values map[string]json.RawMessage
			if err := json.Unmarshal(record[5:], &values); err != nil {
				return err
			}
			for _, since := range []string{"upstreams", "trash", "done", "done_at", "damaged", "tx"} {
				delete(values, since)
			}
			body, err := json.Marshal(values)
			if err != nil {
				return err
			}
			sealed := bytesOf.BigEndian.AppendUint32([]byte{record[0]}, crc32.ChecksumIEEE(body))
			return errors.Join(counters.Put([]byte("account"), append(sealed, body...)), tx.Bucket([]byte("meta")).Delete([]byte("store")))
		})
	}
	for _, path := range append(queueFiles(t, dir, "gen-*.json"), filepath.Join(dir, "store.json"), filepath.Join(dir, "clean")) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// inFormat says another format in every file.
func inFormat(t *testing.T, dir string, n int) {
	t.Helper()
	for _, path := range queueFiles(t, dir, "*.db") {
		editFile(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{byte(n)}) })
	}
	for _, path := range append(queueFiles(t, dir, "gen-*.json"), filepath.Join(dir, "store.json")) {
		var values map[string]any
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &values)
		}
		if err == nil {
			values["format"] = n
			text, err = json.Marshal(values)
		}
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func editFile(t *testing.T, path string, act func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(act), db.Close()); err != nil {
		t.Fatal(err)
	}
}
