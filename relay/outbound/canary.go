package outbound

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// Canary is a small message that is delivered again and again, to see that mail
// is taken to its end and to keep our address known.
type Canary struct {
	Recipient string
	From      string // of its header; the reverse-path is null, so that nothing comes back
}

// Canary delivers one message straight to the primary: it is in no queue and no
// account, since nobody but us waits for it. Only the primary's 250 to its
// content is OK. A delivery that we break off gives nil.
func (u *Upstream) Canary(ctx context.Context, c Canary) []health.Signal {
	content := c.content(u.options.Hello, time.Now())
	m := queue.Message{Size: int64(len(content)), Envelope: queue.Envelope{Upstream: u.Name(), Recipients: []queue.Recipient{{ForwardPath: c.Recipient}}}}
	report := u.Deliver(ctx, m, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil })
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	for i := range report.Signals {
		report.Signals[i].Source = health.SourceCanary
	}
	return report.Signals
}

// content is a whole message. RFC 3834: nobody is to answer it.
func (c Canary) content(host string, now time.Time) string {
	return strings.Join([]string{
		"Date: " + now.UTC().Format(time.RFC1123Z),
		"From: mxkeep <" + c.From + ">",
		"To: <" + c.Recipient + ">",
		fmt.Sprintf("Message-ID: <canary.%s@%s>", strings.ToLower(rand.Text()), host),
		"Subject: mxkeep canary",
		"Auto-Submitted: auto-generated",
		"X-Auto-Response-Suppress: All",
		"MIME-Version: 1.0",
		"Content-Type: text/plain; charset=us-ascii",
		"",
		"This message shows that " + host + " can deliver to this mailbox. It may be deleted.",
		"",
	}, "\r\n")
}
