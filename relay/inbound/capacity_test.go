package inbound

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// eight is a message of 8 octets.
const eight = "\r\nabcd\r\n"

// send sends a message to a recipient, and wants a reply at its end.
func (w *wire) send(to, content, want string) {
	w.t.Helper()
	w.ask("MAIL FROM:<s@far.example>", "250")
	w.ask("RCPT TO:<"+to+">", "250")
	w.ask("DATA", "354")
	w.ask(content+".", want)
}

// limited is a server whose store has limits.
func limited(t *testing.T, l queue.Limits) *rig {
	t.Helper()
	r := newRig(t, nil)
	r.store.Limit(l)
	return r
}

// TestOneUpstreamIsFull: its mail is refused before the content is sent, that
// of the other is taken, and status tells which is which.
func TestOneUpstreamIsFull(t *testing.T) {
	r := limited(t, queue.Limits{Upstreams: map[string]queue.Limit{"exo": {Messages: 2}, "other": {Bytes: 1000}}})
	defer r.finish()
	w := r.dial("192.0.2.1").hello()
	w.send("a@d.example", eight, "250 2.0.0 queued")
	if full := r.server.Stats().Full; len(full) != 0 {
		t.Errorf("full: %v", full)
	}
	w.send("a@e.example", eight, "250 2.0.0 queued")
	w.transcript(`
		C: MAIL FROM:<s@far.example>
		S: 250
		C: RCPT TO:<a@d.example>
		S: 452 4.3.1 too much mail is held already
		C: RCPT TO:<b@e.example>
		S: 452 4.3.1
		C: DATA
		S: 50
		C: RCPT TO:<a@f.example>
		S: 250
		C: RSET
		S: 250
		C: MAIL FROM:<s@far.example> SIZE=1001
		S: 250
		C: RCPT TO:<a@f.example>
		S: 452 4.3.1
		C: RSET
		S: 250
		C: MAIL FROM:<s@far.example> SIZE=1000
		S: 250
		C: RCPT TO:<a@f.example>
		S: 250
		C: RSET
		S: 250`)
	w.send("a@f.example", eight, "250 2.0.0 queued")
	s := r.server.Stats()
	if s.Refusing != "" || len(s.Full) != 2 || !strings.Contains(s.Full["exo"], "limit of 2 messages for exo") || s.Refused[reasonLimit] != 3 {
		t.Errorf("stats %+v", s)
	}
	w.close()
}

// TestAllIsFull: nobody is asked for content.
func TestAllIsFull(t *testing.T) {
	r := limited(t, queue.Limits{All: queue.Limit{Bytes: 20}})
	defer r.finish()
	w := r.dial("192.0.2.1").hello()
	w.send("a@d.example", eight, "250 2.0.0 queued")
	w.ask("MAIL FROM:<s@far.example> SIZE=13", "452 4.3.1 too much mail")
	w.send("a@f.example", eight, "250 2.0.0 queued")
	w.ask("MAIL FROM:<s@far.example> SIZE=5", "452 4.3.1 too much mail")
	w.send("a@f.example", "\r\n\r\n", "250 2.0.0 queued") // it was not announced, and fits
	w.ask("MAIL FROM:<s@far.example>", "452 4.3.1 too much mail")
	if s := r.server.Stats(); s.Refusing != "the limit of 20 bytes in all leaves no room" || len(s.Full) != 0 {
		t.Errorf("stats %+v", s)
	}
	r.store.Limit(queue.Limits{})
	if s := r.server.Stats(); s.Refusing != "" {
		t.Errorf("refusing %q", s.Refusing)
	}
	w.ask("MAIL FROM:<s@far.example>", "250")
	w.close()
}

// TestRoomGoesWhileContentComes: who was let in when there was room is refused
// at the end of DATA, but after a chunk of BDAT, where the client listens.
func TestRoomGoesWhileContentComes(t *testing.T) {
	for _, way := range []string{"DATA", "BDAT", "BDAT in one"} {
		t.Run(way, func(t *testing.T) {
			r := limited(t, queue.Limits{All: queue.Limit{Messages: 1}})
			defer r.finish()
			slow, fast := r.dial("192.0.2.1").hello().envelope(), r.dial("192.0.2.2").hello()
			if way == "DATA" {
				slow.ask("DATA", "354")
			}
			fast.send("a@d.example", eight, "250 2.0.0 queued")
			switch way {
			case "DATA":
				slow.ask(eight+".", "452 4.3.1 too much mail")
			case "BDAT":
				slow.say("BDAT 4\r\nabcdBDAT 4\r\nabcd")
				slow.want("250 2.0.0 Continue")
				slow.want("452 4.3.1 too much mail")
				slow.ask("RSET", "250")
			default:
				slow.say("BDAT 8 LAST\r\n" + eight)
				slow.want("452 4.3.1 too much mail")
			}
			r.store.Limit(queue.Limits{})
			slow.send("a@d.example", eight, "250 2.0.0 queued") // the connection is in order
			slow.close()
			fast.close()
			if n := len(r.messages()); n != 2 {
				t.Errorf("%d messages", n)
			}
		})
	}
}

