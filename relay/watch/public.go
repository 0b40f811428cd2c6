package watch

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/graph"
)

// Feed is a public status page, as RSS.
type Feed struct {
	URL    string
	Roots  *x509.CertPool
	Dialer Dialer

	looking sync.Mutex // held during a look
	last    said
}

// said is the last word that was heard, and when.
type said struct {
	class health.Class
	words string
	at    time.Time
}

// or is the last word, when there is no new one: it may be long out of date.
func (l said) or(err error) (health.Class, string) {
	if l.at.IsZero() {
		return health.Temporary, "it says nothing: " + plain(err)
	}
	return l.class, cut(l.words + "; no news since " + l.at.UTC().Format("2 Jan 15:04 UTC") + ": " + plain(err))
}

// Look reads the feed.
func (f *Feed) Look(ctx context.Context) []health.Signal {
	f.looking.Lock()
	defer f.looking.Unlock()
	s := begun(health.SourcePublic, f.URL, time.Now())
	status, body, err := get(ctx, client(f.Roots, f.Dialer), f.URL, "", &s)
	if over(ctx) {
		return nil
	}
	if err == nil && status != http.StatusOK {
		err = errors.New(statusLine(status))
	}
	var class health.Class
	var words string
	if err == nil {
		class, words, err = parseFeed(body)
	}
	if err == nil {
		f.last = said{class, words, time.Now()}
		s.Class, s.Reply = class, words
	} else {
		s.Class, s.Reply = f.last.or(err)
	}
	return []health.Signal{ended(s)}
}

// available is what Microsoft's feed says of what works.
const available = "Available"

// parseFeed reads the status of a feed: that of the first entry that is in
// trouble, or else of the first.
func parseFeed(text []byte) (health.Class, string, error) {
	var feed struct {
		Items []struct {
			Title  string `xml:"title"`
			Status string `xml:"status"`
			Date   string `xml:"pubDate"`
		} `xml:"channel>item"`
	}
	in := xml.NewDecoder(bytes.NewReader(text))
	if err := in.Decode(&feed); err != nil {
		return 0, "", fmt.Errorf("no feed: %w", err)
	}
	if len(feed.Items) == 0 {
		return health.OK, "no entry", nil
	}
	shown, class := feed.Items[0], health.OK
	for _, item := range feed.Items {
		if !strings.EqualFold(strings.TrimSpace(item.Status), available) {
			shown, class = item, health.Temporary
			break
		}
	}
	return class, cut(strings.Join(strings.Fields(shown.Title+": "+shown.Status+" "+shown.Date), " ")), nil
}

// Service is the health of a service as Microsoft Graph tells it.
type Service struct {
	Name  string // "Exchange Online"
	Graph graph.Client

	looking sync.Mutex // held during a look
	last    said
}

// NewService makes a Service that asks as an application.
func NewService(name string, app graph.App, roots *x509.CertPool, d Dialer) *Service {
	return &Service{Name: name, Graph: graph.Client{App: app, HTTP: client(roots, d)}}
}

// Look asks Graph.
func (g *Service) Look(ctx context.Context) []health.Signal {
	g.looking.Lock()
	defer g.looking.Unlock()
	s := begun(health.SourcePublic, "Graph: "+g.Name, time.Now())
	body, err := g.Graph.Get(ctx, g.Graph.Address+"/v1.0/admin/serviceAnnouncement/healthOverviews/"+url.PathEscape(g.Name)+"?$expand=issues")
	if over(ctx) {
		return nil
	}
	var class health.Class
	var words string
	if err == nil {
		class, words, err = parseService(body)
	}
	if err == nil {
		g.last = said{class, words, time.Now()}
		s.Class, s.Reply = class, words
	} else {
		s.Class, s.Reply = g.last.or(err)
	}
	return []health.Signal{ended(s)}
}

// parseService reads the health of a service: its word, and the issues that stand.
func parseService(text []byte) (health.Class, string, error) {
	var told struct {
		Status string `json:"status"`
		Issues []struct {
			ID       string `json:"id"`
			Title    string `json:"title"`
			Status   string `json:"status"`
			Resolved bool   `json:"isResolved"`
		} `json:"issues"`
	}
	if err := json.Unmarshal(text, &told); err != nil {
		return 0, "", fmt.Errorf("answer of Graph: %w", err)
	}
	if told.Status == "" {
		return 0, "", errors.New("answer of Graph: there is no status in it")
	}
	words := []string{told.Status}
	for _, issue := range told.Issues {
		if !issue.Resolved {
			words = append(words, strings.Join([]string{issue.ID, issue.Status, issue.Title}, " "))
		}
	}
	class := health.Temporary
	switch told.Status {
	case "serviceOperational", "serviceRestored", "resolved", "falsePositive", "postIncidentReviewPublished":
		class = health.OK
	case "serviceInterruption":
		class = health.Outage
	}
	return class, cut(strings.Join(words, "; ")), nil
}
