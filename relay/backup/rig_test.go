package backup

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/state"
)

// rig is the data folder of a relay, open.
type rig struct {
	t      testing.TB
	dir    string // above the data folder
	store  *bolt.Store
	state  *state.File
	source Source
}

func newRig(t testing.TB, dir string) *rig {
	t.Helper()
	r := &rig{t: t, dir: dir}
	data := filepath.Join(dir, "data")
	err := os.MkdirAll(data, 0o700)
	if err == nil {
		r.state, err = state.Open(filepath.Join(data, stateName), slog.New(slog.DiscardHandler))
	}
	if err == nil {
		r.store, err = bolt.Open(filepath.Join(data, queueName), bolt.Options{GenerationSize: 1 << 20})
	}
	if err != nil {
		t.Fatal(err)
	}
	r.source = Source{Data: data, Store: r.store, State: r.state, Config: []byte("hostname: mx2.corp.example\n"), Version: "0.1.0"}
	t.Cleanup(func() { r.close() })
	return r
}

func (r *rig) close() {
	r.t.Helper()
	if r.store == nil {
		return
	}
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
	if err := r.state.Close(); err != nil {
		r.t.Error(err)
	}
	r.store = nil
}

// accept accepts messages of some size.
func (r *rig) accept(n, size int) (ids []queue.ID) {
	r.t.Helper()
	for i := range n {
		d, err := r.store.Create(context.Background())
		if err == nil {
			_, err = io.WriteString(d, fmt.Sprintf("%d %s\r\n", i, strings.Repeat("x", size)))
		}
		if err == nil {
			err = d.Commit(context.Background(), queue.Acceptance{At: time.Now().UTC(), MessageID: fmt.Sprintf("<%d@client.example>", i), Lifetime: queue.DefaultLifetime,
				Envelope: queue.Envelope{Upstream: "exo", ReversePath: "alice@client.example", Recipients: []queue.Recipient{{ForwardPath: "bob@corp.example"}}}})
		}
		if err != nil {
			r.t.Fatal(err)
		}
		ids = append(ids, d.ID())
	}
	return ids
}

func nobody(int64, int64) {}

// make makes a backup, which must succeed.
func (r *rig) make(name string) (dir string, m Manifest) {
	r.t.Helper()
	dir = filepath.Join(r.dir, name)
	m, err := r.source.Make(context.Background(), dir, nobody)
	if err != nil {
		r.t.Fatal(err)
	}
	return dir, m
}

// verified opens a backup that must be sound.
func verified(t testing.TB, dir string) *Backup {
	t.Helper()
	b, err := Open(context.Background(), dir, nil, func(f queue.Finding) error { t.Errorf("found %+v", f); return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// held opens a restored queue and counts what is held.
func held(t testing.TB, data string) (stats queue.Stats, lines int) {
	t.Helper()
	s, err := bolt.Open(filepath.Join(data, queueName), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if stats, err = s.Stats(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, err := range s.Ledger(context.Background(), queue.LedgerFilter{Events: []queue.Event{queue.Accepted}}) {
		if err != nil {
			t.Fatal(err)
		}
		lines++
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return stats, lines
}
