package recipients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Graph says how to read a tenant's directory by Microsoft Graph, as an
// application that may read users, groups and contacts.
type Graph struct {
	Tenant, Client   string // ids, or the name of the tenant
	Secret           string // file of the client secret, or
	Certificate, Key string // files of a certificate (RSA) and its key
	Login            string // default https://login.microsoftonline.com
	Address          string // default https://graph.microsoft.com
}

const (
	graphTimeout = 2 * time.Minute // of one request
	graphTries   = 6
	maxPause     = 5 * time.Minute // that a server may ask for
	maxPage      = 32 << 20
	maxPages     = 2000
)

// collections are the kinds of objects that have addresses. Dynamic distribution
// groups and public folders are not in Graph: list them, or let them be learned.
var collections = [...]string{
	"/v1.0/users?$select=mail,proxyAddresses&$top=999",
	"/v1.0/groups?$select=mail,proxyAddresses&$top=999",
	"/v1.0/contacts?$select=mail,proxyAddresses&$top=999",
}

// page is one answer to a listing.
type page struct {
	Next  string `json:"@odata.nextLink"`
	Value []struct {
		Mail           string   `json:"mail"`
		ProxyAddresses []string `json:"proxyAddresses"`
	} `json:"value"`
}

// parsePage reads an answer: the keys of its SMTP addresses, and where the next
// one is, "" if it is the last. What is no address is left out: a directory has
// values that nobody could send to.
func parsePage(text []byte) (keys []string, next string, err error) {
	var p page
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, "", fmt.Errorf("answer of Graph: %w", err)
	}
	if p.Value == nil {
		return nil, "", errors.New("answer of Graph: there is no list in it")
	}
	for _, object := range p.Value {
		for _, word := range append(object.ProxyAddresses, "smtp:"+object.Mail) {
			kind, rest, typed := strings.Cut(word, ":")
			if !typed || !strings.EqualFold(kind, "smtp") {
				continue
			}
			path, err := smtp.ParsePath(rest)
			if err != nil || path.Domain == "" {
				continue
			}
			if key, err := keyOf(path); err == nil {
				keys = append(keys, key)
			}
		}
	}
	return keys, p.Next, nil
}

// graph is a client. It is used by one goroutine.
type graph struct {
	Graph
	http  *http.Client
	token string
}

// addresses lists the keys of all addresses in the domains.
func (g *graph) addresses(ctx context.Context, domains map[string]bool) (map[string]struct{}, error) {
	known := map[string]struct{}{}
	for _, collection := range collections {
		at := g.Address + collection
		for pages := 0; at != ""; pages++ {
			if pages >= maxPages || len(known) > maxAddresses {
				return nil, fmt.Errorf("more than %d pages or %d addresses", maxPages, maxAddresses)
			}
			text, err := g.get(ctx, at)
			if err != nil {
				return nil, err
			}
			keys, next, err := parsePage(text)
			if err != nil {
				return nil, err
			}
			if next != "" && !strings.HasPrefix(next, g.Address+"/") { // the token is for nobody else
				return nil, fmt.Errorf("answer of Graph: its next page is elsewhere: %.200q", next)
			}
			for _, key := range keys {
				if domains[domainOf(key)] {
					known[key] = struct{}{}
				}
			}
			at = next
		}
	}
	return known, nil
}

// get asks until there is an answer, or it is not worth to ask again.
func (g *graph) get(ctx context.Context, at string) ([]byte, error) {
	for try := 1; ; try++ {
		if g.token == "" {
			if err := g.authenticate(ctx); err != nil {
				return nil, err
			}
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+g.token)
		a, err := g.do(request)
		switch {
		case err == nil && a.status == http.StatusOK:
			return a.body, nil
		case err == nil && a.status == http.StatusUnauthorized && try == 1:
			g.token = "" // it may have expired
			continue
		case err == nil && !a.passing():
			return nil, a.failure("Graph")
		case err == nil:
			err = a.failure("Graph")
		}
		if try >= graphTries || ctx.Err() != nil {
			return nil, err
		}
		if err := pause(ctx, a.wait(try, time.Now())); err != nil {
			return nil, err
		}
	}
}

// authenticate gets a token for the application (OAuth 2.0, RFC 6749 4.4).
func (g *graph) authenticate(ctx context.Context) error {
	at := g.Login + "/" + url.PathEscape(g.Tenant) + "/oauth2/v2.0/token"
	form, err := g.credentials(at, time.Now())
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a, err := g.do(request)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return a.failure("the token endpoint")
	}
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(a.body, &token); err != nil || token.AccessToken == "" {
		return errors.New("the token endpoint answers without a token")
	}
	g.token = token.AccessToken
	return nil
}

// received is an answer of HTTP; the zero value is that there was none.
type received struct {
	status int
	after  string // Retry-After
	body   []byte
}

func (g *graph) do(request *http.Request) (received, error) {
	ctx, cancel := context.WithTimeout(request.Context(), graphTimeout)
	defer cancel()
	response, err := g.http.Do(request.WithContext(ctx))
	if err != nil {
		return received{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPage+1))
	if err == nil && len(body) > maxPage {
		err = errors.New("an answer that is larger than 32 MiB")
	}
	return received{response.StatusCode, response.Header.Get("Retry-After"), body}, err
}

// passing reports whether the same question may be answered later.
func (a received) passing() bool { return a.status == http.StatusTooManyRequests || a.status >= 500 }

// wait is how long to wait before the next try: as the server says, within
// reason, or longer from try to try.
func (a received) wait(try int, now time.Time) time.Duration {
	wait := time.Second << (try - 1)
	if seconds, err := strconv.Atoi(a.after); err == nil {
		wait = time.Duration(min(max(seconds, 0), int(maxPause/time.Second))) * time.Second
	} else if at, err := http.ParseTime(a.after); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, time.Second), maxPause)
}

// failure says what was answered, with the code and words of Microsoft's
// documents; nothing of them is secret.
func (a received) failure(who string) error {
	var told struct {
		Error       json.RawMessage `json:"error"`
		Description string          `json:"error_description"`
	}
	var inner struct{ Code, Message string }
	_ = json.Unmarshal(a.body, &told) // whatever cannot be read is not told
	_ = json.Unmarshal(told.Error, &inner)
	words := strings.TrimSpace(inner.Code + " " + inner.Message)
	if told.Description != "" {
		words, _, _ = strings.Cut(told.Description, "\n")
	}
	return fmt.Errorf("%s answers %d %s", who, a.status, smtp.Printable(fmt.Sprintf("%.300s", words)))
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
