package dsn

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Store is what a Notifier needs of a queue.Store.
type Store interface {
	Create(ctx context.Context) (queue.Draft, error)
	Content(ctx context.Context, id queue.ID) (io.ReadCloser, error)
}

// Options say whom to tell, and how. The zero Options tell nobody.
type Options struct {
	Store     Store
	Via       string // upstream that takes notifications; "" is none: nobody is told
	Hostname  string
	From      string        // address of the From field; "" is MAILER-DAEMON at Hostname
	Delay     time.Duration // after which a sender is told that its mail waits; 0 is never
	Probation time.Duration // after a recovery, within which refusals are not believed
	Lifetime  time.Duration // of notifications
	PerSender int           // notifications for one reverse-path in an hour; 0 is no limit
	// Outages lists the times since from in which an upstream took no mail; nil: none is known.
	Outages func(upstream string, from time.Time) []Outage
	Log     *slog.Logger // default none
}

// Circumstances are how the upstream of a message is.
type Circumstances struct {
	Now       time.Time
	Incident  bool      // it is not up
	Recovered time.Time // since when it is up
	Spike     bool      // it refuses recipients that it has
	Relayed   []int     // recipients whose NOTIFY it was not told
}

// Notifier tells senders. Its methods may be called concurrently. What is logged, by event:
//
//	dsn.queued    a notification is in the queue: about which message, of what kind, for how many recipients
//	dsn.exists    it was there already: a stop came between it and the end of the attempt
//	dsn.unsent    it could not be stored; why
//	dsn.withheld  its sender has been told much already
type Notifier struct {
	options Options

	mu      sync.Mutex
	hour    time.Time
	sent    map[string]int    // in this hour, by reverse-path
	delayed map[queue.ID]bool // told that they wait, or need not be asked about again
}

// maxRemembered bounds what a Notifier remembers: beyond it new senders are not
// told any more in this hour.
const maxRemembered = 100_000

// New makes a Notifier.
func New(o Options) *Notifier {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Notifier{options: o, sent: map[string]int{}, delayed: map[queue.ID]bool{}}
}

// Conclude completes the plan of an attempt: whom the sender was told about is
// Failed or Expired, whom it may not be told about is Refused with the reason.
// What it tells is in the queue before it returns; plan has to be settled then.
func (n *Notifier) Conclude(ctx context.Context, m queue.Message, plan queue.Settlement, c Circumstances) queue.Settlement {
	ctx = context.WithoutCancel(ctx) // an attempt that is broken off is settled all the same
	var failed, delayed, relayed []int
	for _, i := range m.Pending() {
		r, ok := plan.Results[i]
		if !ok {
			continue
		}
		expired := r.Action == queue.Refused && r.Kept == "" && strings.HasPrefix(r.Reply.Text, queue.LifetimeOver)
		switch {
		case r.Action == queue.Failed, expired:
			var tell bool
			if r.Kept, tell = n.decide(Failure, m, i, r, c); tell {
				failed = append(failed, i)
			}
			r.Action = queue.Refused // until it is told
		case r.Action == queue.Refused && r.Kept == "":
			r.Kept = queue.KeptHold
		case r.Action == queue.Deferred && n.waits(m, c.Now):
			if _, tell := n.decide(Delay, m, i, r, c); tell {
				delayed = append(delayed, i)
			}
		case r.Action == queue.Delivered && slices.Contains(c.Relayed, i):
			if _, tell := n.decide(Relayed, m, i, r, c); tell {
				relayed = append(relayed, i)
			}
		}
		plan.Results[i] = r
	}
	if len(failed)+len(delayed)+len(relayed) == 0 {
		return plan
	}
	is := after(m, plan)
	n.tellFailures(ctx, is, failed, plan, c)
	if len(delayed) > 0 && n.tell(ctx, Notice{Kind: Delay, At: c.Now, Message: is, Recipients: delayed}) == "" {
		n.remember(m.ID)
	}
	if len(relayed) > 0 {
		n.tell(ctx, Notice{Kind: Relayed, At: c.Now, Message: is, Recipients: relayed})
	}
	return plan
}

// tellFailures enters into the plan what became of those that failed.
func (n *Notifier) tellFailures(ctx context.Context, is queue.Message, failed []int, plan queue.Settlement, c Circumstances) {
	if len(failed) == 0 {
		return
	}
	why := n.tell(ctx, Notice{Kind: Failure, At: c.Now, Message: is, Recipients: failed})
	for _, i := range failed {
		r := plan.Results[i]
		r.Kept = why
		switch {
		case why != "":
		case strings.HasPrefix(r.Reply.Text, queue.LifetimeOver):
			r.Action = queue.Expired
		default:
			r.Action = queue.Failed
		}
		plan.Results[i] = r
	}
}

// after is the message with the results of the plan, as a notification tells them.
func after(m queue.Message, plan queue.Settlement) queue.Message {
	m.Envelope.Recipients = slices.Clone(m.Envelope.Recipients)
	for i, r := range plan.Results {
		m.Envelope.Recipients[i].Last = r
	}
	return m
}

// May says which recipients of a message an operator may give up, by the same
// rules but that the operator says what is final. why has a reason for each of
// the others that is not final, "" if it is the state that does not allow it.
func (n *Notifier) May(m queue.Message, c Circumstances) (of []int, why map[int]queue.KeptFor) {
	why = map[int]queue.KeptFor{}
	for i, r := range m.Envelope.Recipients {
		state := m.RecipientState(i)
		if state.Final() {
			continue
		}
		reason, tell := n.decide(Failure, m, i, r.Last, c)
		switch {
		case state == queue.StateActive, !m.Idle(c.Now):
			why[i] = ""
		case tell:
			of = append(of, i)
		default:
			why[i] = reason
		}
	}
	return of, why
}

