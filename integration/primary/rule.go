package primary

import (
	"fmt"
	"time"
)

// Phase is a point of a session at which a scenario may step in.
type Phase string

// The phases. A command has to be in order before its rules are looked at: RCPT
// without MAIL is 503 in every scenario.
const (
	Connect  Phase = "connect"  // instead of the banner
	Hello    Phase = "hello"    // EHLO and HELO
	StartTLS Phase = "starttls" // the command; also the handshake behind it
	Mail     Phase = "mail"
	Rcpt     Phase = "rcpt"
	Data     Phase = "data"    // DATA, or a chunk of BDAT: the first, and later ones but the last
	Content  Phase = "content" // all content is there, nothing is recorded
	Taken    Phase = "taken"   // recorded, the 250 is about to leave
	Other    Phase = "other"   // RSET, NOOP, VRFY, QUIT and what is no command
	Any      Phase = "any"     // all of them but Taken
)

// Act is what a rule does.
type Act string

// The acts.
const (
	Proceed     Act = ""             // as if healthy, after the rule's Delay
	Answer      Act = "answer"       // the rule's Reply
	AnswerClose Act = "answer-close" // the rule's Reply, then the connection ends
	Cut         Act = "cut"          // the connection ends without a reply
	Hang        Act = "hang"         // silence until the client leaves or another scenario is played
	BreakTLS    Act = "break-tls"    // of StartTLS: agree, then talk nonsense in the handshake
	WrongName   Act = "wrong-name"   // of StartTLS: a certificate for another host
)

// Rule is one line of a scenario. The first rule of a scenario that is about
// the phase and whose When holds is followed, the others are not.
type Rule struct {
	Phase Phase
	Act   Act
	Reply string        // of Answer and AnswerClose, with its codes; {rcpt}, {ip} and {where} are filled in
	Delay time.Duration // before the act
	When  When
}

// When says on which of its occasions a rule is followed. An occasion is one
// visit of one session to the rule's phase, counted over all sessions since the
// scenario began. All fields that are set must hold; the zero When always does.
type When struct {
	Address   int           // only on this address of the server, counted from 1
	UpTo      int           // only the first so many occasions
	Above     int           // not the first so many
	Every     int           // only each so manieth
	Window    time.Duration // count the occasions anew in each such window
	For       time.Duration // only so long after the scenario began
	Alternate time.Duration // only in the second, fourth ... such span of time
}

// occasion is what When judges.
type occasion struct {
	address int // from 1
	number  int // from 1, within the window
	elapsed time.Duration
}

func (w When) holds(o occasion) bool {
	switch {
	case w.Address > 0 && o.address != w.Address,
		w.UpTo > 0 && o.number > w.UpTo,
		o.number <= w.Above,
		w.Every > 0 && o.number%w.Every != 0,
		w.For > 0 && o.elapsed >= w.For,
		w.Alternate > 0 && o.elapsed/w.Alternate%2 == 0:
		return false
	}
	return true
}

// counter counts the occasions of one rule.
type counter struct {
	window time.Duration // number of the window that count is about
	count  int
}

func (c *counter) next(w When, elapsed time.Duration) int {
	if w.Window > 0 && elapsed/w.Window != c.window {
		*c = counter{window: elapsed / w.Window}
	}
	c.count++
	return c.count
}

// check refuses rules that cannot be followed.
func (r Rule) check() error {
	speaks := r.Act == Answer || r.Act == AnswerClose
	switch {
	case speaks && r.Reply == "":
		return fmt.Errorf("rule of %s: %s needs a reply", r.Phase, r.Act)
	case !speaks && r.Reply != "":
		return fmt.Errorf("rule of %s: a reply needs the act %s or %s", r.Phase, Answer, AnswerClose)
	case (r.Act == BreakTLS || r.Act == WrongName) && r.Phase != StartTLS:
		return fmt.Errorf("rule of %s: %s is only for %s", r.Phase, r.Act, StartTLS)
	case r.Phase == Taken && (speaks || r.Act == Hang || r.Delay > 0):
		// A refusal of what is recorded as taken would make the record a lie.
		return fmt.Errorf("rule of %s: only %s can follow", r.Phase, Cut)
	}
	return nil
}
