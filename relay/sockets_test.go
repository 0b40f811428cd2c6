package relay

import (
	"fmt"
	"os"
	"testing"
)

// TestSocketsOfAnother: variables that were meant for another process are not
// looked at, whatever they say.
func TestSocketsOfAnother(t *testing.T) {
	own := fmt.Sprint(os.Getpid())
	for _, env := range []map[string]string{
		{},
		{"LISTEN_FDS": "1"},
		{"LISTEN_PID": own},
		{"LISTEN_PID": fmt.Sprint(os.Getppid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "smtp"},
		{"LISTEN_PID": "1", "LISTEN_FDS": "many"},
		{"LISTEN_PID": "0" + own, "LISTEN_FDS": "1"},
		{"LISTEN_PID": own + " ", "LISTEN_FDS": "1"},
	} {
		s, err := Inherited(func(name string) string { return env[name] })
		if err != nil || len(s.SMTP) > 0 || s.HTTP != nil || s.ACME != nil {
			t.Errorf("%v: %+v, %v", env, s, err)
		}
	}
	if s, err := Inherited(func(name string) string { return map[string]string{"LISTEN_PID": own, "LISTEN_FDS": "0"}[name] }); err != nil || len(s.SMTP) > 0 {
		t.Errorf("none: %+v, %v", s, err)
	}
}
