package relay

import (
	"log/slog"
	"sync"

	"github.com/mxkeep/mxkeep/relay/state"
)

// promiseOwner is the bucket of what the primaries keep, by name.
const promiseOwner = "requiretls"

// promise is whether a primary keeps REQUIRETLS (RFC 8689), as it was seen last.
// It outlives a stop: in an outage nobody could be asked, and a sender that is
// told no gives its mail back. Its methods may be called concurrently.
type promise struct {
	file *state.File
	name string
	log  *slog.Logger

	mu   sync.Mutex
	kept bool
}

func newPromise(file *state.File, name string, log *slog.Logger) *promise {
	p := &promise{file: file, name: name, log: log}
	if _, err := file.Get(promiseOwner, name, &p.kept); err != nil {
		log.Warn("requiretls.forgotten", "upstream", name, "error", err)
	}
	return p
}

// note takes down what a session has shown.
func (p *promise) note(kept bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept == kept {
		return
	}
	p.kept = kept
	if err := p.file.Put(promiseOwner, p.name, kept); err != nil {
		p.log.Warn("requiretls.unsaved", "upstream", p.name, "error", err)
	}
}

func (p *promise) holds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kept
}
