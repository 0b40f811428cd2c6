package primary

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

const (
	portTries  = 20              // ports tried until one is free on all addresses
	reopenTime = 5 * time.Second // that a port may be taken by someone else
	reopenStep = 20 * time.Millisecond
)

// listen opens all addresses, those with port 0 on one port that all of them have free.
func listen(addresses []string) ([]net.Listener, error) {
	var parsed []netip.AddrPort
	for _, address := range addresses {
		a, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		if !a.Addr().Is4() || !a.Addr().IsLoopback() {
			return nil, fmt.Errorf("address %s is not in 127.0.0.0/8", address)
		}
		parsed = append(parsed, a)
	}
	for try := 1; ; try++ {
		listeners, err := listenAll(parsed)
		if err == nil || try == portTries || !errors.Is(err, syscall.EADDRINUSE) {
			return listeners, err
		}
	}
}

// listenAll opens all of them or none. The kernel chooses for the first port 0, the others follow.
func listenAll(addresses []netip.AddrPort) ([]net.Listener, error) {
	var listeners []net.Listener
	chosen := 0
	for _, a := range addresses {
		port := int(a.Port())
		if port == 0 {
			port = chosen
		}
		l, err := net.Listen("tcp4", net.JoinHostPort(a.Addr().String(), strconv.Itoa(port)))
		if err != nil {
			return nil, errors.Join(append(closeAll(listeners), err)...)
		}
		if a.Port() == 0 {
			chosen = l.Addr().(*net.TCPAddr).Port
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// reopen opens the same ports again. Someone may have one for a moment, so it is patient for so long.
func reopen(addresses []netip.AddrPort, patience time.Duration) ([]net.Listener, error) {
	deadline := time.Now().Add(patience)
	for {
		listeners, err := listenAll(addresses)
		if err == nil || time.Now().After(deadline) {
			return listeners, err
		}
		time.Sleep(reopenStep)
	}
}

func closeAll(listeners []net.Listener) (errs []error) {
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	return errs
}
