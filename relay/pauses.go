package relay

import (
	"log/slog"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/state"
)

// pauses keeps one pause over restarts.
type pauses struct {
	file *state.File
	key  string
}

// pausesOwner is the bucket of pauses.
const pausesOwner = "pauses"

func (p pauses) save(pause admin.Pause) error { return p.file.Put(pausesOwner, p.key, pause) }

func (p pauses) end() error { return p.file.Delete(pausesOwner, p.key) }

// load finds a pause that goes on. One that cannot be read is logged and ended.
func (p pauses) load(log *slog.Logger) (pause admin.Pause, ok bool) {
	if _, err := p.file.Get(pausesOwner, p.key, &pause); err != nil {
		log.Warn("pause.forgotten", "of", p.key, "error", err)
		return admin.Pause{}, false
	}
	return pause, pause.Active(time.Now())
}
