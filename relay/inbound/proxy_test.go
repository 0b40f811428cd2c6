package inbound

import (
	"bufio"
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// proxy2 writes a header of version 2.
func proxy2(command, family byte, rest string) string {
	return signature + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

const (
	four = "\xc0\x00\x02\x07\xc6\x33\x64\x01\x10\x00\x00\x19" // 192.0.2.7 to 198.51.100.1
	six  = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x10\x00\x00\x19"
)

var proxyHeaders = []struct{ name, header, want string }{
	{"TCP4", "PROXY TCP4 192.0.2.7 198.51.100.1 4025 25\r\n", "192.0.2.7"},
	{"TCP6", "PROXY TCP6 2001:db8::7 2001:db8::1 65535 0\r\n", "2001:db8::7"},
	{"TCP6 of IPv4", "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 4025 25\r\n", "192.0.2.7"},
	{"unknown", "PROXY UNKNOWN\r\n", "none"},
	{"unknown with addresses", "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "none"},
	{"the longest", "PROXY UNKNOWN " + strings.Repeat("x", maxProxy1-16) + "\r\n", "none"},
	{"too long", "PROXY UNKNOWN " + strings.Repeat("x", maxProxy1-15) + "\r\n", "bad"},
	{"lone LF", "PROXY TCP4 192.0.2.7 198.51.100.1 4025 25\n", "bad"},
	{"two spaces", "PROXY TCP4  192.0.2.7 198.51.100.1 4025 25\r\n", "bad"},
	{"a space at the end", "PROXY TCP4 192.0.2.7 198.51.100.1 4025 25 \r\n", "bad"},
	{"no ports", "PROXY TCP4 192.0.2.7 198.51.100.1\r\n", "bad"},
	{"a port too high", "PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n", "bad"},
	{"a port with a zero", "PROXY TCP4 192.0.2.7 198.51.100.1 4025 025\r\n", "bad"},
	{"a family that is another", "PROXY TCP4 2001:db8::7 2001:db8::1 4025 25\r\n", "bad"},
	{"families mixed", "PROXY TCP6 2001:db8::7 192.0.2.1 4025 25\r\n", "bad"},
	{"no family", "PROXY UDP4 192.0.2.7 198.51.100.1 4025 25\r\n", "bad"},
	{"no address", "PROXY TCP4 192.0.2.07 198.51.100.1 4025 25\r\n", "bad"},
	{"a zone", "PROXY TCP6 fe80::7%eth0 fe80::1 4025 25\r\n", "bad"},
	{"lower case", "proxy TCP4 192.0.2.7 198.51.100.1 4025 25\r\n", "bad"},
	{"SMTP", "EHLO client.example\r\n", "bad"},
	{"cut", "PROXY TCP4 192.0.2.7", "end"},
	{"cut early", "PROXY", "end"},
	{"version 2, IPv4", proxy2(0x21, 0x11, four), "192.0.2.7"},
	{"version 2, IPv6", proxy2(0x21, 0x21, six), "2001:db8::7"},
	{"version 2, more behind", proxy2(0x21, 0x11, four+strings.Repeat("t", maxProxy2-12)), "192.0.2.7"},
	{"version 2, too much behind", proxy2(0x21, 0x11, four+strings.Repeat("t", maxProxy2-11)), "bad"},
	{"version 2, the proxy itself", proxy2(0x20, 0x11, four), "none"},
	{"version 2, the proxy itself, short", proxy2(0x20, 0x00, ""), "none"},
	{"version 2, unknown", proxy2(0x21, 0x00, "xyz"), "none"},
	{"version 2, too short", proxy2(0x21, 0x11, four[1:]), "bad"},
	{"version 2, IPv6 too short", proxy2(0x21, 0x21, four), "bad"},
	{"version 2, UDP", proxy2(0x21, 0x12, four), "bad"},
	{"version 2, a socket", proxy2(0x21, 0x31, strings.Repeat("s", 216)), "bad"},
	{"version 2, no command", proxy2(0x22, 0x11, four), "bad"},
	{"version 3", proxy2(0x31, 0x11, four), "bad"},
	{"version 2, cut", proxy2(0x21, 0x11, four)[:20], "end"},
	{"version 2, cut in its head", proxy2(0x21, 0x11, four)[:14], "end"},
}

// read is what readProxy says, in a word, and what it has left.
func read(text string) (string, string) {
	in := bufio.NewReaderSize(strings.NewReader(text), readBuffer)
	a, err := readProxy(in)
	rest, _ := io.ReadAll(in)
	switch {
	case err == errProxy:
		return "bad", ""
	case err != nil:
		return "end", ""
	case !a.IsValid():
		return "none", string(rest)
	}
	return a.String(), string(rest)
}

// TestReadProxy: whatever is not a header as it was specified is none, and what
// is behind one stays for the session.
func TestReadProxy(t *testing.T) {
	for _, test := range proxyHeaders {
		if got, _ := read(test.header); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if test.want == "bad" || test.want == "end" {
			continue
		}
		if _, rest := read(test.header + "EHLO x\r\n"); rest != "EHLO x\r\n" {
			t.Errorf("%s: %q is left", test.name, rest)
		}
	}
}

// FuzzReadProxy: nothing makes it read more than a header, or panic.
func FuzzReadProxy(f *testing.F) {
	for _, test := range proxyHeaders {
		f.Add([]byte(test.header))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in := bufio.NewReaderSize(bytes.NewReader(text), readBuffer)
		a, err := readProxy(in)
		rest, _ := io.ReadAll(in)
		if !bytes.HasSuffix(text, rest) || len(text)-len(rest) > maxProxy2+16 {
			t.Fatalf("%q is left", rest)
		}
		if err == nil && (a.Is4In6() || a.Zone() != "" || len(rest) == len(text)) {
			t.Fatalf("%v of %q", a, text)
		}
	})
}

func behindProxy(o *Options) { o.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")} }

// TestProxiedClient: the client is who the proxy says, for the books and for the limits.
func TestProxiedClient(t *testing.T) {
	r := newRig(t, func(o *Options) {
		behindProxy(o)
		o.Limits.SessionsPerAddress, o.Rates.PerAddress.Connections = 2, 3
		o.Trusted = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	})
	comes := func(header string) *wire {
		w := r.dial("10.0.0.1")
		w.say(header)
		return w
	}
	const of7 = "PROXY TCP4 192.0.2.7 198.51.100.1 4025 25\r\n"
	first := comes(of7).hello().envelope()
	first.ask("DATA", "354")
	first.ask(stuffed+".", "250")
	second := comes(proxy2(0x21, 0x11, four)).hello()
	comes(of7).want("421 4.7.0 too many connections") // at the same time
	first.ask("QUIT", "221")
	first.want("gone")
	comes(of7).hello().ask("QUIT", "221")
	second.ask("QUIT", "221")
	second.want("gone")
	comes(of7).want("421 4.7.0 too many connections") // in a minute
	for range 4 {
		comes("PROXY TCP4 203.0.113.1 198.51.100.1 4025 25\r\n").hello().ask("QUIT", "221")
		comes(proxy2(0x20, 0, "")).hello().ask("QUIT", "221")
	}
	r.finish()
	if m := r.messages(); len(m) != 1 || m[0].Envelope.Origin.Address != "192.0.2.7" {
		t.Errorf("%+v", m)
	}
	if got := r.server.Stats().Refused; got[reasonPerAddress] != 1 || got["connection_rate_of_address"] != 1 {
		t.Errorf("%v", got)
	}
	if d := &r.server.door; len(d.of)+len(d.near)+d.inside != 0 {
		t.Errorf("left: %v, %v, %d", d.of, d.near, d.inside)
	}
}

// TestNoProxy: who should say for whom it comes and does not gets no reply, and
// from others a header is no header.
func TestNoProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { behindProxy(o); o.Timeouts.Greeting = time.Second })
		defer r.finish()
		for _, what := range []string{"EHLO client.example\r\n", proxy2(0x31, 0, ""), "PROXY", ""} {
			w := r.dial("10.0.0.1")
			w.say(what)
			if what == "PROXY" {
				w.close()
			}
			w.want("gone")
		}
		looks := r.dial("10.0.0.1")
		looks.close()
		looks.want("gone")
		if got := r.refusedFor(reasonProxy); got != 4 {
			t.Errorf("%d headers", got)
		}
		w := r.dial("192.0.2.1")
		w.say("PROXY TCP4 192.0.2.7 198.51.100.1 4025 25\r\n")
		w.want("554 5.5.1") // an early talker
		w = r.dial("10.0.0.1")
		w.say("PROXY TCP4 192.0.2.7 198.51.100.1 4025 25\r\nEHLO x\r\n")
		w.want("554 5.5.1")
		w.want("gone")
	})
}

// TestProxyAtTheEnd: a connection that has not said for whom it comes hears of the end.
func TestProxyAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, behindProxy)
		w := r.dial("10.0.0.1")
		synctest.Wait()
		r.finish()
		w.want("421")
		w.want("gone")
	})
	s, c, ours := bare(t)
	s.options.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	c.address = ip("10.0.0.1")
	c.drain()
	go io.Copy(io.Discard, ours)
	if err := c.unwrap(); err == nil {
		t.Error("it went on")
	}
}
