package watch

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// Control looks at targets that have nothing to do with a primary. If none is
// reached, it is our own network.
type Control struct {
	Targets []string // "host:port"; at port 25 a greeting is waited for
	Dialer  Dialer
}

// Look gives one signal: OK as soon as one target was reached.
func (c Control) Look(ctx context.Context) []health.Signal {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	found := make(chan health.Signal, len(c.Targets))
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for _, target := range c.Targets {
		running.Go(func() { found <- c.reach(inner, target) })
	}
	var last health.Signal
	for range c.Targets {
		if last = <-found; last.Class == health.OK {
			return []health.Signal{last}
		}
	}
	if over(ctx) {
		return nil
	}
	return []health.Signal{last}
}

// reach looks at one target.
func (c Control) reach(ctx context.Context, target string) health.Signal {
	return c.talk(ctx, target, strings.HasSuffix(target, ":25"))
}

// talk connects to a target, and waits for its greeting if it is to greet.
func (c Control) talk(ctx context.Context, target string, greets bool) health.Signal {
	s := begun(health.SourceControl, target, time.Now())
	s.Class, s.Phase = health.Outage, health.PhaseConnect
	conn, err := c.Dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		s.Phase, s.Reply = phaseOf(err), plain(err)
		return ended(s)
	}
	defer conn.Close()
	s.Address, s.SourceIP = conn.RemoteAddr().String(), hostOf(conn.LocalAddr())
	if s.Reply = "connected"; greets {
		s.Phase = health.PhaseBanner
		if s.Reply, err = greeting(ctx, conn); err != nil {
			s.Reply = plain(err)
			return ended(s)
		}
	}
	s.Class = health.OK
	return ended(s)
}

// greeting reads the first line of an SMTP server, and takes leave. Any reply
// shows that the network works.
func greeting(ctx context.Context, conn net.Conn) (string, error) {
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	line, err := bufio.NewReaderSize(conn, 1024).ReadSlice('\n')
	if err != nil {
		return "", errors.Join(ctx.Err(), err)
	}
	_, _ = conn.Write([]byte("QUIT\r\n")) // it has answered already
	return cut(string(line)), nil
}

func hostOf(a net.Addr) string {
	host, _, _ := net.SplitHostPort(a.String())
	return host
}
