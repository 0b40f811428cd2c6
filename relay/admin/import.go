package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/archive"
)

// ImportRequest says what to do with the messages of an archive.
type ImportRequest struct {
	Source   string // for people: the file
	Upstream string // that takes them; "" is the one that each names
	Deliver  bool   // as they stand in the archive; else they are held
	Count    int64  // no more than so many; it must be given unless it is a dry run
	DryRun   bool
}

// The outcomes of an ImportLine.
const (
	ImportRefused  = "refused"  // the message is sound, and not for this relay
	ImportUnusable = "unusable" // the entry is not as it should be
	ImportRenamed  = "renamed"  // it was imported, under another ID
)

// ImportLine is about a message that was not imported, or not as it was.
type ImportLine struct {
	Schema  string `json:"schema"`
	ID      string `json:"id"` // "" if the entry is of no message
	Outcome string `json:"outcome"`
	Why     string `json:"why"`
}

// Import is the last line of an import: what was, or would be, done.
type Import struct {
	Schema     string `json:"schema"`
	Source     string `json:"source"`
	DryRun     bool   `json:"dry_run"`
	Host       string `json:"host"` // that exported it
	ExportedAt Time   `json:"exported_at"`
	Held       bool   `json:"held"`
	Messages   int64  `json:"messages"` // imported
	Recipients int64  `json:"recipients"`
	Bytes      int64  `json:"message_bytes"`
	Present    int64  `json:"already_here"` // nothing was done: they are here, or were
	Refused    int64  `json:"refused"`
	Unusable   int64  `json:"unusable"`
	Missing    int64  `json:"missing"` // could not be read when the archive was made
	Problem    string `json:"problem"` // of the archive as a whole; "" if it is whole
}

// parameters writes the request behind a path.
func (i ImportRequest) parameters() string {
	return url.Values{"source": {i.Source}, "upstream": {i.Upstream}, "deliver": {strconv.FormatBool(i.Deliver)},
		"count": {strconv.FormatInt(i.Count, 10)}, "dry_run": {strconv.FormatBool(i.DryRun)}}.Encode()
}

// parseImport reads what parameters wrote. What is not known is refused.
func parseImport(query url.Values) (i ImportRequest, err error) {
	wrong := func(name string) error { return fail(CodeBadRequest, "parameter %s=%q", name, query.Get(name)) }
	for name, values := range query {
		var bad error
		switch value := values[0]; {
		case len(values) > 1:
			bad = errors.New("more than one")
		case name == "source" && len(value) <= maxReason:
			i.Source = value
		case name == "upstream":
			i.Upstream = value
		case name == "deliver":
			i.Deliver, bad = strconv.ParseBool(value)
		case name == "dry_run":
			i.DryRun, bad = strconv.ParseBool(value)
		case name == "count":
			i.Count, bad = strconv.ParseInt(value, 10, 64)
		default:
			bad = errors.New("not known")
		}
		if bad != nil {
			return i, wrong(name)
		}
	}
	switch {
	case i.Source == "":
		return i, wrong("source")
	case i.Count < 0:
		return i, wrong("count")
	case i.Count == 0 && !i.DryRun:
		return i, fail(CodeCountRequired, "import needs the number of messages that it is meant for")
	}
	return i, nil
}

// importArchive brings in the messages of an archive while it is received. Its
// answer has a line for each message that was not imported as it was, and a sum.
func (s *Server) importArchive(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex() // lines are sent while the archive comes in; a recorder in a test cannot
	w.Header().Set("Connection", "close")
	body := arriving{r.Body, control}
	out := newStream(w)
	out.end(s.importFrom(r, body, out))
	_ = control.Flush()
	// The client may still be sending: it must not find the door closed before it has read why.
	_, _ = io.Copy(io.Discard, body)
}

// arriving gives each piece of a body pieceTimeout to come.
type arriving struct {
	from    io.Reader
	control *http.ResponseController
}

func (a arriving) Read(p []byte) (int, error) {
	_ = a.control.SetReadDeadline(time.Now().Add(pieceTimeout)) // a recorder in a test has none
	return a.from.Read(p)
}

func (s *Server) importFrom(r *http.Request, body io.Reader, out *stream) error {
	request, err := parseImport(r.URL.Query())
	if err != nil {
		return err
	}
	rules, err := s.importRules(request.Upstream)
	if err != nil {
		return err
	}
	in, err := archive.NewReader(body)
	if err != nil {
		return badArchive(err)
	}
	head := in.Head()
	run := &importing{store: s.options.Store, rules: rules, request: request, in: in, out: out, actor: actor(r.Context()),
		from: fmt.Sprintf("%s, exported by %s at %s", request.Source, head.Host, Time{head.At}),
		sum:  Import{Schema: SchemaImport, Source: request.Source, DryRun: request.DryRun, Host: head.Host, ExportedAt: Time{head.At}, Held: !request.Deliver}}
	err = run.all(r.Context())
	if !request.DryRun {
		err = errors.Join(err, run.note(r.Context()))
	}
	if err != nil {
		return fail(asError(err).Code, "%d messages were imported before this: %v", run.sum.Messages, err)
	}
	return out.write(run.sum)
}

// badArchive gives an error of the archive its code.
func badArchive(err error) error {
	if errors.Is(err, archive.ErrArchive) || errors.Is(err, archive.ErrCutOff) {
		return fail(CodeBadArchive, "%v", err)
	}
	return fail(CodeBadRequest, "the archive did not get through: %v", err)
}

