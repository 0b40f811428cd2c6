// Package smtp has the words of RFC 5321 that both sides of the relay need:
// replies, enhanced status codes, paths and xtext. It opens no socket and
// keeps no state.
package smtp

import (
	"fmt"
	"strconv"
	"strings"
)

// EnhancedStatus is an enhanced mail system status code, class.subject.detail
// (RFC 3463 2). The zero value means that there is none.
type EnhancedStatus [3]int

func (s EnhancedStatus) String() string {
	if s == (EnhancedStatus{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", s[0], s[1], s[2])
}

// ParseEnhancedStatus reads the code at the start of a reply's text and
// returns what follows it. ok is false if there is none.
func ParseEnhancedStatus(text string) (status EnhancedStatus, rest string, ok bool) {
	word, rest, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 || (parts[0] != "2" && parts[0] != "4" && parts[0] != "5") {
		return EnhancedStatus{}, text, false
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil || len(part) > 3 { // RFC 3463 2: subject and detail have at most three digits
			return EnhancedStatus{}, text, false
		}
		status[i] = int(n)
	}
	return status, rest, true
}

// Reply is an SMTP reply (RFC 5321 4.2). As an error it stands for itself:
// whoever meets it further up answers with it.
type Reply struct {
	Code   int
	Status EnhancedStatus
	Lines  []string // text without codes; at least one
}

// NewReply makes a reply of one line.
func NewReply(code int, status EnhancedStatus, format string, args ...any) Reply {
	return Reply{Code: code, Status: status, Lines: []string{fmt.Sprintf(format, args...)}}
}

// Error writes code, status and text in one line.
func (r Reply) Error() string {
	words := []string{strconv.Itoa(r.Code)}
	if r.Status != (EnhancedStatus{}) {
		words = append(words, r.Status.String())
	}
	return strings.Join(append(words, r.Text()), " ")
}

// Text joins the lines by spaces.
func (r Reply) Text() string { return strings.Join(r.Lines, " ") }

// Positive, Temporary and Permanent report the first digit: 2 or 3, 4, 5.
func (r Reply) Positive() bool  { return r.Code >= 200 && r.Code < 400 }
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }
func (r Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// The statuses that our side answers (RFC 3463 3, RFC 5248, RFC 7505).
var (
	StatusOK               = EnhancedStatus{2, 0, 0}
	StatusAddressOK        = EnhancedStatus{2, 1, 0}
	StatusRecipientOK      = EnhancedStatus{2, 1, 5}
	StatusUnknownUser      = EnhancedStatus{5, 1, 1}
	StatusBadRecipient     = EnhancedStatus{5, 1, 3}
	StatusBadSender        = EnhancedStatus{5, 1, 7}
	StatusNotAccepting     = EnhancedStatus{4, 3, 2} // system not accepting network messages
	StatusLocalError       = EnhancedStatus{4, 3, 0}
	StatusFull             = EnhancedStatus{4, 3, 1}
	StatusTooBig           = EnhancedStatus{5, 3, 4}
	StatusTimeout          = EnhancedStatus{4, 4, 2}
	StatusNoDirectory      = EnhancedStatus{4, 4, 3} // nobody can say now who exists
	StatusLoop             = EnhancedStatus{5, 4, 6}
	StatusTooManyRcpt      = EnhancedStatus{4, 5, 3}
	StatusSequence         = EnhancedStatus{5, 5, 1}
	StatusSyntax           = EnhancedStatus{5, 5, 2}
	StatusBadArguments     = EnhancedStatus{5, 5, 4}
	StatusNeedsSMTPUTF8    = EnhancedStatus{5, 6, 7}
	StatusInvalidContent   = EnhancedStatus{5, 6, 11} // bare CR or LF, as Exchange Online says it
	StatusTooManyConns     = EnhancedStatus{4, 7, 0}
	StatusSecurity         = EnhancedStatus{5, 7, 0}
	StatusPolicyLater      = EnhancedStatus{4, 7, 1}
	StatusRelayDenied      = EnhancedStatus{5, 7, 1}
	StatusNeedsEncryption  = EnhancedStatus{5, 7, 10}
	StatusNoRequireTLS     = EnhancedStatus{5, 7, 30} // RFC 8689 8
	StatusProtocolMismatch = EnhancedStatus{5, 5, 0}
)
