package relay

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/state"
)

// write makes a file.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// occupied is an address at which somebody listens until the test ends.
func occupied(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// answered is a control socket that answers until the test ends.
func answered(t *testing.T) string {
	t.Helper()
	path := filepath.Join(folder(t), "s")
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return path
}

// TestOpenAllOrNone: whatever cannot be opened is named, and nothing stays open.
func TestOpenAllOrNone(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, c *configs.Config)
		words string
		is    error // may be nil
	}{
		{"the data folder is a file", func(t *testing.T, c *configs.Config) { c.Data = write(t, "") }, "not a directory", syscall.ENOTDIR},
		{"the state is a folder", func(t *testing.T, c *configs.Config) {
			obstacle(t, os.MkdirAll(filepath.Join(c.Data, "state.db"), 0o700))
		}, "state.db", syscall.EISDIR},
		{"the queue is a file", func(t *testing.T, c *configs.Config) {
			obstacle(t, os.MkdirAll(c.Data, 0o700))
			obstacle(t, os.WriteFile(filepath.Join(c.Data, "queue"), nil, 0o600))
		}, "queue: ", syscall.ENOTDIR},
		{"a DNS server without a port", func(_ *testing.T, c *configs.Config) { c.DNS.Servers = []string{"192.0.2.53"} }, `DNS server "192.0.2.53"`, nil},
		{"the authority is missing", func(_ *testing.T, c *configs.Config) { c.Upstreams[0].TLS.CA += ".gone" }, "upstream exo: open ", fs.ErrNotExist},
		{"the authority is no certificate", func(t *testing.T, c *configs.Config) { c.Upstreams[0].TLS.CA = write(t, "hello") }, "has no certificate", nil},
		{"our certificate for the upstream is missing", func(_ *testing.T, c *configs.Config) {
			c.Upstreams[0].TLS.Certificate, c.Upstreams[0].TLS.Key = "/nowhere/crt", "/nowhere/key"
		}, "upstream exo: open /nowhere/crt", fs.ErrNotExist},
		{"an upstream without hosts", func(_ *testing.T, c *configs.Config) { c.Upstreams[0].Hosts = nil }, "upstream exo: 0 hosts", nil},
		{"a schedule that does not wait", func(_ *testing.T, c *configs.Config) { c.Queue.Schedule.First = -1 }, "dispatcher of exo: schedule", nil},
		{"our certificate is missing", func(_ *testing.T, c *configs.Config) {
			c.Inbound.Certificate, c.Inbound.Key = "/nowhere/crt", "/nowhere/key"
		}, "certificate /nowhere/crt: ", fs.ErrNotExist},
		{"the list of recipients is bad", func(t *testing.T, c *configs.Config) { c.Domains[0].Recipients.File = write(t, "nobody\n") }, "recipients of corp.example: ", nil},
		{"a domain in capitals", func(_ *testing.T, c *configs.Config) { c.Domains[0].Name = "CORP.example" }, "inbound: domain ", nil},
		{"the port is in use", func(t *testing.T, c *configs.Config) { c.Inbound.Listen = append(c.Inbound.Listen, occupied(t)) }, "SMTP: listen tcp 127.0.0.1:", syscall.EADDRINUSE},
		{"the socket is in use", func(t *testing.T, c *configs.Config) { c.Socket = answered(t) }, "control socket ", admin.ErrInUse},
		{"the port for HTTP is in use", func(t *testing.T, c *configs.Config) { c.HTTP.Listen = occupied(t) }, "HTTP: listen tcp 127.0.0.1:", syscall.EADDRINUSE},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			good, _ := configured(t)
			good.Inbound.Listen = []string{vacant(t)}
			bad := good
			bad.Inbound.Listen = slices.Clone(good.Inbound.Listen)
			bad.Upstreams, bad.Domains = slices.Clone(good.Upstreams), slices.Clone(good.Domains)
			test.spoil(t, &bad)
			_, err := Open(Options{Config: bad})
			if err == nil || !strings.Contains(err.Error(), test.words) || test.is != nil && !errors.Is(err, test.is) {
				t.Fatalf("Open: %v", err)
			}
			if held := held(t, filepath.Dir(good.Data)); len(held) > 0 {
				t.Errorf("still open: %s", held)
			}
			for _, name := range []string{"state.db", "queue"} { // one of them may stand in the way
				if err := os.RemoveAll(filepath.Join(good.Data, name)); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Open(Options{Config: good}) // ports, socket and folder are free
			if err != nil {
				t.Fatalf("Open again: %v", err)
			}
			if err := errors.Join(r.Close(), r.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

func obstacle(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// vacant is an address at which nobody listens: no client of loopback calls from it.
func vacant(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.31:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// TestAFailedOpenKeepsNothing: each file that was opened before is closed, and
// so is each port, if the last part fails.
func TestAFailedOpenKeepsNothing(t *testing.T) {
	c, _ := configured(t)
	c.Inbound.Listen = []string{vacant(t)}
	free := c.HTTP.Listen
	for range 3 {
		c.HTTP.Listen = occupied(t)
		if _, err := Open(Options{Config: c}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("Open: %v", err)
		}
		if held := held(t, filepath.Dir(c.Data)); len(held) > 0 {
			t.Fatalf("still open: %s", held)
		}
		if _, err := os.Stat(c.Socket); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the control socket: %v", err)
		}
	}
	c.HTTP.Listen = free
	r := run(t, c)
	r.stop()
	if held := held(t, filepath.Dir(c.Data)); len(held) > 0 {
		t.Errorf("open after Run: %s", held)
	}
}

// held lists the open files of this process below a folder, on systems that tell.
func held(t *testing.T, folder string) (paths []string) {
	t.Helper()
	descriptors, _ := filepath.Glob("/proc/self/fd/*")
	for _, d := range descriptors {
		if path, err := os.Readlink(d); err == nil && strings.HasPrefix(path, folder) {
			paths = append(paths, path)
		}
	}
	return paths
}

// TestOneRelayForAFolder: the second one says who is in its way, and leaves the
// first one alone.
func TestOneRelayForAFolder(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	r := run(t, c)
	second := c
	second.Socket += "2"
	if _, err := Open(Options{Config: second}); !errors.Is(err, state.ErrInUse) {
		t.Fatalf("Open: %v", err)
	}
	if err := r.client.Ready(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestOpenWithoutALog: nothing is logged, and nothing falls over it.
func TestOpenWithoutALog(t *testing.T) {
	t.Parallel()
	c, _ := configured(t)
	r, err := Open(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Run(ctx); err != nil {
		t.Error(err)
	}
}
