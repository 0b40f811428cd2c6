package inbound

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const note = "From: s@far.example\r\nMessage-ID: <1@far.example>\r\n\r\nhello\r\n"

// TestTruncatedChunk: a BDAT chunk that is cut anywhere is never queued, though
// the engine takes the end of the connection for the end of the chunk.
func TestTruncatedChunk(t *testing.T) {
	full := fmt.Sprintf("BDAT %d LAST\r\n%s", len(note), note)
	for cut := range len(full) {
		r := newRig(t, nil)
		w := r.dial("192.0.2.1").hello().envelope()
		w.say(full[:cut])
		w.close()
		w.rest()
		r.finish()
		if n := len(r.messages()); n != 0 {
			t.Fatalf("cut at %d of %d: %d messages", cut, len(full), n)
		}
	}
}

// TestTruncatedChunkTLS: the same after a close_notify, which the network below TLS does not show.
func TestTruncatedChunkTLS(t *testing.T) {
	offered := withTLS(t)
	full := fmt.Sprintf("BDAT %d LAST\r\n%s", len(note), note)
	for cut := range len(full) {
		r := newRig(t, offered)
		w := r.dial("192.0.2.1").hello().secure()
		w.ask("EHLO client.example", "250")
		w.envelope()
		w.say(full[:cut])
		w.conn.Close() // with close_notify
		w.rest()
		r.finish()
		if n := len(r.messages()); n != 0 {
			t.Fatalf("cut at %d of %d: %d messages", cut, len(full), n)
		}
	}
}

// TestTruncatedData: DATA without its end is never queued.
func TestTruncatedData(t *testing.T) {
	full := "DATA\r\n" + note + ".\r\n"
	for cut := range len(full) {
		r := newRig(t, nil)
		w := r.dial("192.0.2.1").hello().envelope()
		w.say(full[:cut])
		w.close()
		w.rest()
		r.finish()
		if n := len(r.messages()); n != 0 {
			t.Fatalf("cut at %d of %d: %d messages", cut, len(full), n)
		}
	}
}

const forged = "\r\nRSET\r\nMAIL FROM:<boss@d.example>\r\nRCPT TO:<a@d.example>\r\nDATA\r\nforged\r\n.\r\n"

// TestTimeoutInContent: when time is over within content, no byte that comes
// later is a command.
func TestTimeoutInContent(t *testing.T) {
	for name, command := range map[string]string{"DATA": "DATA\r\nbegin", "BDAT": "BDAT 9000 LAST\r\nbegin"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				defer r.finish()
				w := r.dial("192.0.2.1").hello().envelope()
				w.say(command)
				time.Sleep(3*time.Minute + time.Second) // in the bubble: Timeouts.Idle
				w.say(forged)
				for _, line := range w.rest() {
					if !strings.HasPrefix(line, "354") {
						t.Errorf("reply %q", line)
					}
				}
				synctest.Wait()
				if n := len(r.messages()); n != 0 {
					t.Errorf("%d messages", n)
				}
				if r.server.Stats().Refused[reasonTimeout] != 1 {
					t.Errorf("refused: %v", r.server.Stats().Refused)
				}
			})
		})
	}
}

// TestSlowContent: a sender that is slow but alive may take longer than any
// deadline for a command, and one that trickles may not.
func TestSlowContent(t *testing.T) {
	for name, test := range map[string]struct {
		piece string
		want  string
	}{
		"2,000 octets a minute": {strings.Repeat("x", 1998) + "\r\n", "250 2.0.0 queued as"},
		"2 octets a minute":     {"\r\n", "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) { o.Limits.Rate = 30 })
				defer r.finish()
				w := r.dial("192.0.2.1").hello().envelope()
				w.ask("DATA", "354")
				for range 20 {
					time.Sleep(time.Minute)
					w.say(test.piece)
				}
				w.say(".\r\n")
				w.want(test.want)
				w.close()
			})
		})
	}
}

