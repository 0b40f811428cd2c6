package demo

import (
	"fmt"
	"strings"

	"github.com/mxkeep/mxkeep/integration/primary"
)

// Script is one course of events to show.
type Script struct {
	Name  string `json:"name"`
	About string `json:"about"` // what the primary does, behind "the primary"

	outage   string // scenario of the primary during the outage
	recovery string // scenario of the primary when the outage ends
	alone    bool   // the sender has ended by then, so that only the relay meets the recovery
	repeats  bool   // a duplicate is to be expected, and must be marked
}

// scripts is the repertoire; the first is shown unless another is asked for.
var scripts = []Script{
	{Name: "451-4.3.2", outage: "451-4.3.2"},
	{Name: "down", outage: "down"},
	{Name: "blackhole", outage: "blackhole"},
	{Name: "421-forest", outage: "421-forest"},
	{Name: "throttle", outage: "throttle=30"},
	{Name: "5xx-burst", outage: "451-4.3.2", recovery: "5xx-burst=4s", alone: true},
	{Name: "lost-ack", outage: "451-4.3.2", recovery: "lost-ack=3", alone: true, repeats: true},
	{Name: "slow", outage: "slow=1.5s"},
	{Name: "flap", outage: "flap=3s"},
	{Name: "tls-broken", outage: "tls-broken"},
}

// Scripts lists what can be shown.
func Scripts() []Script {
	all := append([]Script(nil), scripts...)
	for i := range all {
		scenario, err := primary.Named(all[i].decisive())
		if err != nil {
			panic(err) // our own table is wrong
		}
		all[i].About = scenario.About
	}
	return all
}

// Repeats reports whether a duplicate is to be expected, which the relay must mark.
func (s Script) Repeats() bool { return s.repeats }

// recovered is the scenario of the primary when the outage ends.
func (s Script) recovered() string {
	if s.recovery == "" {
		return "healthy"
	}
	return s.recovery
}

// decisive is the scenario that the script is about.
func (s Script) decisive() string {
	if s.recovery != "" {
		return s.recovery
	}
	return s.outage
}

// Find finds a script by its name; "" is the first.
func Find(name string) (Script, error) {
	var names []string
	for _, s := range Scripts() {
		if s.Name == name || name == "" {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Script{}, fmt.Errorf("no scenario %q; there are %s", name, strings.Join(names, ", "))
}
