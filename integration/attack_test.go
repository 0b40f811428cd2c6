package integration

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// attackEnv tells the test binary to be the attackers, and what they do.
const attackEnv = "MXKEEP_TEST_ATTACK"

// attack is what attackers do at the same time, each from an address, and nearly
// each from a network, of its own.
type attack struct {
	Address string // of the relay
	Idle    int    // sessions with TLS that say EHLO and nothing more
	Slow    int    // senders of one octet of content a second
	Steady  int    // senders of 1 KiB of content a second, who are slow but honest
	Flood   int    // connections a second with garbage; 0 is none
}

// The kinds of attackers.
const (
	kindIdle   = "idle"
	kindSlow   = "slow"
	kindSteady = "steady"
	kindFlood  = "flood"
)

// outcomes are how many connections of a kind ended in which way: "220" to "554"
// is the last reply before the relay closed, "closed" is none, "standing" is a
// session that was still open in the end, "250 queued" is mail that was taken.
type outcomes map[string]map[string]int

func (o outcomes) sum(kind string) (n int) {
	for _, m := range o[kind] {
		n += m
	}
	return n
}

// attackers is a process that attacks.
type attackers struct {
	cmd  *exec.Cmd
	stop io.Closer
	said *json.Decoder
}

// startAttack starts attackers and waits until all of them have come as far as
// they get. What has become of them so far is returned: without those of the flood.
func startAttack(t testing.TB, a attack) (*attackers, outcomes) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	order, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), attackEnv+"="+string(order))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails if it has ended
		_ = cmd.Wait()         // it has, or was killed
	})
	p := &attackers{cmd, in, json.NewDecoder(out)}
	return p, p.hear(t)
}

func (p *attackers) hear(t testing.TB) (o outcomes) {
	t.Helper()
	if err := p.said.Decode(&o); err != nil {
		t.Fatalf("attackers: %v", err)
	}
	return o
}

// end lets those who stand go, and returns what has become of all.
func (p *attackers) end(t testing.TB) outcomes {
	t.Helper()
	p.stop.Close()
	return p.hear(t)
}

// siege are the attackers, in their process.
type siege struct {
	attack
	over     chan struct{} // closed when those who stand shall go
	arriving sync.WaitGroup
	running  sync.WaitGroup

	mu  sync.Mutex
	out outcomes
}

// besiege runs the attack that text says, until in ends.
func besiege(text string, in io.Reader, out io.Writer) error {
	s := &siege{over: make(chan struct{}), out: outcomes{}}
	if err := json.Unmarshal([]byte(text), &s.attack); err != nil {
		return err
	}
	if s.Flood > 0 {
		s.running.Go(s.flood)
	}
	arrivals := make(chan struct{}, 200) // handshakes at once: more would only wait for each other
	for i := range s.Idle + s.Slow + s.Steady {
		kind, do := kindIdle, s.idle
		switch {
		case i >= s.Idle+s.Slow:
			kind, do = kindSteady, s.steady
		case i >= s.Idle:
			kind, do = kindSlow, s.slow
		}
		arrivals <- struct{}{}
		s.arriving.Add(1)
		var once sync.Once
		arrived := func() { once.Do(func() { <-arrivals; s.arriving.Done() }) }
		s.running.Go(func() {
			defer arrived()
			s.count(kind, do(from(i), arrived))
		})
	}
	s.arriving.Wait()
	if err := json.NewEncoder(out).Encode(s.counted()); err != nil {
		return err
	}
	io.Copy(io.Discard, in) // it ends when the test says so, or has gone
	close(s.over)
	s.running.Wait()
	return json.NewEncoder(out).Encode(s.counted())
}

// from is the address of attacker n. The first 15,360 are all of other networks.
func from(n int) string {
	return fmt.Sprintf("127.%d.%d.%d", 64+n%60, n/60%256, 1+n/15360%250)
}

func (s *siege) count(kind, outcome string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out[kind] == nil {
		s.out[kind] = map[string]int{}
	}
	s.out[kind][outcome]++
}

func (s *siege) counted() outcomes {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := outcomes{}
	for kind, m := range s.out {
		o[kind] = map[string]int{}
		for outcome, n := range m {
			o[kind][outcome] = n
		}
	}
	return o
}

// idle says EHLO within TLS, and then nothing.
func (s *siege) idle(source string, arrived func()) string {
	v, err := visit(s.Address, source)
	if err != nil {
		return v.ended(err)
	}
	defer v.Close()
	if err := v.secure(); err != nil {
		return v.ended(err)
	}
	arrived()
	return s.stand(v)
}

// stand waits for what the relay says, until the attack is over.
func (s *siege) stand(v *visitor) string {
	heard := make(chan error, 1)
	go func() { heard <- v.reply() }()
	select {
	case err := <-heard:
		return v.ended(err)
	case <-s.over:
		return "standing"
	}
}

// slow sends an octet of content a second.
func (s *siege) slow(source string, arrived func()) string {
	return s.send(source, arrived, []byte("x"), time.Second)
}

