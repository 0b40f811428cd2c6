package history

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/health"
)

const (
	trimMost   = 5000             // records that one transaction looks at
	shrinkMost = 200              // records of an upstream that one transaction removes because the file is too large
	thinEvery  = 10 * time.Minute // of old good samples of one address one is kept
	around     = 10 * time.Minute // before an incident nothing is thinned out
)

// trim makes the file as small as Options say, in short transactions. A failure
// is told by Trouble, and the next trim tries again.
func (f *File) trim(now time.Time) {
	incidents, err := f.Incidents()
	if err != nil {
		return
	}
	steps := []func(*bbolt.Tx) (more bool, err error){
		func(tx *bbolt.Tx) (bool, error) { return old(tx.Bucket(bucketChanges), now.Add(-f.options.Keep)) },
		func(tx *bbolt.Tx) (bool, error) {
			return each(tx, func(_ []byte, b *bbolt.Bucket) (bool, error) { return old(b, now.Add(-f.options.Keep)) })
		},
		func(tx *bbolt.Tx) (bool, error) {
			return each(tx, func(name []byte, b *bbolt.Bucket) (bool, error) {
				return thin(tx.Bucket(bucketMeta), name, b, now.Add(-f.options.Fine), incidents)
			})
		},
		func(tx *bbolt.Tx) (bool, error) { return false, forget(tx, incidents, now) },
		f.shrink,
	}
	for _, step := range steps {
		for more := true; more; {
			err := f.do(f.updating(func(tx *bbolt.Tx) (err error) {
				more, err = step(tx)
				return err
			}))
			if err != nil {
				f.noted(err)
				return
			}
		}
	}
}

// each does something with the samples of each upstream, and reports whether any has more of it.
func each(tx *bbolt.Tx, do func(name []byte, b *bbolt.Bucket) (bool, error)) (more bool, err error) {
	samples := tx.Bucket(bucketSamples)
	err = samples.ForEachBucket(func(name []byte) error {
		again, err := do(name, samples.Bucket(name))
		more = more || again
		return err
	})
	return more, err
}

// old removes records of before an instant.
func old(b *bbolt.Bucket, before time.Time) (more bool, err error) {
	return removed(b, func(at time.Time, _ []byte) (remove, end bool) { return true, !at.Before(before) }, nil)
}

// removed walks through at most trimMost records from a key on, and removes
// those that it is told to.
func removed(b *bbolt.Bucket, judge func(at time.Time, value []byte) (remove, end bool), from []byte) (more bool, err error) {
	var gone [][]byte
	cursor, looked := b.Cursor(), 0
	for key, value := cursor.Seek(from); key != nil; key, value = cursor.Next() {
		if looked++; looked > trimMost {
			more = true
			break
		}
		remove, end := judge(keyTime(key), value)
		if end {
			break
		}
		if remove {
			gone = append(gone, slices.Clone(key))
		}
	}
	for _, key := range gone {
		if err := b.Delete(key); err != nil {
			return false, err
		}
	}
	return more, nil
}

func keyTime(key []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(key)))
}

// thin keeps of the good samples of an address one for each thinEvery, outside
// of incidents. How far it came stands in meta.
func thin(meta *bbolt.Bucket, name []byte, b *bbolt.Bucket, before time.Time, incidents []health.Incident) (more bool, err error) {
	key := append([]byte("thinned "), name...)
	var until time.Time
	if text := meta.Get(key); text != nil {
		if err := json.Unmarshal(text, &until); err != nil {
			return false, err
		}
	}
	kept, from := map[string]time.Time{}, []byte{}
	if !until.IsZero() {
		from = timeKey(until, math.MaxUint64)
	}
	more, err = removed(b, func(at time.Time, value []byte) (bool, bool) {
		var s health.Signal
		if !at.Before(before) {
			return false, true
		}
		until = at
		if json.Unmarshal(value, &s) != nil || s.Class != health.OK || within(string(name), at, incidents) {
			return false, false
		}
		if last, seen := kept[s.Address]; seen && at.Sub(last) < thinEvery {
			return true, false
		}
		kept[s.Address] = at
		return false, false
	}, from)
	if err != nil || until.IsZero() {
		return false, err
	}
	text, err := json.Marshal(until)
	if err == nil {
		err = meta.Put(key, text)
	}
	return more, err
}

// within reports whether an instant is evidence of an incident.
func within(upstream string, at time.Time, incidents []health.Incident) bool {
	return slices.ContainsFunc(incidents, func(i health.Incident) bool {
		return i.Upstream == upstream && at.After(i.Began.Add(-around)) && (i.ClosedAt.IsZero() || at.Before(i.ClosedAt))
	})
}

// forget removes incidents that were closed long ago, and the oldest of too many.
func forget(tx *bbolt.Tx, incidents []health.Incident, now time.Time) error {
	closed := slices.DeleteFunc(slices.Clone(incidents), func(i health.Incident) bool { return i.State != health.IncidentClosed })
	for n, i := range closed {
		if len(closed)-n > maxIncidents || now.Sub(i.ClosedAt) > keepIncidents {
			if err := tx.Bucket(bucketIncidents).Delete([]byte(i.ID)); err != nil {
				return err
			}
		}
	}
	return nil
}

// shrink removes the oldest samples, and if there are none the oldest changes,
// while the file uses too much.
func (f *File) shrink(tx *bbolt.Tx) (more bool, err error) {
	free := int64(f.db.Stats().FreePageN+f.db.Stats().PendingPageN) * int64(f.db.Info().PageSize)
	if tx.Size()-free <= f.options.Bytes {
		return false, nil
	}
	oldest := func(_ []byte, b *bbolt.Bucket) (bool, error) {
		n := 0
		_, err := removed(b, func(time.Time, []byte) (remove, end bool) { n++; return true, n > shrinkMost }, nil)
		return n > 0, err
	}
	if more, err = each(tx, oldest); more || err != nil {
		return more, err
	}
	return oldest(nil, tx.Bucket(bucketChanges))
}
