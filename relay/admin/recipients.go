package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Recipients is what is known about who exists. Every func may be called concurrently.
type Recipients struct {
	Sources func() []RecipientSource
	// Check says what is known about a recipient of a domain; nobody is asked.
	Check func(domain string, path smtp.Path) RecipientCheck
	// Sync reads lists and directories now; "" is those of all domains.
	Sync func(ctx context.Context, domain string, force bool) ([]RecipientSync, error)
	// Import replaces the imported list of a domain by the text of a file.
	Import func(domain, name, text string, dry bool) (RecipientImport, error)
}

// RecipientSource is one source of what is known about the recipients of a domain.
type RecipientSource struct {
	Schema   string `json:"schema"`
	Domain   string `json:"domain"`
	Source   string `json:"source"` // list, directory, learned, call-ahead
	State    string `json:"state"`  // fresh, stale, missing, failing
	Count    int    `json:"count"`  // addresses of the domain
	At       Time   `json:"at"`     // of what it knows; of learned, the latest; null if there is nothing
	Stale    bool   `json:"stale"`  // it is too old: who is not in it is not known
	Wrong    string `json:"wrong"`  // why it could not be read last; "" if it could
	NextAt   Time   `json:"next_sync_at"`
	Asked    int64  `json:"asked"` // of call-ahead: since the start
	NotKnown string `json:"not_known"`
}

// RecipientList lists sources.
type RecipientList struct {
	Schema  string            `json:"schema"`
	Sources []RecipientSource `json:"sources"`
}

// RecipientCheck is what is known about one address, and what would be answered
// about it in each state of its upstream, as far as recipients are concerned.
type RecipientCheck struct {
	Schema   string `json:"schema"`
	Address  string `json:"address"`
	Domain   string `json:"domain"`
	Verdict  string `json:"verdict"` // known, unknown, not known
	Source   string `json:"source"`  // that decides; "" if none does
	At       Time   `json:"at"`      // when what it knows was true
	Why      string `json:"why"`
	Up       string `json:"answer_up"` // accept, 451 4.4.3, 550 5.1.1
	Degraded string `json:"answer_degraded"`
	Down     string `json:"answer_down"` // also while it is coming back
}

// RecipientSyncRequest asks to read lists and directories now.
type RecipientSyncRequest struct {
	Domain string `json:"domain,omitempty"` // "" is all
	Force  bool   `json:"force,omitempty"`  // believe whatever is read
}

// RecipientSync is what a sync brought for one domain.
type RecipientSync struct {
	Domain  string `json:"domain"`
	Count   int    `json:"count"`
	Added   int    `json:"added"`
	Lost    int    `json:"lost"`
	Error   string `json:"error"`   // why what was known before still holds; "" if it does not
	Doubted bool   `json:"doubted"` // the error is that too much would be lost
}

// RecipientSyncs is what a sync brought.
type RecipientSyncs struct {
	Schema string          `json:"schema"`
	Synced []RecipientSync `json:"synced"`
}

