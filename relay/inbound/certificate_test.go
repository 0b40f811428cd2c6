package inbound

import (
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSelfSigned(t *testing.T) {
	folder, log := t.TempDir(), &logs{}
	logger := slog.New(slog.NewJSONHandler(log, nil))
	first, err := SelfSigned(folder, "mx2.example", logger)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), `"level":"WARN","msg":"certificate.self_signed"`) {
		t.Error(log)
	}
	again, err := SelfSigned(folder, "mx2.example", logger)
	if err != nil || string(again.loaded.Certificate[0]) != string(first.loaded.Certificate[0]) {
		t.Errorf("it is not kept: %v", err)
	}
	if err := first.loaded.Leaf.VerifyHostname("mx2.example"); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Join(folder, "self-signed.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info.Mode(), err)
	}
	other, err := SelfSigned(folder, "mx3.example", logger)
	if err != nil || other.loaded.Leaf.VerifyHostname("mx3.example") != nil {
		t.Errorf("for another name: %v", err)
	}
	if other.serves("mx3.example", time.Now().Add(selfSignedTime)) {
		t.Error("it never expires")
	}
	if err := os.WriteFile(filepath.Join(folder, "self-signed.key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if damaged, err := SelfSigned(folder, "mx2.example", logger); err != nil || !damaged.serves("mx2.example", time.Now()) {
		t.Errorf("in the place of a damaged one: %v", err)
	}
	if !strings.Contains(log.String(), `"level":"ERROR","msg":"certificate.invalid"`) {
		t.Error(log)
	}
	if _, err := SelfSigned(filepath.Join(folder, "none"), "mx2.example", logger); err == nil {
		t.Error("a folder that is not there")
	}
}

// TestUnwritable: no half of a pair is left behind in a folder that is no folder.
func TestUnwritable(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"self-signed.key.new", "self-signed.crt.new"} {
		if err := os.MkdirAll(filepath.Join(folder, name, "full"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := SelfSigned(folder, "mx2.example", slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := os.RemoveAll(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificateIsReloaded(t *testing.T) {
	folder, log := t.TempDir(), &logs{}
	cert, key := filepath.Join(folder, "a.crt"), filepath.Join(folder, "a.key")
	if _, err := NewCertificate(cert, key, nil); err == nil {
		t.Fatal("files that are not there")
	}
	write := func(name string, at time.Time) {
		t.Helper()
		if err := makeSelfSigned(cert, key, name, at); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{cert, key} { // file times may be too coarse to tell two writes apart
			if err := os.Chtimes(file, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	begun := time.Now()
	write("one.example", begun)
	c, err := NewCertificate(cert, key, slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	serves := func(name string) {
		t.Helper()
		got, err := c.Config().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if leaf, err := x509.ParseCertificate(got.Certificate[0]); err != nil || leaf.VerifyHostname(name) != nil {
			t.Errorf("it is not for %s: %v", name, err)
		}
	}
	serves("one.example")
	write("two.example", begun.Add(time.Second))
	serves("two.example")
	if err := os.WriteFile(cert, []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	serves("two.example")
	serves("two.example")
	if got := log.String(); strings.Count(got, "certificate.invalid") != 1 || strings.Count(got, "certificate.loaded") != 1 {
		t.Error(got)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	serves("two.example")
	write("three.example", begun.Add(2*time.Second))
	serves("three.example")
}
