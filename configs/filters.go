package configs

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The words for what becomes of a message that a filter could not be asked about.
const (
	FailureDefer  = "defer"
	FailureAccept = "accept"
	FailureHold   = "hold"
)

// Filter is a content filter that speaks the milter protocol.
type Filter struct {
	Name        string
	Address     string        // HOST:PORT, or unix:PATH
	Timeout     time.Duration // for one message
	Connections int           // at once
	OnFailure   string        // FailureDefer, FailureAccept or FailureHold
}

// DefaultFilter is a filter without name and address.
func DefaultFilter() Filter {
	return Filter{Timeout: 30 * time.Second, Connections: 20, OnFailure: FailureDefer}
}

// Place is where the filter listens, in the words of package net.
func (f Filter) Place() (network, address string) {
	if path, ok := strings.CutPrefix(f.Address, "unix:"); ok {
		return "unix", path
	}
	return "tcp", f.Address
}

// maxScreening bounds the time of all filters together: a sender waits ten
// minutes for the last reply (RFC 5321 4.5.3.2.6), and passing the message on
// may take most of them.
const maxScreening = 3 * time.Minute

func (f *Filter) fields() []field {
	return []field{
		scalar("name", &f.Name, text("a name", "rspamd"), optional(filterName)),
		scalar("address", &f.Address, text("the address of a filter", "127.0.0.1:11332"), optional(filterAddress)),
		duration("timeout", &f.Timeout, moment, maxScreening),
		number("connections", &f.Connections, 1, 1000),
		choice("on_failure", &f.OnFailure, FailureDefer, FailureAccept, FailureHold),
	}
}

// filterName appears in metrics, logs and reasons.
func filterName(s string) verdict {
	if isDomain(s) && isASCII(s) && !strings.Contains(s, ".") {
		return verdict{}
	}
	return verdict{fmt.Sprintf("%q is not a name for a filter", s), "Take up to 63 letters, digits, hyphens and underscores"}
}

// filterAddress is a host with its port, or a socket of this machine.
func filterAddress(s string) verdict {
	network, address := Filter{Address: s}.Place()
	if network == "unix" && filepath.IsAbs(address) && !strings.ContainsFunc(address, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return verdict{}
	}
	host, port, err := net.SplitHostPort(address)
	if n, bad := strconv.ParseUint(port, 10, 16); network == "tcp" && err == nil && bad == nil && n > 0 && host != "" && upstreamHost(host).message == "" {
		return verdict{}
	}
	return verdict{fmt.Sprintf("%q is not the address of a filter", s), "Write HOST:PORT, like 127.0.0.1:11332, or unix: and a path, like unix:/run/rspamd/milter.sock"}
}

func checkFilters(filters []Filter, say report, path string) {
	seen, all := map[string]bool{}, time.Duration(0)
	for i, f := range filters {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case f.Name == "":
			say(at+".name", "a filter without a name", "Write name: and a word for it, like rspamd")
		case seen[f.Name]:
			say(at+".name", "another filter has the name "+f.Name, "Give each its own")
		}
		if f.Address == "" {
			say(at+".address", "it is missing", "Write address: and where the filter listens, like 127.0.0.1:11332")
		}
		seen[f.Name] = true
		all += f.Timeout
	}
	if len(filters) > 1 && all > maxScreening {
		say(path, fmt.Sprintf("together they may take %s, and senders do not wait for more than %s of that", showDuration(all), showDuration(maxScreening)), "Shorten timeout, so that the sum is less")
	}
}
