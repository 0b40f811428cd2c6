package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// The codes of errors that the API answers with.
const (
	CodeBadRequest      = "bad_request"
	CodeBadFilter       = "bad_filter"
	CodeNoSelection     = "no_selection"
	CodeReasonRequired  = "reason_required"
	CodeCountRequired   = "count_required"
	CodeCountChanged    = "count_changed"
	CodeNotFound        = "not_found"
	CodeAmbiguous       = "ambiguous_id"
	CodeUnknownUpstream = "unknown_upstream"
	CodeContentGone     = "content_gone"
	CodeContentDamaged  = "content_damaged"
	CodeStoreFailed     = "store_failed"
	CodeRefused         = "refused_by_part"
	CodeNotReady        = "not_ready"
	CodeNoFile          = "no_such_file"
	CodeBadArchive      = "bad_archive"
	CodeBadDestination  = "bad_destination"
	CodeNoRoom          = "no_room"
	CodeBackupBusy      = "backup_busy"
	CodeBackupFailed    = "backup_failed"
)

// statuses is the HTTP status of each code.
var statuses = map[string]int{
	CodeBadRequest:      http.StatusBadRequest,
	CodeBadFilter:       http.StatusBadRequest,
	CodeNoSelection:     http.StatusBadRequest,
	CodeReasonRequired:  http.StatusBadRequest,
	CodeCountRequired:   http.StatusPreconditionRequired,
	CodeCountChanged:    http.StatusPreconditionFailed,
	CodeNotFound:        http.StatusNotFound,
	CodeAmbiguous:       http.StatusConflict,
	CodeUnknownUpstream: http.StatusNotFound,
	CodeContentGone:     http.StatusGone,
	CodeContentDamaged:  http.StatusInternalServerError,
	CodeStoreFailed:     http.StatusInternalServerError,
	CodeRefused:         http.StatusConflict,
	CodeNotReady:        http.StatusServiceUnavailable,
	CodeNoFile:          http.StatusNotFound,
	CodeBadArchive:      http.StatusBadRequest,
	CodeBadDestination:  http.StatusBadRequest,
	CodeNoRoom:          http.StatusInsufficientStorage,
	CodeBackupBusy:      http.StatusConflict,
	CodeBackupFailed:    http.StatusInternalServerError,
	CodeUnknownDomain:   http.StatusNotFound,
	CodeIncidentState:   http.StatusConflict,
	CodeBadList:         http.StatusBadRequest,
}

// Codes lists the codes of the API.
func Codes() []string {
	var all []string
	for code := range statuses {
		all = append(all, code)
	}
	return all
}

