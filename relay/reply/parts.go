package reply

import (
	"regexp"
	"slices"
	"strconv"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

const maxTags = 16

var (
	tagPattern = regexp.MustCompile(`\b((?:C?PRX|ATTR|MRH)\d{1,4}(?:\.\d{1,4})?)\b` +
		`|\((A?S\d{1,12}|SF\d|EV\d|TSTE)\)` +
		`|\bAS\((\d{1,12})\)` +
		`|\b(TRJCT|PRJCT|DROP|Tenant(?:Inbound)?Attribution)\b` +
		`|(?i:\b((?:storedrv|resolver|transport\.rules)(?:\.[a-z]{1,40}){1,6}))`)
	serverPattern   = regexp.MustCompile(`(?i)\[([a-z0-9][a-z0-9.-]{0,254})\s+(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z)\s+([0-9A-F]{16})\]`)
	acceptedPattern = regexp.MustCompile(`\[InternalId=(\d{1,20})(?:,\s?Hostname=([A-Za-z0-9.-]{1,255}))?\]`)
	sessionPattern  = regexp.MustCompile(`\[([0-9A-F]{16})\]\s*$`)
)

// BannerSession returns the session id at the end of a greeting's text, "" if
// there is none. The replies of the session carry the same.
func BannerSession(text string) string {
	if m := sessionPattern.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// withParts adds what the text of the reply says besides its meaning. Of
// several brackets the last is the server's own: the ones before may quote a
// sender's text.
func (v Verdict) withParts(tags []string, text string) Verdict {
	v.Tags = tags
	if m := last(serverPattern, text); m != nil {
		v.Server, v.Time, v.Session = m[1], m[2], m[3]
	}
	if v.Action == Deliver {
		if m := last(acceptedPattern, text); m != nil {
			v.InternalID, v.Hostname = m[1], m[2]
		}
	}
	return v
}

// tagsOf lists each component tag once. AS(1) is written AS1, as (AS1) is.
func tagsOf(text string) []string {
	var tags []string
	for _, m := range tagPattern.FindAllStringSubmatch(text, maxTags) {
		tag := m[1] + m[2] + m[4] + m[5]
		if m[3] != "" {
			tag = "AS" + m[3]
		}
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

func last(pattern *regexp.Regexp, text string) []string {
	if all := pattern.FindAllStringSubmatch(text, -1); all != nil {
		return all[len(all)-1]
	}
	return nil
}

// parseReply makes a reply of a code of three digits and the text behind it.
func parseReply(code, text string) smtp.Reply {
	var r smtp.Reply
	r.Code, _ = strconv.Atoi(code) // the caller has seen the digits
	status, rest, _ := smtp.ParseEnhancedStatus(text)
	r.Status, r.Lines = status, []string{rest}
	return r
}