// steady sends 256 octets of content four times a second, and ends its message
// when the attack is over.
func (s *siege) steady(source string, arrived func()) string {
	return s.send(source, arrived, []byte(strings.Repeat("x", 62)+"\r\n"+strings.Repeat("x", 62)+"\r\n"+strings.Repeat("x", 62)+"\r\n"+strings.Repeat("x", 62)+"\r\n"), time.Second/4)
}

// send sends pieces of content. Whole lines become a message in the end.
func (s *siege) send(source string, arrived func(), piece []byte, every time.Duration) string {
	v, err := visit(s.Address, source)
	if err != nil {
		return v.ended(err)
	}
	defer v.Close()
	for _, command := range []string{mailCommand, rcptCommand, dataCommand} {
		if err := v.say(step{[]byte(command), 1}); err != nil {
			return v.ended(err)
		}
	}
	arrived()
	heard := make(chan error, 1)
	go func() { heard <- v.reply() }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case err := <-heard:
			return v.ended(err)
		case <-tick.C:
			_, _ = v.Write(piece) // what is wrong is heard
		case <-s.over:
			if len(piece) == 1 {
				return "standing"
			}
			_, _ = v.Write([]byte(".\r\n"))
			if err := <-heard; err != nil {
				return v.ended(err)
			}
			return "250 queued"
		}
	}
}

// flood sends garbage, each from another address.
func (s *siege) flood() {
	tick := time.NewTicker(time.Second / time.Duration(s.Flood))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-s.over:
			return
		case <-tick.C:
			s.running.Go(func() { s.count(kindFlood, s.throw(from(20000+n), garbage(n))) })
		}
	}
}

// garbage is what connection n of a flood sends.
func garbage(n int) string {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	binary := make([]byte, 4<<10)
	for i := range binary {
		binary[i] = byte(random.Uint32())
	}
	switch n % 9 {
	case 0:
		return string(binary)
	case 1:
		return "GET / HTTP/1.1\r\nHost: mx2.corp.example\r\n\r\n" + string(binary)
	case 2:
		return "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + string(binary)
	case 3:
		return strings.Repeat("x", 64<<10)
	case 4:
		return strings.Repeat("XYZZY\r\n", 200)
	case 5:
		return "EHLO x\r\nBDAT 99999999999999999999 LAST\r\n" + string(binary)
	case 6:
		return "EHLO x\r\nSTARTTLS\r\nMAIL FROM:<>\r\nRCPT TO:<bob@corp.example>\r\nDATA\r\n"
	case 7:
		return "EHLO x\r\n" + strings.Repeat(mailCommand+"RCPT TO:<nobody@elsewhere.example>\r\n", 200)
	}
	return "" // it only looks whether anybody is here
}

// throw sends something and listens until the relay closes, which it has to if
// anything was sent.
func (s *siege) throw(source, text string) string {
	conn, err := dialFrom(s.Address, source)
	if err != nil {
		return "no connection: " + err.Error()
	}
	defer conn.Close()
	if text == "" {
		return "left"
	}
	conn.SetDeadline(time.Now().Add(patience))
	v := &visitor{sender: sender{conn, bufio.NewReader(conn)}}
	go io.WriteString(conn, text) // the relay need not read it all
	last := "closed"
	for {
		line, err := v.in.ReadString('\n')
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return "stuck after " + last
		case err != nil:
			return last
		case strings.HasPrefix(line, "250") && strings.Contains(line, "queued"):
			return "250 queued"
		case len(line) >= 3:
			last = line[:3]
		}
	}
}

// visitor is a session from an address.
type visitor struct{ sender }

func dialFrom(address, source string) (net.Conn, error) {
	return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: patience}).Dial("tcp", address)
}

// visit opens a session and says EHLO. The visitor is there also if there is an error.
func visit(address, source string) (*visitor, error) {
	v := &visitor{}
	conn, err := dialFrom(address, source)
	if err != nil {
		return v, err
	}
	v.sender = sender{conn, bufio.NewReaderSize(conn, 1<<10)}
	if err := v.reply(); err != nil {
		conn.Close()
		return v, err
	}
	if err := v.say(step{[]byte("EHLO client.example\r\n"), 1}); err != nil {
		conn.Close()
		return v, err
	}
	return v, nil
}

// secure goes on with TLS.
func (v *visitor) secure() error {
	if err := v.say(step{[]byte("STARTTLS\r\n"), 1}); err != nil {
		return err
	}
	secured := tls.Client(v.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := secured.Handshake(); err != nil {
		return err
	}
	v.sender = sender{secured, bufio.NewReaderSize(secured, 1<<10)}
	return v.say(step{[]byte("EHLO client.example\r\n"), 1})
}

// ended says how the relay ended a session: the code of its last reply, or that it closed.
func (v *visitor) ended(err error) string {
	var no refusedError
	switch {
	case v.Conn == nil:
		return "no connection: " + err.Error()
	case errors.As(err, &no):
		return string(no[:min(3, len(no))])
	}
	return "closed"
}
