package configs

import (
	"bytes"
	"strings"
	"testing"
)

// TestSystemdUnits: each line is a comment, a section or a setting, and what the relay
// needs is there.
func TestSystemdUnits(t *testing.T) {
	for kind, needs := range map[string]string{
		"systemd": "[Unit] [Service] Type=notify WatchdogSec=2min User=mxkeep AmbientCapabilities=CAP_NET_BIND_SERVICE StateDirectory=mxkeep [Install]",
		"socket":  "[Socket] ListenStream=25 FileDescriptorName=smtp [Install]",
	} {
		unit := Unit(kind)
		for _, need := range strings.Fields(needs) {
			if !bytes.Contains(unit, []byte("\n"+need+"\n")) {
				t.Errorf("%s: no line %s", kind, need)
			}
		}
		for line := range strings.Lines(string(unit)) {
			line = strings.TrimSpace(line)
			if line != "" && line[0] != '#' && !(line[0] == '[' && strings.HasSuffix(line, "]")) && !strings.Contains(line, "=") {
				t.Errorf("%s: %q", kind, line)
			}
		}
		unit[0] = 'x'
		if bytes.Equal(unit, Unit(kind)) {
			t.Errorf("%s: the example can be changed", kind)
		}
	}
	if Unit("cron") != nil {
		t.Error("a unit that there is not")
	}
}
