package configs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestARC(t *testing.T) {
	const whole = "key: k, selector: arc1, domain: corp.example"
	for lines, want := range map[string]string{
		"{}":                           "",
		"{" + whole + "}":              "",
		"{" + whole + ", headers: []}": "",
		"{" + whole + ", headers: [Subject, received]}":        "",
		"{key: k, selector: '20260312', domain: corp.example}": "",
		"{key: k}":                               "4:8 auth.arc.selector: missing; keygen\n4:8 auth.arc.domain: missing; keygen",
		"{selector: arc1, domain: corp.example}": "4:8 auth.arc.key: missing; keygen",
		"{headers: [to]}":                        "4:8 auth.arc.key: missing\n4:8 auth.arc.selector: missing\n4:8 auth.arc.domain: missing",
		"{key: k, selector: 'a b', domain: corp.example}":    `4:32 auth.arc.selector: "a b" is not a selector; arc1`,
		"{key: k, selector: arc1, domain: 'x y'}":            `4:46 auth.arc.domain: "x y" is not a domain name`,
		"{" + whole + ", headers: [\"\"]}":                   `4:70 auth.arc.headers[0]: not the name of a header field`,
		"{" + whole + ", headers: [from, 'a b']}":            `4:76 auth.arc.headers[1]: "a b" is not the name of a header field`,
		"{" + whole + ", headers: [ARC-Seal]}":               `4:70 auth.arc.headers[0]: must not be sealed`,
		"{" + whole + ", headers: [Authentication-Results]}": `4:70 auth.arc.headers[0]: must not be sealed; Take it out`,
		"{" + whole + "}, verify: no":                        `4:19 auth.arc.key: with verify: no nothing is`,
	} {
		t.Run(lines, func(t *testing.T) {
			_, err := Parse("f.yaml", []byte(with("auth: {arc: "+lines+"}\n")))
			if want == "" {
				wantProblems(t, err)
				return
			}
			wantProblems(t, err, strings.Split(want, "\n")...)
		})
	}
}

func TestARCByDefault(t *testing.T) {
	if a := Default().Auth.ARC; a.Key != "" || a.Selector != "" || a.Domain != "" || len(a.Headers) != 0 {
		t.Errorf("%+v", a)
	}
}

// TestARCKeyIsASecret: its file must be there, and for its owner alone.
func TestARCKeyIsASecret(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "f.yaml")
	text := with("auth: {arc: {key: k.pem, selector: arc1, domain: corp.example, headers: [to]}}\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(file)
	wantProblems(t, err, "4:19 auth.arc.key: no such file")
	key := filepath.Join(folder, "k.pem")
	if err := os.WriteFile(key, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Load(file)
	wantProblems(t, err, "4:19 auth.arc.key: others may read; chmod 600")
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	wantProblems(t, err)
	if c.Auth.ARC.Key != key || !slices.Equal(c.Auth.ARC.Headers, []string{"to"}) {
		t.Errorf("%+v", c.Auth.ARC)
	}
}
