package integration

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/mxkeep/mxkeep"

// rooms says for each room what of ours it may import. A sub-room counts as
// its room, unless it has a line of its own.
var rooms = map[string]string{
	"queue":               "queue",
	"queue/failpoint":     "",
	"health":              "health",
	"health/probe":        "health",
	"health/history":      "health",
	"configs":             "",
	"relay/smtp":          "",
	"relay/state":         "",
	"relay/dns":           "",
	"relay/reply":         "relay/smtp health",
	"relay/csvfile":       "",
	"relay/spill":         "",
	"relay/graph":         "relay/smtp",
	"relay/recipients":    "relay/smtp relay/state relay/graph relay/csvfile",
	"relay/watch":         "health relay/smtp relay/dns relay/graph relay/admin",
	"relay/auth":          "relay/smtp relay/dns",
	"relay/dsn":           "queue relay/smtp",
	"relay/acme":          "",
	"relay/outbound":      "queue health relay/smtp relay/reply relay/dns relay/state relay/dsn",
	"relay/inbound":       "queue health relay/smtp relay/reply relay/auth relay/recipients relay/outbound relay/milter",
	"relay/milter":        "relay/smtp",
	"relay/promote":       "health relay/dns relay/state",
	"relay/incident":      "queue health relay/spill relay/csvfile",
	"relay/notify":        "queue health relay/incident relay/state relay/smtp",
	"relay/web":           "queue health relay/incident relay/state relay/smtp",
	"relay/admin":         "queue health relay/incident relay/state relay/smtp",
	"relay/backup":        "queue relay/state",
	"relay/metrics":       "queue health relay/incident relay/state relay/smtp",
	"relay":               "queue health relay configs",
	"integration":         "queue health relay configs integration cmd",
	"integration/primary": "relay/smtp",
	"cmd/mxkeep":          "queue health relay configs integration cmd/mxkeep",
}

// walls says which rooms alone may import a library, and why.
var walls = []struct{ library, rooms, why string }{
	{"go.etcd.io/bbolt", "queue/bolt health/history relay/state", "no type, slice or error of bbolt may cross the edge of these rooms"},
	{"github.com/emersion/go-smtp", "relay/inbound", "the SMTP engine can be changed as long as one file knows it"},
	{"github.com/emersion/go-msgauth", "relay/auth", "verdicts are ours, the library only verifies"},
	{"github.com/d--j/go-milter", "relay/milter", "what filters may do to mail is decided in one room"},
	{"blitiri.com.ar/go/spf", "relay/auth", "verdicts are ours, the library only verifies"},
	{"github.com/miekg/dns", "relay/dns relay/promote", "one resolver, with one cache and one set of limits"},
	{"github.com/caddyserver/certmagic", "relay/acme", "who issues our certificate is the affair of one room"},
	{"github.com/mholt/acmez", "relay/acme", "who issues our certificate is the affair of one room"},
	{"go.uber.org/zap", "relay/acme", "there is one log, and it is slog"},
	{"github.com/spf13/cobra", "cmd/mxkeep", "the relay has no command line"},
	{"github.com/prometheus/client_golang", "relay/metrics", "every metric is declared once"},
	{"github.com/hanwen/go-fuse", "integration/faultfs", "only tests have a disk that fails when it is told to"},
	{"go.yaml.in/yaml", "configs", "one file format, read in one place"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for in := json.NewDecoder(strings.NewReader(string(out))); in.More(); {
		var p listed
		if err := in.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// room finds the line of the table that a folder belongs to.
func room(folder string) (string, bool) {
	for name := folder; name != "."; {
		if _, ok := rooms[name]; ok {
			return name, true
		}
		cut := strings.LastIndexByte(name, '/')
		if cut < 0 {
			break
		}
		name = name[:cut]
	}
	return "", false
}

func within(folder, list string) bool {
	for _, name := range strings.Fields(list) {
		if folder == name || strings.HasPrefix(folder, name+"/") {
			return true
		}
	}
	return false
}

func TestArrowsPointOneWay(t *testing.T) {
	all := packages(t)
	if len(all) < 10 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	for _, p := range all {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		name, ok := room(from)
		if !ok {
			t.Errorf("%s belongs to no room of the house", from)
			continue
		}
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, module+"/")
			if ours && to != name && !strings.HasPrefix(to, name+"/") && !within(to, rooms[name]) {
				t.Errorf("%s imports %s; %s may import only: %s", from, to, name, rooms[name])
			}
		}
	}
}

func TestLibrariesStayBehindTheirWalls(t *testing.T) {
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imported := range p.Imports {
			for _, wall := range walls {
				if (imported == wall.library || strings.HasPrefix(imported, wall.library+"/")) && !within(from, wall.rooms) {
					t.Errorf("%s imports %s, which only %s may: %s", from, imported, wall.rooms, wall.why)
				}
			}
		}
	}
}
