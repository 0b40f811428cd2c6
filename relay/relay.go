// Package relay puts the parts together: it opens what is on disk and the
// ports, starts everything, and stops it in an order in which nothing is lost.
//
// Guarantee: when Run returns, no session, attempt or transaction runs any
// more. A part that fails ends the relay; the mail is on disk, and the next
// start goes on with it. A primary that is down is no failure.
//
// What is logged here, by event; the parts list theirs themselves.
//
//	relay.ready       mail is accepted: our name, the ports, the version
//	relay.stopping    the door closes; why
//	relay.failed      a part failed, which ends the relay
//	relay.stopped     all is closed
//	relay.descriptors fewer sessions are let in than limits.sessions says: the limit of open files allows no more
//	relay.unnotified  the service manager could not be told
//	health.changed    what is thought of a primary, and why
//	health.unsaved, health.forgotten, pause.forgotten
//	                  what the last stop left behind could not be written, or read
//	window.ended      a planned window is over
//	windows.unsaved, windows.forgotten
//	                  planned windows could not be written, or read
//	queue.purged      how many messages nobody wanted any more
//	queue.again       how many refused messages were given back to delivery, since the upstream is believed now
//	queue.stranded    there is mail for an upstream that is no longer configured
//	backup.made       where, how large, how many messages
//	backup.failed     why
//	backups.unsaved, backups.forgotten
//	                  the list of the last ones could not be written, or read
//	upstreams.unsaved, upstreams.forgotten
//	                  the names of upstreams could not be written, or read
//	requiretls.unsaved, requiretls.forgotten
//	                  whether a primary keeps REQUIRETLS could not be written, or read
//	relay.stuck       a part did not answer, so the watchdog is not fed
package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health/history"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/acme"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/dns"
	"github.com/mxkeep/mxkeep/relay/dsn"
	"github.com/mxkeep/mxkeep/relay/incident"
	"github.com/mxkeep/mxkeep/relay/outbound"
	"github.com/mxkeep/mxkeep/relay/recipients"
	"github.com/mxkeep/mxkeep/relay/state"
)

const purgeEvery = time.Hour

// Options say what to run.
type Options struct {
	Config  configs.Config // checked, as configs.Load returns it
	Text    []byte         // of the configuration, for backups
	Version string
	Manager string       // socket of the service manager, as NOTIFY_SOCKET names it; "" is none
	Log     *slog.Logger // default: nothing is logged
	// Watchdog is how often the service manager wants to hear that we live; 0 is never.
	Watchdog time.Duration
	// Sockets are ports that are open already. Open takes them, also if it fails.
	Sockets Sockets
	// Check reads a file of the store in a process of its own, see bolt.Options; nil is no check.
	Check func(ctx context.Context, path string) error
	// Internet has, for tests, what is to be different from the real one: ports,
	// roots, and networks that count as public.
	Internet outbound.InternetOptions
}

// Relay is a relay that has opened its files and ports. Make it with Open.
type Relay struct {
	config  configs.Config
	log     *slog.Logger
	text    []byte
	version string
	check   func(ctx context.Context, path string) error
	manager manager
	every   time.Duration // of the watchdog
	sockets Sockets       // until they have become listeners

	state      *state.File
	history    *history.File
	book       *incident.Book
	incidents  *incident.Keeper
	recipients *recipients.Domains
	store      *bolt.Store
	resolver   *dns.Resolver
	primaries  []*primary
	notifier   *dsn.Notifier
	wide       outbound.InternetOptions // what is different in tests
	internet   *outbound.Dispatcher     // of notifications to any domain; nil if they do not go there
	intake     *intake
	admin      *admin.Server
	listeners  []net.Listener // of SMTP
	control    net.Listener
	web        net.Listener // for /healthz and /readyz; nil if there is none
	vantage    net.Listener // where other relays may ask; nil if they may not
	secured    *tls.Config  // of vantage
	looks      []looker     // at what is around the primaries
	windows    *windows
	challenge  net.Listener // where a certificate authority asks; nil if there is none
	keeper     *acme.Keeper // of the certificate; nil if there is no authority

	running atomic.Bool
}

