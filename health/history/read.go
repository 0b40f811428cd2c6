package history

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/health"
)

// readMost is how many records one transaction reads.
const readMost = 500

// Samples lists the signals about an upstream from one instant to before
// another, in the order of time. A zero until is open.
func (f *File) Samples(ctx context.Context, upstream string, from, until time.Time) iter.Seq2[health.Signal, error] {
	return list[health.Signal](ctx, f, func(tx *bbolt.Tx) *bbolt.Bucket {
		return tx.Bucket(bucketSamples).Bucket([]byte(upstream))
	}, from, until)
}

// Changes lists the changes of an upstream, "" is all, from one instant to
// before another, in the order of time. A zero until is open.
func (f *File) Changes(ctx context.Context, upstream string, from, until time.Time) iter.Seq2[health.Change, error] {
	all := list[health.Change](ctx, f, func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketChanges) }, from, until)
	return func(yield func(health.Change, error) bool) {
		for c, err := range all {
			if (err != nil || upstream == "" || c.Upstream == upstream) && !yield(c, err) {
				return
			}
		}
	}
}

// list reads in short transactions, so that whoever reads slowly holds up nobody.
func list[T any](ctx context.Context, f *File, of func(*bbolt.Tx) *bbolt.Bucket, from, until time.Time) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		next := timeKey(from, 0)
		if from.IsZero() {
			next = []byte{}
		}
		for next != nil {
			var some []T
			err := ctx.Err()
			if err == nil {
				err = f.do(f.viewing(func(tx *bbolt.Tx) (err error) {
					some, next, err = read[T](of(tx), next, until)
					return err
				}))
			}
			for _, one := range some {
				if !yield(one, nil) {
					return
				}
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
		}
	}
}

// read reads some records, and says where the next begin; nil is that there are none.
func read[T any](bucket *bbolt.Bucket, from []byte, until time.Time) (some []T, next []byte, err error) {
	if bucket == nil {
		return nil, nil, nil
	}
	end := timeKey(until, 0)
	cursor := bucket.Cursor()
	for key, value := cursor.Seek(from); key != nil; key, value = cursor.Next() {
		switch {
		case !until.IsZero() && bytes.Compare(key, end) >= 0:
			return some, nil, nil
		case len(some) == readMost:
			return some, bytes.Clone(key), nil
		}
		var one T
		if err := json.Unmarshal(value, &one); err != nil {
			return some, nil, err
		}
		some = append(some, one)
	}
	return some, nil, nil
}

// Incidents lists all incidents, the oldest first.
func (f *File) Incidents() (all []health.Incident, err error) {
	err = f.do(f.viewing(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketIncidents).ForEach(func(_, value []byte) error {
			var one health.Incident
			err := json.Unmarshal(value, &one)
			all = append(all, one)
			return err
		})
	}))
	slices.SortStableFunc(all, func(a, b health.Incident) int { return a.Opened.Compare(b.Opened) })
	return all, err
}

// Copy writes the whole file as it is at one instant, while it is in use.
func (f *File) Copy(w io.Writer) error {
	return f.do(f.viewing(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(w)
		return err
	}))
}
