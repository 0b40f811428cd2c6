package primary

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHealthyDialogue(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, 0)
	banner := c.want("220 XX1PEPF00000001.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready at ")
	id := regexp.MustCompile(` \[([0-9A-F]{16})\]$`).FindStringSubmatch(banner)
	if id == nil {
		t.Fatalf("no session id in %q", banner)
	}
	extensions := []string{"SIZE 157286400", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8"}
	ehlo := strings.Split(c.say("EHLO client.example", "250 XX1PEPF00000001.mail.protection.outlook.com Hello [127.0.0.1]"), "\n")
	if !slices.Equal(ehlo[1:], extensions) {
		t.Errorf("extensions in the clear: %q", ehlo[1:])
	}
	authority, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	own, err := authority.Certificate("relay.corp.example")
	if err != nil {
		t.Fatal(err)
	}
	c.encrypt(&tls.Config{RootCAs: s.CAPool(), ServerName: s.Hostname(), Certificates: []tls.Certificate{own}})
	ehlo = strings.Split(c.say("EHLO again.example", "250 "), "\n")
	if !slices.Equal(ehlo[1:], slices.DeleteFunc(extensions, func(e string) bool { return e == "STARTTLS" })) {
		t.Errorf("extensions under TLS: %q", ehlo[1:])
	}
	c.say("STARTTLS", "503 5.5.1")
	c.say("NOOP", "250 2.0.0")
	c.say("VRFY b", "252 2.1.5")
	c.say("RSET", "250 2.0.0")
	c.say("MAIL FROM:<a@sender.example> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=x+2By", "250 2.1.0 Sender OK")
	c.say("RCPT TO:<b@corp.example> NOTIFY=NEVER", "250 2.1.5 Recipient OK")
	c.say(`RCPT TO:<"> b"@CORP.example>`, "250 2.1.5 Recipient OK")
	c.say("DATA", "354 Start mail input; end with <CRLF>.<CRLF>")
	reply := c.say(note+".", "250 2.6.0 <note@sender.example> [InternalId=28063237275001, Hostname=XX1PEPF00000001.namprd00.prod.outlook.com] 44 bytes in ")
	if !strings.HasSuffix(reply, " KB/sec Queued mail for delivery") {
		t.Errorf("the reply to the content ends so: %q", reply)
	}
	c.say("QUIT", "221 2.0.0 Service closing transmission channel")
	c.wantClosed()

	d := s.Received()[0]
	if d.InternalID != 28063237275001 || d.Session != id[1] || d.Address != s.Addrs()[0].String() || !strings.HasPrefix(d.Client, "127.0.0.1:") {
		t.Errorf("recorded as %+v", d)
	}
	if d.Hello != "again.example" || d.TLS != "TLS 1.3" || d.ClientCertificate != "CN=relay.corp.example" || d.Unanswered || d.File != "" {
		t.Errorf("session recorded as %+v", d)
	}
	if d.ReversePath != "a@sender.example" || d.Params != "SIZE=100 BODY=8BITMIME RET=HDRS ENVID=x+2By" ||
		!slices.Equal(d.Recipients, []string{"b@corp.example", `"> b"@CORP.example`}) || !slices.Equal(d.RecipientParams, []string{"NOTIFY=NEVER", ""}) {
		t.Errorf("envelope recorded as %+v", d)
	}
	if string(d.Content) != note || d.Size != int64(len(note)) || d.MessageID != "<note@sender.example>" {
		t.Errorf("content recorded as %+v", d)
	}
}