// TestLongLines: the lengths of lines of content are not our affair.
func TestLongLines(t *testing.T) {
	for _, size := range []int{3000, 64 << 10, 1 << 20} {
		r := newRig(t, nil)
		content := "Subject: x\r\n\r\n" + strings.Repeat("a", size) + "\r\n"
		w := r.dial("192.0.2.1").hello().envelope()
		w.ask("DATA", "354")
		w.say(content + ".\r\n")
		w.want("250 2.0.0 queued as")
		w.envelope()
		w.say(chunked(content, size))
		for got := ""; !strings.HasPrefix(got, "250 2.0.0 queued as"); {
			got = w.want("250")
		}
		w.ask("QUIT", "221")
		r.finish()
		for _, m := range r.messages() {
			if _, got := r.content(m.ID); got != content {
				t.Errorf("%d: content differs", size)
			}
		}
		if n := len(r.messages()); n != 2 {
			t.Errorf("%d: %d messages", size, n)
		}
	}
}

// TestChunkInOnePacket: chunks that come together with their commands, without
// line ends, and the command behind them.
func TestChunkInOnePacket(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello()
	line := strings.Repeat("\x00\xff", 5000)
	w.envelope()
	w.say(chunked("Subject: x\r\n\r\n"+line, 2500) + "NOOP\r\nMAIL FROM:<>\r\n")
	for range 4 {
		w.want("250 2.0.0 Continue")
	}
	w.want("250 2.0.0 queued as")
	w.want("250 2.0.0 I have")
	w.want("250 2.1.0 Roger, accepting mail from <>")
	w.ask("QUIT", "221")
	r.finish()
	if _, got := r.content(r.messages()[0].ID); got != "Subject: x\r\n\r\n"+line {
		t.Error("content differs")
	}
}

// TestRepliesAreNotHeldBack: replies to commands that came together may go out
// together, but never wait for what the client has yet to send.
func TestRepliesAreNotHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withTLS(t))
		defer r.finish()
		const envelope = "MAIL FROM:<s@far.example>\r\nRCPT TO:<a@d.example>\r\n"
		for _, behind := range []string{"", "BDAT 5 LAST\r\nab", "BDAT 5 LAST\r\n", "DATA\r\n", "NO", "\x00\r\n", "NOOP\r\n", "STARTTLS\r\n",
			"RSET\r\n", "QUIT\r\n", "BDAT x\r\n", strings.Repeat("x", maxLine) + "\r\n"} {
			w := r.dial("192.0.2.1").hello()
			w.say(envelope + behind)
			begun := time.Now()
			w.want("250 2.1.0 Roger")
			w.want("250 2.1.5 I'll make sure")
			if took := time.Since(begun); took != 0 {
				t.Errorf("behind %q: after %v", behind, took)
			}
			w.close()
			w.rest()
		}
	})
}

// TestEndOfConnectionIsNoEnd: the session gets an error where the client has gone.
func TestEndOfConnectionIsNoEnd(t *testing.T) {
	_, c, client := bare(t)
	c.data, c.content = true, framing{dots: true}
	c.begin()
	go func() {
		io.WriteString(client, "Subject: x\r\n")
		client.Close()
	}()
	content, err := io.ReadAll(body{c})
	if string(content) != "Subject: x\r\n" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", content, err)
	}
	if no := c.flaw(); no == nil || no.reason != reasonTruncated {
		t.Errorf("flaw %+v", no)
	}
}

// TestHeldReplyIsLost: no content is read for a client that cannot hear the replies before it.
func TestHeldReplyIsLost(t *testing.T) {
	_, c, client := bare(t)
	c.hello, c.held = "client.example", []byte("250 2.0.0 held\r\n")
	go func() {
		io.WriteString(client, "BDAT 5\r\n")
		client.Close()
	}()
	if n, err := c.Read(make([]byte, 100)); n != 0 || !errors.Is(err, io.EOF) || !errors.Is(c.fault, io.ErrClosedPipe) {
		t.Errorf("Read: %d, %v; %v", n, err, c.fault)
	}
}

// TestQuitPipelined: a command behind QUIT.
func TestQuitPipelined(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello()
	w.say("QUIT\r\nMAIL FROM:<>\r\n")
	w.want("221")
	w.want("gone")
	r.finish()
	if strings.Contains(r.log.String(), "panic") {
		t.Error(r.log)
	}
}

