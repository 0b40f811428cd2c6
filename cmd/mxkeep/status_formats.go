package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// nagios is the status as a monitoring plug-in says it: one line, then figures.
func nagios(st admin.Status) string {
	words := []string{st.State}
	for _, u := range st.Upstreams {
		words = append(words, fmt.Sprintf("%s %s %s", u.Name, u.State, since(u.Since, st.At.Time)))
	}
	figures := ""
	if q := st.Queue; q != nil {
		words = append(words, fmt.Sprintf("%d queued", q.Messages), size(q.Bytes), size(q.DiskFree)+" free")
		figures = fmt.Sprintf(" | queued=%d bytes=%dB free=%dB", q.Messages, q.Bytes, q.DiskFree)
		if !q.OldestAt.IsZero() {
			figures += fmt.Sprintf(" oldest=%ds", int64(st.At.Sub(q.OldestAt.Time).Seconds()))
		}
	}
	words = append(words, st.Trouble...)
	line := clean(strings.Join(words, ", "))
	line = strings.ReplaceAll(line, "|", "/") // figures follow the first bar
	return fmt.Sprintf("MXKEEP %s - %s%s\n", strings.ToUpper(clean(st.Severity)), line, figures)
}

// exposition writes metrics in the text format of Prometheus. What has no
// value has no line.
type exposition struct{ strings.Builder }

func (e *exposition) gauge(name, help string) { e.begin(name, "gauge", help) }

func (e *exposition) counter(name, help string) { e.begin(name, "counter", help) }

func (e *exposition) begin(name, kind, help string) {
	fmt.Fprintf(e, "# HELP mxkeep_%s %s\n# TYPE mxkeep_%s %s\n", name, help, name, kind)
}

// value writes a sample; labels are pairs of a name and a value.
func (e *exposition) value(name string, value float64, labels ...string) {
	var pairs []string
	for i := 0; i < len(labels); i += 2 {
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(clean(labels[i+1]))
		pairs = append(pairs, labels[i]+`="`+quoted+`"`)
	}
	braces := ""
	if len(pairs) > 0 {
		braces = "{" + strings.Join(pairs, ",") + "}"
	}
	fmt.Fprintf(e, "mxkeep_%s%s %g\n", name, braces, value)
}

// one is 1 for true.
func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// prometheus is the status as metrics, for the text file collector and push
// gateways. Every state has a line, so that none begins or ends to exist.
func prometheus(st admin.Status) string {
	var e exposition
	e.gauge("relay_state", "State of the relay; the one that holds is 1.")
	for _, state := range []string{admin.Standby, admin.Holding, admin.Draining, admin.PausedBy, admin.Refusing} {
		e.value("relay_state", one(st.State == state), "state", state)
	}
	e.gauge("nothing_lost", "Whether nothing is lost, refused for lack of room, or unaccounted for.")
	e.value("nothing_lost", one(st.NothingLost))
	e.gauge("upstream_state", "State of an upstream; the one that holds is 1.")
	for _, u := range st.Upstreams {
		for _, state := range []string{"up", "degraded", "down", "recovering", "forced-up", "forced-down"} {
			e.value("upstream_state", one(u.State == state), "upstream", u.Name, "state", state)
		}
	}
	e.gauge("smtp_connections", "Open sessions of senders.")
	e.value("smtp_connections", float64(st.Inbound.Sessions))
	e.refusals(st.Inbound)
	if c := st.Inbound.Certificate; c != nil {
		e.gauge("certificate_expiry_timestamp_seconds", "When the certificate that senders are shown ends; 0 if an authority has issued none yet.")
		e.value("certificate_expiry_timestamp_seconds", unix(c.Until), "source", c.Source)
	}
	e.gauge("incident_open", "Incidents of an upstream that are not closed.")
	for _, u := range st.Upstreams {
		e.value("incident_open", float64(len(slices.DeleteFunc(slices.Clone(st.Incidents), func(i admin.IncidentStatus) bool { return i.Upstream != u.Name }))), "upstream", u.Name)
	}
	e.gauge("queue_near_expiry_messages", "Messages that wait and have little time left; status says how little.")
	e.value("queue_near_expiry_messages", float64(st.Expiring.Messages))
	e.gauge("queue_next_expiry_timestamp_seconds", "When the first of those expires; 0 if there is none.")
	e.value("queue_next_expiry_timestamp_seconds", unix(st.Expiring.FirstAt))
	e.filters(st.Inbound.Filters)
	if st.Queue != nil {
		e.queue(*st.Queue)
		e.shares(st.Upstreams)
	}
	return e.String()
}

// refusals says what senders were refused since the start.
func (e *exposition) refusals(i admin.InboundStatus) {
	e.counter("smtp_refusals_total", "Refusals of senders since the start, by reason.")
	for _, reason := range slices.Sorted(maps.Keys(i.Refused)) {
		e.value("smtp_refusals_total", float64(i.Refused[reason]), "reason", reason)
	}
	e.counter("dns_list_failures_total", "Questions to DNS lists without an answer since the start.")
	e.value("dns_list_failures_total", float64(i.ListsFailed))
}

func (e *exposition) queue(q admin.QueueStatus) {
	e.gauge("queue_messages", "Messages kept here.")
	for _, state := range []string{"queued", "active", "deferred", "held", "refused"} {
		e.value("queue_messages", float64(q.ByState[state]), "state", state)
	}
	e.gauge("queue_stored_bytes", "Size of the messages kept here.")
	e.value("queue_stored_bytes", float64(q.Bytes))
	e.gauge("store_filesystem_free_bytes", "Free space where the store is.")
	e.value("store_filesystem_free_bytes", float64(q.DiskFree))
	if q.RoomSeconds != nil {
		e.gauge("queue_room_seconds", "Time until the disk or a limit is full at the rate of now; no line if none fills.")
		e.value("queue_room_seconds", *q.RoomSeconds)
	}
	e.gauge("queue_oldest_message_timestamp_seconds", "When the oldest message was accepted; 0 if there is none.")
	e.value("queue_oldest_message_timestamp_seconds", unix(q.OldestAt))
}

// shares says what is stored for which upstream, and the limits there are.
func (e *exposition) shares(upstreams []admin.UpstreamStatus) {
	for _, g := range []struct {
		name, help string
		value      func(admin.Share) int64
	}{
		{"upstream_queue_messages", "Messages kept here for an upstream.", func(s admin.Share) int64 { return s.Messages }},
		{"upstream_queue_stored_bytes", "Size of the messages kept here for an upstream.", func(s admin.Share) int64 { return s.Bytes }},
		{"upstream_queue_limit_messages", "Messages that may be kept here for an upstream; 0 is no limit.", func(s admin.Share) int64 { return s.MaxMessages }},
		{"upstream_queue_limit_bytes", "Size of the messages that may be kept here for an upstream; 0 is no limit.", func(s admin.Share) int64 { return s.MaxBytes }},
	} {
		e.gauge(g.name, g.help)
		for _, u := range upstreams {
			if u.Held != nil {
				e.value(g.name, float64(g.value(*u.Held)), "upstream", u.Name)
			}
		}
	}
}

func unix(t admin.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