// TestLargerThanAnnounced: content that grows beyond what there is room for is
// not kept. After a chunk the client hears of it.
func TestLargerThanAnnounced(t *testing.T) {
	const most = 3 << 20
	r := limited(t, queue.Limits{Upstreams: map[string]queue.Limit{"exo": {Bytes: most}}})
	defer r.finish()
	line := strings.Repeat("x", 98) + "\r\n"
	w := r.dial("192.0.2.1").hello()
	for _, announced := range []string{"", " SIZE=1000"} {
		w.ask("MAIL FROM:<s@far.example>"+announced, "250")
		w.ask("RCPT TO:<a@d.example>", "250")
		w.ask("DATA", "354")
		w.ask(strings.Repeat(line, most/100+1)+".", "452 4.3.1 too much mail")
		w.ask("MAIL FROM:<s@far.example>"+announced, "250")
		w.ask("RCPT TO:<a@d.example>", "250")
		w.ask("DATA", "354")
		w.ask(strings.Repeat(line, most/200-100)+".", "250 2.0.0 queued")
	}
	w.envelope()
	for range 10 {
		w.say("BDAT 100\r\n" + line)
		w.want("250 2.0.0 Continue")
	}
	w.say(fmt.Sprintf("BDAT %d\r\n", most) + strings.Repeat("x", most))
	w.want("452 4.3.1 too much mail")
	w.ask("RSET", "250")
	w.send("a@d.example", eight, "250 2.0.0 queued")
	w.close()
}

// TestFullUntilItFits: a limit of bytes is reached although some bytes are left,
// for as long as a message that came would not fit, or is not heard of any more.
func TestFullUntilItFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := limited(t, queue.Limits{Upstreams: map[string]queue.Limit{"exo": {Bytes: 100}}})
		defer r.finish()
		full := func() bool { return r.server.Stats().Full["exo"] != "" }
		w := r.dial("192.0.2.1").hello()
		w.send("a@d.example", eight, "250 2.0.0 queued")
		refused := func() {
			w.ask("MAIL FROM:<s@far.example> SIZE=95", "250")
			w.ask("RCPT TO:<a@d.example>", "452 4.3.1")
			w.ask("RSET", "250")
		}
		if full() {
			t.Error("full before one was refused")
		}
		refused()
		if !full() {
			t.Error("not full when one was refused")
		}
		if err := r.store.Amend(t.Context(), queue.Amendment{ID: r.messages()[0].ID, At: time.Now(), Event: queue.Delete}); err != nil {
			t.Fatal(err)
		}
		if full() {
			t.Error("full when it would fit")
		}
		w.send("a@d.example", eight, "250 2.0.0 queued")
		refused()
		time.Sleep(lackLasts - time.Second)
		if !full() {
			t.Error("not full some minutes later")
		}
		time.Sleep(time.Second)
		if full() {
			t.Error("full when nobody came any more")
		}
		w.close()
	})
}

// TestRoomIsNotKnown: a store that fails when it is asked takes no mail.
func TestRoomIsNotKnown(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello()
	r.store.Fail(fmt.Errorf("sync: %w", errDisk))
	w.ask("MAIL FROM:<s@far.example>", "451 4.3.0")
	if err := <-r.served; err == nil || !strings.Contains(err.Error(), errDisk.Error()) {
		t.Errorf("Serve: %v", err)
	}
	r.ended = true
}

// TestFullDiskIsToldAtMail: the store knows before it is given a message.
func TestFullDiskIsToldAtMail(t *testing.T) {
	r := newRig(t, nil)
	defer r.finish()
	w := r.dial("192.0.2.1").hello()
	r.store.Fill()
	w.ask("MAIL FROM:<s@far.example>", "452 4.3.1 not enough space")
	if s := r.server.Stats(); s.Refusing != "not enough free space on the disk" || s.Refused[reasonSpace] != 1 {
		t.Errorf("stats %+v", s)
	}
	r.store.Empty()
	w.ask("MAIL FROM:<s@far.example>", "250")
	if s := r.server.Stats(); s.Refusing != "" {
		t.Errorf("refusing %q", s.Refusing)
	}
	w.close()
}
