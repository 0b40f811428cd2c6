package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
)

// postfixHost is the name of the Postfix that acts the primary.
const postfixHost = "mail.corp.example"

// postfix is a private Postfix that takes all mail for corp.example into one Maildir.
type postfix struct {
	program string
	folder  string
	address string
	caFile  string
}

// preparePostfix makes an instance of its own, with its own queue, beside
// whatever the machine has. It runs after start.
func preparePostfix(t *testing.T, folder string) postfix {
	t.Helper()
	p := postfix{program: peer(t, "postfix", "postfix"), folder: filepath.Join(folder, "postfix"), caFile: filepath.Join(folder, "ca.pem")}
	if os.Getuid() != 0 {
		t.Skip("Postfix can only be started by root")
	}
	open(t, folder)
	p.address = free(t, "127.0.0.5:0")
	p.configure(t)
	return p
}

// open lets other users pass through the folders of the test.
func open(t *testing.T, folder string) {
	t.Helper()
	for ; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func (p postfix) start(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(p.program, "-c", p.folder, "start").CombinedOutput(); err != nil {
		text, _ := os.ReadFile(p.path("log"))
		t.Fatalf("postfix start: %v\n%s%s", err, out, text)
	}
	t.Cleanup(func() {
		if out, err := exec.Command(p.program, "-c", p.folder, "stop").CombinedOutput(); err != nil {
			t.Errorf("postfix stop: %v\n%s", err, out)
		}
		if t.Failed() {
			text, _ := os.ReadFile(p.path("log"))
			t.Logf("log of Postfix:\n%s", text[max(0, len(text)-8000):])
		}
	})
}

// configure writes main.cf and master.cf, the certificate and the folders.
func (p postfix) configure(t *testing.T) {
	t.Helper()
	authority, err := primary.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.Certificate(postfixHost)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{p.folder, p.path("queue"), p.path("mail")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	own(t, "postfix", p.path("data"))
	own(t, "nobody", p.path("mail/corp.example"))
	write(t, p.caFile, authority.PEM())
	write(t, p.path("certificate.pem"), pemOf(t, certificate))
	write(t, p.path("main.cf"), fmt.Appendf(nil, postfixMain, p.folder, postfixHost))
	write(t, p.path("master.cf"), fmt.Appendf(nil, postfixMaster, p.address))
	write(t, p.path("log"), nil)
}

func (p postfix) path(name string) string { return filepath.Join(p.folder, name) }

// own makes a folder that belongs to a user of the system.
func own(t *testing.T, user, folder string) {
	t.Helper()
	if out, err := exec.Command("install", "-d", "-m", "0700", "-o", user, folder).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// delivered waits until so many messages are in the Maildir, and reads them.
func (p postfix) delivered(t *testing.T, want int) (contents [][]byte) {
	t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		files, err := filepath.Glob(p.path("mail/corp.example/all/new/*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == want {
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				contents = append(contents, text)
			}
			return contents
		}
		select {
		case <-limit:
			t.Fatalf("Postfix has delivered %d of %d messages", len(files), want)
		case <-tick.C:
		}
	}
}

const postfixMain = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = /
myhostname = %[2]s
mydestination =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 192.0.2.1
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_chain_files = %[1]s/certificate.pem
smtpd_tls_security_level = encrypt
virtual_mailbox_domains = corp.example
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = static:corp.example/all/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
`

const postfixMaster = `%s inet n - n - - smtpd
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
virtual   unix  -       n       n       -       -       virtual
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
`
