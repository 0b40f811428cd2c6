package recipients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mxkeep/mxkeep/relay/graph"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Graph says how to read a tenant's directory by Microsoft Graph, as an
// application that may read users, groups and contacts.
type Graph = graph.App

const maxPages = 2000

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

// listing reads a directory. It is used by one goroutine.
type listing struct{ graph.Client }

// addresses lists the keys of all addresses in the domains.
func (g *listing) addresses(ctx context.Context, domains map[string]bool) (map[string]struct{}, error) {
	known := map[string]struct{}{}
	for _, collection := range collections {
		at := g.Address + collection
		for pages := 0; at != ""; pages++ {
			if pages >= maxPages || len(known) > maxAddresses {
				return nil, fmt.Errorf("more than %d pages or %d addresses", maxPages, maxAddresses)
			}
			text, err := g.Get(ctx, at)
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
