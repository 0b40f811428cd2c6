package health

import "time"

// ChangeKind says what a Change is about.
type ChangeKind string

// The kinds.
const (
	ChangeState         ChangeKind = "state"
	ChangeOverride      ChangeKind = "override"
	ChangeWindow        ChangeKind = "window" // a planned one
	ChangeThrottled     ChangeKind = "throttled"
	ChangeMisconfigured ChangeKind = "misconfigured"
	ChangeNetwork       ChangeKind = "network" // ours
)

// Change is one change of what is thought of a primary. From and To are states;
// of an override or a window "none" and the state that counts; of a condition "began" and "ended" in To.
type Change struct {
	At       time.Time  `json:"at"`
	Upstream string     `json:"upstream"`
	Kind     ChangeKind `json:"kind"`
	From     string     `json:"from,omitempty"`
	To       string     `json:"to"`
	Actor    string     `json:"actor,omitempty"`
	Why      string     `json:"why,omitempty"` // for people; may quote a remote server
}

// Changes lists what differs between two statuses of an upstream. It is pure.
func Changes(upstream string, was, is Status, at time.Time) (all []Change) {
	if was.State != is.State {
		all = append(all, Change{At: at, Upstream: upstream, Kind: ChangeState, From: was.State.String(), To: is.State.String(), Why: is.Why})
	}
	for _, one := range []struct {
		kind    ChangeKind
		was, is *Override
		ended   string
	}{{ChangeOverride, was.Override, is.Override, "the override ended"}, {ChangeWindow, was.Planned, is.Planned, "the planned window ended"}} {
		if one.was != one.is {
			c := Change{At: at, Upstream: upstream, Kind: one.kind, From: overrideWord(one.was), To: overrideWord(one.is), Why: one.ended}
			if o := one.is; o != nil {
				c.Actor, c.Why = o.Actor, o.lasting()+": "+o.Reason
			}
			all = append(all, c)
		}
	}
	for _, one := range []struct {
		kind    ChangeKind
		was, is Condition
	}{{ChangeThrottled, was.Throttled, is.Throttled}, {ChangeMisconfigured, was.Misconfigured, is.Misconfigured}, {ChangeNetwork, was.Network, is.Network}} {
		switch {
		case !one.was.Active() && one.is.Active():
			all = append(all, Change{At: at, Upstream: upstream, Kind: one.kind, To: "began", Why: one.is.Reply})
		case one.was.Active() && !one.is.Active():
			all = append(all, Change{At: at, Upstream: upstream, Kind: one.kind, To: "ended"})
		}
	}
	return all
}

func overrideWord(o *Override) string {
	if o == nil {
		return "none"
	}
	return o.State.String()
}
