package relay

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Sockets are ports that a service manager has opened for us, in the way of
// sd_listen_fds(3). They stay open while we start again, so senders wait
// instead of failing.
type Sockets struct {
	SMTP       []net.Listener // instead of inbound.listen
	HTTP, ACME net.Listener   // instead of http.listen and inbound.acme.listen; nil if none was given
}

// firstSocket is the first descriptor that is handed over.
const firstSocket = 3

// Inherited takes over the sockets that the environment names: LISTEN_PID,
// LISTEN_FDS and LISTEN_FDNAMES. The names are smtp, http and acme; a socket
// without a name of its own is for SMTP. It must be called once, and early.
func Inherited(env func(string) string) (Sockets, error) {
	if env("LISTEN_PID") != strconv.Itoa(os.Getpid()) || env("LISTEN_FDS") == "" { // for another process, or nobody
		return Sockets{}, nil
	}
	n, err := strconv.Atoi(env("LISTEN_FDS"))
	if err != nil || n < 0 || n > 100 {
		return Sockets{}, fmt.Errorf("LISTEN_FDS=%q is no number of sockets", env("LISTEN_FDS"))
	}
	var s Sockets
	names := strings.Split(env("LISTEN_FDNAMES"), ":")
	for i := range n {
		name := ""
		if i < len(names) {
			name = names[i]
		}
		l, err := inherit(firstSocket + i)
		if err == nil {
			err = s.add(name, l)
		}
		if err != nil {
			return Sockets{}, errors.Join(fmt.Errorf("socket %d (%q) of the service manager: %w", firstSocket+i, name, err), s.Close())
		}
	}
	return s, nil
}

// inherit makes a listener of a descriptor, which no child of ours gets.
func inherit(fd int) (net.Listener, error) {
	syscall.CloseOnExec(fd)
	listens, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	if err == nil && listens == 0 {
		err = errors.New("it does not listen")
	}
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "socket")
	defer file.Close() // the listener has a descriptor of its own
	return net.FileListener(file)
}

// add takes a listener, or closes it.
func (s *Sockets) add(name string, l net.Listener) error {
	var one *net.Listener
	switch _, tcp := l.(*net.TCPListener); {
	case !tcp:
		return errors.Join(errors.New("it is not of TCP"), l.Close())
	case name == "smtp", name == "", name == "unknown", strings.HasSuffix(name, ".socket"): // of a unit that gives no name
		s.SMTP = append(s.SMTP, l)
		return nil
	case name == "http":
		one = &s.HTTP
	case name == "acme":
		one = &s.ACME
	default:
		return errors.Join(errors.New("the names are smtp, http and acme"), l.Close())
	}
	if *one != nil {
		return errors.Join(errors.New("there is one of that name already"), l.Close())
	}
	*one = l
	return nil
}

// Close closes all. It is for those that no relay has taken.
func (s Sockets) Close() error {
	var all []error
	for _, l := range append(append([]net.Listener(nil), s.SMTP...), s.HTTP, s.ACME) {
		if l != nil {
			all = append(all, l.Close())
		}
	}
	return errors.Join(all...)
}