// importing is one run of an import.
type importing struct {
	store   Store
	rules   importRules
	request ImportRequest
	in      *archive.Reader
	out     *stream
	actor   string
	from    string // for people
	sum     Import
}

// all imports what can be. An archive that is not whole is told in the sum:
// what came before is good.
func (i *importing) all(ctx context.Context) error {
	for {
		e, err := i.in.Next()
		bad := new(archive.EntryError)
		switch {
		case err == nil:
			err = i.one(ctx, e)
		case errors.As(err, &bad):
			i.sum.Unusable++
			err = i.line(string(bad.ID), ImportUnusable, bad.Why)
		case errors.Is(err, io.EOF):
			i.sum.Missing = i.in.Manifest().Failed
			return nil
		case errors.Is(err, archive.ErrArchive), errors.Is(err, archive.ErrCutOff):
			i.sum.Problem = err.Error()
			return nil
		default:
			return badArchive(err)
		}
		if err != nil {
			return err
		}
	}
}

// errProbe is in the place of a content that is not to be kept.
var errProbe = errors.New("nothing is to be adopted")

type probe struct{}

func (probe) Read([]byte) (int, error) { return 0, errProbe }

// one imports a message.
func (i *importing) one(ctx context.Context, e archive.Envelope) error {
	m, err := i.rules.admit(e.Message)
	if err != nil {
		return i.refuse(e.ID, err)
	}
	adoption := queue.Adoption{Message: m, Trace: e.Trace, Actor: i.actor, Source: "imported from " + i.from}
	if !i.request.Deliver {
		adoption.Held = adoption.Source
	}
	full := i.sum.Messages >= i.request.Count
	content := &watched{from: i.in}
	var id queue.ID
	if i.request.DryRun || full {
		id, err = m.ID, i.probe(ctx, adoption, content)
	} else {
		id, err = i.store.Adopt(ctx, adoption, content)
	}
	switch {
	case err == nil && full && !i.request.DryRun:
		return fail(CodeCountChanged, "there are more than %d messages to import", i.request.Count)
	case err == nil:
		return i.imported(m, id)
	case content.broken():
		return nil // the next message, of which there is none, says so
	case errors.Is(err, queue.ErrExists):
		i.sum.Present++
		return nil
	case errors.Is(err, queue.ErrState):
		return i.refuse(m.ID, err)
	case errors.Is(err, queue.ErrDamaged), errors.Is(err, archive.ErrContent):
		i.sum.Unusable++
		return i.line(string(m.ID), ImportUnusable, err.Error())
	}
	return fmt.Errorf("import of %s: %w", m.ID, err)
}

// probe finds out what an adoption would come to, and adopts nothing: the store
// looks first whether it has the message, and then at the content.
func (i *importing) probe(ctx context.Context, a queue.Adoption, content io.Reader) error {
	if _, err := i.store.Adopt(ctx, a, probe{}); !errors.Is(err, errProbe) {
		return err
	}
	_, err := io.Copy(io.Discard, content)
	return err
}

func (i *importing) imported(m queue.Message, id queue.ID) error {
	i.sum.Messages++
	i.sum.Recipients += int64(len(m.Envelope.Recipients))
	i.sum.Bytes += m.Size
	if id == m.ID {
		return nil
	}
	return i.line(string(m.ID), ImportRenamed, "another message has this id here: it was imported as "+string(id))
}

func (i *importing) refuse(id queue.ID, why error) error {
	i.sum.Refused++
	return i.line(string(id), ImportRefused, why.Error())
}

func (i *importing) line(id, outcome, why string) error {
	return i.out.write(ImportLine{Schema: SchemaImportLine, ID: id, Outcome: outcome, Why: why})
}

// note writes the ledger line about the import as a whole, also of one that
// its client has left.
func (i *importing) note(ctx context.Context) error {
	return i.store.Note(context.WithoutCancel(ctx), queue.Entry{At: time.Now(), Event: queue.Noted, Actor: i.actor, Reason: fmt.Sprintf(
		"imported %d messages from %s; %d are or were here, %d were refused, %d were unusable", i.sum.Messages, i.from, i.sum.Present, i.sum.Refused, i.sum.Unusable)})
}

// watched remembers how a content ended.
type watched struct {
	from io.Reader
	err  error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.from.Read(p)
	if err != nil {
		w.err = err
	}
	return n, err
}

// broken reports whether not only the content, but the archive has ended.
func (w *watched) broken() bool {
	return w.err != nil && !errors.Is(w.err, io.EOF) && !errors.Is(w.err, archive.ErrContent)
}

// Import sends an archive, and calls each with what is said about single
// messages. It takes the time it needs.
func (c *Client) Import(ctx context.Context, request ImportRequest, from io.Reader, each func(ImportLine) error) (sum Import, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop() // also the sending, if the relay does not want the rest
	complete := false
	answer := func(schema string, line []byte) error {
		if schema != SchemaImport {
			return decode(line, each)
		}
		complete = true
		return decode(line, func(last Import) error { sum = last; return nil })
	}
	response, err := c.send(ctx, c.steady, http.MethodPost, "queue/import?"+request.parameters(), struct{ io.Reader }{from})
	if err == nil {
		err = lines(ctx, response, answer)
	}
	if err == nil && !complete {
		err = fmt.Errorf("import without its end: %w", ErrCutOff)
	}
	return sum, err
}
