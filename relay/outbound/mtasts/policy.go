package mtasts

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Mode is what a policy asks of senders.
type Mode string

// The modes. The zero Mode is that of no policy.
const (
	Enforce Mode = "enforce" // hosts that are not listed, or cannot prove who they are, get no mail
	Testing Mode = "testing" // whoever reports does; mail goes on as without a policy
	None    Mode = "none"    // there was one, and there is none any more
)

// Policy is what a domain says about its hosts. The zero Policy is none.
type Policy struct {
	Mode   Mode          `json:"mode"`
	MX     []string      `json:"mx"` // names, or "*." and what follows one label; lower case
	MaxAge time.Duration `json:"max_age"`
}

// Enforced reports whether hosts must prove who they are.
func (p Policy) Enforced() bool { return p.Mode == Enforce }

// Lists reports whether a host is one of the policy's (RFC 8461 4.1).
func (p Policy) Lists(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return slices.ContainsFunc(p.MX, func(pattern string) bool {
		rest, wild := strings.CutPrefix(pattern, "*.")
		if !wild {
			return pattern == host
		}
		first, behind, _ := strings.Cut(host, ".") // "*" is one label
		return first != "" && behind == rest
	})
}

const (
	maxBody     = 64 << 10    // of a policy
	maxPatterns = 100         // of hosts in one
	maxMaxAge   = 31557600    // seconds (RFC 8461 3.2)
	version     = "STSv1"     // of records and policies
	maxID       = 32          // octets
	name        = "_mta-sts." // of the record, before the domain
	host        = "mta-sts."  // of the policy, before the domain
	path        = "/.well-known/mta-sts.txt"
)

// parsePolicy reads a policy (RFC 8461 3.2). Fields that nobody knows mean
// nothing, and of those that are there twice the first counts.
func parsePolicy(text string) (Policy, error) {
	var p Policy
	first := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.Trim(line, " \t\r\n")
		if line == "" {
			continue
		}
		key, value, found := strings.Cut(line, ":")
		if !found || key == "" || strings.ContainsAny(key, " \t") {
			return Policy{}, fmt.Errorf("no field of a policy: %.80q", line)
		}
		value = strings.Trim(value, " \t")
		if _, twice := first[key]; !twice && len(first) < maxPatterns {
			first[key] = value
		}
		if key != "mx" {
			continue
		}
		pattern := strings.ToLower(value)
		if !isPattern(pattern) {
			return Policy{}, fmt.Errorf("no pattern of a host: %.80q", value)
		}
		if len(p.MX) == maxPatterns {
			return Policy{}, fmt.Errorf("more than %d patterns of hosts", maxPatterns)
		}
		p.MX = append(p.MX, pattern)
	}
	if first["version"] != version {
		return Policy{}, fmt.Errorf("version %.20q of a policy", first["version"])
	}
	if p.Mode = Mode(first["mode"]); p.Mode != Enforce && p.Mode != Testing && p.Mode != None {
		return Policy{}, fmt.Errorf("mode %.20q of a policy", first["mode"])
	}
	age, err := strconv.ParseUint(first["max_age"], 10, 34) // ten digits
	if err != nil {
		return Policy{}, fmt.Errorf("max_age %.20q of a policy", first["max_age"])
	}
	p.MaxAge = time.Duration(min(age, maxMaxAge)) * time.Second
	if len(p.MX) == 0 && p.Mode != None {
		return Policy{}, errors.New("a policy without hosts")
	}
	return p, nil
}

// parseRecord finds the identity of a domain's policy among the TXT records at
// its "_mta-sts" (RFC 8461 3.1). ok is false unless there is exactly one record,
// and it is well formed: such a domain has no policy.
func parseRecord(texts []string) (id string, ok bool) {
	for _, text := range texts {
		fields := strings.Split(text, ";")
		if strings.TrimRight(fields[0], " \t") != "v="+version || len(fields) == 1 {
			continue
		}
		if ok {
			return "", false
		}
		ok = true
		for _, field := range fields[1:] {
			if value, found := strings.CutPrefix(strings.Trim(field, " \t"), "id="); found && id == "" {
				id = value
			}
		}
	}
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, notAlphanumeric) {
		return "", false
	}
	return id, ok
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// isPattern reports whether a pattern is a host name, with or without "*." in front.
func isPattern(s string) bool {
	s = strings.TrimPrefix(s, "*.")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool { return r != '-' && r != '_' && notAlphanumeric(r) }) {
			return false
		}
	}
	return true
}
