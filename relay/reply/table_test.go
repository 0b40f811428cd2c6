package reply

import (
	"strings"
	"testing"
)

// rest is the right half of a line that only its left half is about.
const rest = " outage | retry | | | |"

// table makes a page of lines.
func table(lines ...string) string {
	return "# A page\n\n| row | for people |\n\n| " + strings.ReplaceAll(header, " ", " | ") + " |\n|----|\n" + strings.Join(lines, "\n") + "\n"
}

func TestReadTable(t *testing.T) {
	c, err := read(table("| 126 | 250, 4xx, 500-503 | none, 4.7.1-9, 5.3.x | A, B* | Some TEXT / i/o error | mail rcpt | policy | hold | own | low, 60m, c_d: outage | do it; then, wait |"))
	if err != nil || len(c) != 1 {
		t.Fatalf("%d lines, %v", len(c), err)
	}
	l := c[0]
	if len(l.codes) != 3 || l.codes[0] != (span{250, 250}) || l.codes[1] != (span{400, 499}) || l.codes[2] != (span{500, 503}) {
		t.Errorf("codes %v", l.codes)
	}
	if len(l.statuses) != 3 || l.statuses[0] != (statusRange{}) || l.statuses[1] != (statusRange{4, 7, span{1, 9}}) || l.statuses[2] != (statusRange{5, 3, span{0, 999}}) {
		t.Errorf("enhanced codes %v", l.statuses)
	}
	if strings.Join(l.tags, "/") != "A/B*" || strings.Join(l.texts, "|") != "some text|i/o error" || len(l.phases) != 2 {
		t.Errorf("tags %q, texts %q, phases %q", l.tags, l.texts, l.phases)
	}
	if v := l.verdict; v.Row != 126 || summary(v) != "policy hold own low after 1h0m0s, outage if c_d" || v.Advice != "do it; then, wait" {
		t.Errorf("%+v", v)
	}
}

func TestReadTableRefuses(t *testing.T) {
	good := "| 1 | 451 | 4.3.2 | | | rcpt |" + rest
	for _, test := range []struct{ rule, page, says string }{
		{"no table", "# A page\n", "no table"},
		{"a table without lines", table(), "no table"},
		{"a line twice", table(good, strings.ReplaceAll(good, "|", " | ")[1:]), "twice"},
		{"a cell too few", table(strings.TrimSuffix(good, " |")), "10 cells"},
		{"prose below the table", table(good, "the end"), "1 cells"},
		{"row too high", table(strings.Replace(good, "1", "127", 1)), `row "127"`},
		{"row is no number", table(strings.Replace(good, "1", "one", 1)), `row "one"`},
		{"no code", table(strings.Replace(good, "451", "", 1)), "want codes or failures"},
		{"codes and failures", table(strings.Replace(good, "451", "451, tls", 1)), "want codes or failures"},
		{"code too low", table(strings.Replace(good, "451", "199", 1)), `code "199"`},
		{"code too high", table(strings.Replace(good, "451", "500-600", 1)), `code "500-600"`},
		{"code is no number", table(strings.Replace(good, "451", "fire", 1)), `code "fire"`},
		{"range upside down", table(strings.Replace(good, "451", "451-450", 1)), `code "451-450"`},
		{"enhanced code of two numbers", table(strings.Replace(good, "4.3.2", "4.3", 1)), `enhanced code "4.3"`},
		{"detail of four digits", table(strings.Replace(good, "4.3.2", "4.3.1000", 1)), `range "1000"`},
		{"empty tag", table(strings.Replace(good, "4.3.2 | |", "4.3.2 | A,, B |", 1)), "empty tag"},
		{"empty text", table(strings.Replace(good, "4.3.2 | | |", "4.3.2 | | a /  / b |", 1)), "empty tag or text"},
		{"unknown phase", table(strings.Replace(good, "rcpt", "lunch", 1)), `phase "lunch"`},
		{"unknown class", table(strings.Replace(good, "outage", "bad", 1)), `"bad"`},
		{"unknown action", table(strings.Replace(good, "retry", "dance", 1)), `action "dance"`},
		{"unknown scope", table(strings.Replace(good, "retry | |", "retry | all |", 1)), `scope "all"`},
		{"unknown note", table(strings.Replace(good, "retry | | |", "retry | | soon |", 1)), `"soon"`},
		{"unknown class of a condition", table(strings.Replace(good, "retry | | |", "retry | | x: bad |", 1)), `"bad"`},
	} {
		if c, err := read(test.page); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %d lines, %v; want %q", test.rule, len(c), err, test.says)
		}
	}
}

// FuzzRead: a page is read or refused, and what is read answers.
func FuzzRead(f *testing.F) {
	f.Add(table("| 1 | 451 | 4.3.2 | A* | b / c | rcpt |" + rest))
	f.Add(table("| 1 | tls | | | | | outage | retry | own | low, 60m, x: ok | y |"))
	f.Add("")
	f.Fuzz(func(t *testing.T, page string) {
		if c, err := read(page); err == nil {
			if v := c.classify("rcpt", parse("451 4.3.2 b A1")); v.Row > lastRow {
				t.Fatalf("%q: %+v", page, v)
			}
		}
	})
}
