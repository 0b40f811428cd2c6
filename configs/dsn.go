package configs

import (
	"fmt"
	"slices"
	"strings"
)

// checkDSN finds a way out that there is not, and names that mean something else.
func (c *Config) checkDSN(say report) {
	via := c.DSN.Via
	ways := []string{ViaOff, ViaInternet}
	for i, u := range c.Upstreams {
		path := fmt.Sprintf("upstreams[%d]", i)
		if u.Name == ViaOff || u.Name == ViaInternet {
			say(path+".name", u.Name+" means something else in dsn.via", "Take another name")
			continue
		}
		ways = append(ways, u.Name)
		if u.Name == via && u.Probe.Recipient == "" && len(c.DomainsOf(u.Name)) == 0 {
			say(path+".probe.recipient", "it is missing, and without a domain of the upstream there is no default", "Write recipient: and an address that this host takes mail for")
		}
	}
	if via != "" && !slices.Contains(ways, via) {
		say("dsn.via", fmt.Sprintf("there is no upstream %q", via), "Take "+meant(via, ways, "one of "+strings.Join(ways, ", ")))
	}
	if c.DSN.From != "" && via == ViaOff {
		say("dsn.from", "it has no use where nobody is told", "Take it out, or write via: and a way out")
	}
}