// TestResetDuringChunks: RSET, EHLO and the end of the connection while the
// content is read in its own goroutine. For the race detector.
func TestResetDuringChunks(t *testing.T) {
	r := newRig(t, nil)
	for _, end := range []string{"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<b@e.example>\r\n", "EHLO again.example\r\n", "QUIT\r\n", ""} {
		for _, begin := range []string{"BDAT 0\r\n", "BDAT 5\r\nabcde", "BDAT 5\r\nabcdeBDAT 9\r\nabcd"} {
			w := r.dial("192.0.2.1").hello().envelope()
			w.say(begin + end)
			if end == "" || strings.HasSuffix(begin, "abcd") {
				w.close()
			} else {
				w.say("QUIT\r\n")
			}
			w.rest()
		}
	}
	r.finish()
	if n := len(r.messages()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// TestBrokenOff: after content of BDAT was dropped, a message comes by DATA, or
// over a new connection: the engine may still hold the end of the first one.
func TestBrokenOff(t *testing.T) {
	for name, drop := range map[string]string{
		"RSET": "C: RSET\nS: 250", "EHLO": "C: EHLO b.example\nS: 250", "HELO": "C: HELO b.example\nS: 250",
		"too big": "C: BDAT 2000\nS: 552", "too big at last": "C: BDAT 2000 LAST\nS: 552",
	} {
		r := newRig(t, func(o *Options) { o.Limits.MessageSize = 1000 })
		w := r.dial("192.0.2.1").hello().envelope()
		w.say("BDAT 5\r\nabcde")
		w.want("250 2.0.0 Continue")
		w.transcript(drop)
		if strings.HasPrefix(name, "too big") {
			w.say(strings.Repeat("x", 2000))
		}
		w.envelope()
		w.transcript("C: DATA\nS: 354\nC: .\nS: 250 2.0.0 queued as")
		w.envelope()
		w.say("BDAT 0 LAST\r\n")
		w.want("421 4.3.0 a message was broken off")
		w.want("gone")
		r.finish()
		if n := len(r.messages()); n != 1 {
			t.Errorf("%s: %d messages", name, n)
		}
	}
}

// TestExactSize: a message of exactly the limit is taken, one octet more is not.
func TestExactSize(t *testing.T) {
	const limit = 1000
	for extra, want := range []string{"250 2.0.0 queued as", "552 5.3.4", "552 5.3.4"} {
		content := strings.Repeat("a", limit+extra-2) + "\r\n"
		r := newRig(t, func(o *Options) { o.Limits.MessageSize = limit })
		w := r.dial("192.0.2.1").hello().envelope()
		w.ask("DATA", "354")
		w.say(content + ".\r\n")
		w.want(want)
		w.envelope()
		w.say(chunked(content, 1<<20))
		w.want(want)
		if extra > 0 {
			w.ask("RSET", "250")
		}
		w.ask(fmt.Sprintf("MAIL FROM:<s@far.example> SIZE=%d", len(content)), want[:3][:1])
		w.close()
		r.finish()
	}
}

// TestAddressesOfTheEngine: what the engine hands over is read again, and
// written with its quotes.
func TestAddressesOfTheEngine(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello()
	w.transcript(`
		C: MAIL FROM:<"a b"@far.example>
		S: 250
		C: RCPT TO:<"foo> NOTIFY=NEVER"@d.example>
		S: 250
		C: RCPT TO:<a@D.Example>
		S: 250
		C: RCPT TO:<Postmaster> NOTIFY=NEVER
		S: 250
		C: DATA
		S: 354
		C: .
		S: 250 2.0.0 queued as
		C: MAIL FROM:<dörte@far.example>
		S: 553 5.6.7
		C: MAIL FROM:<dörte@far.example> SMTPUTF8
		S: 250
		C: RCPT TO:<jörg@d.example>
		S: 250
		C: RSET
		S: 250
		C: MAIL FROM:<s@far.example>
		S: 250
		C: MAIL FROM:<t@far.example>
		S: 503 5.5.1
		C: RCPT TO:<jörg@d.example>
		S: 553 5.6.7
		C: QUIT
		S: 221
	`)
	r.finish()
	e := r.messages()[0].Envelope
	if e.ReversePath != `"a b"@far.example` || e.Recipients[0].ForwardPath != `"foo> NOTIFY=NEVER"@d.example` ||
		e.Recipients[1].ForwardPath != "a@D.Example" || e.Recipients[2].ForwardPath != "Postmaster@d.example" || len(e.Recipients) != 3 {
		t.Errorf("envelope %+v", e)
	}
}

// TestRefusedChunk: the octets of a BDAT that is refused are eaten, whatever they look like.
func TestRefusedChunk(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello()
	binary := strings.Repeat("\x00", 5000)
	w.ask("MAIL FROM:<s@far.example>", "250")
	w.say("RCPT TO:<a@elsewhere.example>\r\n" + fmt.Sprintf("BDAT %d LAST\r\n", len(forged)+len(binary)) + forged + binary + "NOOP\r\nQUIT\r\n")
	w.want("550 5.7.1")
	w.want("503")
	w.want("250 2.0.0 I have")
	w.want("221")
	w.want("gone")
	r.finish()
	if n := len(r.messages()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// TestBadChunkSizes: where the chunk ends nobody knows, so the connection ends.
func TestBadChunkSizes(t *testing.T) {
	for size, want := range map[string]string{
		" -1 LAST": "501", " 18446744073709551616 LAST": "501", " 0x10 LAST": "501", " 5 LAST now": "501", "": "501",
		" 5 FIRST": "501", " +5 LAST": "501", " 4294967296 LAST": "552", " 5  LAST": "501",
		" 5\tLAST": "501", "\t5": "501", " 5\xff": "501", "5": "500", "\u00a05 LAST": "500",
	} {
		r := newRig(t, nil)
		w := r.dial("192.0.2.1").hello().envelope()
		w.say("BDAT" + size + "\r\n" + forged)
		w.want(want)
		w.want("gone")
		w.close()
		r.finish()
		if n := len(r.messages()); n != 0 {
			t.Errorf("%s: %d messages", size, n)
		}
	}
}

// TestShutdownClosesAll: idle, within a transaction, between chunks, and before the greeting.
func TestShutdownClosesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Timeouts.Greeting = time.Second })
		var all []*wire
		for _, said := range []string{"", "MAIL FROM:<>\r\n", "MAIL FROM:<>\r\nRCPT TO:<a@d.example>\r\nBDAT 3\r\nabc"} {
			w := r.dial("192.0.2.1").hello()
			w.say(said)
			all = append(all, w)
		}
		late := r.dial("192.0.2.1")
		synctest.Wait()
		begun := time.Now()
		r.finish()
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v", took)
		}
		for i, w := range append(all, late) {
			lines := w.rest()
			if last := lines[len(lines)-1]; last != "421 4.3.2 mx2.example is shutting down" {
				t.Errorf("client %d: %q", i, lines)
			}
		}
	})
}

