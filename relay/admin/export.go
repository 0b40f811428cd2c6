package admin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/archive"
)

// ExportRequest asks for an archive of messages. Each is as it stands when the
// export comes by, in order of age; what arrives meanwhile may be in it.
type ExportRequest struct {
	Select
	Have []string `json:"have,omitempty"` // ids that are not wanted again
}

const (
	exportBatch = 64       // messages whose access is noted at once: the store commits together what comes together
	exportSpool = 1 << 20  // bytes of a message that are kept in memory; a larger one is read twice
	exportPiece = 64 << 10 // bytes that are written at once
)

// export sends an archive. Each access is in the ledger before the first byte
// is sent. What is damaged is left out, and listed in the manifest; an archive
// without a manifest broke off.
func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	var request ExportRequest
	if err := read(r, &request); err != nil {
		writeError(w, err)
		return
	}
	filter, err := queue.ParseFilter(request.Where)
	if err != nil {
		writeError(w, err)
		return
	}
	slices.Sort(request.Have)
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set("Trailer", trailerError)
	w.WriteHeader(http.StatusOK)
	out := bufio.NewWriterSize(paced{w}, exportPiece)
	err = s.exportTo(r.Context(), out, request, filter)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		w.Header().Set(trailerError, asError(err).Code)
	}
}

// paced gives each piece pieceTimeout to get through.
type paced struct{ w http.ResponseWriter }

func (p paced) Write(text []byte) (int, error) {
	_ = http.NewResponseController(p.w).SetWriteDeadline(time.Now().Add(pieceTimeout)) // a recorder in a test has none
	return p.w.Write(text)
}

// exporting is one run of an export.
type exporting struct {
	store  Store
	out    *archive.Writer
	actor  string
	buffer []byte // for a message that fits into memory
}

func (s *Server) exportTo(ctx context.Context, w io.Writer, request ExportRequest, f queue.Filter) error {
	now := time.Now()
	out, err := archive.NewWriter(w, archive.Head{Host: s.options.Hostname, Version: s.options.Version, At: now.UTC(), Where: request.Where})
	if err != nil {
		return err
	}
	run := &exporting{store: s.options.Store, out: out, actor: actor(ctx)}
	if err := run.all(ctx, f, request.Have); err != nil {
		return err
	}
	m, _, err := out.Close(time.Now())
	if err != nil {
		return err
	}
	return run.store.Note(ctx, queue.Entry{At: time.Now(), Event: queue.Noted, Actor: run.actor, Reason: fmt.Sprintf(
		"exported %d messages with %d bytes; %d could not be read", m.Messages, m.Bytes, m.Failed)})
}

// all exports what the filter chooses.
func (e *exporting) all(ctx context.Context, f queue.Filter, have []string) error {
	var batch []queue.Message
	for m, err := range e.store.Messages(ctx, f) {
		if errors.Is(err, queue.ErrDamaged) {
			e.out.Skip(m.ID, err.Error())
			continue
		}
		if err != nil {
			return err
		}
		if _, has := slices.BinarySearch(have, string(m.ID)); has {
			continue
		}
		if batch = append(batch, m); len(batch) < exportBatch {
			continue
		}
		if err := e.some(ctx, batch); err != nil {
			return err
		}
		batch = batch[:0]
	}
	return e.some(ctx, batch)
}

// some notes the access to some messages, and exports them.
func (e *exporting) some(ctx context.Context, batch []queue.Message) error {
	if err := e.note(ctx, batch); err != nil {
		return err
	}
	for _, m := range batch {
		if err := e.one(ctx, m); err != nil {
			return fmt.Errorf("export of %s: %w", m.ID, err)
		}
	}
	return nil
}

// note writes a ledger line for each message.
func (e *exporting) note(ctx context.Context, batch []queue.Message) error {
	failed := make([]error, len(batch))
	var notes sync.WaitGroup
	for i, m := range batch {
		notes.Go(func() {
			failed[i] = e.store.Note(ctx, queue.Entry{At: time.Now(), Event: queue.Noted, ID: m.ID, Actor: e.actor, Reason: "read content: export", MessageID: m.MessageID})
		})
	}
	notes.Wait()
	return errors.Join(failed...)
}

// one exports a message, as it is when its content has been found sound.
func (e *exporting) one(ctx context.Context, listed queue.Message) error {
	trace, content, err := e.content(ctx, listed)
	if content != nil {
		defer content.Close()
	}
	m := listed
	if err == nil {
		m, err = e.store.Message(ctx, listed.ID)
	}
	switch {
	case errors.Is(err, queue.ErrNotFound), err == nil && m.State().Final() && !listed.State().Final():
		e.out.Left(1)
		return nil
	case errors.Is(err, queue.ErrDamaged):
		e.out.Skip(listed.ID, err.Error())
		return nil
	case err != nil:
		return err
	}
	err = e.out.Add(archive.Envelope{Trace: trace, Message: m}, content)
	if bad := new(archive.EntryError); errors.As(err, &bad) || errors.Is(err, archive.ErrContent) {
		e.out.Skip(listed.ID, err.Error())
		return nil
	}
	return err
}

// content reads the whole content, so that one that is damaged never gets into
// the archive, and opens it behind the trace. A large one is read once more
// when it is written: an archive says the size of each entry before it.
func (e *exporting) content(ctx context.Context, m queue.Message) (trace []byte, content io.ReadCloser, err error) {
	whole, err := e.store.Content(ctx, m.ID)
	if err != nil {
		return nil, nil, err
	}
	defer whole.Close()
	if e.buffer == nil {
		e.buffer = make([]byte, exportSpool)
	}
	size, err := io.ReadFull(whole, e.buffer)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // it fits
		behind := int64(size) - m.Size
		if behind < 0 {
			return nil, nil, shorter(m)
		}
		return bytes.Clone(e.buffer[:behind]), io.NopCloser(bytes.NewReader(e.buffer[behind:size])), nil
	}
	if err != nil {
		return nil, nil, err
	}
	rest, err := io.Copy(io.Discard, whole)
	if err != nil {
		return nil, nil, err
	}
	behind := int64(size) + rest - m.Size
	if behind < 0 || behind > exportSpool {
		return nil, nil, shorter(m)
	}
	again, err := e.store.Content(ctx, m.ID)
	if err != nil {
		return nil, nil, err
	}
	trace = make([]byte, behind)
	if _, err = io.ReadFull(again, trace); err != nil {
		return nil, nil, errors.Join(err, again.Close())
	}
	return trace, again, nil
}

// shorter is the error of a content that is not as its record says.
func shorter(m queue.Message) error {
	return fmt.Errorf("content of %s has not the size of its record: %w", m.ID, queue.ErrDamaged)
}

// Export asks for an archive. What breaks off ends with an error: the relay's,
// or one that wraps ErrCutOff. It takes the time it needs.
func (c *Client) Export(ctx context.Context, request ExportRequest) (io.ReadCloser, error) {
	response, err := c.do(ctx, c.steady, http.MethodPost, "queue/export", request)
	if err != nil {
		return nil, err
	}
	return &exported{response: response}, nil
}

// exported is the body of an answer with what its trailer says.
type exported struct{ response *http.Response }

func (e *exported) Read(p []byte) (int, error) {
	n, err := answered{e.response.Body}.Read(p)
	if code := e.response.Trailer.Get(trailerError); errors.Is(err, io.EOF) && code != "" {
		return n, fail(code, "the export broke off: see the log of the service, then run it again")
	}
	return n, err
}

func (e *exported) Close() error { return e.response.Body.Close() }
