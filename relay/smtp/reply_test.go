package smtp

import (
	"errors"
	"fmt"
	"testing"
)

func TestParseEnhancedStatus(t *testing.T) {
	for _, test := range []struct {
		rule, text string
		status     EnhancedStatus
		rest       string
	}{
		{"code and text", "4.3.2 Temporary server error", EnhancedStatus{4, 3, 2}, "Temporary server error"},
		{"code alone", "2.1.0", EnhancedStatus{2, 1, 0}, ""},
		{"three digits", "5.7.606 banned", EnhancedStatus{5, 7, 606}, "banned"},
		{"detail of 999", "5.999.999 x", EnhancedStatus{5, 999, 999}, "x"},
		{"two spaces", "5.1.1  x", EnhancedStatus{5, 1, 1}, " x"},
	} {
		status, rest, ok := ParseEnhancedStatus(test.text)
		if status != test.status || rest != test.rest || !ok {
			t.Errorf("%s: %q is %v, %q, %v", test.rule, test.text, status, rest, ok)
		}
	}
	for rule, text := range map[string]string{
		"nothing":         "",
		"text":            "User unknown",
		"two numbers":     "5.1 unknown",
		"four numbers":    "5.1.1.1 unknown",
		"class 3":         "3.1.1 x",
		"class 0":         "0.0.0 x",
		"class 25":        "25.1.1 x",
		"class 05":        "05.1.1 x",
		"an IP address":   "192.0.2.5 is listed",
		"four digits":     "5.7.1000 x",
		"leading zeros":   "5.0001.1 x",
		"sign":            "5.+1.1 x",
		"empty detail":    "5.1. x",
		"letters":         "5.x.1 x",
		"leading space":   " 5.1.1 x",
		"tab behind it":   "5.1.1\tx",
		"hyphen behind":   "5.1.1-x",
		"colon behind":    "5.1.1: x",
		"full-width ones": "５.１.１ x",
	} {
		if status, rest, ok := ParseEnhancedStatus(text); ok || status != (EnhancedStatus{}) || rest != text {
			t.Errorf("%s: %q is %v, %q, %v", rule, text, status, rest, ok)
		}
	}
}

func TestEnhancedStatusString(t *testing.T) {
	if got := (EnhancedStatus{}).String(); got != "" {
		t.Errorf("no status is %q", got)
	}
	if got := (EnhancedStatus{5, 0, 0}).String(); got != "5.0.0" {
		t.Errorf("5.0.0 is %q", got)
	}
}

func TestReply(t *testing.T) {
	r := NewReply(451, StatusLocalError, "%d left", 3)
	r.Lines = append(r.Lines, "try again")
	if got := r.Error(); got != "451 4.3.0 3 left try again" {
		t.Errorf("with status: %q", got)
	}
	if got := (Reply{Code: 354, Lines: []string{"go on"}}).Error(); got != "354 go on" {
		t.Errorf("without status: %q", got)
	}
	found := Reply{}
	if err := fmt.Errorf("mail: %w", r); !errors.As(err, &found) || found.Code != 451 || found.Text() != "3 left try again" {
		t.Errorf("wrapped: %+v", found)
	}
	for code, want := range map[int][3]bool{
		0: {}, 199: {}, 200: {true}, 250: {true}, 354: {true}, 399: {true}, 400: {false, true}, 499: {false, true},
		500: {false, false, true}, 599: {false, false, true}, 600: {},
	} {
		r := Reply{Code: code}
		if got := [3]bool{r.Positive(), r.Temporary(), r.Permanent()}; got != want {
			t.Errorf("%d: positive, temporary, permanent are %v", code, got)
		}
	}
}
