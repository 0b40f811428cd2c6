package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"
)

// ErrInUse is wrapped by Listen when a running relay answers on the socket.
var ErrInUse = errors.New("a running relay answers on this socket")

// maxSocketPath leaves room for the private folder in what a socket address can hold (104 bytes and more).
const maxSocketPath = 90

// Listen opens the control socket. Its folder is made, for its owner only, if
// it is missing; the socket is its owner's only from the first instant,
// whatever the umask. A socket that a dead process left behind is replaced.
func Listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("control socket %s: the path is longer than %d bytes", path, maxSocketPath)
	}
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the control socket: %w", err)
	}
	if err := replaceable(path); err != nil {
		return nil, err
	}
	// The socket is made where nobody else can reach it, and moved when its mode is right.
	private, err := os.MkdirTemp(folder, ".")
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer os.RemoveAll(private)
	born := filepath.Join(private, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: born, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	listener.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(born, 0o600), os.Rename(born, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), listener.Close())
	}
	return &socket{UnixListener: listener, path: path}, nil
}

// replaceable refuses to take the place of a live socket, or of anything else.
func replaceable(path string) error {
	found, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("control socket: %w", err)
	case found.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("control socket %s: the path is taken by something that is no socket", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return nil // nobody listens
	}
	return errors.Join(fmt.Errorf("control socket %s: %w", path, ErrInUse), conn.Close())
}

// socket removes its path when it is closed.
type socket struct {
	*net.UnixListener
	path string
}

func (s *socket) Close() error {
	if err := s.UnixListener.Close(); err != nil {
		return err // closed before: the path may be another's by now
	}
	return os.Remove(s.path)
}

// Limits of one connection. The answer has no limit as a whole, since a
// listing may be long; each piece of it has.
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 30 * time.Second
	pieceTimeout  = 5 * time.Minute
	idleTimeout   = time.Minute
	drainTimeout  = 5 * time.Second
	maxHeader     = 16 << 10
	maxBody       = 16 << 20 // a million message ids
)

type actorKey struct{}

// Serve answers on the socket until ctx ends, then lets running requests end
// for some seconds. It closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	return serveHTTP(ctx, listener, &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, actorKey{}, peer(conn))
		},
	})
}

// serveHTTP runs a server until ctx ends, and drains it.
func serveHTTP(ctx context.Context, listener net.Listener, server *http.Server) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("answering on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := server.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	<-served
	return err
}

// peer names the process at the other end by its user, as the kernel knows it.
func peer(conn net.Conn) string {
	uid, err := peerUID(conn)
	if err != nil {
		return "unknown"
	}
	id := strconv.FormatUint(uint64(uid), 10)
	if known, err := user.LookupId(id); err == nil {
		return known.Username
	}
	return "uid " + id
}

// actor is who sent the request.
func actor(ctx context.Context) string {
	if name, ok := ctx.Value(actorKey{}).(string); ok {
		return name
	}
	return "unknown"
}
