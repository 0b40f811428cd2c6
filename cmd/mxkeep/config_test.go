package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
)

// inFolder runs a command line in a folder with configuration files.
func inFolder(t *testing.T, env map[string]string, s screen, args ...string) result {
	t.Helper()
	t.Chdir(filepath.Join("testdata", "config"))
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, errs: &errs, now: time.Now(), screen: s, env: func(name string) string { return env[name] }}
	code := a.run(context.Background(), args)
	return result{code, out.String(), errs.String()}
}

func TestConfigValidate(t *testing.T) {
	terminal, pipe := screen{out: true, width: 80, utf8: true}, screen{}
	for _, c := range []struct {
		name string
		s    screen
		args string
		code int
	}{
		{"config-valid", terminal, "config validate three.yaml", 0},
		{"config-valid-pipe", pipe, "config validate three.yaml", 0},
		{"config-valid-json", pipe, "config validate three.yaml --json", 0},
		{"config-wrong", terminal, "config validate wrong.yaml", exitConfig},
		{"config-wrong-pipe", pipe, "config validate wrong.yaml", exitConfig},
		{"config-wrong-json", pipe, "config validate wrong.yaml --json", exitConfig},
		{"config-hostile", terminal, "config validate hostile.yaml", exitConfig},
		{"config-nothing", terminal, "config validate nothing.yaml", exitConfig},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got result
			t.Run("run", func(t *testing.T) { got = inFolder(t, nil, c.s, strings.Fields(c.args)...) })
			if got.code != c.code || got.errs != "" {
				t.Errorf("exit %d, %q", got.code, got.errs)
			}
			golden(t, c.name, got.out)
		})
	}
}

func TestConfigFileIsChosen(t *testing.T) {
	for _, c := range []struct {
		name, args string
		env        string
		code       int
		out, errs  string
	}{
		{"argument", "config validate three.yaml -c wrong.yaml", "wrong.yaml", 0, "three.yaml: valid", ""},
		{"flag", "config validate -c three.yaml", "wrong.yaml", 0, "three.yaml: valid", ""},
		{"environment", "config validate", "three.yaml", 0, "three.yaml: valid", ""},
		{"standard input, in which nothing is", "config validate -", "", exitConfig, "/dev/stdin:", ""},
		{"none", "config validate", "", exitUsage, "", "E1101 usage: no configuration file"},
		{"format", "config validate three.yaml -o csv", "", exitUsage, "", "E1101 usage: this command has no output as csv"},
		{"two", "config validate three.yaml wrong.yaml", "", exitUsage, "", "E1101 usage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := inFolder(t, map[string]string{"MXKEEP_CONFIG": c.env}, screen{}, strings.Fields(c.args)...)
			if got.code != c.code || !strings.HasPrefix(got.out, c.out) || !strings.HasPrefix(got.errs, c.errs) {
				t.Errorf("exit %d\n%s%s", got.code, got.out, got.errs)
			}
		})
	}
}

// Validation as root must not leave files that the service then may not write.
func TestConfigValidateWritesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mxkeep.yaml")
	text := "hostname: mx2.corp.example\ndomain: corp.example\nupstream: mx.corp.example\ndata: data\nsocket: run/admin.sock\n"
	if err := os.WriteFile(file, []byte(text), 0o400); err != nil {
		t.Fatal(err)
	}
	if got := inFolder(t, nil, screen{}, "config", "validate", file); got.code != 0 {
		t.Errorf("exit %d: %s", got.code, got.errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("files %v, %v", left, err)
	}
}

func TestConfigExample(t *testing.T) {
	for _, s := range []screen{{}, {out: true, width: 80}} {
		a := result{}
		t.Run("run", func(t *testing.T) { a = inFolder(t, nil, s, "config", "example") })
		if a.code != 0 || a.out != string(configs.Example()) {
			t.Errorf("exit %d, %d bytes", a.code, len(a.out))
		}
	}
	var document exampleDocument
	got := inFolder(t, nil, screen{}, "config", "example", "--json")
	if err := json.Unmarshal([]byte(got.out), &document); err != nil || document.Text != string(configs.Example()) || document.Schema != "mxkeep.config.example/1" {
		t.Errorf("%v: %.200s", err, got.out)
	}
}

func TestConfiguredSocket(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	named := write("named.yaml", "socket: run/admin.sock\n") // the rest is missing, and no matter here
	for _, c := range []struct{ name, socketFlag, socketEnv, configFlag, configEnv, want string }{
		{"nothing", "", "", "", "", defaultSocket},
		{"file by flag", "", "", named, "", dir + "/run/admin.sock"},
		{"file by environment", "", "", "", named, dir + "/run/admin.sock"},
		{"environment first", "", "/a.sock", named, "", "/a.sock"},
		{"flag first", "/b.sock", "/a.sock", named, "", "/b.sock"},
		{"no such file", "", "", dir + "/nothing.yaml", "", defaultSocket},
		{"no YAML", "", "", write("broken.yaml", "a: [1"), "", defaultSocket},
	} {
		env := map[string]string{"MXKEEP_SOCKET": c.socketEnv, "MXKEEP_CONFIG": c.configEnv}
		a := &app{env: func(name string) string { return env[name] }, flags: globals{socket: c.socketFlag, config: c.configFlag}}
		if got := a.socket(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestProblemsAsAnError(t *testing.T) {
	_, err := configs.Parse("f.yaml", []byte("hostname: mx2.corp.example\ndomain: corp.example\nupstrem: a.example\nlog: {level: \"\\e[31m\"}\n"))
	var out bytes.Buffer
	a := &app{errs: &out, began: true, env: func(string) string { return "" }}
	if code := a.report(err); code != exitConfig {
		t.Errorf("exit %d", code)
	}
	golden(t, "config-error", out.String())
}
