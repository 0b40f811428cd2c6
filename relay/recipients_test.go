package relay

import (
	"context"
	"testing"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// TestRecipientsAreShown: operators see, read again and import what is known.
func TestRecipientsAreShown(t *testing.T) {
	t.Parallel()
	c, exo := configured(t)
	c.Domains[0].Recipients.File = write(t, "known@corp.example\n")
	c.Domains[0].Recipients.NotKnown = "reject"
	play(t, exo, "down")
	r := run(t, c)
	ctx := context.Background()
	check, err := r.client.CheckRecipient(ctx, "Known+tag@corp.example")
	if err != nil || check.Verdict != "known" || check.Source != "list" || check.Down != "accept" {
		t.Errorf("%+v, %v", check, err)
	}
	all, err := r.client.SyncRecipients(ctx, admin.RecipientSyncRequest{})
	if err != nil || len(all.Synced) != 1 || all.Synced[0].Error != "" || all.Synced[0].Count != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	did, err := r.client.ImportRecipients(ctx, admin.RecipientImportRequest{Domain: "corp.example", Name: "x", Text: []byte("more@corp.example\n")})
	if err != nil || did.Count != 1 || did.Added != 1 {
		t.Errorf("%+v, %v", did, err)
	}
	if st := r.status(); len(st.Recipients) != 1 || st.Recipients[0].Count != 2 || st.Recipients[0].State != "fresh" {
		t.Errorf("%+v", st.Recipients)
	}
	if all, err := r.shownRecipients().Sync(ctx, "lab.example", false); err == nil {
		t.Errorf("another domain: %+v", all)
	}
	r.override(health.Down)
	wantReply(t, r.offer("nobody@corp.example"), "550 5.1.1")
	if err := r.offer("more@corp.example"); err != nil {
		t.Error(err)
	}
}
