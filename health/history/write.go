package history

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/health"
)

const (
	writeAfter = 5 * time.Second // that a sample may wait; a change is written at once
	writeMost  = 512             // events in one transaction
	trimEvery  = time.Hour
	goodEvery  = 10 * time.Second // of accepted messages one such signal is enough
)

// Signal records a signal. It never waits.
func (f *File) Signal(s health.Signal) { f.put(event{signal: s}) }

// Change records a change. It never waits.
func (f *File) Change(c health.Change) { f.put(event{change: &c}) }

func (f *File) put(e event) {
	if f.db == nil {
		return
	}
	select {
	case f.events <- e:
	default:
		f.lost.Add(1)
	}
}

// Run writes what was recorded, and trims the file, until ctx ends. It is to be
// called once; Close writes what is left.
func (f *File) Run(ctx context.Context) {
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	f.trim(time.Now())
	w := &f.writer
	for {
		select {
		case <-ctx.Done():
			w.flush()
			return
		case e := <-f.events:
			w.add(e)
			w.gather(ctx)
			w.flush()
		case <-trim.C:
			f.trim(time.Now())
		}
	}
}

// writer gathers events for one transaction. Only Run touches it, and then Close.
type writer struct {
	file  *File
	batch []event
	good  map[string]time.Time // the last accepted message that is a sample, by upstream
}

// gather waits for more events, unless one is urgent.
func (w *writer) gather(ctx context.Context) {
	timer := time.NewTimer(writeAfter)
	defer timer.Stop()
	for len(w.batch) > 0 && len(w.batch) < writeMost && !w.urgent() {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case e := <-w.file.events:
			w.add(e)
		}
	}
}

func (w *writer) urgent() bool { return w.batch[len(w.batch)-1].change != nil }

// take fills the batch with what waits, and reports whether there is anything.
func (w *writer) take() bool {
	for len(w.batch) < writeMost {
		select {
		case e := <-w.file.events:
			w.add(e)
		default:
			return len(w.batch) > 0
		}
	}
	return true
}

// add takes an event, unless it is one of many alike.
func (w *writer) add(e event) {
	s := e.signal
	if e.change == nil && s.Class == health.OK && (s.Source == health.SourceAttempt || s.Source == health.SourcePassage) {
		if last := w.good[s.Upstream]; s.At.Sub(last).Abs() < goodEvery {
			return
		}
		w.good[s.Upstream] = s.At
	}
	w.batch = append(w.batch, e)
}

func (w *writer) flush() {
	if len(w.batch) == 0 {
		return
	}
	batch := w.batch
	w.batch = nil
	err := w.file.do(w.file.updating(func(tx *bbolt.Tx) error {
		for _, e := range batch {
			if err := write(tx, e); err != nil {
				return err
			}
		}
		return nil
	}))
	w.file.noted(err)
	if err != nil {
		w.file.lost.Add(int64(len(batch)))
	}
}

func write(tx *bbolt.Tx, e event) error {
	bucket, at, value := tx.Bucket(bucketChanges), time.Time{}, any(e.change)
	if e.change != nil {
		at = e.change.At
	} else {
		var err error
		if bucket, err = tx.Bucket(bucketSamples).CreateBucketIfNotExists([]byte(e.signal.Upstream)); err != nil {
			return err
		}
		at, value = e.signal.At, e.signal
	}
	n, err := bucket.NextSequence()
	if err != nil {
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return bucket.Put(timeKey(at, n), text)
}

// PutIncident writes an incident. It is on disk when nil is returned.
func (f *File) PutIncident(i health.Incident) error {
	text, err := json.Marshal(i)
	if err == nil {
		err = f.do(f.updating(func(tx *bbolt.Tx) error { return tx.Bucket(bucketIncidents).Put([]byte(i.ID), text) }))
	}
	if !errors.Is(err, ErrOff) {
		f.noted(err)
	}
	return err
}
