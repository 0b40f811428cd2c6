package admin

import (
	"context"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Backups makes copies of what the relay keeps.
type Backups interface {
	// Make makes one in a folder, and tells how much of how many bytes is copied.
	// It refuses with an *Error of CodeBadDestination, CodeNoRoom or CodeBackupBusy.
	Make(ctx context.Context, dir string, progress func(done, of int64)) (Backup, error)
	// Made are the last ones that were made, the newest first.
	Made() ([]Backup, error)
}

// BackupRequest asks for a backup in a folder, by its whole path.
type BackupRequest struct {
	Dir string `json:"dir"`
}

// BackupProgress is a line of an answer that is not the last one.
type BackupProgress struct {
	Schema string `json:"schema"`
	Done   int64  `json:"done_bytes"`
	Of     int64  `json:"of_bytes"`
}

// Backup is one that was made.
type Backup struct {
	Schema   string  `json:"schema"`
	Dir      string  `json:"dir"`
	BeganAt  Time    `json:"began_at"` // what was accepted before is in it
	MadeAt   Time    `json:"made_at"`
	Seconds  float64 `json:"took_seconds"`
	Files    int     `json:"files"`
	Size     int64   `json:"size_bytes"`
	Messages int64   `json:"messages"` // not final
	Bytes    int64   `json:"message_bytes"`
	Damaged  int64   `json:"damaged"` // things that were damaged in the relay already
}

// BackupList is the answer to who asks for the last ones.
type BackupList struct {
	Schema  string   `json:"schema"`
	Backups []Backup `json:"backups"`
}

// progressEvery is how often a client hears how far a backup is.
const progressEvery = 200 * time.Millisecond

// makeBackup makes one, streams how far it is, and ends with what was made. It
// ends when the client goes.
func (s *Server) makeBackup(w http.ResponseWriter, r *http.Request) {
	var request BackupRequest
	err := read(r, &request)
	switch {
	case err != nil:
	case s.options.Backups == nil:
		err = fail(CodeBadRequest, "this relay makes no backups")
	case !filepath.IsAbs(request.Dir):
		err = fail(CodeBadDestination, "%q is not a whole path", request.Dir)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	out := newStream(w)
	out.end(s.runBackup(r.Context(), request.Dir, out))
}

func (s *Server) runBackup(ctx context.Context, dir string, out *stream) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var done, of atomic.Int64
	var made Backup
	ended := make(chan error, 1)
	go func() {
		var err error
		made, err = s.options.Backups.Make(ctx, dir, func(n, all int64) { done.Store(n); of.Store(all) })
		ended <- err
	}()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err == nil {
				err = s.noteBackup(context.WithoutCancel(ctx), made)
			}
			if err == nil {
				err = out.write(made)
			}
			return err
		case <-tick.C:
			if of.Load() == 0 {
				continue // it may be refused yet
			}
			if err := out.soon(BackupProgress{SchemaBackupProgress, done.Load(), of.Load()}); err != nil {
				stop() // the client has gone
				<-ended
				return err
			}
		}
	}
}

func (s *Server) noteBackup(ctx context.Context, made Backup) error {
	return s.options.Store.Note(ctx, queue.Entry{At: time.Now(), Event: queue.Noted, Actor: actor(ctx), Reason: "backup made in " + made.Dir})
}

// soon writes a line that does not wait for others.
func (s *stream) soon(document any) error {
	if err := s.write(document); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

// backups lists the last ones.
func (s *Server) backups(*http.Request) (any, error) {
	if s.options.Backups == nil {
		return nil, fail(CodeBadRequest, "this relay makes no backups")
	}
	made, err := s.options.Backups.Made()
	if err != nil {
		return nil, fail(CodeRefused, "%v", err)
	}
	return BackupList{SchemaBackupList, append([]Backup{}, made...)}, nil
}

// lastBackup is when the last one was made; zero if none is known.
func (s *Server) lastBackup() Time {
	if s.options.Backups == nil {
		return Time{}
	}
	if made, err := s.options.Backups.Made(); err == nil && len(made) > 0 {
		return made[0].MadeAt
	}
	return Time{}
}
