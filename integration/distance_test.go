package integration

import (
	"net"
	"sync"
	"testing"
	"time"
)

// distance makes an address that leads to another one, as far away as a round
// trip takes. The bandwidth is not limited.
func distance(t testing.TB, to string, trip time.Duration) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.8:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			running.Go(func() { carry(near, far, trip/2) })
			running.Go(func() { carry(far, near, trip/2) })
		}
	})
	return l.Addr().String()
}

// parcel is what was read at once, and when it arrives.
type parcel struct {
	bytes []byte
	due   time.Time
}

// carry copies with a delay, until one of the two ends, which ends both.
func carry(from, to net.Conn, delay time.Duration) {
	way := make(chan parcel, 1000) // closed when nothing more comes
	go func() {
		defer close(way)
		for {
			bytes := make([]byte, 32<<10)
			n, err := from.Read(bytes)
			if err != nil {
				return
			}
			way <- parcel{bytes[:n], time.Now().Add(delay)}
		}
	}()
	for p := range way {
		<-time.After(time.Until(p.due))
		if _, err := to.Write(p.bytes); err != nil {
			break
		}
	}
	from.Close()
	to.Close()
	for range way { // the reader ends, now that from is closed
	}
}