// GiveUp tells the sender that the recipients were given up. Nothing of the
// message is changed: that is left to the caller. To tell it twice is no error,
// and makes no second notification. An operator may tell one sender as much as
// it takes.
func (n *Notifier) GiveUp(ctx context.Context, m queue.Message, of []int, now time.Time) error {
	if n.tell(ctx, Notice{Kind: Failure, At: now, Message: m, Recipients: of, GivenUp: true}) != "" {
		return errors.New("the notification could not be stored: see the log")
	}
	return nil
}

func (n *Notifier) decide(k Kind, m queue.Message, i int, r queue.Result, c Circumstances) (queue.KeptFor, bool) {
	o := n.options
	return Decide(Case{Kind: k, Final: true, Incident: c.Incident, Recovered: c.Now.Sub(c.Recovered), Probation: o.Probation,
		Spike: c.Spike && Unknown(r.Reply), Off: o.Via == "", ReversePath: m.Envelope.ReversePath,
		Authenticated: m.Envelope.Origin.Authenticated(), Notify: m.Envelope.Recipients[i].Notify})
}

// waits reports whether the message has waited for so long that its sender is to know.
func (n *Notifier) waits(m queue.Message, now time.Time) bool {
	if n.options.Delay == 0 || now.Before(m.AcceptedAt.Add(n.options.Delay)) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.delayed[m.ID]
}

func (n *Notifier) remember(id queue.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.delayed) >= maxRemembered {
		clear(n.delayed) // the Cause still makes each of them the only one
	}
	n.delayed[id] = true
}

// tell puts a notification into the queue, and says why it did not.
func (n *Notifier) tell(ctx context.Context, notice Notice) queue.KeptFor {
	m, log := notice.Message, n.options.Log.With("id", notice.Message.ID, "kind", notice.Kind, "recipients", len(notice.Recipients))
	if !notice.GivenUp && !n.spend(m.Envelope.ReversePath, notice.At) {
		log.Warn("dsn.withheld", "reverse_path", m.Envelope.ReversePath)
		return queue.KeptRate
	}
	id, err := n.store(ctx, notice)
	switch {
	case errors.Is(err, queue.ErrExists):
		log.Warn("dsn.exists")
	case err != nil:
		log.Error("dsn.unsent", "error", err)
		return queue.KeptUnsent
	default:
		log.Info("dsn.queued", "notification", id, "via", n.options.Via)
	}
	return ""
}

// spend takes one of the notifications that a reverse-path may get in this hour.
func (n *Notifier) spend(reversePath string, now time.Time) bool {
	if n.options.PerSender == 0 {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if hour := now.Truncate(time.Hour); !hour.Equal(n.hour) {
		n.hour = hour
		clear(n.sent)
	}
	sender := strings.ToLower(reversePath)
	if n.sent[sender] >= n.options.PerSender || len(n.sent) >= maxRemembered && n.sent[sender] == 0 {
		return false
	}
	n.sent[sender]++
	return true
}

// store writes a notification.
func (n *Notifier) store(ctx context.Context, notice Notice) (queue.ID, error) {
	draft, err := n.options.Store.Create(ctx)
	if err != nil {
		return "", err
	}
	defer draft.Abort() // after Commit it does nothing
	m := notice.Message
	notice.ID, notice.Hostname, notice.From = string(draft.ID()), n.options.Hostname, n.options.From
	notice.Original, notice.Cut = n.original(ctx, m)
	if n.options.Outages != nil && notice.Kind != Relayed {
		notice.Outages = n.options.Outages(m.Envelope.Upstream, m.AcceptedAt)
	}
	c := Compose(notice)
	if _, err := draft.Write(c.Content); err != nil {
		return "", err
	}
	body := "7BIT"
	if c.EightBit {
		body = "8BITMIME"
	}
	return draft.ID(), draft.Commit(ctx, queue.Acceptance{At: notice.At, MessageID: c.MessageID, Lifetime: n.options.Lifetime,
		Envelope: queue.Envelope{Upstream: n.options.Via, Params: queue.Params{Body: body, SMTPUTF8: c.UTF8},
			Recipients: []queue.Recipient{{ForwardPath: m.Envelope.ReversePath, Notify: []string{"NEVER"}}}, // RFC 3461 6.1: of a notification there is none
			Origin:     queue.Origin{Reason: "a notification about " + string(m.ID)},
			Cause:      causeOf(notice)}})
}

// causeOf is the same for the same recipients, whatever attempt they failed in:
// after a crash it is a later one. A message is told only once that it waits.
func causeOf(n Notice) queue.Cause {
	kind := string(n.Kind)
	if n.Kind != Delay {
		kind += fmt.Sprintf(" %x", sha256.Sum256(fmt.Append(nil, n.Recipients)))[:17]
	}
	return queue.Cause{ID: n.Message.ID, Kind: kind}
}

// original reads as much of a message as may be returned. What cannot be read
// is not returned: the notification tells all that counts.
func (n *Notifier) original(ctx context.Context, m queue.Message) (content []byte, cut bool) {
	most := int64(maxHeader)
	if m.Envelope.Params.Ret == "FULL" {
		most = MaxOriginal
	}
	in, err := n.options.Store.Content(ctx, m.ID)
	if err != nil {
		return nil, false
	}
	defer in.Close()
	content, err = io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, false
	}
	return content, int64(len(content)) > most
}
