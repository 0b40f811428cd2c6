package bolt

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/mxkeep/mxkeep/queue"
)

// identityName is the file that says which store this is. Each generation says
// it, too, so that it can be made anew.
const identityName = "store.json"

// identity is the JSON of that file.
type identity struct {
	Format int `json:"format"`
	queue.Identity
	Version string `json:"version,omitempty"` // of mxkeep that has opened it last
}

// Identity says which store this is, wherever its files are copied to.
func (s *Store) Identity() queue.Identity { return s.identity }

// readIdentity reads the file; it has no ID if there is none, or none that can be read.
func readIdentity(dir string) (is identity, err error) {
	text, err := os.ReadFile(filepath.Join(dir, identityName))
	if errors.Is(err, os.ErrNotExist) {
		return identity{}, nil
	}
	if err != nil {
		return identity{}, err
	}
	if json.Unmarshal(text, &is) != nil || !isStoreID(is.ID) {
		return identity{}, nil
	}
	return is, nil
}

// writerOf is the version that has written the store, "" if it is not known.
func writerOf(dir string) string {
	is, err := readIdentity(dir)
	if err != nil {
		return ""
	}
	return is.Version
}

func isStoreID(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == 16
}

// refuseNewer refuses a store of a newer version before anything is touched.
func (s *Store) refuseNewer() error {
	is, err := readIdentity(s.dir)
	if err == nil && is.Format > format {
		return newerFormat(filepath.Join(s.dir, identityName), is.Format)
	}
	return err
}

// identify finds out which store this is, or gives it its identity, and notes
// the version.
func (s *Store) identify() error {
	is, err := readIdentity(s.dir)
	if err != nil {
		return err
	}
	was := is
	is.Format, is.Version = format, s.options.Version
	if is.ID == "" {
		if is.Identity, err = s.foundIdentity(); err != nil {
			return err
		}
	}
	s.identity = is.Identity
	if is == was {
		return nil
	}
	if err := writeJSON(filepath.Join(s.dir, identityName), is, (*os.File).Sync); err != nil {
		return err
	}
	return syncFolder(s.dir)
}

// foundIdentity is what the youngest generation that knows it says, or a new one.
func (s *Store) foundIdentity() (queue.Identity, error) {
	numbers, err := generationNumbers(s.dir)
	if err != nil {
		return queue.Identity{}, err
	}
	for _, n := range slices.Backward(numbers) {
		seen, err := peek(filepath.Join(s.dir, generationName(n)))
		if err != nil {
			return queue.Identity{}, err
		}
		var is queue.Identity
		if json.Unmarshal([]byte(seen.store), &is) == nil && isStoreID(is.ID) {
			s.options.Log.Warn("identity.found", "id", is.ID, "file", generationName(n))
			return is, nil
		}
	}
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return queue.Identity{ID: hex.EncodeToString(id), CreatedAt: now()}, nil
}

// inFile is the identity as it is in a generation.
func inFile(is queue.Identity) []byte {
	text, err := json.Marshal(is)
	if err != nil {
		panic(fmt.Sprint("identity: ", err)) // it has no value that JSON cannot write
	}
	return text
}
