package demo

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func ids(numbers ...string) (all []string) {
	for _, number := range numbers {
		all = append(all, "<demo.0000"+number+"@sender.example>")
	}
	return all
}

func TestReportShow(t *testing.T) {
	plain, doubles := Script{Name: "down"}, Script{Name: "lost-ack", repeats: true}
	for _, test := range []struct {
		name   string
		script Script
		report Report
	}{
		{"good", plain, Report{HeldBefore: 150, HeldAfter: 150, DrainSeconds: 1.04, Account: Account{Sent: 1208, ViaRelay: 1150, Delivered: 1208}}},
		{"marked", doubles, Report{DrainSeconds: 2, Account: Account{Sent: 194, ViaRelay: 153, Delivered: 194, Duplicated: ids("60", "61", "62", "63")}}},
		{"repeated", plain, Report{DrainSeconds: 2, Account: Account{Sent: 9, ViaRelay: 9, Delivered: 9, Duplicated: ids("60"), Repeated: ids("60")}}},
		{"lost", plain, Report{Account: Account{Sent: 9, ViaRelay: 9, Delivered: 8, Lost: ids("60")}}},
		{"worst", plain, Report{HeldBefore: 150, HeldAfter: 140, Meanwhile: 9, Missing: 2, Unmarked: ids("70"),
			Account: Account{Sent: 9, ViaRelay: 9, Delivered: 7, Lost: ids("60", "61"), Duplicated: ids("70"), Changed: ids("80"), Bounced: ids("90", "91")}}},
		{"nothing", plain, Report{}},
		{"needless", plain, Report{Account: Account{Sent: 9, Delivered: 9}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := test.report
			r.Faults = r.faults(test.script)
			r.Good = len(r.Faults) == 0
			var out bytes.Buffer
			r.Show(&out)
			for line := range strings.Lines(out.String()) {
				if len(line) > storyWidth+1 || strings.HasSuffix(line, " \n") {
					t.Errorf("too long, or trailing blanks: %q", line)
				}
			}
			file := filepath.Join("testdata", "report-"+test.name+".golden")
			if *update {
				if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || out.String() != string(want) {
				t.Errorf("%v; got\n%swant\n%s", err, out.String(), want)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"one", "one"},
		{"one two", "one two"},
		{"one two three", "one two/three"},
		{"muchtoolong one", "muchtoolong/one"},
		{"one muchtoolong", "one/muchtoolong"},
		{"ä ö ü ß", "ä ö ü ß"},
		{"a  column", "a /column"},
	} {
		want := strings.Split(test.want, "/")
		for i := range want {
			want[i] = strings.TrimRight(want[i], " ")
		}
		if got := wrap(test.text, 8); strings.Join(got, "/") != strings.Join(want, "/") {
			t.Errorf("%q: %q", test.text, got)
		}
	}
}

func TestCut(t *testing.T) {
	if got := cut("short"); got != "short" {
		t.Error(got)
	}
	if got := cut(strings.Repeat("ä", 147) + " tail"); got != strings.Repeat("ä", 147)+"..." {
		t.Errorf("%d: %s", len(got), got)
	}
}

// TestScripts: what is said of them is a sentence behind "the primary".
func TestScripts(t *testing.T) {
	first, err := Find("")
	if err != nil || first.Name != "451-4.3.2" {
		t.Errorf("the first: %+v, %v", first, err)
	}
	for _, script := range Scripts() {
		found, err := Find(script.Name)
		if err != nil || found != script || script.About == "" || strings.Contains(script.About, "so long") || strings.Contains(script.About, "{") {
			t.Errorf("%+v, found %+v, %v", script, found, err)
		}
		if script.Repeats() != (script.Name == "lost-ack") {
			t.Errorf("%s repeats: %v", script.Name, script.Repeats())
		}
	}
	if _, err := Find("nonsense"); err == nil || !strings.Contains(err.Error(), "there are 451-4.3.2, down, ") {
		t.Errorf("nonsense: %v", err)
	}
}
