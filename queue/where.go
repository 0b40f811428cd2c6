package queue

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrWhere is wrapped by every error of ParseFilter and ParseCondition.
var ErrWhere = errors.New("invalid filter")

// maxPattern bounds a pattern, and with it the size of a compiled expression.
const maxPattern = 1000

// ParseFilter reads rules of the form "field=value"; "!field=value" negates
// one. All rules must hold. Fields and values are those of ParseCondition.
// A first rule about the id or the state also tells the store where to look.
func ParseFilter(where []string) (Filter, error) {
	var f Filter
	for _, rule := range where {
		rule, not := strings.CutPrefix(rule, "!")
		field, value, ok := strings.Cut(rule, "=")
		if !ok {
			return Filter{}, fmt.Errorf("%w: rule %q is not of the form field=value", ErrWhere, rule)
		}
		holds, err := ParseCondition(field, value)
		if err != nil {
			return Filter{}, err
		}
		switch {
		case not:
			f.Where = append(f.Where, Not(holds))
		case field == "id" && f.IDs == nil:
			f.IDs, _ = parseIDs(value) // ParseCondition read the same
		case field == "state" && f.States == nil:
			f.States, _ = parseStates(value)
		default:
			f.Where = append(f.Where, holds)
		}
	}
	return f, nil
}

// ParseCondition reads one rule as an operator writes it. Values separated by
// commas are alternatives. The fields:
//
//	id, state                         exact words
//	from, to, domain, message-id      pattern: exact, @domain, * for any letters, /expression/
//	reply                             three digits, or a pattern for the whole last reply: 451*
//	enhanced                          pattern for the enhanced status code
//	client                            IP address or CIDR block
//	older, newer                      duration since the message was accepted: 2h, 3d
//	next, expires                     duration until then, with < or >: <15m
//	size                              bytes, K, M or G (powers of 1024), with < or >: >10M
//	attempts                          number, also with < > <= >=
func ParseCondition(field, value string) (Condition, error) {
	parse, ok := fields[field]
	if !ok {
		return nil, fmt.Errorf("%w: no field %q", ErrWhere, field)
	}
	if strings.TrimSpace(value) == "" {
		return nil, fmt.Errorf("%w: %s has no value (the null reverse-path is written <>)", ErrWhere, field)
	}
	holds, err := parse(value)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrWhere, field, err)
	}
	return holds, nil
}

// Not negates a condition.
func Not(c Condition) Condition {
	return func(m Message, now time.Time) bool { return !c(m, now) }
}

// fields is a table that nobody changes.
var fields = map[string]func(string) (Condition, error){
	"id":         idCondition,
	"state":      stateCondition,
	"from":       anyOf(matching(func(m Message) []string { return []string{m.Envelope.ReversePath} })),
	"to":         anyOf(matching(forwardPaths)),
	"domain":     anyOf(matching(domains)),
	"message-id": anyOf(messageIDCondition),
	"reply":      anyOf(replyCondition),
	"enhanced":   anyOf(matching(enhancedCodes)),
	"client":     anyOf(clientCondition),
	"older":      anyOf(ageCondition(">")),
	"newer":      anyOf(ageCondition("<")),
	"next":       anyOf(timeCondition(untilNext)),
	"expires":    anyOf(timeCondition(untilExpiry)),
	"size":       anyOf(sizeCondition),
	"attempts":   anyOf(attemptsCondition),
}

// anyOf makes a parser of one value into a parser of alternatives.
func anyOf(parse func(string) (Condition, error)) func(string) (Condition, error) {
	return func(list string) (Condition, error) {
		var some []Condition
		for _, value := range splitValues(list) {
			if value = strings.TrimSpace(value); value == "" {
				return nil, fmt.Errorf("%q has an empty value", list)
			}
			c, err := parse(value)
			if err != nil {
				return nil, err
			}
			some = append(some, c)
		}
		return func(m Message, now time.Time) bool {
			for _, c := range some {
				if c(m, now) {
					return true
				}
			}
			return false
		}, nil
	}
}