// TestContentEndsBeforeShutdown: content that is coming may end, what comes after is 421.
func TestContentEndsBeforeShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		w := r.dial("192.0.2.1").hello().envelope()
		w.ask("DATA", "354")
		w.say("Subject: x\r\n")
		synctest.Wait()
		r.stop()
		synctest.Wait()
		w.say("\r\n.\r\nMAIL FROM:<>\r\n")
		w.want("250 2.0.0 queued as")
		w.want("421 4.3.2")
		w.want("gone")
		r.finish()
		if n := len(r.messages()); n != 1 {
			t.Errorf("%d messages", n)
		}
	})
}

// TestDrainHasAnEnd: content that does not end is cut after Timeouts.Drain.
func TestDrainHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		w := r.dial("192.0.2.1").hello().envelope()
		w.ask("DATA", "354")
		w.say("Subject: x\r\n")
		synctest.Wait()
		begun := time.Now()
		r.finish()
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
		w.want("gone")
	})
}

// TestLoopback: the cut chunk once more over a real connection.
func TestLoopback(t *testing.T) {
	r := newRig(t, nil)
	defer r.finish()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	ctx := t.Context()
	go func() { served <- r.server.Serve(ctx, l) }()
	for cut := range len(note) {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		w := newWire(t, conn).hello().envelope()
		w.say(fmt.Sprintf("BDAT %d LAST\r\n%s", len(note), note[:cut]))
		conn.(*net.TCPConn).CloseWrite()
		w.want("gone")
		w.close()
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(t, conn).hello().envelope()
	io.WriteString(conn, fmt.Sprintf("BDAT %d LAST\r\n%s", len(note), note))
	w.want("250 2.0.0 queued as")
	w.ask("QUIT", "221")
	w.close()
	l.Close()
	if err := <-served; err == nil || !strings.HasPrefix(err.Error(), "accept connections:") {
		t.Errorf("Serve: %v", err)
	}
	if n := len(r.messages()); n != 1 {
		t.Errorf("%d messages", n)
	}
}
