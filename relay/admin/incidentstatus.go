package admin

import (
	"fmt"

	"github.com/mxkeep/mxkeep/health"
)

// IncidentStatus is an incident that is not closed.
type IncidentStatus struct {
	ID        string `json:"id"`
	Upstream  string `json:"upstream"`
	State     string `json:"state"`
	BeganAt   Time   `json:"began_at"`
	AckedAt   Time   `json:"acknowledged_at"`
	AckedBy   string `json:"acknowledged_by"`
	Unsettled string `json:"unsettled"` // why it does not close by itself
}

// ExpiringStatus is mail that waits and has little time left.
type ExpiringStatus struct {
	WithinSeconds float64 `json:"within_seconds"`
	Messages      int     `json:"messages"`
	FirstAt       Time    `json:"first_expires_at"` // null if there is none
}

// recorded adds what the incidents and the history say.
func (s *Server) recorded(st *Status) {
	if s.options.Incidents == nil {
		return
	}
	for _, i := range s.options.Incidents.List() {
		if i.State != health.IncidentClosed {
			st.Incidents = append(st.Incidents, IncidentStatus{ID: i.ID, Upstream: i.Upstream, State: string(i.State), BeganAt: Time{i.Began},
				AckedAt: Time{i.Acked.At}, AckedBy: i.Acked.Actor, Unsettled: i.Unsettled})
		}
	}
	st.HistoryTrouble = append(st.HistoryTrouble, s.options.Incidents.Trouble()...)
	e := s.options.Incidents.Expiring()
	st.Expiring = ExpiringStatus{WithinSeconds: Seconds(e.Within), Messages: e.Messages, FirstAt: Time{e.First}}
}

// unsettled lists incidents whose account is not complete.
func unsettled(st *Status) (found []string) {
	for _, i := range st.Incidents {
		if i.Unsettled != "" {
			found = append(found, i.ID+" is not closed: "+i.Unsettled+".")
		}
	}
	return found
}

// recordsTodo is what a person can do about incidents, mail that expires soon, and the history.
func recordsTodo(st *Status) (list []Todo) {
	for _, i := range st.Incidents {
		if i.Unsettled != "" {
			list = append(list, Todo{i.ID + " does not close by itself: " + i.Unsettled + ". Find out why; then close it.", "mxkeep incident show " + i.ID})
		}
	}
	if e := st.Expiring; e.Messages > 0 {
		list = append(list, Todo{fmt.Sprintf("%s less than %s before being given up: find out why they do not leave.", haveLeft(int64(e.Messages)), count(int64(Duration(e.WithinSeconds).Hours()), "hour")),
			fmt.Sprintf("mxkeep queue list --expires '<%dh' --sort expires", int(Duration(e.WithinSeconds).Hours()))})
	}
	for _, what := range st.HistoryTrouble {
		list = append(list, Todo{"The history of the upstreams, which is evidence and not mail: " + what + ".", theLog})
	}
	return list
}

func haveLeft(n int64) string {
	if n == 1 {
		return "1 message that waits has"
	}
	return Thousands(n) + " messages that wait have"
}