// Error is what the API answers when it did not do what was asked.
type Error struct {
	Schema  string `json:"schema"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

func fail(code, format string, args ...any) *Error {
	return &Error{Schema: SchemaError, Code: code, Message: fmt.Sprintf(format, args...)}
}

// asError finds the code of an error. What is not known is the store's.
func asError(err error) *Error {
	var known *Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, queue.ErrWhere):
		return fail(CodeBadFilter, "%v", err)
	case errors.Is(err, queue.ErrNotFound):
		return fail(CodeNotFound, "%v", err)
	case errors.Is(err, queue.ErrDamaged):
		return fail(CodeContentDamaged, "%v", err)
	}
	return fail(CodeStoreFailed, "%v", err)
}

// Handler answers every request of the control socket.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", answer(s.getStatus))
	mux.HandleFunc("GET /v1/ready", answer(s.getReady))
	mux.HandleFunc("POST /v1/queue/list", s.list)
	mux.HandleFunc("POST /v1/queue/stats", answer(s.shape))
	mux.HandleFunc("POST /v1/queue/change", answer(s.change))
	mux.HandleFunc("POST /v1/queue/export", s.export)
	mux.HandleFunc("GET /v1/queue/{id}", answer(s.getMessage))
	mux.HandleFunc("GET /v1/queue/{id}/content", s.content)
	mux.HandleFunc("GET /v1/trace", s.trace)
	mux.HandleFunc("GET /v1/health", s.health)
	mux.HandleFunc("POST /v1/health/probe", answer(s.probe))
	mux.HandleFunc("POST /v1/health/override", answer(s.override))
	mux.HandleFunc("GET /v1/windows", s.listWindows)
	mux.HandleFunc("POST /v1/windows", answer(s.addWindow))
	mux.HandleFunc("POST /v1/windows/{id}/remove", answer(s.removeWindow))
	mux.HandleFunc("GET /v1/health/history", s.history)
	mux.HandleFunc("GET /v1/incidents", s.incidents)
	mux.HandleFunc("POST /v1/incidents", answer(s.openIncident))
	mux.HandleFunc("GET /v1/incidents/{id}", answer(s.getIncident))
	mux.HandleFunc("GET /v1/incidents/{id}/evidence", s.evidence)
	mux.HandleFunc("POST /v1/incidents/{id}/{verb}", answer(s.changeIncident))
	mux.HandleFunc("POST /v1/pause", answer(s.pause))
	mux.HandleFunc("POST /v1/resume", answer(s.resume))
	mux.HandleFunc("GET /v1/recipients", answer(s.listRecipients))
	mux.HandleFunc("GET /v1/recipients/check", answer(s.checkRecipient))
	mux.HandleFunc("POST /v1/recipients/sync", answer(s.syncRecipients))
	mux.HandleFunc("POST /v1/recipients/import", answer(s.importRecipients))
	mux.HandleFunc("POST /v1/explain", answer(s.explain))
	mux.HandleFunc("GET /v1/db/stats", answer(s.fileStats))
	mux.HandleFunc("POST /v1/db/check", s.check)
	mux.HandleFunc("GET /v1/db/ledger", s.exportLedger)
	mux.HandleFunc("POST /v1/db/salvage", answer(s.salvage))
	mux.HandleFunc("POST /v1/db/accept-loss", answer(s.acceptLoss))
	mux.HandleFunc("POST /v1/db/compact", answer(s.compact))
	mux.HandleFunc("GET /v1/backups", answer(s.backups))
	mux.HandleFunc("POST /v1/backups", s.makeBackup)
	mux.HandleFunc("/", answer(func(r *http.Request) (any, error) {
		return nil, fail(CodeBadRequest, "no such request: %s %q", r.Method, r.URL.Path)
	}))
	whole := http.NewServeMux()
	whole.HandleFunc("POST /v1/queue/import", s.importArchive) // its body is not received first
	whole.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if err := receive(w, r); err != nil {
			writeError(w, fail(CodeBadRequest, "request: %v", err))
			return
		}
		mux.ServeHTTP(w, r)
	})
	return whole
}

// receive reads the whole body, with limits of size and time, so that what
// follows may take as long as it needs.
func receive(w http.ResponseWriter, r *http.Request) error {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // a recorder in a test has none
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return err
	}
	_ = control.SetReadDeadline(time.Time{})
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// answer makes an HTTP handler of a function that answers with one document.
func answer(do func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		document, err := do(r)
		if err != nil {
			writeError(w, err)
			return
		}
		write(w, http.StatusOK, document)
	}
}

func writeError(w http.ResponseWriter, err error) {
	e := asError(err)
	write(w, statuses[e.Code], e)
}

func write(w http.ResponseWriter, status int, document any) {
	line, err := Encode(document)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(line) // the client has gone if it fails
}

// read decodes the body of a request. Members that are not known, and anything
// behind the document, are refused: a restriction that is not understood must
// not widen a change.
func read(r *http.Request, request any) error {
	body := json.NewDecoder(r.Body)
	body.DisallowUnknownFields()
	if err := body.Decode(request); err != nil {
		return fail(CodeBadRequest, "request: %v", err)
	}
	if _, err := body.Token(); !errors.Is(err, io.EOF) {
		return fail(CodeBadRequest, "request: more than one document")
	}
	return nil
}

// stream writes lines of JSON, each of which must get through within pieceTimeout.
type stream struct {
	w     http.ResponseWriter
	lines int
}

// flushEvery is how many lines may wait for each other.
const flushEvery = 100

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/jsonl")
	return &stream{w: w}
}

func (s *stream) write(document any) error {
	line, err := Encode(document)
	if err != nil {
		return err
	}
	control := http.NewResponseController(s.w)
	if s.lines%flushEvery == 0 {
		// A writer without deadlines, as in tests of the handler alone, is its caller's affair.
		_ = control.SetWriteDeadline(time.Now().Add(pieceTimeout))
	}
	if _, err := s.w.Write(line); err != nil {
		return err
	}
	s.lines++
	if s.lines == 1 || s.lines%flushEvery == 0 {
		return control.Flush()
	}
	return nil
}

// flush sends what was written. To be called before something that takes long.
func (s *stream) flush() error { return http.NewResponseController(s.w).Flush() }

// end closes the stream: with the error as its last line, if there is one.
func (s *stream) end(err error) {
	if err == nil {
		return
	}
	e := asError(err)
	if s.lines == 0 {
		s.w.WriteHeader(statuses[e.Code])
	}
	_ = s.write(e) // the client has gone if it fails
}

func (s *Server) getReady(*http.Request) (any, error) {
	if err := s.accepting(); err != nil {
		return nil, fail(CodeNotReady, "%v", err)
	}
	return Ready{Schema: SchemaReady, Ready: true}, nil
}
