// Package mtasts knows which domains want their hosts to be verified (RFC 8461).
//
//	TXT _mta-sts.DOMAIN       whether there is a policy, and which
//	https://mta-sts.DOMAIN/   the policy, from a host whose certificate is verified
//	the cache                 what was fetched, for its max_age, over restarts
//
// Guarantee: a policy that was fetched is applied until its time is over, also
// while neither the DNS nor the policy's host answers: who can keep a sender
// from asking cannot make it forget.
//
// On failure: a domain whose policy was never fetched has none. That is what RFC
// 8461 10 says; only DANE protects the first message.
package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options are the settings of a Cache. Resolver and Dial must be set.
type Options struct {
	Resolver Resolver
	// Dial connects to the HTTPS port of a host that a domain has named, if its
	// address is one that may be connected to.
	Dial    func(ctx context.Context, host string) (net.Conn, error)
	Roots   *x509.CertPool // for policy hosts; nil are the system's
	Timeout time.Duration  // of one fetch; default 30 seconds
	Keep    Keep           // where policies outlive the process; nil: they do not
	Log     *slog.Logger   // default none
}

// Resolver finds TXT records.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Keep stores small values of an owner.
type Keep interface {
	Put(owner, key string, value any) error
	Delete(owner, key string) error
	Each(owner string, each func(key string, value []byte) error) error
}

const (
	owner          = "mtasts"
	maxDomains     = 1000
	defaultTimeout = 30 * time.Second
	again          = 5 * time.Minute // after a fetch that failed (RFC 8461 3.3)
	maxHeader      = 16 << 10        // of a response
)

// Cache has the policies. Its methods may be called concurrently.
//
// What is logged, by event:
//
//	mtasts.fetched    a policy, new or again: domain, mode
//	mtasts.failed     it could not be fetched; whether an older one still counts
//	mtasts.forgotten, mtasts.unsaved
//	                  the policies could not be read, or written
type Cache struct {
	options Options
	client  *http.Client

	mu      sync.Mutex
	domains map[string]known
}

// known is what is known of a domain, as it is on disk.
type known struct {
	ID      string    `json:"id"`
	Policy  Policy    `json:"policy"`
	Fetched time.Time `json:"fetched"`
	tried   time.Time // the last fetch failed then
}

func (k known) valid(now time.Time) bool { return now.Before(k.Fetched.Add(k.Policy.MaxAge)) }

// due reports whether to fetch. One half of the time is for trying in the other.
func (k known) due(id string, now time.Time) bool {
	if now.Before(k.tried.Add(again)) {
		return false
	}
	return k.ID != id || !now.Before(k.Fetched.Add(k.Policy.MaxAge/2))
}

// New makes a cache of what was kept.
func New(o Options) *Cache {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cache{options: o, domains: map[string]known{}}
	c.client = &http.Client{
		// Neither redirects (RFC 8461 3.3) nor proxies: the policy is where the name says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
			TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				host, _, _ := net.SplitHostPort(address) // the client has made it
				conn, err := o.Dial(ctx, host)
				if err == nil { // a handshake goes on when the request has ended
					err = conn.SetDeadline(time.Now().Add(o.Timeout))
				}
				return conn, err
			}},
	}
	if o.Keep != nil {
		c.load()
	}
	return c
}

func (c *Cache) load() {
	now := time.Now()
	var over []string
	err := c.options.Keep.Each(owner, func(domain string, value []byte) error {
		var k known
		if err := json.Unmarshal(value, &k); err != nil {
			return err
		}
		if k.valid(now) && len(c.domains) < maxDomains {
			c.domains[domain] = k
		} else {
			over = append(over, domain)
		}
		return nil
	})
	if err != nil {
		c.options.Log.Warn("mtasts.forgotten", "error", err)
	}
	for _, domain := range over {
		c.forget(domain)
	}
}

// Policy returns the policy of a domain, which is lower case and ASCII. ctx
// bounds the questions to the DNS and to the policy's host; if it ends, what is
// known counts.
func (c *Cache) Policy(ctx context.Context, domain string) Policy {
	texts, err := c.options.Resolver.LookupTXT(ctx, name+domain)
	id, ok := parseRecord(texts)
	now := time.Now()
	c.mu.Lock()
	k := c.domains[domain]
	c.mu.Unlock()
	if err != nil || !ok || !k.due(id, now) {
		return k.at(now)
	}
	fetched, err := c.fetch(ctx, domain)
	if err != nil {
		if ctx.Err() == nil {
			k.tried = now
			c.put(domain, k, now)
		}
		c.options.Log.Warn("mtasts.failed", "domain", domain, "older", k.valid(now), "error", err)
		return k.at(now)
	}
	k = known{ID: id, Policy: fetched, Fetched: now}
	c.put(domain, k, now)
	c.save(domain, k)
	c.options.Log.Info("mtasts.fetched", "domain", domain, "mode", string(fetched.Mode), "max_age", fetched.MaxAge)
	return fetched
}

// at is the policy that counts.
func (k known) at(now time.Time) Policy {
	if !k.valid(now) {
		return Policy{}
	}
	return k.Policy
}

// put keeps what is known of a domain. If there are too many, those whose time
// is over go, or else the one that was fetched first.
func (c *Cache) put(domain string, k known, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.domains[domain]; !there && len(c.domains) >= maxDomains {
		var first string
		for name, other := range c.domains {
			if !other.valid(now) && !now.Before(other.tried.Add(again)) {
				c.drop(name)
			} else if first == "" || other.Fetched.Before(c.domains[first].Fetched) {
				first = name
			}
		}
		if len(c.domains) >= maxDomains {
			c.drop(first)
		}
	}
	c.domains[domain] = k
}

func (c *Cache) drop(domain string) {
	kept := !c.domains[domain].Fetched.IsZero()
	delete(c.domains, domain)
	if c.options.Keep != nil && kept {
		c.forget(domain)
	}
}

func (c *Cache) forget(domain string) {
	if err := c.options.Keep.Delete(owner, domain); err != nil {
		c.options.Log.Warn("mtasts.unsaved", "domain", domain, "error", err)
	}
}

func (c *Cache) save(domain string, k known) {
	if c.options.Keep == nil {
		return
	}
	if err := c.options.Keep.Put(owner, domain, k); err != nil {
		c.options.Log.Warn("mtasts.unsaved", "domain", domain, "error", err)
	}
}

// fetch gets the policy of a domain.
func (c *Cache) fetch(ctx context.Context, domain string) (Policy, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+domain+path, nil)
	if err != nil {
		return Policy{}, err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return Policy{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return Policy{}, fmt.Errorf("status %d of %s", response.StatusCode, request.URL)
	}
	// RFC 8461 3.2: where others may put files on a web server, they are seldom text.
	if kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return Policy{}, fmt.Errorf("%s is not text/plain", request.URL)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return Policy{}, err
	}
	if len(text) > maxBody {
		return Policy{}, errors.New("a policy of more than 64 KiB")
	}
	return parsePolicy(string(text))
}
