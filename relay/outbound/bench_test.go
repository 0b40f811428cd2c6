package outbound

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
)

// BenchmarkDeliver sends messages over one connection on loopback to a server
// that throws them away and allocates nothing of note.
func BenchmarkDeliver(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"4KiB", 4 << 10}, {"75KiB", 75 << 10}} {
		b.Run(size.name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if conn, err := l.Accept(); err == nil {
					throwAway(conn)
				}
			}()
			u, err := NewUpstream(Options{Name: "exo", Hosts: []string{l.Addr().String()}, Hello: "relay.example", TLS: TLS{Policy: TLSNone}, MaxMessages: 1 << 40})
			if err != nil {
				b.Fatal(err)
			}
			content := strings.Repeat(strings.Repeat("a", 76)+"\r\n", size.bytes/78)
			m := message("b@corp.example")
			m.Size = int64(len(content))
			reader := strings.NewReader(content)
			open := func() (io.ReadCloser, error) {
				reader.Reset(content)
				return io.NopCloser(reader), nil
			}
			b.SetBytes(m.Size)
			b.ReportAllocs()
			for b.Loop() {
				if report := u.Deliver(b.Context(), m, open); report.Results[0].Action != queue.Delivered {
					b.Fatalf("%+v", report)
				}
			}
			u.Close()
			<-ended
			l.Close()
		})
	}
}

// throwAway talks to one client.
func throwAway(conn net.Conn) {
	defer conn.Close()
	in, out := bufio.NewReaderSize(conn, 32<<10), bufio.NewWriter(conn)
	out.WriteString("220 corp.example ESMTP\r\n")
	for content := false; ; {
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		switch {
		case content && !bytes.Equal(line, []byte(".\r\n")):
		case content:
			content = false
			out.WriteString("250 2.6.0 Queued mail for delivery\r\n")
		case line[0] == 'D':
			content = true
			out.WriteString("354 go on\r\n")
		case line[0] == 'E':
			out.WriteString("250-corp.example\r\n250-SIZE\r\n250 PIPELINING\r\n")
		default:
			out.WriteString("250 2.0.0 ok\r\n")
		}
	}
}