// splitValues splits at commas that are neither in "quotes" nor in an /expression/.
func splitValues(list string) []string {
	var values []string
	start, quoted, expression := 0, false, false
	for i := range len(list) {
		switch c := list[i]; {
		case c == '"' && !expression:
			quoted = !quoted
		case c == '/' && !quoted && (expression || i == start):
			// An expression ends at the slash before a comma or the end; others are its own.
			expression = !expression || (i+1 < len(list) && list[i+1] != ',')
		case c == ',' && !quoted && !expression:
			values = append(values, list[start:i])
			start = i + 1
		}
	}
	return append(values, list[start:])
}

func parseIDs(list string) ([]ID, error) {
	var ids []ID
	for _, word := range strings.Split(list, ",") {
		id, err := ParseID(strings.TrimSpace(word))
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func idCondition(list string) (Condition, error) {
	ids, err := parseIDs(list)
	chosen := make(map[ID]bool, len(ids)) // there may be as many as there are messages
	for _, id := range ids {
		chosen[id] = true
	}
	return func(m Message, _ time.Time) bool { return chosen[m.ID] }, err
}

func parseStates(list string) ([]State, error) {
	var states []State
	for _, word := range strings.Split(list, ",") {
		var s State
		if err := s.UnmarshalText([]byte(strings.TrimSpace(word))); err != nil {
			return nil, fmt.Errorf("no state %q (there are %s)", word, strings.Join(stateNames, " "))
		}
		states = append(states, s)
	}
	return states, nil
}

func stateCondition(list string) (Condition, error) {
	states, err := parseStates(list)
	return func(m Message, _ time.Time) bool { return Filter{States: states}.wants(m) }, err
}

// matching makes a parser of patterns for what get finds in a message.
func matching(get func(Message) []string) func(string) (Condition, error) {
	return func(value string) (Condition, error) {
		match, err := parsePattern(value)
		return func(m Message, _ time.Time) bool { return slices.ContainsFunc(get(m), match) }, err
	}
}

func forwardPaths(m Message) (paths []string) {
	for _, r := range m.Envelope.Recipients {
		paths = append(paths, r.ForwardPath)
	}
	return paths
}

func domains(m Message) (names []string) {
	for _, r := range m.Envelope.Recipients {
		names = append(names, r.ForwardPath[strings.LastIndexByte(r.ForwardPath, '@')+1:])
	}
	return names
}

func replies(m Message) (all []Reply) {
	for _, r := range m.Envelope.Recipients {
		if r.Last.Reply != (Reply{}) {
			all = append(all, r.Last.Reply)
		}
	}
	return all
}

func enhancedCodes(m Message) (codes []string) {
	for _, r := range replies(m) {
		codes = append(codes, r.Enhanced)
	}
	return codes
}

// messageIDCondition takes the Message-ID with or without its brackets.
func messageIDCondition(value string) (Condition, error) {
	bare := func(id string) string { return strings.TrimSuffix(strings.TrimPrefix(id, "<"), ">") }
	if value != "<>" {
		value = bare(value)
	}
	return matching(func(m Message) []string { return []string{bare(m.MessageID)} })(value)
}

func replyCondition(value string) (Condition, error) {
	if code, err := strconv.ParseUint(value, 10, 16); err == nil && len(value) == 3 {
		return func(m Message, _ time.Time) bool {
			return slices.ContainsFunc(replies(m), func(r Reply) bool { return r.Code == int(code) })
		}, nil
	}
	return matching(func(m Message) (lines []string) {
		for _, r := range replies(m) {
			lines = append(lines, r.String())
		}
		return lines
	})(value)
}

// parsePattern reads a pattern. Letters match in both cases.
func parsePattern(value string) (func(string) bool, error) {
	switch {
	case len(value) > maxPattern:
		return nil, fmt.Errorf("pattern of %d bytes; %d are allowed", len(value), maxPattern)
	case value == "<>":
		return func(s string) bool { return s == "" }, nil
	case len(value) > 1 && value[0] == '/' && value[len(value)-1] == '/':
		re, err := regexp.Compile("(?is:" + value[1:len(value)-1] + ")")
		if err != nil {
			return nil, err
		}
		return re.MatchString, nil
	case strings.Contains(value, "*"):
		parts := strings.Split(value, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		re, err := regexp.Compile("(?is)^" + strings.Join(parts, ".*") + "$")
		if err != nil {
			return nil, err
		}
		return re.MatchString, nil
	case strings.HasPrefix(value, "@"):
		return func(s string) bool {
			at := strings.LastIndexByte(s, '@')
			return at >= 0 && strings.EqualFold(s[at:], value)
		}, nil
	}
	return func(s string) bool { return strings.EqualFold(s, value) }, nil
}

func clientCondition(value string) (Condition, error) {
	block, err := netip.ParsePrefix(value)
	if err != nil {
		var address netip.Addr
		if address, err = netip.ParseAddr(value); err != nil {
			return nil, fmt.Errorf("%q is no IP address and no CIDR block", value)
		}
		block = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen())
	}
	return func(m Message, _ time.Time) bool {
		client, err := netip.ParseAddr(m.Envelope.Origin.Address)
		return err == nil && block.Contains(client.Unmap())
	}, nil
}

// ageCondition compares the age of a message; op is part of the field's meaning.
func ageCondition(op string) func(string) (Condition, error) {
	return func(value string) (Condition, error) {
		d, err := ParseDuration(value)
		return func(m Message, now time.Time) bool { return compare(op, int64(now.Sub(m.AcceptedAt)), int64(d)) }, err
	}
}

// timeCondition compares the time left until an instant that not every message has.
func timeCondition(left func(Message, time.Time) (time.Duration, bool)) func(string) (Condition, error) {
	return func(value string) (Condition, error) {
		op, rest := cutOperator(value)
		if op == "" {
			return nil, fmt.Errorf("%q: write <%s or >%s", value, value, value)
		}
		d, err := ParseDuration(rest)
		return func(m Message, now time.Time) bool {
			have, ok := left(m, now)
			return ok && compare(op, int64(have), int64(d))
		}, err
	}
}

func untilNext(m Message, now time.Time) (time.Duration, bool) {
	return m.NextAttempt.Sub(now), m.Held == "" && len(m.Pending()) > 0
}

func untilExpiry(m Message, now time.Time) (time.Duration, bool) {
	return m.Expires(now).Sub(now), len(m.Pending()) > 0
}

func sizeCondition(value string) (Condition, error) {
	op, rest := cutOperator(value)
	if op == "" {
		return nil, fmt.Errorf("%q: write <%s or >%s", value, value, value)
	}
	size, err := ParseSize(rest)
	return func(m Message, _ time.Time) bool { return compare(op, m.Size, size) }, err
}

func attemptsCondition(value string) (Condition, error) {
	op, rest := cutOperator(value)
	n, err := strconv.ParseUint(rest, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%q is no number", rest)
	}
	return func(m Message, _ time.Time) bool { return compare(op, int64(m.Attempts), int64(n)) }, nil
}

func cutOperator(value string) (op, rest string) {
	for _, op := range []string{"<=", ">=", "<", ">", "="} {
		if rest, ok := strings.CutPrefix(value, op); ok {
			return op, rest
		}
	}
	return "", value
}

// compare holds "have op want"; no operator is equality.
func compare(op string, have, want int64) bool {
	switch op {
	case "<":
		return have < want
	case "<=":
		return have <= want
	case ">":
		return have > want
	case ">=":
		return have >= want
	}
	return have == want
}

// ParseDuration reads what time.ParseDuration reads, and days: 3d, 1d12h. It is never negative.
func ParseDuration(value string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is no duration (write 90s, 15m, 2h, 3d)", value)
	var total time.Duration
	rest := value
	if days, after, ok := strings.Cut(value, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16) // up to 179 years
		if err != nil {
			return 0, wrong
		}
		total, rest = time.Duration(n)*24*time.Hour, after
		if rest == "" {
			return total, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || total+d < 0 {
		return 0, wrong
	}
	return total + d, nil
}

// ParseSize reads a number of bytes, also with K, M or G (powers of 1024) and
// the endings of KB and KiB.
func ParseSize(value string) (int64, error) {
	number, bytes := strings.CutSuffix(strings.ToUpper(value), "B")
	if bytes {
		number = strings.TrimSuffix(number, "I")
	}
	shift := 0
	if number != "" {
		if i := strings.IndexByte("KMG", number[len(number)-1]); i >= 0 {
			shift, number = 10*(i+1), number[:len(number)-1]
		}
	}
	n, err := strconv.ParseUint(number, 10, 63-shift)
	if err != nil {
		return 0, fmt.Errorf("%q is no size (write 500, 30K, 10M, 2G)", value)
	}
	return int64(n) << shift, nil
}
