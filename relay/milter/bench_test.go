package milter

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	milter "github.com/d--j/go-milter"
)

// BenchmarkAsk: what asking costs, on a socket of this machine.
func BenchmarkAsk(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	s := milter.NewServer(milter.WithMilter(func() milter.Milter { return milter.NoOpMilter{} }))
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() { s.Close(); <-served }()
	f, err := New(Options{Name: "one", Network: "unix", Address: path})
	if err != nil {
		b.Fatal(err)
	}
	for name, content := range map[string]string{"4KiB": letter + strings.Repeat("x", 4<<10), "1MiB": letter + strings.Repeat("x", 1<<20)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				if v := ask(b, message(content), f); v.Action != Accept {
					b.Fatal(v)
				}
			}
		})
	}
}
