package integration

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// patience is how long anything in an ordeal may take before the test gives up.
const patience = 2 * time.Minute

// correspondent writes letters to people at the primary, and offers each until
// somebody answers 250. It keeps its session, and comes back when it breaks.
type correspondent struct {
	ordeal *ordeal
	number int
	random *rand.Rand

	life *life // that the session is with
	conn net.Conn
	in   *bufio.Reader
}

// write writes letters until the ordeal takes no more of them.
func (c *correspondent) write() {
	defer c.hangUp()
	for n := 1; ; n++ {
		select {
		case <-c.ordeal.enough:
			return
		default:
		}
		l, content := newMissive(c.random, c.number, n)
		c.ordeal.written(l)
		if !c.post(l, content) {
			return
		}
	}
}

// post offers a letter until it is taken. It is false if the ordeal is over.
func (c *correspondent) post(l *missive, content []byte) bool {
	for begun := time.Now(); ; {
		if time.Since(begun) > patience {
			c.ordeal.complain("%s was not taken within %s", l.messageID, patience)
			return false
		}
		text, whole, err := c.offer(l, content)
		code, rest, _ := strings.Cut(text, " ")
		switch {
		case err != nil:
			if whole {
				l.unsure++
			}
			if !c.await() {
				return false
			}
		case code == "250":
			_, id, found := strings.Cut(rest, "queued as ")
			if !found {
				c.ordeal.complain("%s was taken without an id: %q", l.messageID, text)
			}
			c.ordeal.taken(l, id)
			return true
		case code == "421": // the relay is stopping, and closes
			if !c.await() {
				return false
			}
		case code[0] != '4':
			c.ordeal.complain("%s was refused: %q", l.messageID, text)
			return false
		}
	}
}

// hangUp ends the session without a word.
func (c *correspondent) hangUp() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// await waits for the next life of the relay. A session breaks only because
// the relay has died, or is about to.
func (c *correspondent) await() bool {
	c.hangUp()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for _, event := range []<-chan struct{}{c.life.ended, c.life.followed} {
		select {
		case <-event:
		case <-c.ordeal.over:
			return false
		case <-timer.C:
			c.ordeal.complain("a session of correspondent %d broke, and no other life of the relay followed", c.number)
			return false
		}
	}
	return true
}

// offer offers a letter in one transaction, and returns the reply that decided.
// whole says that the relay may have all of it although there is an error.
func (c *correspondent) offer(l *missive, content []byte) (reply string, whole bool, err error) {
	if err := c.connect(); err != nil {
		return "", false, err
	}
	c.conn.SetDeadline(time.Now().Add(patience))
	commands := []string{fmt.Sprintf("MAIL FROM:<%s>\r\n", l.from)}
	for _, recipient := range l.to {
		commands = append(commands, fmt.Sprintf("RCPT TO:<%s>\r\n", recipient))
	}
	switch c.random.IntN(4) {
	case 0:
		return c.inChunks(commands, content)
	case 1:
		for _, command := range commands {
			if reply, err = c.say(command); err != nil || reply[0] != '2' {
				return c.giveUp(reply, err)
			}
		}
		if reply, err = c.say("DATA\r\n"); err != nil || reply[0] != '3' {
			return c.giveUp(reply, err)
		}
	default:
		if reply, err = c.together(append(commands, "DATA\r\n")); err != nil || reply[0] != '3' {
			return c.giveUp(reply, err)
		}
	}
	return c.last(stuffed(content))
}

// together says commands at once (RFC 2920). The reply is the first refusal, or the last reply.
func (c *correspondent) together(commands []string) (refusal string, err error) {
	if _, err := c.conn.Write([]byte(strings.Join(commands, ""))); err != nil {
		return "", err
	}
	var reply string
	for range commands {
		if reply, err = c.reply(); err != nil {
			return "", err
		}
		if refusal == "" && reply[0] != '2' && reply[0] != '3' {
			refusal = reply
		}
	}
	if refusal != "" && reply[0] == '3' { // for some recipients; a letter is for all or none
		c.hangUp()
	}
	if refusal == "" {
		refusal = reply
	}
	return refusal, nil
}

// inChunks sends the content with BDAT, in two chunks (RFC 3030).
func (c *correspondent) inChunks(commands []string, content []byte) (reply string, whole bool, err error) {
	for _, command := range commands {
		if reply, err = c.say(command); err != nil || reply[0] != '2' {
			return c.giveUp(reply, err)
		}
	}
	cut := c.random.IntN(len(content) + 1)
	if reply, err = c.say(fmt.Sprintf("BDAT %d\r\n%s", cut, content[:cut])); err != nil || reply[0] != '2' {
		return c.giveUp(reply, err)
	}
	return c.last(append(fmt.Appendf(nil, "BDAT %d LAST\r\n", len(content)-cut), content[cut:]...))
}

// giveUp ends a transaction that was refused before its end, if the session goes on.
func (c *correspondent) giveUp(refusal string, err error) (string, bool, error) {
	if err == nil && c.conn != nil && !strings.HasPrefix(refusal, "421") {
		_, err = c.say("RSET\r\n")
	}
	return refusal, false, err
}

// last sends what ends a message. If all of it has left, its outcome is only
// known by the reply.
func (c *correspondent) last(end []byte) (reply string, whole bool, err error) {
	if _, err = c.conn.Write(end); err != nil {
		return "", false, err // the last octet has not left
	}
	reply, err = c.reply()
	return reply, true, err
}

func (c *correspondent) say(command string) (string, error) {
	if _, err := c.conn.Write([]byte(command)); err != nil {
		return "", err
	}
	return c.reply()
}

// reply reads a reply; the text is its last line.
func (c *correspondent) reply() (string, error) {
	for {
		line, err := c.in.ReadString('\n')
		switch {
		case err != nil:
			return "", err
		case len(line) < 6 || line[3] != ' ' && line[3] != '-':
			return "", fmt.Errorf("%q is no reply", line)
		case line[3] == ' ':
			c.ordeal.step()
			return strings.TrimSpace(line), nil
		}
	}
}

// connect opens a session, if there is none.
func (c *correspondent) connect() (err error) {
	if c.conn != nil {
		return nil
	}
	c.life = c.ordeal.life.Load()
	if c.conn, err = net.Dial("tcp", c.ordeal.address); err != nil {
		c.conn = nil
		return err
	}
	c.conn.SetDeadline(time.Now().Add(patience))
	c.in = bufio.NewReader(c.conn)
	reply, err := c.reply()
	if err == nil && reply[0] == '2' {
		reply, err = c.say("EHLO client.example\r\n")
	}
	if err == nil && reply[0] != '2' {
		err = fmt.Errorf("no session: %q", reply)
	}
	return err
}