func TestCommandsOutOfOrder(t *testing.T) {
	s := start(t, Options{})
	for _, test := range []struct{ rule, before, line, want string }{
		{"hello comes first", "", "MAIL FROM:<a@b.example>", "503 5.5.2 Send hello first"},
		{"starttls after hello", "", "STARTTLS", "503 5.5.2 Send hello first"},
		{"hello needs a name", "", "EHLO", "501 5.5.4"},
		{"HELO needs a name", "", "HELO", "501 5.5.4"},
		{"HELO has no extensions", "", "HELO c.example", "250 XX1PEPF00000001.mail.protection.outlook.com Hello [127.0.0.1]"},
		{"rcpt needs mail", "E", "RCPT TO:<b@corp.example>", "503 5.5.2 Need mail command"},
		{"data needs mail", "E", "DATA", "503 5.5.2 Need mail command"},
		{"data needs rcpt", "EM", "DATA", "503 5.5.2 Need rcpt command"},
		{"data has no argument", "EMR", "DATA x", "501 5.5.4"},
		{"one transaction at a time", "EM", "MAIL FROM:<a@b.example>", "503 5.5.1"},
		{"a new hello ends the transaction", "EMRE", "DATA", "503 5.5.2 Need mail command"},
		{"rset ends the transaction", "EMR-", "DATA", "503 5.5.2 Need mail command"},
		{"unknown command", "E", "XYZZY", "500 5.3.3"},
		{"bare LF ends no line", "E", "NOOP\nNOOP", "500 5.3.3"},
		{"starttls has no argument", "E", "STARTTLS now", "501 5.5.4"},
		{"null reverse-path", "E", "MAIL FROM:<>", "250 2.1.0"},
		{"space behind the colon", "E", "MAIL FROM: <a@b.example>", "501 5.1.7"},
		{"no brackets", "E", "MAIL FROM:a@b.example", "501 5.1.7"},
		{"open bracket", "E", "MAIL FROM:<a@b.example", "501 5.1.7"},
		{"bad sender", "E", "MAIL FROM:<a b@c.example>", "501 5.1.7"},
		{"no space before parameters", "E", "MAIL FROM:<a@b.example>SIZE=1", "501 5.1.7"},
		{"unknown parameter", "E", "MAIL FROM:<a@b.example> AUTH=<>", "501 5.5.4 Unrecognized parameter"},
		{"unknown body", "E", "MAIL FROM:<a@b.example> BODY=9BIT", "501 5.5.4 Unsupported BODY type"},
		{"size is a number", "E", "MAIL FROM:<a@b.example> SIZE=x", "501 5.5.4"},
		{"size at the limit", "E", "MAIL FROM:<a@b.example> SIZE=157286400", "250 2.1.0"},
		{"size over the limit", "E", "MAIL FROM:<a@b.example> SIZE=157286401", "552 5.3.4"},
		{"UTF-8 sender needs SMTPUTF8", "E", "MAIL FROM:<ä@b.example>", "501 5.1.6"},
		{"UTF-8 sender with SMTPUTF8", "E", "MAIL FROM:<ä@b.example> SMTPUTF8", "250 2.1.0"},
		{"UTF-8 recipient needs SMTPUTF8", "EM", "RCPT TO:<ä@b.example>", "501 5.1.6"},
		{"null recipient", "EM", "RCPT TO:<>", "501 5.1.3"},
		{"unknown recipient parameter", "EM", "RCPT TO:<b@corp.example> SIZE=1", "501 5.5.4"},
		{"BINARYMIME needs BDAT", "EBR", "DATA", "503 5.5.1"},
		{"no RCPT between chunks", "EMRC", "RCPT TO:<c@corp.example>", "503 5.5.1"},
		{"no DATA between chunks", "EMRC", "DATA", "503 5.5.1"},
	} {
		c := dial(t, s, 0)
		c.want("220 ")
		for _, letter := range test.before {
			c.say(map[rune]string{
				'E': "EHLO c.example", 'M': "MAIL FROM:<a@b.example>", 'B': "MAIL FROM:<a@b.example> BODY=BINARYMIME",
				'R': "RCPT TO:<b@corp.example>", 'C': "BDAT 4\r\nab", '-': "RSET"}[letter], "250 ")
		}
		t.Run(test.rule, func(t *testing.T) {
			c.t = t
			c.say(test.line, test.want)
		})
		c.conn.Close()
	}
	if n := len(s.Received()); n != 0 {
		t.Errorf("%d messages recorded", n)
	}
}

// The bracket at the end of failures is what support asks for.
var where = regexp.MustCompile(` \[XX1PEPF00000001\.namprd00\.prod\.outlook\.com \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [0-9A-F]{16}\]$`)

