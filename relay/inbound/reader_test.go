package inbound

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// gated is a store that begins no message before it is opened.
type gated struct {
	*queuetest.Memory
	open chan struct{}
}

func (g *gated) Create(ctx context.Context) (queue.Draft, error) {
	<-g.open
	return g.Memory.Create(ctx)
}

// TestChunkAwaitsItsReader: nothing that a client says or does behind the first
// chunk of a message comes before the goroutine of its content has begun.
func TestChunkAwaitsItsReader(t *testing.T) {
	for name, test := range map[string]struct {
		said  string
		close bool
		want  string
	}{
		"another name":      {"BDAT 0\r\nEHLO b.example\r\nQUIT\r\n", false, "250 2.0.0 Continue"},
		"the end":           {"BDAT 0\r\nQUIT\r\n", false, "250 2.0.0 Continue"},
		"no content":        {"BDAT 5\r\n", true, ""},
		"a refused chunk":   {"RSET\r\nBDAT 0\r\nQUIT\r\n", false, "250 2.0.0 Session reset"},
		"refused, and lost": {"RSET\r\nBDAT 5\r\n", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &gated{queuetest.New(), make(chan struct{})}
				r := newRig(t, func(o *Options) { o.Store = store })
				w := r.dial("192.0.2.1").hello().envelope()
				w.say(test.said)
				if test.close {
					w.close()
				}
				synctest.Wait()
				waits := !strings.HasPrefix(test.said, "RSET")
				if n := r.server.Stats().Sessions; waits && (len(w.lines) > 0 || n != 1) {
					t.Errorf("%d replies and %d sessions before content is asked for", len(w.lines), n)
				}
				close(store.open)
				if !test.close {
					w.want(test.want)
				}
				w.rest()
				r.finish()
				if strings.Contains(r.log.String(), "engine.error") {
					t.Errorf("log: %s", r.log)
				}
			})
		})
	}
}
