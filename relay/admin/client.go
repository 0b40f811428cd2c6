package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

// ErrUnreachable is wrapped when no relay answers on the socket, or it may not be opened.
var ErrUnreachable = errors.New("no answer on the control socket")

// ErrCutOff is wrapped when an answer broke off before its end.
var ErrCutOff = errors.New("the answer broke off")

// answerTimeout is how long a relay may think before it begins to answer a
// request that changes nothing.
const answerTimeout = 30 * time.Second

// Client asks a relay over its control socket. Its methods may be called
// concurrently. They return *Error for what the relay did not do, and wrap
// ErrUnreachable or ErrCutOff for what did not get through.
type Client struct {
	socket        string
	brisk, steady *http.Client // with and without answerTimeout
}

// Dial opens a connection to the control socket at a path.
type Dial func(ctx context.Context, socket string) (net.Conn, error)

// NewClient makes a client of the control socket. It connects when it is asked.
func NewClient(socket string) *Client {
	return NewClientOver(socket, func(ctx context.Context, socket string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	})
}

// NewClientOver makes a client that reaches the socket by dial.
func NewClientOver(socket string, dial Dial) *Client {
	transport := func(wait time.Duration) *http.Client {
		return &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dial(ctx, socket)
			},
			ResponseHeaderTimeout: wait,
			MaxIdleConns:          1,
			IdleConnTimeout:       time.Minute,
		}}
	}
	return &Client{socket: socket, brisk: transport(answerTimeout), steady: transport(0)}
}

// Status asks for the snapshot of the relay.
func (c *Client) Status(ctx context.Context) (st Status, err error) {
	return st, c.get(ctx, "status", &st)
}

// Ready returns nil if the relay accepts mail.
func (c *Client) Ready(ctx context.Context) error {
	return c.get(ctx, "ready", &Ready{})
}

// List calls each with every message of the listing.
func (c *Client) List(ctx context.Context, request ListRequest, each func(Message) error) (sum Summary, err error) {
	complete := false
	err = c.stream(ctx, http.MethodPost, "queue/list", request, func(schema string, line []byte) error {
		if schema == SchemaSummary {
			complete = true
			return json.Unmarshal(line, &sum)
		}
		return decode(line, each)
	})
	if err == nil && !complete {
		err = fmt.Errorf("listing without its end: %w", ErrCutOff)
	}
	return sum, err
}

// Message asks for one message, by its id or the beginning of one.
func (c *Client) Message(ctx context.Context, id string) (m Message, err error) {
	return m, c.get(ctx, "queue/"+url.PathEscape(id), &m)
}

// Content copies the headers or the raw content of a message to w.
func (c *Client) Content(ctx context.Context, id, part string, w io.Writer) error {
	return c.copy(ctx, c.brisk, "queue/"+url.PathEscape(id)+"/content?part="+part, w, "the content of "+id)
}

// ExportLedger copies a stretch of the ledger to w; a zero time is open. It takes
// the time it needs.
func (c *Client) ExportLedger(ctx context.Context, since, until time.Time, w io.Writer) error {
	bounds := url.Values{}
	for name, at := range map[string]time.Time{"since": since, "until": until} {
		if !at.IsZero() {
			bounds.Set(name, at.Format(time.RFC3339Nano))
		}
	}
	return c.copy(ctx, c.steady, "db/ledger?"+bounds.Encode(), w, "the ledger")
}

// copy copies an answer that is no document, and is called what in an error.
func (c *Client) copy(ctx context.Context, via *http.Client, path string, w io.Writer, what string) error {
	response, err := c.do(ctx, via, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(w, answered{response.Body}); err != nil {
		return err
	}
	if code := response.Trailer.Get(trailerError); code != "" {
		return fail(code, "%s could not be read to its end", what)
	}
	return nil
}

// answered tells an answer that broke off from a writer that failed.
type answered struct{ io.Reader }

func (a answered) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = errors.Join(ErrCutOff, err)
	}
	return n, err
}

// Shape asks for the age shape of the queue.
func (c *Client) Shape(ctx context.Context, request ShapeRequest) (shape Shape, err error) {
	return shape, c.post(ctx, c.brisk, "queue/stats", request, &shape)
}

// Change changes messages, or says what would change. It takes the time it needs.
func (c *Client) Change(ctx context.Context, request ChangeRequest) (change Change, err error) {
	return change, c.post(ctx, c.steady, "queue/change", request, &change)
}

// Trace calls line with each ledger line about the query, and message with
// each message they name that is still known. It returns a *Gap, after all of
// that, if some of the ledger could not be read.
func (c *Client) Trace(ctx context.Context, query string, limit int, line func(Entry) error, message func(Message) error) error {
	path := "trace?" + url.Values{"q": {query}, "limit": {strconv.Itoa(limit)}}.Encode()
	var gap *Gap
	err := c.stream(ctx, http.MethodGet, path, nil, func(schema string, text []byte) error {
		switch schema {
		case SchemaEntry:
			return decode(text, line)
		case SchemaGap:
			return decode(text, func(g Gap) error { gap = &g; return nil })
		}
		return decode(text, message)
	})
	if err == nil && gap != nil {
		return gap
	}
	return err
}

