package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// healthDocument is every upstream with its evidence.
type healthDocument struct {
	Schema    string                 `json:"schema"`
	Upstreams []admin.UpstreamReport `json:"upstreams"`
}

// shownSignals is how much evidence people see.
const shownSignals = 10

func newHealthShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "The evidence for each upstream, and why this state",
		Example: "  mxkeep health show",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all := healthDocument{Schema: "mxkeep.health/1", Upstreams: []admin.UpstreamReport{}}
			err := a.client().Health(cmd.Context(), func(u admin.UpstreamReport) error {
				all.Upstreams = append(all.Upstreams, u)
				return nil
			})
			if err != nil {
				return err
			}
			return a.document(all, func(w io.Writer) {
				for _, u := range all.Upstreams {
					a.showEvidence(w, u)
				}
			})
		},
	}
}

func (a *app) showEvidence(w io.Writer, u admin.UpstreamReport) {
	f := a.flow(w)
	head := []string{u.Name, strings.ToUpper(u.State)}
	if !u.Since.IsZero() {
		head = append(head, fmt.Sprintf("since %s (%s)", a.clock(u.Since), since(u.Since, a.now)))
	}
	f.block("", 0, head...)
	f.labelled("why", a.brief(u.Why))
	if u.Fault != "" {
		f.labelled("fault", u.Fault)
	}
	f.labelled("counted", fmt.Sprintf("%d bad and %d good probe rounds in a row", u.BadRounds, u.GoodRounds), fmt.Sprintf("%d trial messages accepted", u.Trials))
	a.showConditions(f, u.UpstreamStatus)
	f.labelled("hosts", hostWords(u)...)
	if !u.NextProbeAt.IsZero() {
		f.labelled("next", "probe in "+span(max(0, u.NextProbeAt.Sub(a.now))))
	}
	a.showTopics(f, u.Topics)
	for i, s := range u.Recent[max(0, len(u.Recent)-shownSignals):] {
		label := ""
		if i == 0 {
			label = "latest"
		}
		f.labelled(label, a.clock(s.At), s.Source, s.Class, s.Address, a.signalWords(s))
	}
	for i, t := range u.Transitions {
		label := ""
		if i == 0 {
			label = "changes"
		}
		f.labelled(label, a.clock(t.At), t.From+" > "+t.To, a.brief(t.Why))
	}
	fmt.Fprintln(w)
}

// showConditions says what else stands: override, pause, throttling, misconfiguration.
func (a *app) showConditions(f flow, u admin.UpstreamStatus) {
	if o := u.Override; o != nil && o.Window != "" {
		f.labelled("held", a.forcedWords(o), "observed: "+u.ObservedState)
	} else if o != nil {
		f.labelled("override", o.State+" until "+a.clock(o.Until), "by "+o.Actor+": "+o.Reason, "observed: "+u.ObservedState)
	}
	if p := u.Paused; p != nil {
		f.labelled("paused", "until "+a.clock(p.Until), "by "+p.Actor+": "+p.Reason)
	}
	for _, c := range []struct {
		label     string
		condition *admin.Condition
	}{{"throttled", u.Throttled}, {"refuses us", u.Misconfigured}, {"recipients", u.Recipients}, {"network", u.Network}} {
		if c.condition != nil {
			f.labelled(c.label, a.conditionWords(c.condition)...)
		}
	}
	if u.Scope != "" {
		f.labelled("limited", u.Scope)
	}
}

// conditionWords says since when, for whom and until when a condition stands,
// and what to do.
func (a *app) conditionWords(c *admin.Condition) []string {
	words := []string{"since " + a.clock(c.Since), "last " + a.clock(c.Last)}
	if c.Scope != "" {
		words = append(words, c.Scope)
	}
	switch {
	case c.Stops && c.Until.After(a.now):
		words = append(words, "deliveries wait; one is tried at "+a.clock(c.Until))
	case c.Stops:
		words = append(words, "one delivery is tried")
	case c.Until.After(a.now):
		words = append(words, "ends by "+a.clock(c.Until))
	}
	words = append(words, a.brief(c.Reply))
	if c.Fix != "" {
		words = append(words, c.Fix)
	}
	return words
}

// showTopics writes what was seen last from each source, a line for each thing
// that it looks at.
func (a *app) showTopics(f flow, topics []admin.Signal) {
	label := ""
	for _, s := range topics {
		if s.Source == label {
			f.labelled("", a.topicWords(s)...)
			continue
		}
		label = s.Source
		f.labelled(label, a.topicWords(s)...)
	}
}

// topicWords say what one look found, and when.
func (a *app) topicWords(s admin.Signal) []string {
	words := []string{s.Class}
	for _, where := range []string{s.Host, s.Address} {
		if where != "" {
			words = append(words, where)
		}
	}
	return append(words, a.clock(s.At)+" in "+took(s.TookSeconds), a.brief(s.Reply))
}

// hostWords is the last observation of each address.
func hostWords(u admin.UpstreamReport) []string {
	var order []string
	last := map[string]admin.Signal{}
	for _, s := range u.Recent {
		if s.Address == "" || !health.Source(s.Source).Direct() {
			continue
		}
		if _, seen := last[s.Address]; !seen {
			order = append(order, s.Address)
		}
		last[s.Address] = s
	}
	var words []string
	for _, address := range order {
		words = append(words, address+" "+last[address].Class)
	}
	return words
}
