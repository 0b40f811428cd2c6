package configs

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRecipients(t *testing.T) {
	const directory = "tenant: corp.onmicrosoft.com, client: 00001111-aaaa"
	for recipients, want := range map[string]string{
		"":                   "",
		"''":                 "",
		"people.txt":         "",
		"{file: people.txt}": "",
		"{sources: learned}": "",
		"{sources: [list, learned, call-ahead], file: people.txt, max_age: 30d, not_known: reject, subaddress: '-'}": "",
		"{sources: directory, directory: {" + directory + ", secret: s}}":                                            "",
		"{sources: directory, directory: {" + directory + ", certificate: c, key: k}}":                               "",
		"5":                                              `2:42 domain.recipients: want the path of a file, not "5"`,
		"[people.txt]":                                   `2:42 domain.recipients: want keys, not a list; sources: ...`,
		"{sources: gossip}":                              `2:52 domain.recipients.sources[0]: "gossip" is not one of list, learned, call-ahead, directory; one of them`,
		"{sources: [callahead]}":                         `2:53 domain.recipients.sources[0]: "callahead" is not one of; Take call-ahead`,
		"{sources: [learned, learned]}":                  `2:62 domain.recipients.sources[1]: learned is in the list already`,
		"{sources: learned, file: x}":                    `2:67 domain.recipients.file: no use, because list is not among the sources`,
		"{max_age: -1s}":                                 `2:52 domain.recipients.max_age: want a time`,
		"{not_known: rejct}":                             `2:54 domain.recipients.not_known: "rejct" is not one of accept, defer, reject; Take reject`,
		"{subaddress: '++'}":                             `2:55 domain.recipients.subaddress: no sign that begins a tag`,
		"{subaddress: '.'}":                              `2:55 domain.recipients.subaddress: no sign that begins a tag`,
		"{learned: {keep: 1m}}":                          `2:59 domain.recipients.learned.keep: 1m is out of range`,
		"{learned: {refused: 30d}}":                      `2:62 domain.recipients.learned.refused: out of range`,
		"{learned: {max: 1}}":                            `2:58 domain.recipients.learned.max: out of range`,
		"{call_ahead: {timeout: 5m}}":                    `2:65 domain.recipients.call_ahead.timeout: out of range`,
		"{call_ahead: {at_once: 0}}":                     `2:65 domain.recipients.call_ahead.at_once: out of range`,
		"{call_ahead: {per_minute: 0}}":                  `2:68 domain.recipients.call_ahead.per_minute: out of range`,
		"{directory: {tenant: x}}":                       `2:63 domain.recipients.directory.tenant: no use, because directory is not among the sources`,
		"{directory: {secret: x}}":                       `2:63 domain.recipients.directory.secret: no use`,
		"{directory: {every: 1s}}":                       `2:62 domain.recipients.directory.every: out of range`,
		"{directory: {jitter: 2}}":                       `2:63 domain.recipients.directory.jitter: out of range`,
		"{directory: {shrink: 2}}":                       `2:63 domain.recipients.directory.shrink: out of range`,
		"{directory: {max_age: 1m}}":                     `2:64 domain.recipients.directory.max_age: out of range`,
		"{directory: {login: 'http://login.example'}}":   `2:62 domain.recipients.directory.login: "http://login.example" is not https:// and a host`,
		"{directory: {graph: 'https://graph.example/'}}": `2:62 domain.recipients.directory.graph: not https:// and a host`,
		"{directory: {graph: 'https://%zz'}}":            `2:62 domain.recipients.directory.graph: not https:// and a host`,
		"{sources: directory}": "2:30 domain.recipients.directory.tenant: it is missing; tenant:\n2:30 domain.recipients.directory.client: it is missing; client:\n" +
			"2:30 domain.recipients.directory.secret: there is no secret, and no certificate",
		"{sources: directory, directory: {" + directory + ", secret: s, certificate: c, key: k}}": `2:136 domain.recipients.directory.secret: there is a certificate as well`,
		"{sources: directory, directory: {" + directory + ", certificate: c}}":                    `2:141 domain.recipients.directory.certificate: a certificate without its key`,
		"{sources: directory, directory: {tenant: 'a/b', client: x, secret: s}}":                  `2:83 domain.recipients.directory.tenant: "a/b" is no id`,
	} {
		_, err := Parse("f.yaml", []byte("hostname: mx2.corp.example\ndomain: {name: corp.example, recipients: "+recipients+"}\nupstream: a.example\n"))
		t.Run(recipients, func(t *testing.T) {
			if want == "" && err != nil || want != "" && err == nil {
				t.Fatalf("%v, want %s", err, want)
			}
			if want != "" {
				wantProblems(t, err, strings.Split(want, "\n")...)
			}
		})
	}
}

func TestRecipientsValues(t *testing.T) {
	c, err := Parse("f.yaml", []byte("hostname: mx2.corp.example\nupstream: a.example\ndomains:\n- a.example\n- {name: b.example, recipients: people.txt}\n"+
		"- {name: c.example, recipients: {sources: [learned, list], not_known: defer, learned: {keep: 30d}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	a, b, e := c.Domains[0].Recipients, c.Domains[1].Recipients, c.Domains[2].Recipients
	if len(a.Used()) != 0 || a.NotKnown != NotKnownAccept || a.Subaddress != "+" {
		t.Errorf("%+v", a)
	}
	if !slices.Equal(b.Used(), []string{SourceList}) || b.File != "people.txt" {
		t.Errorf("%+v", b)
	}
	if !slices.Equal(e.Used(), []string{SourceLearned, SourceList}) || e.NotKnown != NotKnownDefer || e.Learned.Keep != 30*24*time.Hour || e.Learned.Max != 100000 {
		t.Errorf("%+v", e)
	}
}

func TestSecretsOfADirectoryAreClosed(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"open": 0o644, "closed": 0o600, "crt": 0o644} {
		if err := os.WriteFile(dir+"/"+name, []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	load := func(files string) (Config, error) {
		text := "hostname: mx2.corp.example\nupstream: a.example\ndomain:\n  name: corp.example\n  recipients:\n    sources: directory\n    directory: {tenant: a, client: b, " + files + "}\n"
		if err := os.WriteFile(dir+"/f.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(dir + "/f.yaml")
	}
	c, err := load("secret: closed")
	if err != nil || c.Domains[0].Recipients.Directory.Secret != dir+"/closed" {
		t.Errorf("%+v, %v", c.Domains, err)
	}
	if _, err := load("certificate: crt, key: closed"); err != nil {
		t.Error(err)
	}
	_, err = load("secret: open")
	wantProblems(t, err, "7:47 domain.recipients.directory.secret: others may read or write the key in "+dir+"/open (mode 0644); chmod 600")
	_, err = load("certificate: crt, key: open")
	wantProblems(t, err, "7:62 domain.recipients.directory.key: others may read")
	_, err = load("secret: gone")
	wantProblems(t, err, "7:47 domain.recipients.directory.secret: no such file")
}
