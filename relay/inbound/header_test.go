package inbound

import (
	"strings"
	"testing"
)

func TestHeader(t *testing.T) {
	long := strings.Repeat("x", 2*maxField)
	for _, test := range []struct {
		rule, content string
		received      int
		id            string
	}{
		{"nothing", "", 0, ""},
		{"fields", "Received: a\r\nMESSAGE-ID: <1@x>\r\nReceived: b\r\n\tc\r\n\r\nReceived: d\r\n", 2, "<1@x>"},
		{"folded", "Message-Id:\r\n <1@x>\r\n\r\n", 0, "<1@x>"},
		{"space before the colon", "Received : a\r\nMessage-ID : <1@x>\r\n\r\n", 1, "<1@x>"},
		{"the first one counts", "Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n", 0, "<1@x>"},
		{"only in the header", "Subject: a\r\n\r\nMessage-ID: <1@x>\r\n", 0, ""},
		{"no body", "Received: a\r\nMessage-ID: <1@x>", 1, "<1@x>"},
		{"no brackets", "Message-ID: 1@x\r\n\r\n", 0, ""},
		{"an open bracket", "Message-ID: <1@x\r\n\r\n", 0, ""},
		{"comments around", "Message-ID: (a) <1@x> (b)\r\n\r\n", 0, "<1@x>"},
		{"control characters", "Message-ID: <1\x1b@x>\r\n\r\n", 0, ""},
		{"folded within", "Message-ID: <1\r\n @x>\r\n\r\n", 0, ""},
		{"no UTF-8", "Message-ID: <1\xff@x>\r\n\r\n", 0, ""},
		{"a long field before", "Subject: " + long + "\r\n " + long + "\r\nMessage-ID: <1@x>\r\n\r\n", 0, "<1@x>"},
		{"too long itself", "Message-ID: <" + long + ">\r\n\r\n", 0, ""},
		{"the begin of another name", "Message-ID-2: <1@x>\r\nReceived-SPF: a\r\n\r\n", 0, ""},
		{"no field", "hello\r\nMessage-ID: <1@x>\r\n\r\n", 0, "<1@x>"},
		{"the body first", "\r\nMessage-ID: <1@x>\r\n", 0, ""},
	} {
		for _, size := range []int{1, 2, 3, 7, len(test.content) + 1} {
			h := newHeader()
			for p := test.content; p != ""; {
				n := min(size, len(p))
				h.scan([]byte(p[:n]))
				p = p[n:]
			}
			h.finish()
			if h.received != test.received || h.messageID != test.id {
				t.Errorf("%s, in pieces of %d: %d, %q", test.rule, size, h.received, h.messageID)
			}
			if cap(h.field) > 4*maxField {
				t.Errorf("%s: it kept %d octets", test.rule, cap(h.field))
			}
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("Received: a\r\nMessage-ID: <1@x>\r\n\r\nbody"), 5)
	f.Add([]byte(" x\n\n\t:\r\n\r"), 1)
	f.Fuzz(func(t *testing.T, content []byte, size int) {
		whole, pieces := newHeader(), newHeader()
		whole.scan(content)
		for p := content; len(p) > 0; {
			n := min(max(1, size), len(p))
			pieces.scan(p[:n])
			p = p[n:]
		}
		whole.finish()
		pieces.finish()
		if whole.received != pieces.received || whole.messageID != pieces.messageID {
			t.Fatalf("%q: %d %q, in pieces %d %q", content, whole.received, whole.messageID, pieces.received, pieces.messageID)
		}
		if id := whole.messageID; id != "" && (messageID(id) != id || len(id) > maxField) {
			t.Fatalf("%q: %q", content, id)
		}
	})
}
