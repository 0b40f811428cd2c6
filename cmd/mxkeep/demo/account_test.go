package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/integration/primary"
)

const trace = "Received: from mx.sender.example\r\n\tby mx2.corp.example; today\r\n"

// mail is a message as the sender sends it.
func mail(id string) string {
	return "From: a@sender.example\r\nMessage-ID: <" + id + ">\r\n\r\nhello\r\n"
}

// taken is the sender's line for it.
func taken(id, via string) Line {
	sum := sha256.Sum256([]byte(mail(id)))
	return Line{ID: "<" + id + ">", SHA256: hex.EncodeToString(sum[:]), Size: len(mail(id)), Via: via, Outcome: Taken}
}

func arrived(contents ...string) (all []primary.Delivery) {
	for _, content := range contents {
		all = append(all, primary.Delivery{Content: []byte(content)})
	}
	return all
}

// account fills in what is not nil.
func account(a Account) Account {
	for _, ids := range []*[]string{&a.Lost, &a.Duplicated, &a.Repeated, &a.Changed, &a.Bounced} {
		if *ids == nil {
			*ids = []string{}
		}
	}
	return a
}

func TestMakeAccount(t *testing.T) {
	unknown := Line{ID: "<1>", Via: "relay", Outcome: Unknown}
	for _, test := range []struct {
		name    string
		journal []Line
		arrived []primary.Delivery
		want    Account
	}{
		{"nothing sent", nil, nil, Account{}},
		{"all there", []Line{taken("1", "primary"), taken("2", "relay")}, arrived(mail("1"), trace+mail("2")), Account{Sent: 2, ViaRelay: 1, Delivered: 2}},
		{"lost", []Line{taken("1", "relay"), taken("2", "relay")}, arrived(mail("1")), Account{Sent: 2, ViaRelay: 2, Delivered: 1, Lost: []string{"<2>"}}},
		{"duplicated by the relay", []Line{taken("1", "relay")}, arrived(trace+mail("1"), trace+mail("1")),
			Account{Sent: 1, ViaRelay: 1, Delivered: 1, Duplicated: []string{"<1>"}}},
		{"repeated by the sender", []Line{unknown, taken("1", "relay")}, arrived(trace+mail("1"), mail("1")),
			Account{Sent: 1, ViaRelay: 1, Delivered: 1, Duplicated: []string{"<1>"}, Repeated: []string{"<1>"}}},
		{"not sure, and there once", []Line{unknown, taken("1", "primary")}, arrived(mail("1")), Account{Sent: 1, Delivered: 1}},
		{"not sure, and never taken", []Line{unknown}, arrived(mail("1")), Account{}},
		{"changed", []Line{taken("1", "relay")}, arrived(trace + strings.Replace(mail("1"), "hello", "hallo", 1)),
			Account{Sent: 1, ViaRelay: 1, Delivered: 1, Changed: []string{"<1>"}}},
		{"changed twice", []Line{taken("1", "relay")}, arrived(mail("1")+"x", mail("1")+"x"),
			Account{Sent: 1, ViaRelay: 1, Delivered: 1, Duplicated: []string{"<1>"}, Changed: []string{"<1>"}}},
		{"without its Message-ID", []Line{taken("1", "relay")}, arrived("Subject: hello\r\n\r\n"), Account{Sent: 1, ViaRelay: 1, Lost: []string{"<1>"}}},
		{"bounced", []Line{{ID: "<1>", Outcome: Bounced}, taken("2", "primary")}, arrived(mail("2")), Account{Sent: 1, Delivered: 1, Bounced: []string{"<1>"}}},
		{"in order", []Line{taken("3", "relay"), taken("1", "relay"), taken("2", "relay")}, nil, Account{Sent: 3, ViaRelay: 3, Lost: []string{"<1>", "<2>", "<3>"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := MakeAccount(test.journal, test.arrived); !reflect.DeepEqual(got, account(test.want)) {
				t.Errorf("got  %+v\nwant %+v", got, account(test.want))
			}
		})
	}
}

func TestByRelay(t *testing.T) {
	a := Account{Duplicated: []string{"<1>", "<2>", "<3>"}, Repeated: []string{"<2>"}}
	if got := strings.Join(a.ByRelay(), " "); got != "<1> <3>" {
		t.Error(got)
	}
}

func TestEndsWith(t *testing.T) {
	for _, test := range []struct {
		name, content string
		want          bool
	}{
		{"as sent", mail("1"), true},
		{"behind a trace header", trace + mail("1"), true},
		{"behind two", trace + trace + mail("1"), true},
		{"behind another header", "X-Spam: no\r\n" + mail("1"), false},
		{"behind half a line", "Received: from" + mail("1"), false},
		{"behind an empty line", trace + "\r\n" + mail("1"), false},
		{"behind a body", trace + "\r\nbody\r\n" + mail("1"), false},
		{"shorter", mail("1")[1:], false},
		{"empty", "", false},
		{"longer", mail("1") + "\r\n", false},
		{"another", trace + mail("2"), false},
	} {
		if got := endsWith([]byte(test.content), taken("1", "relay")); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestReadJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	if _, err := ReadJournal(path); err == nil {
		t.Error("a journal that is not there was read")
	}
	if err := os.WriteFile(path, []byte(`{"id":"<1>","outcome":"taken"}`+"\n"+`{"id":"<2>","outcome":"unknown"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, err := ReadJournal(path)
	if err != nil || len(lines) != 2 || lines[0] != (Line{ID: "<1>", Outcome: Taken}) || lines[1].Outcome != Unknown {
		t.Errorf("%+v, %v", lines, err)
	}
	if err := os.WriteFile(path, []byte(`{"id":"<1>"}`+"\n"+`{"id":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadJournal(path); err == nil || !strings.Contains(err.Error(), "journal line 2") {
		t.Errorf("half a line: %v", err)
	}
}
