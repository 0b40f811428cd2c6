package demo

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"sync"
	"time"
)

// SenderOptions is what the simulated sender needs to know.
type SenderOptions struct {
	Primaries []string      `json:"primaries"` // "ip:port" of the primary's addresses, the better MX
	Relay     string        `json:"relay"`     // "ip:port" of the relay, the fallback MX
	CAFile    string        `json:"ca_file"`   // authority of the primary's certificate, PEM
	Journal   string        `json:"journal"`   // file that gets a synced line for each 250
	Domain    string        `json:"domain"`    // recipient domain
	Every     time.Duration `json:"every"`
}

// Line is one line of the sender's journal.
type Line struct {
	At      time.Time `json:"at"`
	ID      string    `json:"id"`                // Message-ID with its brackets
	SHA256  string    `json:"sha256,omitempty"`  // of the content as sent
	Size    int       `json:"size,omitempty"`    // of the content as sent, in bytes
	Via     string    `json:"via"`               // "primary" or "relay"
	Outcome string    `json:"outcome"`           // Taken, Unknown or Bounced
	Reply   string    `json:"reply,omitempty"`   // or the error
	Attempt int       `json:"attempt,omitempty"` // of this message, from 1
}

// The outcomes that are worth a line: the receiver answered 250; the line broke
// after the final dot, so that it may have been taken; it was refused for good.
const (
	Taken   = "taken"
	Unknown = "unknown"
	Bounced = "bounced"
)

// Progress is what the sender says about itself, one JSON line at a time.
type Progress struct {
	Written int `json:"written"` // messages made so far
	Primary int `json:"primary"` // of these taken by the primary itself
	Relay   int `json:"relay"`   // taken by the relay
	Bounced int `json:"bounced"` // refused for good
	Waiting int `json:"waiting"` // not taken by anybody yet
}

// PrimaryHost is the name of the simulated primary.
const PrimaryHost = "corp-example.mail.protection.outlook.com"

const (
	senderSessions = 16              // messages under way at once
	senderDeadline = 4 * time.Second // for a whole session with one server
	senderRetry    = time.Second     // between two rounds through the MX list
)

// sender behaves like a mail server that walks its whole MX list in each
// round: the primary's addresses first, then the relay.
type sender struct {
	o       SenderOptions
	tls     *tls.Config
	fail    context.CancelCauseFunc // ends everything: a journal that cannot be trusted proves nothing
	mu      sync.Mutex
	journal *os.File
	now     Progress
}

// RunSender makes a message every o.Every and offers it until someone takes
// it. After the first line on in, or its end, it makes no more, waits until all
// are taken and returns. Progress goes to out. It runs in a process of its own, so
// that what it remembers does not depend on the relay.
func RunSender(ctx context.Context, o SenderOptions, in io.Reader, out io.Writer) error {
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s has no certificate", o.CAFile)
	}
	journal, err := os.OpenFile(o.Journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer journal.Close()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s := &sender{o: o, tls: &tls.Config{RootCAs: pool, ServerName: PrimaryHost}, journal: journal, fail: fail}

	stop := make(chan struct{})
	go func() { // ends with in
		defer close(stop)
		bufio.NewReader(in).ReadString('\n')
	}()
	return s.run(ctx, stop, out)
}

func (s *sender) run(ctx context.Context, stop <-chan struct{}, out io.Writer) error {
	var running sync.WaitGroup
	slots := make(chan struct{}, senderSessions)
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	encoder := json.NewEncoder(out)
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			running.Wait()
			return context.Cause(ctx)
		case <-stop:
			running.Wait()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return encoder.Encode(s.progress())
		case <-tick.C:
		}
		m := newMessage(n, s.o.Domain)
		s.count(func(p *Progress) { p.Written++; p.Waiting++ })
		running.Go(func() { s.deliver(ctx, m, slots) })
		if err := encoder.Encode(s.progress()); err != nil {
			s.fail(err)
		}
	}
}

// deliver offers the message round after round until somebody takes it or refuses it for good.
func (s *sender) deliver(ctx context.Context, m message, slots chan struct{}) {
	for attempt := 1; ctx.Err() == nil; attempt++ {
		slots <- struct{}{} // those who are ahead end soon
		ended := s.round(ctx, m, attempt)
		<-slots
		if ended {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(senderRetry):
		}
	}
}

