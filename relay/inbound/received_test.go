package inbound

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestStamped(t *testing.T) {
	for _, test := range []struct {
		rule, value string
		want        bool
	}{
		{"as we write it", " from a.example (b.example [192.0.2.1])\r\n\tby mx2.example (mxkeep) with ESMTP id 06abcdefghjk\r\n\tfor <a@d.example>; now", true},
		{"folded and spelled in another way", "from a BY\r\n MX2.Example\r\n ID\t06abcdefghjk", true},
		{"a client that calls itself by", "from by (x [192.0.2.1]) by mx2.example id 06abcdefghjk; now", true},
		{"without from", "by mx2.example id 06abcdefghjk;now", true},
		{"of another server", "from mx2.example by mx3.example (mxkeep) with ESMTP id 06abcdefghjk; now", false},
		{"of another program at our name", "from a by mx2.example (Postfix) with ESMTP id 4XyZ12abcd; now", false},
		{"ours only in a comment", "from a (by mx2.example id 06abcdefghjk) by b.example id 06abcdefghjk; now", false},
		{"ours only in a comment within a comment", `from a (x (y\) by mx2.example) id 06abcdefghjk) by b.example id 06abcdefghjk`, false},
		{"ours only in a quoted string", `from "x by mx2.example\" id 06abcdefghjk y" by b.example id 06abcdefghjk`, false},
		{"ours only behind the date", "from a by b.example id 06abcdefghjk; now by mx2.example", false},
		{"no id", "from a by mx2.example (mxkeep) with ESMTP; now", false},
		{"the first by and id count", "by b.example by mx2.example id 06abcdefghjk", false},
		{"a comment that does not end", "from a (by mx2.example id 06abcdefghjk", false},
		{"nothing", "", false},
	} {
		if got := stamped(test.value, "mx2.example"); got != test.want {
			t.Errorf("%s: %v", test.rule, got)
		}
	}
}

// FuzzStamped: whatever a client says, what we write is known again, and nothing
// it says makes it that of another server.
func FuzzStamped(f *testing.F) {
	f.Add("client.example", "mail.example", "a@d.example", true)
	f.Add("by", "id", "a@d.example", false)
	f.Add("by mx3.example (", "x;y", `"a by mx3.example"@d.example`, true)
	f.Fuzz(func(t *testing.T, hello, host, rcpt string, extended bool) {
		field := string(trace{hello: hello, host: host, address: netip.MustParseAddr("192.0.2.1"), by: "mx2.example", extended: extended,
			tls: "TLS1.3", cipher: "TLS_AES_128_GCM_SHA256", id: "06abcdefghjk", rcpt: []string{rcpt}, at: time.Unix(0, 0).UTC()}.field())
		value := strings.TrimPrefix(field, "Received:")
		if !stamped(value, "mx2.example") || stamped(value, "mx3.example") {
			t.Fatalf("%q", field)
		}
		stamped(hello+host+rcpt, "mx2.example")
	})
}

// TestLoopOfOurOwn: a message that has our own field comes back to us.
func TestLoopOfOurOwn(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello().envelope()
	w.ask("DATA", "354")
	w.ask("Subject: x\r\n\r\nx\r\n.", "250 2.0.0 queued as")
	w.close()
	r.finish()
	m := r.messages()[0]
	field, content := r.content(m.ID)
	again := newRig(t, nil)
	w = again.dial("192.0.2.9").hello().envelope()
	w.ask("DATA", "354")
	w.say("Received: from primary.example by other.example; now\r\n" + field + content + ".\r\n")
	w.want("554 5.4.6 the message goes in circles: it has been here before")
	w.envelope().ask("BDAT 0", "250")
	w.ask("RSET", "250")
	w.close()
	again.finish()
	if len(again.messages()) != 0 || again.server.Stats().Refused[reasonLoop] != 1 {
		t.Errorf("refused %v", again.server.Stats().Refused)
	}
}