// Open opens files and ports, all or none. Nobody is answered before Run.
// Close what was opened if Run is not called.
func Open(o Options) (*Relay, error) {
	r := &Relay{config: o.Config, log: o.Log, text: o.Text, version: o.Version, check: o.Check, manager: manager(o.Manager), every: o.Watchdog, sockets: o.Sockets, wide: o.Internet}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	steps := []func() error{r.openFiles, r.openPrimaries, r.openSurroundings, r.openRecipients, r.bind, r.openIntake, r.listen}
	if r.config.User != "" { // ports need root, and files must not be made by it
		steps = slices.Concat([]func() error{r.bind, r.become}, steps[:4], steps[5:])
	}
	for _, part := range steps {
		if err := part(); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

func (r *Relay) openFiles() error {
	folder := r.config.Data
	err := makeFolder(folder)
	if err != nil {
		return err
	}
	// First the one that says whether another relay has the folder: state.ErrInUse.
	if r.state, err = state.Open(filepath.Join(folder, "state.db"), r.log); err != nil {
		return err
	}
	r.history = history.Open(filepath.Join(folder, "history.db"), historyOptions(r.config, r.log))
	r.book = incident.NewBook(r.history, r.log)
	options := storeOptions(r.config, r.log)
	options.Stops = r.book.Stops
	options.Check, options.Version, options.Progress = r.check, r.version, r.copying
	if r.store, err = bolt.Open(filepath.Join(folder, "queue"), options); err != nil {
		return err
	}
	r.resolver, err = dns.New(dnsOptions(r.config, r.state, r.log))
	return err
}

func (r *Relay) openPrimaries() error {
	r.notifier = r.newNotifier()
	if err := r.openInternet(); err != nil {
		return err
	}
	for _, u := range r.config.Upstreams {
		p, err := r.newPrimary(u)
		if err != nil {
			return err
		}
		r.primaries = append(r.primaries, p)
	}
	r.openWindows()
	r.incidents = r.newIncidents()
	return nil
}

// listen opens the control socket, and makes the admin server, which shows what there is.
func (r *Relay) listen() (err error) {
	if r.control, err = admin.Listen(r.config.Socket); err != nil {
		return err
	}
	if err := r.openVantage(); err != nil {
		return err
	}
	upstreams := []admin.Upstream{}
	for _, p := range r.primaries {
		upstreams = append(upstreams, p.shown())
	}
	r.admin = admin.New(admin.Options{Store: r.store, Files: r.store, Backups: r.backups(r.text), Upstreams: upstreams, Former: r.former(), Inbound: r.intake.shown(),
		Bounces: r.bounces(), Windows: r.windows, Incidents: r.incidents, Recipients: r.shownRecipients(), Keep: keep(r.config), Limits: limits(r.config), Reserve: r.config.Inbound.MinFree, Hostname: r.config.Hostname, Version: r.version, Started: time.Now(), Ready: r.ready})
	return nil
}

// ready returns nil when mail is accepted.
func (r *Relay) ready() error {
	if !r.running.Load() {
		return errors.New("not running: starting or stopping")
	}
	return r.store.Err()
}

// Run lets mail through until ctx ends, or a part fails, and closes the relay.
// First the door closes and what is under way comes to its end; then those go
// that watch and steer. The error is that of the part.
func (r *Relay) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	behind, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	mail, watch := &parts{stop: stop}, &parts{stop: stop}
	r.startWatching(behind, watch)
	r.startMail(ctx, mail)
	r.running.Store(true)
	r.log.Info("relay.ready", "hostname", r.config.Hostname, "smtp", r.addresses(), "socket", r.config.Socket, "version", r.version)
	r.tell("READY=1")

	<-ctx.Done()
	r.running.Store(false)
	r.log.Info("relay.stopping", "why", context.Cause(ctx))
	r.tell("STOPPING=1")
	mail.wait()
	end()
	watch.wait()
	failure := errors.Join(mail.failure, watch.failure, r.Close())
	if failure != nil {
		r.log.Error("relay.failed", "error", failure)
	}
	r.log.Info("relay.stopped")
	return failure
}

// startMail starts what moves mail.
func (r *Relay) startMail(ctx context.Context, mail *parts) {
	for _, l := range r.listeners {
		mail.run("SMTP on "+l.Addr().String(), func() error { return r.intake.Serve(ctx, l) })
	}
	for _, p := range r.primaries {
		mail.run("deliveries to "+p.name, func() error { return p.dispatcher.Run(ctx) })
		mail.run("probes of "+p.name, func() error { p.prober.Run(ctx); return nil })
	}
	for _, l := range r.looks {
		mail.run(l.name, func() error { l.prober.Run(ctx); return nil })
	}
	if r.internet != nil {
		mail.run("deliveries to the Internet", func() error { return r.internet.Run(ctx) })
	}
	mail.run("store", func() error {
		select {
		case <-r.store.Failed():
			return r.store.Err()
		case <-ctx.Done():
			return nil
		}
	})
	mail.run("purge", func() error { return r.purge(ctx) })
	mail.run("second attempts", func() error { return r.again(ctx) })
	if r.keeper != nil {
		mail.run("certificate", func() error { r.keeper.Run(ctx); return nil })
	}
	if r.every > 0 {
		mail.run("watchdog", func() error { r.watchdog(ctx, r.every); return nil })
	}
}

// startWatching starts what watches and steers.
func (r *Relay) startWatching(ctx context.Context, watch *parts) {
	for _, p := range r.primaries {
		watch.run("health of "+p.name, func() error { p.monitor.Run(ctx); return nil })
		changed, unsubscribe := p.monitor.Changed() // before anybody observes: the first probe counts as well
		last := p.monitor.Status()
		watch.run("changes of "+p.name, func() error { defer unsubscribe(); p.follow(ctx, last, changed); return nil })
	}
	watch.run("planned windows", func() error { r.windows.Run(ctx); return nil })
	watch.run("history", func() error { r.history.Run(ctx); return nil })
	watch.run("incidents", func() error { r.incidents.Run(ctx); return nil })
	watch.run("expiry", func() error { r.incidents.WatchExpiry(ctx); return nil })
	watch.run("recipients", func() error { r.recipients.Run(ctx); return nil })
	watch.run("control socket", func() error { return r.admin.Serve(ctx, r.control) })
	watch.run("rates", func() error { r.admin.Watch(ctx); return nil })
	if r.vantage != nil {
		watch.run("views for other relays", func() error {
			return r.admin.ServeVantage(ctx, r.vantage, r.secured, r.config.Admin.Vantage.TokenFile)
		})
	}
	if r.web != nil {
		watch.run("HTTP", func() error { return r.admin.ServeProbes(ctx, r.web) })
	}
}

// purge removes from time to time what nobody wants any more.
func (r *Relay) purge(ctx context.Context) error {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		purged, err := r.store.Purge(context.WithoutCancel(ctx), time.Now())
		if err != nil {
			return err
		}
		if purged > 0 {
			r.log.Info("queue.purged", "messages", purged)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (r *Relay) addresses() (all []string) {
	for _, l := range r.listeners {
		all = append(all, l.Addr().String())
	}
	return all
}

// Close closes files and ports. Run does it by itself.
func (r *Relay) Close() error {
	var all []error
	_ = r.sockets.Close() // there are none once they have become listeners
	for _, l := range append(append([]net.Listener(nil), r.listeners...), r.control, r.web, r.vantage, r.challenge) {
		if l != nil {
			_ = l.Close() // whoever served it has closed it
		}
	}
	for _, p := range r.primaries {
		p.upstream.Close()
	}
	if r.keeper != nil {
		r.keeper.Close()
	}
	if r.store != nil {
		all = append(all, r.store.Close())
	}
	if r.history != nil {
		all = append(all, r.history.Close())
	}
	if r.state != nil {
		all = append(all, r.state.Close())
	}
	return errors.Join(all...)
}

// parts run until they are told to end. The first that fails ends all.
type parts struct {
	stop    context.CancelCauseFunc
	running sync.WaitGroup
	failing sync.Once
	failure error // of the first that failed, also while all end; to be read after wait
}

func (p *parts) run(name string, do func() error) {
	p.running.Go(func() {
		if err := do(); err != nil {
			p.failing.Do(func() {
				p.failure = fmt.Errorf("%s: %w", name, err)
				p.stop(p.failure)
			})
		}
	})
}

func (p *parts) wait() { p.running.Wait() }
