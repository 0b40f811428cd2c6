package inbound

import (
	"net"
	"testing"
)

// TestPipelining: replies to commands that came together are sent together, and
// none waits for what the client has not sent yet (RFC 2920 3.2).
func TestPipelining(t *testing.T) {
	const (
		mail = "MAIL FROM:<s@far.example>\r\n"
		rcpt = "RCPT TO:<a@d.example>\r\n"
		ok   = "250 2.1.0 Roger, accepting mail from <s@far.example>\r\n250 2.1.5 I'll make sure <a@d.example> gets this\r\n"
	)
	for _, test := range []struct {
		rule, said, want string
	}{
		{"a whole group", mail + rcpt + "DATA\r\n", ok + "354 Go ahead. End your data with <CR><LF>.<CR><LF>\r\n"},
		{"a group that ends with half a command", mail + rcpt + "DA", ok},
		{"a refusal in between", mail + "RCPT TO:<a@elsewhere.example>\r\n" + rcpt, ok[:54] + "550 5.7.1 relaying denied\r\n" + ok[54:]},
		{"what the engine does not see", mail + "AUTH PLAIN\r\n", ok[:54] + "502 5.5.1 AUTH is not supported\r\n"},
		{"RSET", mail + "RSET\r\n" + mail + rcpt, ok[:54] + "250 2.0.0 Session reset\r\n" + ok},
		{"a chunk that has not come", mail + rcpt + "BDAT 5 LAST\r\n", ok},
		{"the end", mail + rcpt + "QUIT\r\n", ok + "221 2.0.0 Bye\r\n"},
	} {
		r := newRig(t, nil)
		ours, theirs := net.Pipe()
		r.in.conns <- placed{theirs, "192.0.2.1"}
		buffer := make([]byte, 4096)
		if _, err := ours.Read(buffer); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Write([]byte("EHLO client.example\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Read(buffer); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Write([]byte(test.said)); err != nil {
			t.Fatal(err)
		}
		n, err := ours.Read(buffer) // what is written at once is read at once
		if got := string(buffer[:n]); err != nil || got != test.want {
			t.Errorf("%s: the replies begin with %q %v, want %q", test.rule, got, err, test.want)
		}
		ours.Close()
		r.finish()
	}
}
