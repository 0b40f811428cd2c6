package smtp

import (
	"regexp"
	"testing"
)

var statusGrammar = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}(?: |$)`) // RFC 3463 2

// FuzzEnhancedStatus: a status is read by the grammar, and nothing else is lost
// from the text.
func FuzzEnhancedStatus(f *testing.F) {
	for _, seed := range []string{"5.1.1 no such user", "2.0.0", "4.7.500 Server busy", "5.1.1000 x", "3.1.1 x", "5.+1.1 x", "5.1 x", "5.1.1.1 x", "5..1 x", "05.1.1 x", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		status, rest, ok := ParseEnhancedStatus(text)
		if ok != statusGrammar.MatchString(text) || !ok && (rest != text || status != EnhancedStatus{}) {
			t.Fatalf("%q: %v, %q, %v", text, status, rest, ok)
		}
		if again, left, _ := ParseEnhancedStatus(status.String() + " " + rest); ok && (again != status || left != rest || len(rest) >= len(text)) {
			t.Fatalf("%q: %v, %q", text, status, rest)
		}
	})
}
