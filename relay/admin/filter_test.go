package admin

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestFiltersThatFail: what becomes of mail meanwhile is said, and a person is asked to look.
func TestFiltersThatFail(t *testing.T) {
	st := standingOf(UpstreamStatus{State: "up"}, nil)
	st.Inbound.Filters = filterStatus([]Filter{{Name: "a", Address: "h:1", OnFailure: "defer", Answers: map[string]int64{"accept": 2}, Took: 1500 * time.Millisecond}})
	want := []FilterStatus{{Name: "a", Address: "h:1", OnFailure: "defer", Answers: map[string]int64{"accept": 2}, Took: 1.5}}
	if !reflect.DeepEqual(st.Inbound.Filters, want) {
		t.Errorf("%+v", st.Inbound.Filters)
	}
	if judge(&st); st.Severity != SeverityOK || len(st.Todo) != 0 {
		t.Errorf("%s %+v", st.Severity, st.Todo)
	}
	for policy, does := range map[string]string{"defer": "mail is deferred, and senders keep it", "accept": "mail is taken without it", "hold": "mail is taken and held"} {
		st := standingOf(UpstreamStatus{State: "up"}, nil)
		st.Inbound.Filters = filterStatus([]Filter{{Name: "a", Address: "h:1", OnFailure: policy, Failed: 1, FailingAt: noon.Time, Failure: "no route"}})
		judge(&st)
		if st.Severity != SeverityWarning || len(st.Todo) != 1 || !strings.HasPrefix(st.Todo[0].Text, "The filter a at h:1 has failed since ") ||
			!strings.HasSuffix(st.Todo[0].Text, ", and meanwhile "+does+": no route") {
			t.Errorf("%s %+v", st.Severity, st.Todo)
		}
	}
}
