package reply

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// header names the cells of a line of the table.
const header = "row code enhanced tag text phase class action scope note advice"

// lastRow is the last row of the catalogue; row 0 is for servers in general.
const lastRow = 126

var (
	failures = []Failure{NotResolved, Refused, TimedOut, Reset, TLSFailed, Ourselves}
	phases   = []health.Phase{health.PhaseResolve, health.PhaseConnect, health.PhaseBanner, health.PhaseHello, health.PhaseTLS,
		health.PhaseMail, health.PhaseRcpt, health.PhaseData, health.PhaseFinal, health.PhaseReset}
	scopeOf = []Scope{health.OK: ScopeNone, health.Outage: ScopeUpstream, health.Throttle: ScopeOwn, health.Misconfigured: ScopeOwn,
		health.Temporary: ScopeMessage, health.Recipient: ScopeRecipient, health.Policy: ScopeMessage}
)

// read reads the lines below the header of a page's table.
func read(page string) (catalogue, error) {
	var c catalogue
	seen := map[string]bool{}
	inTable := false
	for i, text := range strings.Split(page, "\n") {
		text = strings.TrimSpace(text)
		cells := split(strings.TrimSuffix(strings.TrimPrefix(text, "|"), "|"), "|")
		source := strings.Join(cells, " ")
		switch {
		case source == header:
			inTable = true
			continue
		case !inTable || text == "" || strings.HasPrefix(text, "|--"):
			continue
		case seen[source]:
			return nil, fmt.Errorf("catalogue, line %d: stands there twice", i+1)
		}
		seen[source] = true
		l, err := readLine(cells)
		if err != nil {
			return nil, fmt.Errorf("catalogue, line %d: %w", i+1, err)
		}
		l.source = source
		c = append(c, l)
	}
	if len(c) == 0 {
		return nil, errors.New("catalogue: no table")
	}
	return c, nil
}

func readLine(cells []string) (line, error) {
	if len(cells) != len(strings.Fields(header)) {
		return line{}, fmt.Errorf("%d cells", len(cells))
	}
	l := line{tags: split(cells[3], ","), texts: split(strings.ToLower(cells[4]), " / ")}
	if slices.Contains(l.tags, "") || slices.Contains(l.texts, "") {
		return line{}, errors.New("empty tag or text")
	}
	l.verdict.Advice = cells[10]
	err := errors.Join(
		l.readRow(cells[0]),
		l.readCodes(cells[1]),
		l.readStatuses(cells[2]),
		l.readPhases(cells[5]),
		l.verdict.Class.UnmarshalText([]byte(cells[6])),
		l.readAction(cells[7]),
		l.readScope(cells[8]),
		l.readNotes(cells[9]),
	)
	return l, err
}

func (l *line) readRow(cell string) error {
	row, err := strconv.ParseUint(cell, 10, 8)
	if err != nil || row > lastRow {
		return fmt.Errorf("row %q", cell)
	}
	l.verdict.Row = int(row)
	return nil
}

func (l *line) readCodes(cell string) error {
	for _, word := range split(cell, ",") {
		if slices.Contains(failures, Failure(word)) {
			l.failures = append(l.failures, Failure(word))
			continue
		}
		s, err := readSpan(word, "xx")
		if err != nil || s.from < 200 || s.to > 599 {
			return fmt.Errorf("code %q", word)
		}
		l.codes = append(l.codes, s)
	}
	if (l.codes == nil) == (l.failures == nil) {
		return fmt.Errorf("code %q: want codes or failures", cell)
	}
	return nil
}

func (l *line) readStatuses(cell string) error {
	for _, word := range split(cell, ",") {
		if word == "none" {
			l.statuses = append(l.statuses, statusRange{})
			continue
		}
		var r statusRange
		var detail string
		if n, _ := fmt.Sscanf(word, "%1d.%3d.%s", &r.class, &r.subject, &detail); n != 3 {
			return fmt.Errorf("enhanced code %q", word)
		}
		var err error
		if r.detail, err = readSpan(detail, "x"); err != nil {
			return fmt.Errorf("enhanced code %q: %w", word, err)
		}
		l.statuses = append(l.statuses, r)
	}
	return nil
}

// readSpan reads 5, 5-9, or a number that ends in the wildcard: 5xx, or x alone for 0-999.
func readSpan(word, wildcard string) (span, error) {
	low, high, _ := strings.Cut(word, "-")
	if before, ok := strings.CutSuffix(word, wildcard); ok {
		low, high = before+strings.Repeat("0", len(wildcard)), before+strings.Repeat("9", len(wildcard))
		if before == "" {
			high = "999"
		}
	}
	if high == "" {
		high = low
	}
	from, err := strconv.ParseUint(low, 10, 16)
	to, err2 := strconv.ParseUint(high, 10, 16)
	if err := errors.Join(err, err2); err != nil {
		return span{}, err
	}
	if from > to || to > 999 {
		return span{}, fmt.Errorf("range %q", word)
	}
	return span{int(from), int(to)}, nil
}

func (l *line) readPhases(cell string) error {
	for _, word := range strings.Fields(cell) {
		if !slices.Contains(phases, health.Phase(word)) {
			return fmt.Errorf("phase %q", word)
		}
		l.phases = append(l.phases, health.Phase(word))
	}
	return nil
}

func (l *line) readAction(cell string) error {
	i := slices.Index(actionNames, cell)
	if i < 0 {
		return fmt.Errorf("action %q", cell)
	}
	l.verdict.Action = Action(i)
	return nil
}

// readScope comes after the class, which says the scope of most lines.
func (l *line) readScope(cell string) error {
	l.verdict.Scope = scopeOf[l.verdict.Class]
	if cell == "" {
		return nil
	}
	i := slices.Index(scopeNames, cell)
	if i < 0 {
		return fmt.Errorf("scope %q", cell)
	}
	l.verdict.Scope = Scope(i)
	return nil
}

func (l *line) readNotes(cell string) error {
	for _, note := range split(cell, ",") {
		condition, class, conditional := strings.Cut(note, ": ")
		switch {
		case conditional:
			l.verdict.Condition = condition
			if err := l.verdict.Then.UnmarshalText([]byte(class)); err != nil {
				return err
			}
		case note == "low":
			l.verdict.Low = true
		default:
			var err error
			if l.verdict.Slow, err = time.ParseDuration(note); err != nil {
				return err
			}
		}
	}
	return nil
}

// split returns the trimmed pieces of a cell, none for an empty one.
func split(cell, separator string) []string {
	if strings.TrimSpace(cell) == "" {
		return nil
	}
	pieces := strings.Split(cell, separator)
	for i := range pieces {
		pieces[i] = strings.TrimSpace(pieces[i])
	}
	return pieces
}