// RecipientImportRequest replaces the imported list of a domain.
type RecipientImportRequest struct {
	Domain string `json:"domain"`
	Name   string `json:"name"` // of the file, for words
	Text   []byte `json:"text"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// RecipientImport is what an import did, or would do.
type RecipientImport struct {
	Schema    string `json:"schema"`
	Domain    string `json:"domain"`
	DryRun    bool   `json:"dry_run"`
	Count     int    `json:"count"`
	Elsewhere int    `json:"elsewhere"` // addresses of other domains, which were left out
	Added     int    `json:"added"`
	Lost      int    `json:"lost"`
	At        Time   `json:"at"`
}

// The schemas of recipients.
const (
	SchemaRecipientList   = "mxkeep.recipients/1"
	SchemaRecipientSource = "mxkeep.recipients.source/1"
	SchemaRecipientCheck  = "mxkeep.recipients.check/1"
	SchemaRecipientSync   = "mxkeep.recipients.sync/1"
	SchemaRecipientImport = "mxkeep.recipients.import/1"
)

// The codes of errors about recipients.
const (
	CodeUnknownDomain = "unknown_domain"
	CodeBadList       = "bad_list"
)

// MaxImport is how large a file may be that is imported, in bytes.
const MaxImport = 11 << 20 // in a request it becomes a third longer

// recipientSources are the sources with their state.
func (s *Server) recipientSources() []RecipientSource {
	all := []RecipientSource{}
	if s.options.Recipients.Sources == nil {
		return all
	}
	for _, r := range s.options.Recipients.Sources() {
		r.Schema = SchemaRecipientSource
		switch {
		case r.Source == "learned", r.Source == "call-ahead":
			r.State = "fresh"
		case r.At.IsZero():
			r.State = "missing"
		case r.Stale:
			r.State = "stale"
		case r.Wrong != "":
			r.State = "failing"
		default:
			r.State = "fresh"
		}
		all = append(all, r)
	}
	return all
}

// domain checks the name of a relay domain; "" may stand for all.
func (s *Server) domain(name string) (string, error) {
	ascii, err := smtp.ASCIIDomain(name)
	var known []string
	for _, u := range s.options.Upstreams {
		known = append(known, u.Domains...)
	}
	if err != nil || !slices.Contains(known, ascii) {
		return "", fail(CodeUnknownDomain, "no domain %q (known: %s)", name, strings.Join(known, ", "))
	}
	return ascii, nil
}

func (s *Server) listRecipients(r *http.Request) (any, error) {
	all := RecipientList{Schema: SchemaRecipientList, Sources: s.recipientSources()}
	name := r.URL.Query().Get("domain")
	if name == "" {
		return all, nil
	}
	domain, err := s.domain(name)
	if err != nil {
		return nil, err
	}
	all.Sources = slices.DeleteFunc(all.Sources, func(one RecipientSource) bool { return one.Domain != domain })
	return all, nil
}

func (s *Server) checkRecipient(r *http.Request) (any, error) {
	address := r.URL.Query().Get("address")
	path, err := smtp.ParsePath(address)
	if err != nil || path.IsNull() {
		return nil, fail(CodeBadRequest, "%q is no address", address)
	}
	domain, err := s.domain(path.Domain)
	if err != nil {
		return nil, err
	}
	check := s.options.Recipients.Check(domain, path)
	check.Schema, check.Address, check.Domain = SchemaRecipientCheck, path.String(), domain
	return check, nil
}

func (s *Server) syncRecipients(r *http.Request) (any, error) {
	var request RecipientSyncRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	domain := request.Domain
	if domain != "" {
		var err error
		if domain, err = s.domain(domain); err != nil {
			return nil, err
		}
	}
	if request.Force { // the guard is taken away: that has to be on record
		if err := s.note(r.Context(), "", strings.TrimSpace("recipients sync --force "+domain)); err != nil {
			return nil, err
		}
	}
	synced, err := s.options.Recipients.Sync(r.Context(), domain, request.Force)
	if err != nil {
		return nil, fail(CodeUnknownDomain, "%v", err)
	}
	return RecipientSyncs{Schema: SchemaRecipientSync, Synced: append([]RecipientSync{}, synced...)}, nil
}

func (s *Server) importRecipients(r *http.Request) (any, error) {
	var request RecipientImportRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	domain, err := s.domain(request.Domain)
	if err != nil {
		return nil, err
	}
	did, err := s.options.Recipients.Import(domain, request.Name, string(request.Text), true)
	if err == nil && !request.DryRun {
		if err := s.note(r.Context(), "", fmt.Sprintf("recipients import %s %s: %d addresses", request.Name, domain, did.Count)); err != nil {
			return nil, err
		}
		did, err = s.options.Recipients.Import(domain, request.Name, string(request.Text), false)
	}
	if err != nil {
		return nil, fail(CodeBadList, "%v", err)
	}
	did.Schema, did.DryRun = SchemaRecipientImport, request.DryRun
	return did, nil
}

// staleRecipients lists what a person can do about sources that are old or fail.
func staleRecipients(st *Status) (list []Todo) {
	for _, r := range st.Recipients {
		about := "The " + r.Source + " of recipients of " + r.Domain
		switch {
		case r.State == "missing":
			list = append(list, Todo{about + " was never read" + because(r) + ": " + withoutIt(r), renewed(r)})
		case r.State == "stale":
			list = append(list, Todo{fmt.Sprintf("%s is %s old%s: %s", about, count(int64(st.At.Sub(r.At.Time)/(24*time.Hour)), "day"), because(r), withoutIt(r)), renewed(r)})
		case r.State == "failing":
			list = append(list, Todo{about + " could not be read again" + because(r) + ". What was known before still holds.", "mxkeep recipients sync " + r.Domain})
		}
	}
	return list
}

// renewed is the command that makes a source young again.
func renewed(r RecipientSource) string {
	if r.Source == "list" {
		return "mxkeep recipients import FILE " + r.Domain
	}
	return "mxkeep recipients sync " + r.Domain
}

func because(r RecipientSource) string {
	if r.Wrong == "" {
		return ""
	}
	return " (" + Brief(r.Wrong) + ")"
}

// withoutIt says what becomes of recipients in an outage.
func withoutIt(r RecipientSource) string {
	words := map[string]string{"defer": "deferred", "reject": "refused"}[r.NotKnown]
	if words == "" {
		words = "accepted"
	}
	return "in an outage, who is not known is " + words + "."
}

// RecipientSources lists what is known about who exists; domain "" is all.
func (c *Client) RecipientSources(ctx context.Context, domain string) (all RecipientList, err error) {
	return all, c.get(ctx, "recipients?"+url.Values{"domain": {domain}}.Encode(), &all)
}

// CheckRecipient asks what is known about an address.
func (c *Client) CheckRecipient(ctx context.Context, address string) (check RecipientCheck, err error) {
	return check, c.get(ctx, "recipients/check?"+url.Values{"address": {address}}.Encode(), &check)
}

// SyncRecipients reads lists and directories now. It takes the time it needs.
func (c *Client) SyncRecipients(ctx context.Context, request RecipientSyncRequest) (all RecipientSyncs, err error) {
	return all, c.post(ctx, c.steady, "recipients/sync", request, &all)
}

// ImportRecipients replaces the imported list of a domain.
func (c *Client) ImportRecipients(ctx context.Context, request RecipientImportRequest) (did RecipientImport, err error) {
	if len(request.Text) > MaxImport {
		return did, errors.New("the file is larger than 11 MiB: name it in the configuration instead (recipients: FILE)")
	}
	return did, c.post(ctx, c.steady, "recipients/import", request, &did)
}
