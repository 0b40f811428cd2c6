package integration

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/graph/graphtest"
)

// recipientsConfig is a relay with a domain for each source and policy.
const recipientsConfig = `hostname: mx2.corp.example
data: %[1]q
socket: %[2]q
http: {listen: ""}
inbound:
  listen: [%[3]q]
  timeouts: {greeting: 0s}
domains:
  - name: ahead.example
    recipients: {sources: [learned, call-ahead], not_known: defer}
  - name: reject.example
    recipients: {sources: learned, not_known: reject}
  - name: accept.example
    recipients: {sources: learned}
  - name: import.example
    recipients: {sources: list, not_known: defer}
  - name: dir.example
    recipients:
      sources: [directory, learned]
      not_known: reject
      directory: {tenant: corp.example, client: app-1, secret: secret, login: %[4]q, graph: %[4]q}
upstream:
  hosts: [%[5]q]
  tls: {server_name: %[6]s, ca: %[7]q}
  delivery: {wait: 100ms, start_rate: 1000000}
  probe: {every: 100ms, every_bad: 100ms, recipient: probe@ahead.example}
  health: {trials: 1}
dns: {servers: ["127.0.0.9:1"]}
`

// asker asks about recipients, in one session for each.
type asker struct {
	t       *testing.T
	address string
}

// want checks how the reply to RCPT begins.
func (a asker) want(recipient, begin string) {
	a.t.Helper()
	reply := a.say(recipient, false)
	if !strings.HasPrefix(reply, begin) {
		a.t.Errorf("%s: %s, want %s", recipient, reply, begin)
	}
}

// say is the reply to RCPT, or that to a message if one is sent and RCPT is taken.
func (a asker) say(recipient string, message bool) string {
	a.t.Helper()
	c, err := textproto.Dial("tcp", a.address)
	if err != nil {
		a.t.Fatal(err)
	}
	defer c.Close()
	reply := ""
	lines := []string{"", "EHLO far.example", "MAIL FROM:<s@far.example>", "RCPT TO:<" + recipient + ">"}
	if message {
		lines = append(lines, "DATA", "Subject: x\r\n\r\nx\r\n.")
	}
	for _, line := range lines {
		if line != "" {
			if err := c.PrintfLine("%s", line); err != nil {
				a.t.Fatal(err)
			}
		}
		code, text, err := c.ReadResponse(0)
		if err != nil {
			a.t.Fatal(err)
		}
		if reply = fmt.Sprint(code, " ", text); code >= 400 {
			break
		}
	}
	return reply
}

// TestRecipients: who exists is learned while the primary is up, and from a
// directory; in an outage, and after a restart within it, with everything of
// Microsoft out of reach, that decides, and the policy about the others.
func TestRecipients(t *testing.T) {
	exo, err := primary.Start(t.Context(), primary.Options{Addresses: []string{"127.0.0.2:0"},
		Domains:    []string{"ahead.example", "reject.example", "accept.example", "import.example", "dir.example"},
		Recipients: []string{"probe@ahead.example", "a@ahead.example", "b@accept.example", "new@accept.example", "a@dir.example", "a@import.example"}})
	if err != nil {
		t.Fatal(err)
	}
	defer exo.Close()
	folder, address := t.TempDir(), unused(t)
	tenant := &graphtest.Tenant{ID: "corp.example", Client: "app-1", Secret: "hush", Users: []graphtest.Object{{ProxyAddresses: []string{"SMTP:a@dir.example"}}}}
	graph := httptest.NewUnstartedServer(tenant)
	graph.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	graph.StartTLS()
	defer graph.Close()
	ca := filepath.Join(folder, "ca.pem")
	for path, text := range map[string][]byte{ca: exo.CertPEM(), filepath.Join(folder, "secret"): []byte("hush\n"),
		filepath.Join(folder, "roots.pem"):  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: graph.Certificate().Raw}),
		filepath.Join(folder, "export.csv"): []byte("PrimarySmtpAddress,EmailAddresses\r\na@import.example,SMTP:a@import.example smtp:alias@import.example\r\n")} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SSL_CERT_FILE", filepath.Join(folder, "roots.pem"))
	config := fmt.Sprintf(recipientsConfig, folder+"/data", folder+"/admin.sock", address, graph.URL, exo.Addrs()[0], exo.Hostname(), ca)
	relay := serve(t, folder, config)
	up := func(s admin.Status) bool {
		return s.Upstreams[0].State == "up" && slices.ContainsFunc(s.Recipients, func(r admin.RecipientSource) bool { return r.Source == "directory" && r.Count == 1 })
	}
	relay.until("primary that is up, and a directory that was read", 20*time.Second, up)
	ask := asker{t, address}

	ask.want("a@ahead.example", "451 4.3.2")    // the primary took it
	ask.want("none@ahead.example", "550 5.1.1") // and refused this one
	ask.want("none@reject.example", "451 4.3.2")
	ask.want("a@dir.example", "451 4.3.2")
	ask.want("none@dir.example", "550 5.1.1")
	ask.want("a@import.example", "451 4.3.2")
	if out := relay.cli("recipients", "import", filepath.Join(folder, "export.csv"), "import.example"); !strings.HasPrefix(out, "Imported 2 addresses of import.example: 2 new") {
		t.Errorf("import: %s", out)
	}

	down := func(s admin.Status) bool { return s.Upstreams[0].State == "down" }
	if err := exo.Play(primary.Scenario{Name: "down", Down: true}); err != nil {
		t.Fatal(err)
	}
	relay.until("outage", 20*time.Second, down)
	if reply := ask.say("b@accept.example", true); !strings.HasPrefix(reply, "250 ") {
		t.Errorf("not known, and accepted by policy: %s", reply)
	}
	if err := exo.Play(primary.Scenario{Name: "healthy"}); err != nil {
		t.Fatal(err)
	}
	relay.until("delivery, and recovery", 20*time.Second, func(s admin.Status) bool { return up(s) && s.Queue.Messages == 0 })
	if out := relay.cli("recipients", "check", "B@accept.example"); !strings.Contains(out, "known\n") || !strings.Contains(out, "the primary took it") {
		t.Errorf("learned in a delivery: %s", out)
	}

	if err := exo.Play(primary.Scenario{Name: "down", Down: true}); err != nil {
		t.Fatal(err)
	}
	relay.until("outage", 20*time.Second, down)
	ask.want("none@ahead.example", "550 5.1.1") // as the primary said
	relay.stop()
	graph.Close()
	relay = serve(t, folder, config)
	relay.until("outage", 20*time.Second, down)
	for recipient, reply := range map[string]string{
		"a@ahead.example":           "250",
		"A+tag@ahead.example":       "250",
		"other@ahead.example":       "451 4.4.3",
		"other@reject.example":      "550 5.1.1",
		"other@accept.example":      "250",
		"postmaster@reject.example": "250",
		"alias@import.example":      "250",
		"other@import.example":      "550 5.1.1",
		"a@dir.example":             "250",
		"other@dir.example":         "550 5.1.1",
	} {
		ask.want(recipient, reply)
	}
	if out := relay.cli("recipients", "list", "dir.example"); !strings.Contains(out, "directory") {
		t.Errorf("list: %s", out)
	}
	out, err := exec.Command(binary, "--socket", folder+"/admin.sock", "recipients", "sync", "dir.example").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "E1702 sync_failed") {
		t.Errorf("sync without Graph: %v, %s", err, out)
	}
	if status := relay.cli("status"); !strings.Contains(status, "FAILING") {
		t.Errorf("status:\n%s", status)
	}
}
