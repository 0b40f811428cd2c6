package admin

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// receivedID finds the id in a Received field that we wrote (RFC 5321 4.4: "id" String).
var receivedID = regexp.MustCompile(`(?i)\bid\s+([0-9a-z]{12})\b`)

// traceFilter reads what a person has in hand: our id, a Received line, a
// Message-ID, or an address.
func traceFilter(query string) (queue.LedgerFilter, error) {
	query = strings.TrimSpace(query)
	if id, err := queue.ParseID(strings.ToLower(query)); err == nil {
		return queue.LedgerFilter{ID: id}, nil
	}
	if found := receivedID.FindStringSubmatch(query); found != nil {
		if id, err := queue.ParseID(strings.ToLower(found[1])); err == nil {
			return queue.LedgerFilter{ID: id}, nil
		}
	}
	switch {
	case len(query) > 2 && query[0] == '<' && query[len(query)-1] == '>':
		return queue.LedgerFilter{MessageID: query}, nil
	case strings.Contains(query, "@") && !strings.ContainsAny(query, " \t"):
		return queue.LedgerFilter{Address: query}, nil
	}
	return queue.LedgerFilter{}, fail(CodeBadRequest, "%q is no message id, Message-ID, address or Received line", query)
}

// idBeginning is what could be the beginning of a message id.
var idBeginning = regexp.MustCompile(`^[0-9A-Za-z]{3,11}$`)

// traceFilter finds the message of the beginning of an id as well.
func (s *Server) traceFilter(ctx context.Context, query string) (queue.LedgerFilter, error) {
	query = strings.TrimSpace(query)
	if !idBeginning.MatchString(query) {
		return traceFilter(query)
	}
	m, err := s.find(ctx, query)
	return queue.LedgerFilter{ID: m.ID}, err
}

// trace streams the ledger lines about a query, at most as many as limit
// says, then each message they name that is still known.
func (s *Server) trace(w http.ResponseWriter, r *http.Request) {
	filter, err := s.traceFilter(r.Context(), r.URL.Query().Get("q"))
	if err != nil {
		writeError(w, err)
		return
	}
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 || limit > maxRows {
		writeError(w, fail(CodeBadRequest, "limit must be 1 to %d", maxRows))
		return
	}
	out := newStream(w)
	out.end(s.follow(r.Context(), filter, limit, out))
}

func (s *Server) follow(ctx context.Context, filter queue.LedgerFilter, limit int, out *stream) error {
	gap := Gap{Schema: SchemaGap}
	lines, err := s.lines(ctx, filter, limit, &gap)
	if err != nil {
		return err
	}
	if len(lines) == 0 && filter.Address != "" { // a Message-ID without its brackets looks like an address
		filter = queue.LedgerFilter{MessageID: "<" + filter.Address + ">"}
		gap = Gap{Schema: SchemaGap}
		if lines, err = s.lines(ctx, filter, limit, &gap); err != nil {
			return err
		}
	}
	var ids []queue.ID
	seen := map[queue.ID]bool{"": true}
	for _, e := range lines {
		if err := out.write(describeEntry(e)); err != nil {
			return err
		}
		if !seen[e.ID] {
			seen[e.ID] = true
			ids = append(ids, e.ID)
		}
	}
	if err := s.writeKnown(ctx, ids, out); err != nil || gap.Count == 0 {
		return err
	}
	return out.write(gap)
}

// Gap says what of the ledger could not be read, so that more lines may be about
// the query. It is an error of Client.Trace.
type Gap struct {
	Schema string   `json:"schema"`
	Count  int64    `json:"count"`
	What   []string `json:"what"` // the first ones
}

// maxGaps bounds what is told one by one.
const maxGaps = 10

func (g *Gap) add(err error) {
	if g.Count++; g.Count <= maxGaps {
		g.What = append(g.What, err.Error())
	}
}

func (g *Gap) Error() string {
	return "the ledger could not be read in full: " + strings.Join(g.What, "; ")
}

// lines collects the newest lines that match, in the order in which they were written.
func (s *Server) lines(ctx context.Context, filter queue.LedgerFilter, limit int, gap *Gap) ([]queue.Entry, error) {
	var lines []queue.Entry
	for e, err := range s.options.Store.Ledger(ctx, filter) {
		if errors.Is(err, queue.ErrDamaged) {
			gap.add(err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if lines = append(lines, e); len(lines) > 2*limit {
			lines = append(lines[:0], lines[len(lines)-limit:]...)
		}
	}
	return lines[max(0, len(lines)-limit):], nil
}

// writeKnown writes the messages of the ids, leaving out those that the store has forgotten or cannot read.
func (s *Server) writeKnown(ctx context.Context, ids []queue.ID, out *stream) error {
	v := s.view(time.Now())
	for _, id := range ids {
		m, err := s.options.Store.Message(ctx, id)
		if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrDamaged) {
			continue
		}
		if err != nil {
			return err
		}
		if err := out.write(v.describe(m)); err != nil {
			return err
		}
	}
	return nil
}
