package integration

import (
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// discardEnv tells the test binary to be the server of discard, and where.
const discardEnv = "MXKEEP_TEST_DISCARD"

// discard is a server of go-smtp as plain as it can be: it reads mail and
// throws it away. The relay is measured against it.
func discard(address string) error {
	s := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return void{}, nil }))
	s.Addr, s.Domain, s.EnableSMTPUTF8, s.EnableDSN = address, "mx.example", true, true
	return s.ListenAndServe()
}

// void takes everything and keeps nothing.
type void struct{}

func (void) Mail(string, *gosmtp.MailOptions) error { return nil }
func (void) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (void) Reset()                                 {}
func (void) Logout() error                          { return nil }

func (void) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// startDiscard runs discard in a process of its own.
func startDiscard(t testing.TB) (process *os.Process, address string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address = unused(t)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), discardEnv+"="+address)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails only if it has ended
		_ = cmd.Wait()         // it was killed
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for tries := 0; ; tries++ {
		s, err := connect(address)
		if err == nil {
			crowd{s}.leave(t)
			return cmd.Process, address
		}
		if tries == 1000 {
			t.Fatal(err)
		}
		<-tick.C
	}
}
