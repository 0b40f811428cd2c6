package inbound

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Rates bound what clients use in a minute.
type Rates struct {
	PerAddress Rate
	PerNetwork Rate // an IPv4 /24 or an IPv6 /64
	All        Rate
}

// Rate is what may be used in a minute, at once or spread; 0 is no limit.
type Rate struct {
	Connections   int
	Messages      int
	Recipients    int
	Bytes         int64 // of content
	BadCommands   int
	BadRecipients int
}

// use is what a client uses up.
type use uint8

const (
	useConnection use = iota
	useMessage
	useRecipient
	useByte
	useBadCommand
	useBadRecipient
	uses
)

// useNames begin the reasons of what was refused for its rate.
var useNames = [uses]string{"connection_rate", "message_rate", "recipient_rate", "byte_rate", "bad_command_rate", "bad_recipient_rate"}

// scope is whose limit it is.
type scope uint8

const (
	ofAddress scope = iota
	ofNetwork
	ofAll
	scopes
)

// scopeNames end the reasons.
var scopeNames = [scopes]string{"_of_address", "_of_network", ""}

func (r Rate) limits() [uses]float64 {
	return [uses]float64{float64(r.Connections), float64(r.Messages), float64(r.Recipients), float64(r.Bytes), float64(r.BadCommands), float64(r.BadRecipients)}
}

// meter knows what was used lately, by whom. It holds a fixed number of addresses
// and networks, however many there are: to make room it forgets one that was not
// seen for long, which then begins anew. All together are never forgotten. It
// reads no clock; its methods may be called concurrently.
type meter struct {
	limits [scopes][uses]float64

	mu    sync.Mutex
	seed  maphash.Seed
	all   account
	known [meterRows][meterWays]account
}

// An account has one place in a row, which its prefix decides.
const (
	meterRows = 2048
	meterWays = 8
)

// account is what one has used and not got back yet. It gets back its limit in a minute.
type account struct {
	of    netip.Prefix
	at    time.Time
	spent [uses]float64
}

func newMeter(r Rates) *meter {
	return &meter{limits: [scopes][uses]float64{r.PerAddress.limits(), r.PerNetwork.limits(), r.All.limits()}, seed: maphash.MakeSeed()}
}

// rateReason is what counts those who were refused for a rate.
func rateReason(u use, s scope) string { return useNames[u] + scopeNames[s] }

// take uses one, unless a limit is reached: then it uses nothing, and returns the reason.
func (m *meter) take(address netip.Addr, u use, now time.Time) (reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if reason = m.full(u, 1, m.accounts(address, now)); reason == "" {
		m.charge(address, u, 1, now)
	}
	return reason
}

// add uses n, also above the limits.
func (m *meter) add(address netip.Addr, u use, n float64, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.charge(address, u, n, now)
}

// over is the reason if as much as a limit, or more, was used.
func (m *meter) over(address netip.Addr, u use, now time.Time) (reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.full(u, anyMore, m.accounts(address, now))
}

// anyMore is more than is left at a limit. It is less than one: what is given
// back in no time does not matter.
const anyMore = 0.5

// peek is the reason if n more do not fit, without making an account.
func (m *meter) peek(address netip.Addr, u use, n float64, now time.Time) (reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.full(u, n, func(s scope) account { return m.look(s, address, now) })
}

// spent is what was used of a limit, and not got back yet.
func (m *meter) spent(address netip.Addr, u use, s scope, now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.look(s, address, now).spent[u]
}

// full is the reason if n more do not fit in one of the accounts.
func (m *meter) full(u use, n float64, of func(scope) account) string {
	for s := range scopes {
		if limit := m.limits[s][u]; limit > 0 && of(s).spent[u]+n > limit {
			return rateReason(u, s)
		}
	}
	return ""
}

func (m *meter) accounts(address netip.Addr, now time.Time) func(scope) account {
	return func(s scope) account { return *m.account(s, address, now) }
}

func (m *meter) charge(address netip.Addr, u use, n float64, now time.Time) {
	for s := range scopes {
		if m.limits[s][u] > 0 {
			m.account(s, address, now).spent[u] += n
		}
	}
}

// account is the one of a scope that an address belongs to, as it is now.
func (m *meter) account(s scope, address netip.Addr, now time.Time) *account {
	a := &m.all
	if s != ofAll {
		a = m.find(prefixOf(s, address))
	}
	a.renew(m.limits[s], now)
	return a
}

// look is a copy of the account, which may have to be made yet.
func (m *meter) look(s scope, address netip.Addr, now time.Time) account {
	a, of := m.all, prefixOf(s, address)
	if s != ofAll {
		a = account{of: of}
		for _, known := range m.row(of) {
			if known.of == of {
				a = known
			}
		}
	}
	a.renew(m.limits[s], now)
	return a
}

// prefixOf is the prefix that an address is counted under; of all it is of no use.
func prefixOf(s scope, address netip.Addr) netip.Prefix {
	one, many := prefixes(address)
	if s == ofAddress {
		return one
	}
	return many
}

// renew gives back what is due by now.
func (a *account) renew(limits [uses]float64, now time.Time) {
	since := now.Sub(a.at).Minutes()
	if since <= 0 {
		return
	}
	for u := range a.spent {
		a.spent[u] = max(0, a.spent[u]-limits[u]*since)
	}
	a.at = now
}

// row is where the account of a prefix is, if it has one.
func (m *meter) row(of netip.Prefix) *[meterWays]account {
	return &m.known[maphash.Comparable(m.seed, of)%meterRows]
}

// find is the account of a prefix. If it has none, it gets the place of the one
// in its row that was used least lately.
func (m *meter) find(of netip.Prefix) *account {
	row := m.row(of)
	oldest := &row[0]
	for i := range row {
		switch a := &row[i]; {
		case a.of == of:
			return a
		case a.at.Before(oldest.at):
			oldest = a
		}
	}
	*oldest = account{of: of}
	return oldest
}