func TestRecipients(t *testing.T) {
	s := start(t, Options{Domains: []string{"Corp.example", "bücher.example"}, Recipients: []string{"Known@corp.example", "k@bücher.example"}})
	for _, test := range []struct{ rule, first, recipient, want string }{
		{"known", "", "known@corp.example", "250 2.1.5"},
		{"known in another case", "", "KNOWN@CORP.EXAMPLE", "250 2.1.5"},
		{"known by its A-label", "", "k@xn--bcher-kva.example", "250 2.1.5"},
		{"postmaster", "", "Postmaster", "250 2.1.5"},
		{"unknown", "", "x@corp.example", "550 5.4.1 [x@corp.example]: Recipient address rejected: Access denied AS(201806281) ["},
		{"another domain", "", "known@elsewhere.example", "550 5.7.64 TenantAttribution; Relay Access Denied ["},
		{"a subdomain is another", "", "known@a.corp.example", "550 5.7.64 "},
		{"two domains of ours", "known@corp.example", "k@xn--bcher-kva.example", "452 4.5.3 Too many recipients ATTR46 ["},
		{"the same domain", "known@corp.example", "known@CORP.example", "250 2.1.5"},
	} {
		c := dial(t, s, 0).greeted()
		c.say("MAIL FROM:<a@b.example>", "250 ")
		if test.first != "" {
			c.say("RCPT TO:<"+test.first+">", "250 ")
		}
		t.Run(test.rule, func(t *testing.T) {
			c.t = t
			got := c.say("RCPT TO:<"+test.recipient+">", test.want)
			if !strings.HasPrefix(got, "250") && !where.MatchString(got) {
				t.Errorf("%q does not end with the bracket", got)
			}
		})
		c.conn.Close()
	}
}

func TestTooManyRecipients(t *testing.T) {
	c := dial(t, start(t, Options{}), 0).greeted()
	c.say("MAIL FROM:<a@b.example>", "250 ")
	for i := range 200 {
		c.say(fmt.Sprintf("RCPT TO:<r%d@corp.example>", i), "250 ")
	}
	c.say("RCPT TO:<r200@corp.example>", "452 4.5.3 Too many recipients [")
	c.say("DATA", "354 ")
	c.say(note+".", "250 ")
}

func TestPipeliningPairsReplies(t *testing.T) {
	s := start(t, Options{Recipients: []string{"b@corp.example"}})
	c := dial(t, s, 0).greeted()
	c.send("MAIL FROM:<a@b.example>\r\nRCPT TO:<x@corp.example>\r\nRCPT TO:<b@corp.example>\r\nDATA\r\n")
	for _, want := range []string{"250 2.1.0", "550 5.4.1", "250 2.1.5", "354 "} {
		c.want(want)
	}
	// The content, and the next transaction right behind it; MAIL is refused, so the rest is out of order.
	c.send(note + ".\r\nMAIL FROM:<broken>\r\nRCPT TO:<b@corp.example>\r\nDATA\r\nRSET\r\nMAIL FROM:<c@d.example>\r\nQUIT\r\n")
	for _, want := range []string{"250 2.6.0", "501 5.1.7", "503 5.5.2 Need mail", "503 5.5.2 Need mail", "250 2.0.0", "250 2.1.0", "221 "} {
		c.want(want)
	}
	c.wantClosed()
	if n := len(s.Received()); n != 1 {
		t.Errorf("%d messages recorded", n)
	}
}

func TestRepliesToPipelinedCommandsLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Options{Addresses: []string{}})
		c := pipe(t, s).greeted()
		go io.WriteString(c.conn, "NOOP\r\nRSET\r\nNOOP\r\n")
		whole := make([]byte, 1000)
		n, err := c.conn.Read(whole) // a pipe hands over one write at a time
		if got := string(whole[:n]); err != nil || got != "250 2.0.0 OK\r\n250 2.0.0 Resetting\r\n250 2.0.0 OK\r\n" {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

func TestTLSIsRequired(t *testing.T) {
	s := start(t, Options{RequireTLS: true})
	c := dial(t, s, 0).greeted()
	if got := c.say("MAIL FROM:<a@b.example>", "451 5.7.3 STARTTLS is required to send mail ["); !where.MatchString(got) {
		t.Errorf("%q does not end with the bracket", got)
	}
	c.encrypt(&tls.Config{RootCAs: s.CAPool(), ServerName: s.Hostname()})
	c.deliver(note, "250 2.6.0")
	if d := s.Received()[0]; d.TLS == "" || d.ClientCertificate != "" {
		t.Errorf("recorded as %+v", d)
	}
}

// A command that was read ahead in the clear must not count as said under TLS.
func TestCommandsBehindStartTLSAreDropped(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, 0).greeted()
	c.send("STARTTLS\r\nMAIL FROM:<injected@b.example>\r\n")
	c.want("220 ")
	conn := tls.Client(c.conn, &tls.Config{RootCAs: s.CAPool(), ServerName: s.Hostname()})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	c = talkOver(t, conn)
	c.say("RCPT TO:<b@corp.example>", "503 5.5.2 Need mail")
	c.say("MAIL FROM:<a@b.example>", "503 5.5.2 Send hello first")
}

func TestOldTLSIsRefused(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, 0).greeted()
	c.say("STARTTLS", "220 ")
	conn := tls.Client(c.conn, &tls.Config{RootCAs: s.CAPool(), ServerName: s.Hostname(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err := conn.Handshake(); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

func TestTooManyErrors(t *testing.T) {
	c := dial(t, start(t, Options{}), 0).greeted()
	for range maxErrors {
		c.say("XYZZY", "500 5.3.3")
	}
	c.say("XYZZY", "421 4.7.0 Too many errors on this connection, closing transmission channel [")
	c.wantClosed()
}

func TestEndlessLine(t *testing.T) {
	c := dial(t, start(t, Options{}), 0).greeted()
	c.send(strings.Repeat("x", bufferSize))
	c.want("500 5.3.3 Unrecognized command, line too long")
	c.wantClosed()
}

func TestTooManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Options{Addresses: []string{}})
		for range maxConnections {
			pipe(t, s).want("220 ")
		}
		c := pipe(t, s)
		c.want("421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel [")
		c.wantClosed()
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.connections) != maxConnections {
			t.Errorf("%d connections are counted", len(s.connections))
		}
	})
}

func TestIdleClientsAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Options{Addresses: []string{}, Idle: 7 * time.Second})
		c := pipe(t, s).greeted()
		began := time.Now()
		c.wantClosed()
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("left after %v", took)
		}
	})
}

func TestCloseCutsSessions(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s, 0).greeted()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.wantClosed()
	if conn, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
	if err := s.Play(Scenario{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("play after close: %v", err)
	}
}

func TestContextCloses(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Start(ctx, Options{Addresses: []string{"127.0.0.2:0"}})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s, 0).greeted()
	cancel()
	c.wantClosed()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestStartRefuses(t *testing.T) {
	taken := start(t, Options{}).Addrs()[0].String()
	for rule, o := range map[string]Options{
		"no address":           {Addresses: []string{"localhost:0"}},
		"outside of loopback":  {Addresses: []string{"0.0.0.0:0"}},
		"IPv6":                 {Addresses: []string{"[::1]:0"}},
		"a port that is taken": {Addresses: []string{"127.0.0.3:0", taken}},
		"a folder that is not": {Folder: "/dev/null/x"},
	} {
		if s, err := Start(t.Context(), o); err == nil {
			s.Close()
			t.Errorf("%s: started", rule)
		}
	}
}

func TestAddressesShareAPort(t *testing.T) {
	s := start(t, Options{Addresses: []string{"127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0"}})
	for i, a := range s.Addrs() {
		if a.Port() == 0 || a.Port() != s.Addrs()[0].Port() || a.Addr().String() != fmt.Sprintf("127.0.0.%d", i+2) {
			t.Errorf("address %d is %v", i, a)
		}
		dial(t, s, i).want(fmt.Sprintf("220 XX1PEPF%08X.mail", i+1))
	}
}
