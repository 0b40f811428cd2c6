package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

const (
	killed     = syscall.SIGKILL
	terminated = syscall.SIGTERM
	lookEvery  = 50 * time.Millisecond // between two looks at the relay
)

// stage is where a script is played.
type stage struct {
	o      Options
	script Script
	began  time.Time
	report Report

	binary  string
	address string // of the relay
	primary *primary.Server
	relay   *child
	sender  *sending
	client  *admin.Client
}

// open starts the primary, the relay and the sender.
func (s *stage) open(ctx context.Context) error {
	var err error
	if s.binary, err = s.o.binary(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.o.Folder, 0o700); err != nil {
		return err
	}
	if s.primary, err = primary.Start(ctx, primary.Options{Addresses: []string{"127.0.0.2:0", "127.0.0.3:0"}, Hostname: PrimaryHost,
		Domains: []string{domain}, RequireTLS: true, Folder: s.path("primary")}); err != nil {
		return fmt.Errorf("simulated primary: %w", err)
	}
	if err := os.WriteFile(s.path("ca.pem"), s.primary.CertPEM(), 0o600); err != nil {
		return err
	}
	if s.address, err = freeAddress("127.0.0.4:0"); err != nil {
		return err
	}
	if err := os.WriteFile(s.path("mxkeep.yaml"), s.config(), 0o600); err != nil {
		return err
	}
	s.client = admin.NewClient(s.path("admin.sock"))
	addresses := s.primary.Addrs()
	fmt.Fprintf(s.o.Out, "A simulated Exchange Online on %s and %s, a relay on %s, a sender.\n", addresses[0], addresses[1], s.address)
	fmt.Fprintf(s.o.Out, "Intervals are shortened to seconds. Look at it yourself meanwhile: mxkeep --socket %s status\n\n", s.path("admin.sock"))
	if err := s.startRelay(ctx); err != nil {
		return err
	}
	var primaries []string
	for _, address := range addresses {
		primaries = append(primaries, address.String())
	}
	s.sender, err = startSender(s.binary, s.path("sender.log"), SenderOptions{Primaries: primaries, Relay: s.address,
		CAFile: s.path("ca.pem"), Journal: s.path("journal.jsonl"), Domain: domain, Every: every})
	return err
}

// freeAddress finds a port that nobody has. Loopback clients call from
// 127.0.0.1, so it stays free on other addresses.
func freeAddress(address string) (string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// startRelay starts the relay and waits until it accepts mail.
func (s *stage) startRelay(ctx context.Context) error {
	var err error
	if s.relay, err = start(s.binary, s.path("relay.log"), nil, nil, "serve", "--config", s.path("mxkeep.yaml")); err != nil {
		return err
	}
	return s.until(ctx, "relay that accepts mail", stepLimit, func(view) bool { return s.client.Ready(ctx) == nil })
}

// endSender lets the sender end: it makes no more messages and waits until all are taken.
func (s *stage) endSender(ctx context.Context) error {
	s.sender.stop()
	ctx, cancel := context.WithTimeoutCause(ctx, drainLimit, errors.New("the sender has mail that nobody takes"))
	defer cancel()
	select {
	case <-s.sender.ended:
		return s.sender.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// clear ends what still runs.
func (s *stage) clear() {
	if s.sender != nil {
		s.sender.stop()
		_ = s.sender.end(killed)
	}
	if s.relay != nil {
		_ = s.relay.end(killed)
	}
	if s.primary != nil {
		_ = s.primary.Close()
	}
}

// view is what is known at one instant.
type view struct {
	sender   Progress
	received int    // by the primary
	known    bool   // the relay answered
	state    string // of the upstream, as the relay sees it
	why      string
	relay    string // state of the relay
	held     int64  // messages in the relay's custody
}

func (s *stage) look(ctx context.Context) view {
	v := view{received: len(s.primary.Received())}
	if s.sender != nil {
		v.sender = *s.sender.progress.Load()
	}
	status, err := s.client.Status(ctx)
	if err != nil || status.Queue == nil || len(status.Upstreams) == 0 {
		return v
	}
	v.known, v.relay, v.held = true, status.State, status.Queue.Messages
	v.state, v.why = status.Upstreams[0].State, status.Upstreams[0].Why
	return v
}

func (v view) numbers() string {
	return fmt.Sprintf("%4d made   %4d at the primary   %4d held   %s", v.sender.Written, v.received, v.held, v.relay)
}

// until looks until what is expected has come.
func (s *stage) until(ctx context.Context, expected string, limit time.Duration, come func(view) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no %s within %s", expected, limit))
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !come(s.look(ctx)) {
		if err := s.relay.dead(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// tell writes one line.
func (s *stage) tell(event, words string) {
	at := time.Since(s.began).Round(time.Second)
	fmt.Fprintf(s.o.Out, "%02d:%02d  %-9s %s\n", int(at.Minutes()), int(at.Seconds())%60, event, smtp.Printable(words))
}

// unmarked lists those of the duplicates that no line of the relay's ledger calls possible.
func (s *stage) unmarked(ctx context.Context, duplicates []string) ([]string, error) {
	unmarked := []string{}
	for _, id := range duplicates {
		marked := false
		err := s.client.Trace(ctx, id, 100, func(e admin.Entry) error {
			for _, result := range e.Results {
				marked = marked || result.MaybeDuplicate
			}
			return nil
		}, func(admin.Message) error { return nil })
		if err != nil {
			return nil, err
		}
		if !marked {
			unmarked = append(unmarked, id)
		}
	}
	return unmarked, nil
}

// config is the relay's configuration: the defaults, but for intervals that people can wait for.
func (s *stage) config() []byte {
	var hosts []string
	for _, address := range s.primary.Addrs() {
		hosts = append(hosts, `"`+address.String()+`"`)
	}
	return fmt.Appendf(nil, demoConfig, s.path("data"), s.path("admin.sock"), s.address, domain, strings.Join(hosts, ", "), PrimaryHost, s.path("ca.pem"))
}
