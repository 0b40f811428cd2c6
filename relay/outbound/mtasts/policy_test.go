package mtasts

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParsePolicy(t *testing.T) {
	const good = "version: STSv1\r\nmode: enforce\r\nmx: MX1.corp.example\r\nmx: *.corp.example\r\nmax_age: 604800\r\n"
	enforced := Policy{Mode: Enforce, MX: []string{"mx1.corp.example", "*.corp.example"}, MaxAge: 7 * 24 * time.Hour}
	for text, want := range map[string]Policy{
		good:                                                             enforced,
		strings.ReplaceAll(good, "\r\n", "\n"):                           enforced,
		strings.TrimSuffix(good, "\r\n"):                                 enforced,
		strings.ReplaceAll(good, ": ", ":  \t"):                          enforced,
		strings.ReplaceAll(good, ": ", ":"):                              enforced,
		good + "\r\nnew_field: anything: at all\r\n":                     enforced,
		good + "mode: none\r\nmax_age: 1\r\nversion: STSv2\r\n":          enforced, // the first of each counts
		"version: STSv1\nmode: testing\nmx: a.example\nmax_age: 0\n":     {Mode: Testing, MX: []string{"a.example"}},
		"version: STSv1\nmode: none\nmax_age: 86400\n":                   {Mode: None, MaxAge: 24 * time.Hour},
		"mode: none\nmax_age: 9999999999\nversion: STSv1\n":              {Mode: None, MaxAge: 31557600 * time.Second},
		"version: STSv1\nmode: enforce\nmx: a_b-c.example\nmax_age: 1\n": {Mode: Enforce, MX: []string{"a_b-c.example"}, MaxAge: time.Second},
	} {
		if got, err := parsePolicy(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, why := range map[string]string{
		"":                                  "version",
		"<html>":                            "no field",
		"version: STSv1\n: enforce\n":       "no field",
		"version: STSv1\nmode x: enforce\n": "no field",
		strings.Replace(good, "STSv1", "STSv2", 1):                        "version",
		strings.Replace(good, "enforce", "Enforce", 1):                    "mode",
		strings.Replace(good, "604800", "a week", 1):                      "max_age",
		strings.Replace(good, "604800", "-1", 1):                          "max_age",
		strings.Replace(good, "604800", "99999999999", 1):                 "max_age",
		"version: STSv1\nmode: enforce\nmx: a.example\n":                  "max_age",
		"version: STSv1\nmode: enforce\nmax_age: 1\n":                     "without hosts",
		strings.Replace(good, "*.corp", "mx.*.corp", 1):                   "no pattern",
		strings.Replace(good, "*.corp", "*corp", 1):                       "no pattern",
		strings.Replace(good, "*.corp.example", "*.", 1):                  "no pattern",
		strings.Replace(good, "*.corp.example", "a..b", 1):                "no pattern",
		strings.Replace(good, "*.corp.example", "b\xfccher.example", 1):   "no pattern",
		strings.Replace(good, "*.corp", strings.Repeat("a", 64), 1):       "no pattern",
		strings.Replace(good, "*.corp", strings.Repeat("a.", 130)+"b", 1): "no pattern",
		good + strings.Repeat("mx: a.example\n", maxPatterns):             "more than 100 patterns",
	} {
		if got, err := parsePolicy(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.60q: %+v, %v, want %s", text, got, err, why)
		}
	}
}

func TestLists(t *testing.T) {
	p := Policy{MX: []string{"mx.corp.example", "*.mail.corp.example"}}
	for host, want := range map[string]bool{
		"mx.corp.example": true, "MX.Corp.Example.": true, "mx2.corp.example": false, "a.mx.corp.example": false,
		"eu.mail.corp.example": true, "mail.corp.example": false, ".mail.corp.example": false, "a.eu.mail.corp.example": false, // RFC 8461 4.1: one label
		"corp.example": false, "": false,
	} {
		if got := p.Lists(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	if (Policy{}).Lists("mx.corp.example") || (Policy{}).Enforced() || (Policy{Mode: Testing}).Enforced() || !(Policy{Mode: Enforce}).Enforced() {
		t.Error("what no policy says")
	}
}

func TestParseRecord(t *testing.T) {
	for _, test := range []struct {
		texts []string
		id    string
	}{
		{[]string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
		{[]string{"v=STSv1;id=a"}, "a"},
		{[]string{"v=STSv1 ; id=a ; new=thing"}, "a"},
		{[]string{"v=STSv1; new=thing; id=a; id=b"}, "a"},
		{[]string{"v=spf1 -all", "v=STSv1; id=a;", "v=STSv10; id=b"}, "a"},
		{[]string{"v=STSv1; id=" + strings.Repeat("9", 32)}, strings.Repeat("9", 32)},
		{[]string{"v=STSv1; id=a", "v=STSv1; id=a"}, ""}, // two are none
		{[]string{"v=STSv1; id=" + strings.Repeat("9", 33)}, ""},
		{[]string{"v=STSv1; id=a-b"}, ""},
		{[]string{"v=STSv1; id="}, ""},
		{[]string{"v=STSv1;"}, ""},
		{[]string{"v=STSv1"}, ""},
		{[]string{"id=a; v=STSv1"}, ""},
		{[]string{" v=STSv1; id=a"}, ""},
		{[]string{"V=STSv1; id=a"}, ""},
		{nil, ""},
	} {
		if id, ok := parseRecord(test.texts); id != test.id || ok != (test.id != "") {
			t.Errorf("%q: %q, %v, want %q", test.texts, id, ok, test.id)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add("version: STSv1\r\nmode: enforce\r\nmx: mx1.corp.example\r\nmx: *.corp.example\r\nmax_age: 604800\r\n")
	f.Add("version: STSv1\nmode: none\nmax_age: 1\n")
	f.Add("mx: *.\nmx:a..b\n: :\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePolicy(text)
		if err != nil {
			if !reflect.DeepEqual(p, Policy{}) {
				t.Fatalf("an error, and %+v", p)
			}
			return
		}
		if p.MaxAge < 0 || p.MaxAge > maxMaxAge*time.Second || len(p.MX) > maxPatterns || p.Mode != None && len(p.MX) == 0 {
			t.Fatalf("%+v", p)
		}
		for _, pattern := range p.MX {
			host := strings.Replace(pattern, "*", "any", 1)
			if !p.Lists(host) || !p.Lists(strings.ToUpper(host)+".") || p.Lists("one.more."+host+".label") {
				t.Fatalf("%q does not list %q, or more", pattern, host)
			}
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add("v=STSv1; id=20160831085700Z;", "v=spf1 -all")
	f.Add("v=STSv1 ;id= a ;;", "v=STSv1; id=b")
	f.Fuzz(func(t *testing.T, one, two string) {
		id, ok := parseRecord([]string{one, two})
		if ok != (id != "") || len(id) > maxID || strings.ContainsFunc(id, notAlphanumeric) {
			t.Fatalf("%q, %v", id, ok)
		}
		if again, _ := parseRecord([]string{two, one}); again != id {
			t.Fatalf("the order counts: %q and %q", id, again)
		}
	})
}
