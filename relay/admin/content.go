package admin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// trailerError carries the code of what went wrong after the first byte.
const trailerError = "Mxkeep-Error"

// maxHeaders bounds the header section that is shown; the whole is in the raw content.
const maxHeaders = 1 << 20

// content sends the stored bytes of a message: part=raw, or part=headers. The
// access is in the ledger before the first byte is sent.
func (s *Server) content(w http.ResponseWriter, r *http.Request) {
	part := r.URL.Query().Get("part")
	if part != "raw" && part != "headers" {
		writeError(w, fail(CodeBadRequest, "no part %q of a message (there are raw headers)", part))
		return
	}
	body, err := s.open(r, part)
	if err != nil {
		writeError(w, err)
		return
	}
	defer body.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", trailerError)
	w.WriteHeader(http.StatusOK)
	if part == "headers" {
		err = copyHeaders(w, body)
	} else {
		err = copyPieces(w, body)
	}
	if err != nil {
		w.Header().Set(trailerError, asError(err).Code)
	}
}

// open notes the access, and opens the content.
func (s *Server) open(r *http.Request, part string) (io.ReadCloser, error) {
	m, err := s.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if m.Purged {
		return nil, fail(CodeContentGone, "the content of %s was removed when its time was over", m.ID)
	}
	err = s.options.Store.Note(r.Context(), queue.Entry{At: time.Now(), Event: queue.Noted, ID: m.ID,
		Actor: actor(r.Context()), Reason: "read content: " + part, MessageID: m.MessageID})
	if err != nil {
		return nil, fmt.Errorf("ledger line of an access to %s: %w", m.ID, err)
	}
	body, err := s.options.Store.Content(r.Context(), m.ID)
	if errors.Is(err, queue.ErrNotFound) {
		return nil, fail(CodeContentGone, "the content of %s is gone: nothing of it is pending", m.ID)
	}
	return body, err
}

// copyPieces copies the content; each piece must get through within pieceTimeout.
func copyPieces(w http.ResponseWriter, from io.Reader) error {
	control := http.NewResponseController(w)
	for {
		_ = control.SetWriteDeadline(time.Now().Add(pieceTimeout)) // a recorder in a test has none
		_, err := io.CopyN(w, from, 1<<20)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// copyHeaders copies up to and without the empty line.
func copyHeaders(w io.Writer, from io.Reader) error {
	lines := bufio.NewReader(io.LimitReader(from, maxHeaders))
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
}