// Health calls each with every upstream and its evidence.
func (c *Client) Health(ctx context.Context, each func(UpstreamReport) error) error {
	return c.stream(ctx, http.MethodGet, "health", nil, func(_ string, line []byte) error {
		return decode(line, each)
	})
}

// History calls each with every change of an upstream, "" is all, since an instant.
func (c *Client) History(ctx context.Context, upstream string, since time.Time, each func(HistoryChange) error) error {
	path := "health/history?" + url.Values{"upstream": {upstream}, "since": {since.UTC().Format(time.RFC3339Nano)}}.Encode()
	return c.stream(ctx, http.MethodGet, path, nil, func(_ string, line []byte) error { return decode(line, each) })
}

// Incidents calls each with every incident, the newest first, without replies and timeline.
func (c *Client) Incidents(ctx context.Context, each func(Incident) error) error {
	return c.streamVia(ctx, c.steady, http.MethodGet, "incidents", nil, func(_ string, line []byte) error { return decode(line, each) })
}

// Incident asks for one incident, by its id or LastIncident.
func (c *Client) Incident(ctx context.Context, id string) (i Incident, err error) {
	response, err := c.do(ctx, c.steady, http.MethodGet, "incidents/"+url.PathEscape(id), nil)
	return i, receiveOne(response, err, &i)
}

// OpenIncident opens an incident.
func (c *Client) OpenIncident(ctx context.Context, request IncidentRequest) (i Incident, err error) {
	return i, c.post(ctx, c.steady, "incidents", request, &i)
}

// ChangeIncident notes, links, acks or closes an incident, by its id or LastIncident.
func (c *Client) ChangeIncident(ctx context.Context, id, verb string, request IncidentRequest) (i Incident, err error) {
	return i, c.post(ctx, c.steady, "incidents/"+url.PathEscape(id)+"/"+verb, request, &i)
}

// Probe has one dialogue with the upstream now.
func (c *Client) Probe(ctx context.Context, request ProbeRequest) (report ProbeReport, err error) {
	return report, c.post(ctx, c.steady, "health/probe", request, &report)
}

// Override sets or ends an override.
func (c *Client) Override(ctx context.Context, request OverrideRequest) (did Switch, err error) {
	return did, c.post(ctx, c.brisk, "health/override", request, &did)
}

// Windows calls each with every planned window, by its beginning.
func (c *Client) Windows(ctx context.Context, each func(Window) error) error {
	return c.stream(ctx, http.MethodGet, "windows", nil, func(_ string, line []byte) error { return decode(line, each) })
}

// AddWindow plans a window.
func (c *Client) AddWindow(ctx context.Context, request WindowRequest) (w Window, err error) {
	return w, c.post(ctx, c.brisk, "windows", request, &w)
}

// RemoveWindow removes a window, and ends what it holds.
func (c *Client) RemoveWindow(ctx context.Context, id string, request RemoveRequest) (w Window, err error) {
	return w, c.post(ctx, c.brisk, "windows/"+url.PathEscape(id)+"/remove", request, &w)
}

// FileStats lists the files of the store.
func (c *Client) FileStats(ctx context.Context) (report FileReport, err error) {
	return report, c.get(ctx, "db/stats", &report)
}

// Check reads everything in the store, and calls each with what is wrong. It
// takes the time it needs.
func (c *Client) Check(ctx context.Context, request CheckRequest, each func(Finding) error) (sum Checked, err error) {
	complete := false
	err = c.streamVia(ctx, c.steady, http.MethodPost, "db/check", request, func(schema string, line []byte) error {
		if schema == SchemaChecked {
			complete = true
			return json.Unmarshal(line, &sum)
		}
		return decode(line, each)
	})
	if err == nil && !complete {
		err = fmt.Errorf("check without its end: %w", ErrCutOff)
	}
	return sum, err
}

// Salvage brings back what can be read of a file that was set aside. It takes
// the time it needs.
func (c *Client) Salvage(ctx context.Context, request SalvageRequest) (did Salvage, err error) {
	return did, c.post(ctx, c.steady, "db/salvage", request, &did)
}

// AcceptLoss closes a file that was set aside.
func (c *Client) AcceptLoss(ctx context.Context, request AcceptRequest) (loss Loss, err error) {
	return loss, c.post(ctx, c.brisk, "db/accept-loss", request, &loss)
}

