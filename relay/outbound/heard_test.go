package outbound

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// ear collects what is heard, in words: + exists, ++ with a message, - does not.
type ear struct {
	mu    sync.Mutex
	words []string
}

func (e *ear) hear(h Heard) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sign := "-"
	if h.Exists {
		sign = "+"
	}
	if h.Delivered {
		sign += "+"
	}
	e.words = append(e.words, sign+h.Path.Local)
}

// rcpt is a dialogue that asks for a recipient.
func rcpt(local, answer string) string {
	return "C: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<" + local + "@corp.example>\nS: " + answer + "\n"
}

const bye = "C: QUIT\nS: 221 bye\n"

// TestWhatIsHeard: which replies say whether a recipient exists.
func TestWhatIsHeard(t *testing.T) {
	for reply, want := range map[string]string{
		"250 2.1.5 ok":           "+probe",
		"550 5.1.1 User unknown": "-probe",
		"550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup": "-probe",
		"550 5.4.1 Recipient address rejected: Access denied. AS(201806281)":                    "-probe",
		"550 5.4.1 Relay Access Denied":                                                         "",
		"550 5.7.1 Service unavailable":                                                         "",
		"550 5.7.1 User unknown":                                                                "",
		"550 5.7.133 Sender not authenticated":                                                  "",
		"554 5.2.2 mailbox full":                                                                "",
		"550 User unknown":                                                                      "",
		"450 5.1.1 User unknown":                                                                "",
		"450 4.1.1 greylisted":                                                                  "",
		"550 4.1.1 User unknown":                                                                "",
		"451 4.4.1 directory is not there":                                                      "",
		"552 5.1.1 what":                                                                        "-probe",
		"421 5.1.1 closing":                                                                     "",
	} {
		synctest.Test(t, func(t *testing.T) {
			var e ear
			end := "C: RSET\nS: 250 ok\n" + bye
			if strings.HasPrefix(reply, "421") {
				end = ""
			}
			r := newRig(t, func(o *Options) { o.Hear = e.hear }, hello()+rcpt("probe", reply)+end)
			r.Probe(t.Context(), "probe@corp.example", nil)
			if got := strings.Join(e.words, " "); got != want {
				t.Errorf("%s: %s, want %s", reply, got, want)
			}
			r.end()
		})
	}
}

// TestHeardInADelivery: what is said of each recipient; a refusal of the content
// says nothing of them.
func TestHeardInADelivery(t *testing.T) {
	for _, test := range []struct{ answer, want string }{{"250 2.6.0 queued", "-b ++a"}, {"550 5.1.1 the content names nobody", "-b"}, {"550 5.7.1 spam", "-b"}} {
		synctest.Test(t, func(t *testing.T) {
			var e ear
			r := newRig(t, func(o *Options) { o.Hear = e.hear }, hello()+"C: MAIL FROM:<a@x.example>\nS: 250 ok\nC: RCPT TO:<b@corp.example>\nS: 550 5.1.1 no such user\n"+
				"C: RSET\nS: 250 ok\nC: MAIL FROM:<a@x.example>\nS: 250 ok\nC: RCPT TO:<a@corp.example>\nS: 250 ok\nC: DATA\nS: 354 go\n"+textLines+"S: "+test.answer+"\n"+bye)
			r.deliver(message("b@corp.example"))
			r.deliver(message("a@corp.example"))
			if got := strings.Join(e.words, " "); got != test.want {
				t.Errorf("%s: %s, want %s", test.answer, got, test.want)
			}
			r.end()
		})
	}
}

func address(local string) smtp.Path { return smtp.Path{Local: local, Domain: "corp.example"} }

// exists asks, and writes what came of it.
func (r *rig) exists(ctx context.Context, path smtp.Path) string {
	exists, ok := r.Exists(ctx, path)
	return fmt.Sprint(exists, " ", ok)
}

