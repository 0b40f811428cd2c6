package admintest

import (
	"context"
	"sync"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// Bounces tells senders as the test says. Its fields may be set while nobody asks.
type Bounces struct {
	mu   sync.Mutex
	Why  map[string]queue.KeptFor // by reverse-path: why it may not be told
	Told []queue.ID
	Fail error  // of Tell
	Meet func() // what happens between the look at a message and the notification; may be nil
}

// Part is how messages are given up, as admin sees it.
func (b *Bounces) Part() admin.Bounces {
	return admin.Bounces{
		May: func(m queue.Message) (of []int, why map[int]string) {
			why = map[int]string{}
			reason := b.Why[m.Envelope.ReversePath]
			for i := range m.Envelope.Recipients {
				switch state := m.RecipientState(i); {
				case state.Final():
				case state == queue.StateActive:
					why[i] = ""
				case reason != "":
					why[i] = string(reason)
				default:
					of = append(of, i)
				}
			}
			if b.Meet != nil {
				b.Meet()
			}
			return of, why
		},
		Tell: func(_ context.Context, m queue.Message, _ []int) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.Fail == nil {
				b.Told = append(b.Told, m.ID)
			}
			return b.Fail
		},
	}
}
