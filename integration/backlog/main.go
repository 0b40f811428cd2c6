// Command backlog fills the folder of a store with mail that waits, for tests
// of a large queue. It does not wait for the disk before it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

func main() {
	b := queuetest.Backlog{Upstream: "exo", Domain: "corp.example"}
	folder := flag.String("folder", "", "of the store")
	flag.IntVar(&b.Messages, "messages", 1000, "how many")
	flag.IntVar(&b.Attempts, "attempts", 3, "of each, all put off")
	flag.IntVar(&b.Size, "size", 2048, "of each, in bytes")
	age := flag.Duration("age", 6*time.Hour, "of the oldest")
	flag.Parse()
	b.Since, b.Due = time.Now().Add(-*age), time.Now()
	if err := fill(*folder, b); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fill(folder string, b queuetest.Backlog) error {
	s, err := bolt.Open(folder, bolt.Options{Unsynced: true})
	if err != nil {
		return err
	}
	return errors.Join(queuetest.Fill(context.Background(), s, b), s.Close())
}
