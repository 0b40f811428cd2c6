package report

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The files of a bundle.
const (
	fileReadMe   = "README.txt"
	fileMarkdown = "report.md"
	fileHTML     = "report.html"
	fileJSON     = "report.json"
	fileMessages = "messages.csv"
	fileProbes   = "probes.csv"
	fileReplies  = "replies.csv"
	fileStates   = "states.csv"
	fileTimeline = "timeline.csv"
	fileLedger   = "ledger.jsonl"
	fileSums     = "SHA256SUMS"
)

// JSON writes a report as a document. It is pure.
func JSON(r Report) ([]byte, error) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	out.SetIndent("", " ")
	err := out.Encode(r)
	return b.Bytes(), err
}

// derived are the files that follow from a Report alone, in their order.
func derived(r Report) ([]file, error) {
	page, err := HTML(r, Everybody)
	if err != nil {
		return nil, err
	}
	document, err := JSON(r)
	if err != nil {
		return nil, err
	}
	all := []file{{fileReadMe, []byte(readMe(r))}, {fileMarkdown, Markdown(r, Everybody)}, {fileHTML, page}, {fileJSON, document}}
	for _, one := range []struct {
		name  string
		write func(Report) ([]byte, error)
	}{{fileReplies, replyTable}, {fileStates, stateTable}, {fileTimeline, timelineTable}} {
		text, err := one.write(r)
		if err != nil {
			return nil, err
		}
		all = append(all, file{one.name, text})
	}
	return all, nil
}

type file struct {
	name string
	text []byte
}

func readMe(r Report) string {
	text := "This is all that was recorded of " + r.Incident.ID + ". To check it: mxkeep incident verify FILE, or\n" +
		"without mxkeep: sha256sum -c SHA256SUMS\n\n" +
		"report.html    for people; report.md and report.json are the same\n" +
		"messages.csv   what became of each message, for each recipient; the figures are counted from it\n" +
		"probes.csv     each observation of the primary, and failed attempts\n" +
		"replies.csv    equal replies with the first and last time, servers and session ids\n" +
		"states.csv     each change of what was thought of the primary\n" +
		"timeline.csv   what happened\n"
	if r.Redacted {
		text += "\nAddresses, Message-IDs, and the names of clients and people are pseudonyms, equal ones for\n" +
			"equal ones. So the ledger is not here: report.json has its hashes, by which it can be shown later.\n"
	} else if r.Chain != nil {
		text += "ledger.jsonl   the ledger with the hash of each line; messages.csv follows from it\n"
	}
	return text + "\nTables are UTF-8 as RFC 4180 has it. A cell that begins with = + - @ or ' has a ' before it; a line\n" +
		"end within a text is \" | \", and other control characters are U+FFFD. Times are UTC.\n" +
		"unconfirmed: the reply was lost, the primary may have it twice. unaccounted: no record says what became of it.\n"
}

// tableOf writes a table.
func tableOf(titles string, rows func(add func(...string) error) error) ([]byte, error) {
	var b bytes.Buffer
	t, err := newTable(&b, strings.Fields(titles)...)
	if err == nil {
		err = rows(t.row)
	}
	if err == nil {
		err = t.end()
	}
	return b.Bytes(), err
}

func replyTable(r Report) ([]byte, error) {
	return tableOf("source command code enhanced text count first_at last_at servers sessions", func(add func(...string) error) error {
		for _, one := range r.Replies {
			if err := add(string(one.Source), one.Command, strconv.Itoa(one.Code), one.Enhanced, one.Text, strconv.FormatInt(one.Count, 10), instant(one.First), instant(one.Last),
				strings.Join(one.Servers, "; "), strings.Join(one.Sessions, "; ")); err != nil {
				return err
			}
		}
		return nil
	})
}

func stateTable(r Report) ([]byte, error) {
	return tableOf("at upstream kind from to actor why", func(add func(...string) error) error {
		for _, c := range r.Changes {
			if err := add(instant(c.At), c.Upstream, string(c.Kind), c.From, c.To, c.Actor, c.Why); err != nil {
				return err
			}
		}
		return nil
	})
}

func timelineTable(r Report) ([]byte, error) {
	return tableOf("at what actor text", func(add func(...string) error) error {
		for _, m := range r.Timeline {
			if err := add(instant(m.At), m.What, m.Actor, m.Text); err != nil {
				return err
			}
		}
		return nil
	})
}

// Bundle writes all forms of a finished report, with their sums, as a ZIP file.
// ledger writes the export of the ledger; nil leaves it out, as it must be if
// the report is redacted.
func Bundle(w io.Writer, r Report, b *Builder, ledger func(io.Writer) error) error {
	all, err := derived(r)
	if err != nil {
		return err
	}
	p := &packing{zip: zip.NewWriter(w), report: r}
	for _, one := range all {
		if err := p.add(one.name, func(w io.Writer) error { _, err := w.Write(one.text); return err }); err != nil {
			return err
		}
	}
	for _, one := range []struct {
		name  string
		write func(io.Writer) error
	}{{fileMessages, b.Messages}, {fileProbes, b.Probes}, {fileLedger, ledger}} {
		if one.write == nil {
			continue
		}
		if err := p.add(one.name, one.write); err != nil {
			return err
		}
	}
	sums := p.sums.String()
	if err := p.add(fileSums, func(w io.Writer) error { _, err := io.WriteString(w, sums); return err }); err != nil {
		return err
	}
	return p.zip.Close()
}

// packing writes files and notes their sums.
type packing struct {
	zip    *zip.Writer
	report Report
	sums   strings.Builder
}

func (p *packing) add(name string, write func(io.Writer) error) error {
	w, err := p.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: p.report.Prepared})
	if err != nil {
		return err
	}
	sum := sha256.New()
	if err := write(io.MultiWriter(w, sum)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(&p.sums, "%s  %s\n", hex.EncodeToString(sum.Sum(nil)), name)
	return nil
}
