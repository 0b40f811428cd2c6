package outbound

import (
	"strings"
	"testing"
	"testing/synctest"
)

const attr2 = "451 4.3.2 Temporary server error. Please try again later ATTR2 [XX1PEPF00000001.corp.example 2026-03-03T10:00:00.000Z 08DE8A01A0B45E1B]"

// dialogs are attempts for one message to b@, c@ and d@corp.example, or as many of them as recipients says.
var dialogs = []struct {
	name       string
	recipients int
	scripts    []string
	results    string
	signals    string
}{
	{"pipelined", 1, []string{hello("PIPELINING") + `
		C: MAIL FROM:<a@x.example>
		C: RCPT TO:<b@corp.example>
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 354 go on` + textLines + `
		S: 250 2.0.0 taken`}, "delivered", "ok@final"},
	{"without PIPELINING each reply is waited for", 2, []string{hello() + `
		C: MAIL FROM:<a@x.example>
		S: 250 ok
		C: RCPT TO:<b@corp.example>
		S: 250 ok
		C: RCPT TO:<c@corp.example>
		S: 550 5.1.1 User unknown
		C: DATA
		S: 354 go on` + textLines + `
		S: 250 2.0.0 taken`}, "delivered failed/recipient", "ok@final recipient@rcpt"},
	{"without PIPELINING no DATA follows if nobody was taken", 1, []string{hello() + `
		C: MAIL FROM:<a@x.example>
		S: 250 ok
		C: RCPT TO:<b@corp.example>
		S: ` + attr2}, "deferred/upstream", "outage@rcpt"},
	{"without PIPELINING no RCPT follows a refused MAIL", 1, []string{hello() + `
		C: MAIL FROM:<a@x.example>
		S: ` + attr2}, "deferred/upstream", "outage@mail"},
	{"each reply goes to its recipient", 3, []string{hello("PIPELINING") + three + `
		S: 250 ok
		S: 550 5.1.1 User unknown
		S: 250 ok
		S: 451 4.7.500 Server busy
		S: 354 go on` + textLines + `
		S: 250 2.0.0 taken`}, "failed/recipient delivered deferred/own", "recipient@rcpt ok@final throttle@rcpt"},
	{"replies in one piece", 3, []string{hello("PIPELINING") + three + `
		S: 250 ok
		S| 250 ok
		S| 550-5.1.1 User
		S| 550 5.1.1 unknown
		S| 250 ok
		S| 354 go on` + textLines + `
		S: 250 2.0.0 taken`}, "delivered failed/recipient delivered", "ok@final recipient@rcpt"},
	{"a go-ahead without recipients gets a lone dot, whatever follows", 3, []string{hello("PIPELINING") + three + `
		S: 250 ok
		S: 550 5.1.1 User unknown
		S: 550 5.1.1 User unknown
		S: ` + attr2 + `
		S: 354 go on
		C: .
		S: 250 2.0.0 taken`}, "failed/recipient failed/recipient deferred/upstream", "recipient@rcpt outage@rcpt"},
	{"a refused MAIL is what counts, not what follows from it", 3, []string{hello("PIPELINING") + three + `
		S: ` + attr2 + `
		S: 503 5.5.2 Need mail command
		S: 503 5.5.2 Need mail command
		S: 503 5.5.2 Need mail command
		S: 503 5.5.2 Need mail command`}, "deferred/upstream deferred/upstream deferred/upstream", "outage@mail"},
	{"all RCPT refused, and DATA as well", 1, []string{hello("PIPELINING") + one + `
		S: 250 ok
		S: 550 5.4.1 [b@corp.example]: Recipient address rejected: Access denied
		S: 503 5.5.2 Need rcpt command`}, "failed/recipient", "recipient@rcpt"},
	{"DATA refused", 1, []string{hello("PIPELINING") + one + `
		S: 250 ok
		S: 250 ok
		S: 451 4.3.0 not now`}, "deferred/message", "outage@data"},
	{"DATA answered by what is neither: out of step", 1, []string{hello("PIPELINING") + one + `
		S: 250 ok
		S: 250 ok
		S: 250 ok`}, "deferred/message", "temporary@data"},
	{"a reply to content that has not been sent", 1, []string{hello("PIPELINING") + one + `
		S: 250 ok
		S: 250 ok
		S: 354 go on
		S| 250 2.0.0 taken`}, "deferred/message", "outage@data"},
	{"a reply to MAIL that has not been said", 1, []string{hello("PIPELINING") + "S| 250 ok"}, "deferred/message", "outage@mail"},
	{"our own name in the greeting", 1, []string{"S: 220 RELAY.example. ESMTP ready"}, "deferred/own", "misconfigured@banner"},
	{"our own name", 1, []string{`
		S: 220 ready
		C: EHLO relay.example
		S: 250-RELAY.example Hello
		S: 250 PIPELINING`}, "deferred/own", "misconfigured@hello"},
	{"content refused for good", 1, []string{hello("PIPELINING") + one + `
		S: 250 ok
		S: 250 ok
		S: 354 go on` + textLines + `
		S: 550 5.7.1 TRANSPORT.RULES.RejectMessage; no`}, "failed/message", "policy@final"},
	{"content refused by what nobody knows is kept", 1, []string{hello("PIPELINING") + one + `
		S: 250 ok
		S: 250 ok
		S: 354 go on` + textLines + `
		S: 554 5.9.9 because`}, "refused/message", "policy@final"},
	{"a refusal for our own sake is kept", 1, []string{hello("PIPELINING") + one + `
		S: 250 ok
		S: 550 5.7.606 Access denied, banned sending IP 192.0.2.9
		S: 503 5.5.2 Need rcpt command`}, "refused/own", "throttle@rcpt"},
	{"too many recipients: the rest in its own transaction", 3, []string{hello("PIPELINING") + three + `
		S: 250 ok
		S: 250 ok
		S: 452 4.5.3 Too many recipients
		S: 452 4.5.3 Too many recipients
		S: 354 go on` + textLines + `
		S: 250 2.0.0 taken
		C: MAIL FROM:<a@x.example>
		C: RCPT TO:<c@corp.example>
		C: RCPT TO:<d@corp.example>
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 250 ok
		S: 354 go on` + textLines + `
		S: 250 2.0.0 taken`}, "delivered delivered delivered", "ok@final ok@final"},
	{"too many even for one: each apart, then deferred", 2, []string{hello("PIPELINING") + `
		C: MAIL FROM:<a@x.example>
		C: RCPT TO:<b@corp.example>
		C: RCPT TO:<c@corp.example>
		C: DATA
		S: 250 ok
		S: 452 4.5.3 Too many recipients
		S: 452 4.5.3 Too many recipients
		S: 503 5.5.2 Need rcpt command
		C: RSET
		S: 250 ok` + one + `
		S: 250 ok
		S: 452 4.5.3 Too many recipients
		S: 503 5.5.2 Need rcpt command
		C: RSET
		S: 250 ok
		C: MAIL FROM:<a@x.example>
		C: RCPT TO:<c@corp.example>
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 354 go on` + textLines + `
		S: 250 2.0.0 taken`}, "deferred/recipient delivered", "temporary@rcpt ok@final"},
	{"a refusal of the content that is about one recipient: each apart", 2, []string{hello("PIPELINING") + `
		C: MAIL FROM:<a@x.example>
		C: RCPT TO:<b@corp.example>
		C: RCPT TO:<c@corp.example>
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 250 ok
		S: 354 go on` + textLines + `
		S: 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found
		C: RSET
		S: 250 ok` + one + `
		S: 250 ok
		S: 250 ok
		S: 354 go on` + textLines + `
		S: 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found
		C: RSET
		S: 250 ok
		C: MAIL FROM:<a@x.example>
		C: RCPT TO:<c@corp.example>
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 354 go on` + textLines + `
		S: 250 2.0.0 taken`}, "failed/recipient delivered", "recipient@final recipient@final ok@final"},

	{"421 as greeting", 1, []string{"S: 421 4.3.2 Service not available"}, "deferred/upstream", "outage@banner"},
	{"421 to EHLO", 1, []string{greeting + "C: EHLO relay.example\nS: 421 4.3.2 Service not available"}, "deferred/upstream", "outage@hello"},
	{"421 to MAIL: the rest is not waited for", 1, []string{hello("PIPELINING") + one + `
		S: 421 4.3.2 Service not available`}, "deferred/upstream", "outage@mail"},
	{"421 to RCPT: for all that have no answer", 3, []string{hello("PIPELINING") + three + `
		S: 250 ok
		S: 550 5.1.1 User unknown
		S: 250 ok
		S: 421 4.3.2 Service not available`}, "failed/recipient deferred/upstream deferred/upstream", "recipient@rcpt outage@rcpt"},
	{"421 to DATA", 1, []string{hello("PIPELINING") + one + `
		S: 250 ok
		S: 250 ok
		S: 421 4.3.2 Service not available`}, "deferred/upstream", "outage@data"},
	{"421 to the content is an answer: no duplicate", 1, []string{hello("PIPELINING") + one + `
		S: 250 ok
		S: 250 ok
		S: 354 go on` + textLines + `
		S: 421 4.3.2 Service not available`}, "deferred/upstream", "outage@final"},
	{"554 as greeting is not about the message", 1, []string{"S: 554 5.7.1 go away"}, "deferred/own", "misconfigured@banner"},
	{"a positive greeting that is none", 1, []string{"S: 354 go on"}, "deferred/upstream", "temporary@banner"},
	{"EHLO refused", 1, []string{greeting + "C: EHLO relay.example\nS: 502 5.5.1 what"}, "deferred/own", "misconfigured@hello"},

	{"no connection", 1, []string{"refuse"}, "deferred/upstream", "outage@connect"},
	{"cut before the greeting", 1, []string{"cut"}, "deferred/upstream", "outage@banner"},
	{"cut before the reply to EHLO", 1, []string{greeting + "C: EHLO relay.example\ncut"}, "deferred/upstream", "outage@hello"},
	{"cut while MAIL is sent", 1, []string{hello("PIPELINING") + "cut"}, "deferred/message", "outage@mail"},
	{"cut before the reply to MAIL", 1, []string{hello("PIPELINING") + one + "cut"}, "deferred/message", "outage@mail"},
	{"cut before the reply to RCPT", 1, []string{hello("PIPELINING") + one + "S: 250 ok\ncut"}, "deferred/message", "outage@rcpt"},
	{"cut before the reply to DATA", 1, []string{hello("PIPELINING") + one + "S: 250 ok\nS: 250 ok\ncut"}, "deferred/message", "outage@data"},
	{"cut before the content", 1, []string{hello("PIPELINING") + one + "S: 250 ok\nS: 250 ok\nS: 354 go on\ncut"},
		"deferred/message?", "outage@final"}, // it is short: all of it was about to leave
	{"cut behind the final dot: perhaps a duplicate", 1, []string{hello("PIPELINING") + one + "S: 250 ok\nS: 250 ok\nS: 354 go on" + textLines + "cut"},
		"deferred/message?", "outage@final"},
	{"a lost answer is no duplicate of who was refused before", 3, []string{hello("PIPELINING") + three +
		"S: 250 ok\nS: 550 5.1.1 User unknown\nS: 250 ok\nS: 250 ok\nS: 354 go on" + textLines + "cut"},
		"failed/recipient deferred/message? deferred/message?", "recipient@rcpt outage@final"},
	{"garbage instead of a reply", 1, []string{hello("PIPELINING") + one + "S: hello"}, "deferred/message", "outage@mail"},
	{"garbage instead of the reply to the content", 1, []string{hello("PIPELINING") + one + "S: 250 ok\nS: 250 ok\nS: 354 go on" + textLines + "S: hello"},
		"deferred/message?", "outage@final"},
}

