package demo

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
)

const (
	killed    = syscall.SIGKILL
	lookEvery = 50 * time.Millisecond // between two looks at the relay
	maxSocket = 90                    // bytes of the path of a control socket
)

// stage is where a script is played.
type stage struct {
	o      Options
	script Script
	began  time.Time
	report Report

	binary  string
	address string // of the relay
	socket  string // of the relay
	lodging string // folder for the socket alone; "" if its path fits
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
	if err := s.placeSocket(); err != nil {
		return err
	}
	if err := os.WriteFile(s.path("mxkeep.yaml"), s.config(), 0o600); err != nil {
		return err
	}
	s.client = admin.NewClient(s.socket)
	s.introduce()
	if err := s.startRelay(ctx); err != nil {
		return err
	}
	var primaries []string
	for _, address := range s.primary.Addrs() {
		primaries = append(primaries, address.String())
	}
	s.sender, err = startSender(s.binary, s.path("sender.log"), SenderOptions{Primaries: primaries, Relay: s.address,
		CAFile: s.path("ca.pem"), Journal: s.path("journal.jsonl"), Domain: domain, Every: every})
	return err
}

// placeSocket chooses a path that a socket can have.
func (s *stage) placeSocket() (err error) {
	if s.socket = s.path("admin.sock"); len(s.socket) <= maxSocket {
		return nil
	}
	s.lodging, err = os.MkdirTemp("", "mxkeep-")
	s.socket = filepath.Join(s.lodging, "admin.sock")
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
	if s.relay, err = start(s.binary, s.path("relay.log"), nil, nil, "serve", "--config", s.path("mxkeep.yaml"), "--allow-root"); err != nil {
		return err
	}
	return s.until(ctx, "the relay to accept mail", stepLimit, func(view) bool { return s.client.Ready(ctx) == nil })
}

// endSender lets the sender end: it makes no more messages and waits until all are taken.
func (s *stage) endSender(ctx context.Context) error {
	s.sender.stop()
	return s.until(ctx, "the sender's last messages to be taken", drainLimit, func(view) bool { return s.sender.over() && s.sender.err == nil })
}

// clear ends what still runs, and takes the socket away.
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
	_ = os.Remove(s.socket) // a relay that was killed has left it
	if s.lodging != "" {
		_ = os.RemoveAll(s.lodging)
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

// numbers is the view for people.
func (v view) numbers() string {
	relay := "relay: " + v.relay
	if !v.known {
		relay = "relay: no answer"
	}
	return fmt.Sprintf("%-13s%-20s%-11s%s", fmt.Sprintf("%d written", v.sender.Written), fmt.Sprintf("%d at the primary", v.received),
		fmt.Sprintf("%d held", v.held), relay)
}

// until looks until what is expected has come. It ends with an error if a
// process has ended with one, or the relay at all.
func (s *stage) until(ctx context.Context, expected string, limit time.Duration, come func(view) bool) error {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		v := s.look(within)
		switch {
		case come(v):
			return nil
		case s.relay.over() && s.relay.err == nil:
			return fmt.Errorf("%s has ended", s.relay.name())
		case s.relay.over():
			return s.relay.failure()
		case s.sender != nil && s.sender.over() && s.sender.err != nil:
			return s.sender.failure()
		}
		select {
		case <-within.Done():
			return fmt.Errorf("waited %s in vain for %s (%s)", limit, expected, strings.Join(strings.Fields(v.numbers()), " "))
		case <-tick.C:
		}
	}
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
	return fmt.Appendf(nil, demoConfig, s.path("data"), s.socket, s.address, domain, strings.Join(hosts, ", "), PrimaryHost, s.path("ca.pem"))
}