// MakeBackup makes a backup in a folder, by its whole path, and tells progress
// how far it is. It takes the time it needs, and ends with ctx.
func (c *Client) MakeBackup(ctx context.Context, dir string, progress func(BackupProgress)) (made Backup, err error) {
	complete := false
	err = c.streamVia(ctx, c.steady, http.MethodPost, "backups", BackupRequest{dir}, func(schema string, line []byte) error {
		if schema == SchemaBackup {
			complete = true
			return json.Unmarshal(line, &made)
		}
		return decode(line, func(p BackupProgress) error { progress(p); return nil })
	})
	if err == nil && !complete {
		err = fmt.Errorf("backup without its end: %w", ErrCutOff)
	}
	return made, err
}

// Backups lists the last backups that were made, the newest first.
func (c *Client) Backups(ctx context.Context) (list BackupList, err error) {
	return list, c.get(ctx, "backups", &list)
}

// Explain asks what would become of mail.
func (c *Client) Explain(ctx context.Context, request ExplainRequest) (given Explanation, err error) {
	return given, c.post(ctx, c.brisk, "explain", request, &given)
}

// Pause stops accepting or delivering for a time.
func (c *Client) Pause(ctx context.Context, request PauseRequest) (did Switch, err error) {
	return did, c.post(ctx, c.brisk, "pause", request, &did)
}

// Resume ends a pause.
func (c *Client) Resume(ctx context.Context, request ResumeRequest) (did Switch, err error) {
	return did, c.post(ctx, c.brisk, "resume", request, &did)
}

func (c *Client) get(ctx context.Context, path string, answer any) error {
	response, err := c.do(ctx, c.brisk, http.MethodGet, path, nil)
	return receiveOne(response, err, answer)
}

func (c *Client) post(ctx context.Context, via *http.Client, path string, request, answer any) error {
	response, err := c.do(ctx, via, http.MethodPost, path, request)
	return receiveOne(response, err, answer)
}

// receiveOne reads an answer of one document.
func receiveOne(response *http.Response, err error, answer any) error {
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return errors.Join(ErrCutOff, err)
	}
	return nil
}

// do sends a request. An answer that is no success becomes an *Error.
func (c *Client) do(ctx context.Context, via *http.Client, method, path string, request any) (*http.Response, error) {
	var body []byte
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return nil, err
		}
	}
	return c.send(ctx, via, method, path, bytes.NewReader(body))
}

// send sends a request with any body.
func (c *Client) send(ctx context.Context, via *http.Client, method, path string, body io.Reader) (*http.Response, error) {
	sent, err := http.NewRequestWithContext(ctx, method, "http://mxkeep/v1/"+path, body)
	if err != nil {
		return nil, err
	}
	response, err := via.Do(sent)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w %s: %w", ErrUnreachable, c.socket, bare(err))
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	refusal := &Error{}
	if err := json.NewDecoder(response.Body).Decode(refusal); err != nil || refusal.Schema != SchemaError {
		return nil, fmt.Errorf("status %d without an error we know: %w", response.StatusCode, ErrCutOff)
	}
	return nil, refusal
}

// bare leaves call and address out of an error of the network: the socket is named already.
func bare(err error) error {
	err = errors.Unwrap(err) // of the URL
	var network *net.OpError
	var system *os.SyscallError
	switch {
	case errors.As(err, &system):
		return system.Err
	case errors.As(err, &network):
		return network.Err
	}
	return err
}

// stream calls each with every line of an answer. A line that is an error ends it.
func (c *Client) stream(ctx context.Context, method, path string, request any, each func(schema string, line []byte) error) error {
	return c.streamVia(ctx, c.brisk, method, path, request, each)
}

func (c *Client) streamVia(ctx context.Context, via *http.Client, method, path string, request any, each func(schema string, line []byte) error) error {
	response, err := c.do(ctx, via, method, path, request)
	if err != nil {
		return err
	}
	return lines(ctx, response, each)
}

// lines calls each with every line of an answer, and closes it.
func lines(ctx context.Context, response *http.Response, each func(schema string, line []byte) error) error {
	defer response.Body.Close()
	for lines := bufio.NewReader(response.Body); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		} else if err != nil {
			return errors.Join(ErrCutOff, err, ctx.Err())
		}
		schema, err := schemaOf(line)
		if err != nil {
			return errors.Join(ErrCutOff, err)
		}
		if schema == SchemaError {
			return decode(line, func(refusal Error) error { return &refusal })
		}
		if err := each(schema, line); err != nil {
			return err
		}
	}
}

// schemaOf finds the schema of a document. Ours begin with it.
func schemaOf(document []byte) (string, error) {
	if rest, ok := bytes.CutPrefix(document, []byte(`{"schema":"`)); ok {
		schema, _, _ := bytes.Cut(rest, []byte(`"`))
		return string(schema), nil
	}
	var head struct{ Schema string }
	err := json.Unmarshal(document, &head)
	return head.Schema, err
}

func decode[T any](line []byte, each func(T) error) error {
	var v T
	if err := json.Unmarshal(line, &v); err != nil {
		return errors.Join(ErrCutOff, err)
	}
	return each(v)
}