// round walks the MX list once.
func (s *sender) round(ctx context.Context, m message, attempt int) (ended bool) {
	for _, address := range append(append([]string(nil), s.o.Primaries...), s.o.Relay) {
		via := "primary"
		if address == s.o.Relay {
			via = "relay"
		}
		outcome, reply := s.offer(ctx, address, m)
		if outcome == "" {
			continue
		}
		s.write(Line{At: time.Now().UTC(), ID: m.id, SHA256: m.digest(), Size: len(m.content), Via: via,
			Outcome: outcome, Reply: reply, Attempt: attempt})
		switch outcome {
		case Taken:
			s.count(func(p *Progress) {
				p.Waiting--
				if via == "relay" {
					p.Relay++
				} else {
					p.Primary++
				}
			})
			return true
		case Bounced:
			s.count(func(p *Progress) { p.Waiting--; p.Bounced++ })
			return true
		}
	}
	return false
}

// offer holds one session with one server. An empty outcome means: not taken, try the next one.
func (s *sender) offer(ctx context.Context, address string, m message) (outcome, reply string) {
	conn, err := (&net.Dialer{Timeout: senderDeadline}).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err.Error()
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(senderDeadline))
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	client, err := smtp.NewClient(conn, PrimaryHost)
	if err != nil {
		return outcomeOf(err), err.Error()
	}
	defer client.Close()
	if err := s.envelope(client, address, m); err != nil {
		return outcomeOf(err), err.Error()
	}
	w, err := client.Data()
	if err != nil {
		return outcomeOf(err), err.Error()
	}
	if _, err := w.Write(m.content); err != nil {
		return "", err.Error()
	}
	if err := w.Close(); err != nil {
		if reply := new(textproto.Error); errors.As(err, &reply) {
			return outcomeOf(err), err.Error()
		}
		return Unknown, err.Error()
	}
	client.Quit()
	return Taken, "250"
}

func (s *sender) envelope(client *smtp.Client, address string, m message) error {
	if err := client.Hello("mx.sender.example"); err != nil {
		return err
	}
	config := s.tls
	if address == s.o.Relay {
		// The relay made its own certificate; like most senders, take what is offered.
		config = &tls.Config{InsecureSkipVerify: true}
	}
	if err := client.StartTLS(config); err != nil {
		return err
	}
	if err := client.Mail(m.from); err != nil {
		return err
	}
	return client.Rcpt(m.to)
}

func outcomeOf(err error) string {
	if reply := new(textproto.Error); errors.As(err, &reply) && reply.Code >= 500 {
		return Bounced
	}
	return ""
}

func (s *sender) write(line Line) {
	text, _ := json.Marshal(line) // which cannot fail
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.journal.Write(append(text, '\n'))
	if err == nil {
		err = s.journal.Sync()
	}
	if err != nil {
		s.fail(fmt.Errorf("journal: %w", err))
	}
}

func (s *sender) count(change func(*Progress)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.now)
}

func (s *sender) progress() Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// message is one mail of the simulated sender.
type message struct {
	id, from, to string
	content      []byte
}

func (m message) digest() string {
	sum := sha256.Sum256(m.content)
	return hex.EncodeToString(sum[:])
}

// newMessage makes message number n. Its bytes are such that careless handling
// shows: lines that begin with dots, trailing blanks, 8-bit text, an empty last
// line, sizes from 1 to 100 KiB.
func newMessage(n int, domain string) message {
	m := message{
		id:   fmt.Sprintf("<demo.%06d@sender.example>", n),
		from: fmt.Sprintf("billing+%d@sender.example", n%7),
		to:   fmt.Sprintf("user%d@%s", n%23, domain),
	}
	text := fmt.Appendf(nil, "From: <%s>\r\nTo: <%s>\r\nMessage-ID: %s\r\nSubject: demo %d\r\nX-Folded: one\r\n\ttwo \r\n\r\n", m.from, m.to, m.id, n)
	line := fmt.Appendf(nil, ".. a line of message %d that begins with dots and ends with blanks  \r\n.\tGr\xc3\xbc\xc3\x9fe, \xe9\xff raw 8-bit\r\n", n)
	for size := 1024 * (1 + n*n%100); len(text) < size; {
		text = append(text, line...)
	}
	m.content = append(text, "\r\n"...)
	return m
}
