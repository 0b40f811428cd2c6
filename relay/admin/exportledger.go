package admin

import (
	"bufio"
	"net/http"
	"time"
)

// exportLedger sends a stretch of the ledger: since and until bound it, and may
// be left out. An error after the first byte is in the trailer.
func (s *Server) exportLedger(w http.ResponseWriter, r *http.Request) {
	files, err := s.files()
	if err != nil {
		writeError(w, err)
		return
	}
	var bounds [2]time.Time
	for i, name := range []string{"since", "until"} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		if bounds[i], err = time.Parse(time.RFC3339, text); err != nil {
			writeError(w, fail(CodeBadRequest, "%s: %v", name, err))
			return
		}
	}
	pieces := &pieces{w: w}
	out := bufio.NewWriterSize(pieces, 64<<10)
	err = files.ExportLedger(r.Context(), bounds[0], bounds[1], out)
	if err == nil {
		err = out.Flush()
	}
	switch {
	case err != nil && !pieces.begun:
		writeError(w, err)
	case err != nil:
		w.Header().Set(trailerError, asError(err).Code)
	}
}

// pieces writes an answer piece by piece; each must get through within pieceTimeout.
type pieces struct {
	w     http.ResponseWriter
	begun bool
}

func (p *pieces) Write(piece []byte) (int, error) {
	if !p.begun {
		p.begun = true
		p.w.Header().Set("Content-Type", "application/jsonl")
		p.w.Header().Set("Trailer", trailerError)
		p.w.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(p.w).SetWriteDeadline(time.Now().Add(pieceTimeout)) // a recorder in a test has none
	return p.w.Write(piece)
}
