package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// bind opens the ports, unless a service manager has. Nothing later needs the
// right to open one below 1024.
func (r *Relay) bind() (err error) {
	c := r.config
	r.listeners, r.web, r.challenge = r.sockets.SMTP, r.sockets.HTTP, r.sockets.ACME
	r.sockets = Sockets{} // Close closes what it finds elsewhere
	if len(r.listeners) == 0 {
		for _, address := range c.Inbound.Listen {
			l, err := net.Listen("tcp", address)
			if err != nil {
				return fmt.Errorf("SMTP: %w", err)
			}
			r.listeners = append(r.listeners, l)
		}
	}
	if r.web == nil && c.HTTP.Listen != "" {
		if r.web, err = net.Listen("tcp", c.HTTP.Listen); err != nil {
			return fmt.Errorf("HTTP: %w", err)
		}
	}
	if address := c.Admin.Vantage.Listen; address != "" {
		if r.vantage, err = net.Listen("tcp", address); err != nil {
			return fmt.Errorf("admin.vantage: %w", err)
		}
	}
	switch wanted := c.Inbound.ACME.Directory != ""; {
	case r.challenge != nil && !wanted:
		return errors.New("ACME: the service manager gave a socket, but inbound.acme.directory is not set")
	case r.challenge == nil && wanted:
		if r.challenge, err = net.Listen("tcp", c.Inbound.ACME.Address()); err != nil {
			return fmt.Errorf("ACME: %w", err)
		}
	}
	return nil
}

// ourselves reports whether this relay takes mail at an address. One that
// others translate to ours cannot be known here: our name in the greeting tells.
func (r *Relay) ourselves(at netip.AddrPort) bool {
	for _, l := range r.listeners {
		bound, ok := l.Addr().(*net.TCPAddr)
		if ok && bound.Port == int(at.Port()) && reaches(at.Addr().Unmap(), bound.AddrPort().Addr()) {
			return true
		}
	}
	return false
}

// reaches reports whether a connection to an address ends at what is bound to
// another. A listener at :: takes IPv4 as well, and connecting to no address is
// connecting to this machine.
func reaches(to, bound netip.Addr) bool {
	bound = bound.Unmap()
	switch {
	case !bound.IsUnspecified():
		return to.WithZone("") == bound.WithZone("") || to.IsUnspecified() && bound.IsLoopback()
	case bound.Is4() && !to.Is4():
		return false
	}
	return to.IsUnspecified() || to.IsLoopback() || slices.Contains(interfaces(), to.WithZone(""))
}

// interfaces are the addresses of this machine, as they are now.
func interfaces() (all []netip.Addr) {
	found, _ := net.InterfaceAddrs() // without them, our name in the greeting tells
	for _, a := range found {
		if network, ok := a.(*net.IPNet); ok {
			address, _ := netip.AddrFromSlice(network.IP) // 4 or 16 bytes
			all = append(all, address.Unmap())
		}
	}
	return all
}
