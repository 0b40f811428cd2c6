package admintest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Recipients is what is known about who exists, as the test says.
type Recipients struct {
	mu       sync.Mutex
	Shown    []admin.RecipientSource
	Known    []string // addresses
	Synced   []admin.RecipientSync
	Imported []string // what was imported, as domain, name and text
	Forced   []string // domains that were synced by force
	Planned  admin.RecipientImport
	Fail     error // of Sync and Import
}

// Part is what admin sees of it.
func (r *Recipients) Part() admin.Recipients {
	return admin.Recipients{
		Sources: func() []admin.RecipientSource {
			r.mu.Lock()
			defer r.mu.Unlock()
			return slices.Clone(r.Shown)
		},
		Check: func(_ string, path smtp.Path) admin.RecipientCheck {
			if slices.Contains(r.Known, strings.ToLower(path.String())) {
				return admin.RecipientCheck{Verdict: "known", Source: "list", At: r.Shown[0].At, Why: "it is in the list", Up: "accept", Degraded: "accept", Down: "accept"}
			}
			return admin.RecipientCheck{Verdict: "not known", Why: "no source says anything about it", Up: "accept", Degraded: "451 4.4.3", Down: "550 5.1.1"}
		},
		Sync: func(_ context.Context, domain string, force bool) ([]admin.RecipientSync, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if force {
				r.Forced = append(r.Forced, domain)
			}
			return r.Synced, r.Fail
		},
		Import: func(domain, name, text string, dry bool) (admin.RecipientImport, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.Fail == nil && !dry {
				r.Imported = append(r.Imported, domain+" "+name+" "+text)
			}
			did := r.Planned
			did.Domain = domain
			return did, r.Fail
		},
	}
}
