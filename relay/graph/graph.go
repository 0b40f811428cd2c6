// Package graph asks Microsoft Graph as an application of a tenant, with a
// secret or a certificate from files.
//
// A token is used until it is half its life old, and then changed. While the
// identity service gives none, the one there is goes on being used until Graph
// refuses it: on the day on which sign-in is the trouble that is all there is.
package graph

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

// App is an application of a tenant.
type App struct {
	Tenant, Client   string // ids, or the name of the tenant
	Secret           string // file of the client secret, or
	Certificate, Key string // files of a certificate (RSA) and its key
	Login            string // default https://login.microsoftonline.com
	Address          string // default https://graph.microsoft.com
}

const (
	requestTimeout = 2 * time.Minute
	refreshTimeout = 5 * time.Second // of a token that there is one instead of
	maxTries       = 6
	maxPause       = 5 * time.Minute // that a server may ask for
	maxPage        = 32 << 20
)

// Client asks. It is used by one goroutine at a time.
type Client struct {
	App
	HTTP *http.Client

	token string
	renew time.Time // when another token is to be had; zero is never
}

// Get asks until there is an answer, or it is not worth to ask again.
func (g *Client) Get(ctx context.Context, at string) ([]byte, error) {
	for try := 1; ; try++ {
		if try == 1 && g.token != "" {
			g.refresh(ctx)
		}
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
		if try >= maxTries || ctx.Err() != nil {
			return nil, err
		}
		if err := pause(ctx, a.wait(try, time.Now())); err != nil {
			return nil, err
		}
	}
}

// refresh changes a token that is half its life old, if that can be had soon.
func (g *Client) refresh(ctx context.Context) {
	if g.renew.IsZero() || time.Now().Before(g.renew) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	_ = g.authenticate(ctx) // the one there is goes on being used
}

// authenticate gets a token for the application (OAuth 2.0, RFC 6749 4.4).
func (g *Client) authenticate(ctx context.Context) error {
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
		Seconds     int64  `json:"expires_in"`
	}
	if err := json.Unmarshal(a.body, &token); err != nil || token.AccessToken == "" {
		return errors.New("the token endpoint answers without a token")
	}
	g.token, g.renew = token.AccessToken, time.Time{}
	if lasts := min(token.Seconds, int64(24*time.Hour/time.Second)); lasts > 0 {
		g.renew = time.Now().Add(time.Duration(lasts) * time.Second / 2)
	}
	return nil
}

// received is an answer of HTTP; the zero value is that there was none.
type received struct {
	status int
	after  string // Retry-After
	body   []byte
}

func (g *Client) do(request *http.Request) (received, error) {
	ctx, cancel := context.WithTimeout(request.Context(), requestTimeout)
	defer cancel()
	response, err := g.HTTP.Do(request.WithContext(ctx))
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
