package recipients

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/mxkeep/mxkeep/relay/csvfile"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

const (
	maxWrong     = 10       // wrong lines that are reported
	maxFile      = 64 << 20 // bytes of a list
	maxAddresses = 1 << 20  // of one source
)

// single are the columns of an export that have one address, plural those that
// have several: in lower case, without spaces.
var (
	single = map[string]bool{"primarysmtpaddress": true, "windowsemailaddress": true, "emailaddress": true, "mail": true, "address": true, "recipient": true}
	plural = map[string]bool{"emailaddresses": true, "proxyaddresses": true, "smtpaddresses": true, "aliases": true}
)

// parse reads a list, one address on a line, or the CSV of an export of
// Exchange Online. name is that of the file, for errors; each names its line.
func parse(name string, r io.Reader) (map[string]struct{}, error) {
	limited := &io.LimitedReader{R: r, N: maxFile + 1}
	text, err := io.ReadAll(csvfile.Text(limited))
	switch {
	case limited.N == 0:
		return nil, fmt.Errorf("%s: it is larger than 64 MiB", name)
	case errors.Is(err, csvfile.ErrCutOff):
		return nil, fmt.Errorf("%s: %w", name, err)
	case err != nil:
		return nil, err
	}
	g := &gathering{name: name, most: maxAddresses, known: map[string]struct{}{}}
	if body, skipped, comma, ok := csvfile.Find(text, known); ok {
		g.csv(body, skipped, comma)
	} else {
		g.lines(text)
	}
	if len(g.wrong) == 0 && len(g.known) == 0 {
		return nil, fmt.Errorf("%s: there is no address in it", name)
	}
	return g.known, errors.Join(g.wrong...)
}

// known says whether a table has addresses.
func known(titles []string) bool { return len(columns(titles)) > 0 }

// columns are those with addresses; true for several in a cell.
func columns(header []string) map[int]bool {
	found := map[int]bool{}
	for i, title := range header {
		title = csvfile.Plain(title)
		if single[title] || plural[title] {
			found[i] = plural[title]
		}
	}
	return found
}

// gathering collects addresses, and what is wrong with others.
type gathering struct {
	name  string
	most  int // addresses
	known map[string]struct{}
	wrong []error
}

func (g *gathering) fail(line int, err error) {
	g.wrong = append(g.wrong, fmt.Errorf("%s:%d: %w", g.name, line, err))
}

// full reports whether no more can be taken or reported.
func (g *gathering) full(line int) bool {
	if len(g.known) > g.most {
		g.fail(line, fmt.Errorf("there are more than %d addresses", g.most))
	}
	return len(g.wrong) >= maxWrong || len(g.known) > g.most
}

// lines reads one address a line.
func (g *gathering) lines(text []byte) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	number := 0
	for lines.Scan() && !g.full(number) {
		number++
		if word := address(lines.Text()); word != "" {
			g.add(number, word)
		}
	}
	if err := lines.Err(); err != nil {
		g.fail(number+1, err)
	}
}

// csv reads the rows of an export.
func (g *gathering) csv(body []byte, skipped int, comma rune) {
	in := csvfile.Reader(bytes.NewReader(body), comma)
	in.ReuseRecord = true
	header, _ := in.Read() // table has read it
	cells := columns(header)
	for line := skipped; !g.full(line); {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			var where *csv.ParseError
			if errors.As(err, &where) {
				line, err = skipped+where.Line, where.Err
			}
			g.fail(line, err)
			return
		}
		at, _ := in.FieldPos(0)
		line = skipped + at
		for i, several := range cells {
			if several {
				g.several(line, row[i])
			} else if word := strings.TrimSpace(row[i]); word != "" {
				g.add(line, bareAddress(word))
			}
		}
	}
}

// typeName is what PowerShell writes in the place of a list that was not joined.
var typeName = regexp.MustCompile(`^(System|Microsoft)\.[A-Za-z.]+`)

// several reads a cell of proxy addresses. The separator is what the one who
// exported chose: a space is PowerShell's own, a plus sign that of the admin
// centre. Only SMTP addresses are taken, from among SIP:, X500: and others.
func (g *gathering) several(line int, cell string) {
	if typeName.MatchString(cell) {
		g.fail(line, fmt.Errorf("%.60q is the name of a type: join the addresses when exporting, as in @{n='EmailAddresses';e={$_.EmailAddresses -join ' '}}", cell))
		return
	}
	for _, word := range strings.FieldsFunc(joint.ReplaceAllString(cell, " $1"), func(r rune) bool { return strings.ContainsRune(" ,;|\t\r\n", r) }) {
		kind, rest, typed := strings.Cut(word, ":")
		switch {
		case typed && strings.EqualFold(kind, "smtp"):
			g.add(line, rest)
		case !typed && strings.Contains(word, "@"):
			g.add(line, word)
		}
	}
}

// joint is a plus sign before the next address. No address without quotes has a colon.
var joint = regexp.MustCompile(`\+([A-Za-z][A-Za-z0-9]*:)`)

// bareAddress takes smtp: from an address.
func bareAddress(word string) string {
	if kind, rest, typed := strings.Cut(word, ":"); typed && strings.EqualFold(kind, "smtp") {
		return rest
	}
	return word
}

// add takes an address.
func (g *gathering) add(line int, word string) {
	path, err := smtp.ParsePath(word)
	if err == nil && path.Domain == "" {
		err = fmt.Errorf("%w: no domain: %.80q", smtp.ErrPath, word)
	}
	var key string
	if err == nil {
		key, err = keyOf(path)
	}
	if err != nil {
		g.fail(line, err)
		return
	}
	g.known[key] = struct{}{}
}

// address takes comment and spaces from a line. A # within an address is part
// of it: a comment begins the line, or has a space before it.
func address(line string) string {
	for i := 0; i < len(line) && !strings.HasPrefix(line, `"`); i++ {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			line = line[:i]
		}
	}
	return strings.TrimSpace(line)
}