const (
	greeting = "S: 220 corp.example ESMTP\n"
	one      = `
		C: MAIL FROM:<a@x.example>
		C: RCPT TO:<b@corp.example>
		C: DATA
`
	three = `
		C: MAIL FROM:<a@x.example>
		C: RCPT TO:<b@corp.example>
		C: RCPT TO:<c@corp.example>
		C: RCPT TO:<d@corp.example>
		C: DATA
`
)

func TestDialogs(t *testing.T) {
	for _, test := range dialogs {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil, test.scripts...)
				report := r.deliver(message([]string{"b@corp.example", "c@corp.example", "d@corp.example"}[:test.recipients]...))
				r.want(report, test.results, test.signals)
				if report.Content != nil {
					t.Error(report.Content)
				}
				r.end()
			})
		})
	}
}

func TestResultSaysWhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, hello("PIPELINING")+one+"S: 250 ok\nS: "+attr2+"\nS: 503 5.5.2 Need rcpt command")
		report := r.deliver(message("b@corp.example"))
		result, signal := report.Results[0], report.Signals[0]
		reply := result.Reply
		if result.Host != "corp.example" || result.Address != "192.0.2.1:25" || result.RemoteSession != "08DE8A01A0B45E1B" ||
			reply.Command != "RCPT" || reply.Code != 451 || reply.Enhanced != "4.3.2" || !strings.HasPrefix(reply.Text, "Temporary server error. ") {
			t.Errorf("%+v", result)
		}
		if signal.Upstream != "exo" || signal.Domain != "corp.example" || signal.Source != "attempt" || signal.Command != "RCPT" ||
			signal.Reply != attr2 || signal.Host != "corp.example" || signal.Address != "192.0.2.1:25" ||
			signal.Session != "08DE8A01A0B45E1B" || signal.Round != 0 || signal.Last || signal.At.IsZero() {
			t.Errorf("%+v", signal)
		}
		r.end()
	})
}