// TestExists: one session for many questions and a delivery between them.
func TestExists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reset := "C: RSET\nS: 250 ok\n"
		r := newRig(t, nil, hello("SMTPUTF8")+rcpt("a", "250 2.1.5 ok")+
			reset+rcpt("b", "550 5.1.1 no such user")+
			reset+rcpt("c", "451 4.3.2 later")+
			reset+"C: MAIL FROM:<a@x.example>\nS: 250 ok\nC: RCPT TO:<a@corp.example>\nS: 250 ok\nC: DATA\nS: 354 go\n"+textLines+"S: 250 ok\n"+
			"C: MAIL FROM:<> SMTPUTF8\nS: 250 ok\nC: RCPT TO:<ä@corp.example>\nS: 550 5.4.1 Recipient address rejected: Access denied\n"+
			reset+"C: MAIL FROM:<>\nS: 550 5.7.1 go away\n"+
			reset+rcpt("d", "250 ok")+bye)
		for _, test := range []struct{ local, want string }{{"a", "true true"}, {"b", "false true"}, {"c", "false false"}} {
			if got := r.exists(t.Context(), address(test.local)); got != test.want {
				t.Errorf("%s: %s, want %s", test.local, got, test.want)
			}
		}
		r.want(r.deliver(message("a@corp.example")), "delivered", "ok@final")
		for _, test := range []struct{ local, want string }{{"ä", "false true"}, {"e", "false false"}, {"d", "true true"}} {
			if got := r.exists(t.Context(), address(test.local)); got != test.want {
				t.Errorf("%s: %s, want %s", test.local, got, test.want)
			}
		}
		r.end()
	})
}

func TestExistsInTrouble(t *testing.T) {
	for _, test := range []struct {
		name    string
		scripts []string
		first   string
		second  string
	}{
		{"no connection", []string{"refuse", "refuse"}, "false false", "false false"},
		{"closed while it was idle", []string{hello() + rcpt("a", "250 ok") + "cut", hello() + rcpt("b", "250 ok") + bye}, "true true", "true true"},
		{"421 to RSET", []string{hello() + rcpt("a", "250 ok") + "C: RSET\nS: 421 4.4.2 idle", hello() + rcpt("b", "250 ok") + bye}, "true true", "true true"},
		{"RSET refused", []string{hello() + rcpt("a", "250 ok") + "C: RSET\nS: 502 what"}, "true true", "false false"},
		{"cut at RCPT", []string{hello() + "C: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<a@corp.example>\ncut", hello() + rcpt("b", "250 ok") + bye}, "false false", "true true"},
		{"silence", []string{hello() + "C: MAIL FROM:<>\nhang", hello() + rcpt("b", "250 ok") + bye}, "false false", "true true"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil, test.scripts...)
				for local, want := range map[string]string{"a": test.first} {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					if got := r.exists(ctx, address(local)); got != want {
						t.Errorf("first: %s, want %s", got, want)
					}
					cancel()
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if got := r.exists(ctx, address("b")); got != test.second {
					t.Errorf("second: %s, want %s", got, test.second)
				}
				r.end()
			})
		})
	}
}

// TestExistsIsBrokenOff: who asked has gone.
func TestExistsIsBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, hello()+"C: MAIL FROM:<>\nhang")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if got := r.exists(ctx, address("a")); got != "false false" {
			t.Errorf("%s", got)
		}
		r.end()
		if got := r.exists(ctx, address("a")); got != "false false" {
			t.Errorf("%s", got)
		}
	})
	// The reply comes together with the end: the session is of no more use.
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := newRig(t, nil, hello()+rcpt("a", "250 2.1.5 the last word"), hello()+rcpt("b", "250 ok")+bye)
		r.options.Dial = func(within context.Context, network, address string) (net.Conn, error) {
			c, err := r.dial(within, network, address)
			return ending{c, cancel}, err
		}
		if got := r.exists(ctx, address("a")); got != "false false" {
			t.Errorf("%s", got)
		}
		if got := r.exists(t.Context(), address("b")); got != "true true" {
			t.Errorf("%s", got)
		}
		r.end()
	})
}

// ending is a connection that ends something when it brings the last word.
type ending struct {
	net.Conn
	end func()
}

func (e ending) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	if strings.Contains(string(p[:n]), "the last word") {
		e.end()
	}
	return n, err
}
