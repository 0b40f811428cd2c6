package report

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/incident"
)

// ErrOrder says that evidence came in the wrong order, or without its end.
var ErrOrder = errors.New("evidence without its beginning or its end")

// maxChanges bounds the changes that are kept.
const maxChanges = 20000

// Options say how a report is made.
type Options struct {
	Dir     string // for temporary files; "" is the system's
	Key     []byte // of pseudonyms for addresses; nil shows addresses
	Version string // of the program that makes it; "" is that of the relay
}

// Builder makes a report of evidence. It is for one goroutine; Close must be called.
type Builder struct {
	redact   *redactor
	options  Options
	report   Report
	incident health.Incident // not redacted
	aside    int64
	facts    facts
	messages *os.File
	probes   *os.File
	signals  *table
	out      *bufio.Writer // of probes
	began    bool
	ended    bool
}

// NewBuilder makes a Builder, and its temporary files.
func NewBuilder(o Options) (b *Builder, err error) {
	b = &Builder{options: o}
	if o.Key != nil {
		b.redact = &redactor{o.Key}
	}
	if b.facts, err = newFacts(o.Dir); err != nil {
		return nil, err
	}
	for _, file := range []**os.File{&b.messages, &b.probes} {
		if *file, err = os.CreateTemp(o.Dir, "mxkeep-report-"); err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	b.out = bufio.NewWriter(b.probes)
	if b.signals, err = newTable(b.out, probeTitles()...); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Close removes the temporary files.
func (b *Builder) Close() error {
	all := []error{b.facts.Close()}
	for _, file := range []*os.File{b.messages, b.probes} {
		if file != nil {
			all = append(all, file.Close(), os.Remove(file.Name()))
		}
	}
	return errors.Join(all...)
}

// Take takes a piece of evidence.
func (b *Builder) Take(p incident.Piece) error {
	if b.ended || b.began == (p.Head != nil) {
		return ErrOrder
	}
	switch {
	case p.Head != nil:
		b.head(*p.Head)
	case p.Change != nil:
		if len(b.report.Changes) < maxChanges {
			b.report.Changes = append(b.report.Changes, b.redact.change(*p.Change))
		}
	case p.Sample != nil:
		texts := probeRow(b.redact.signal(*p.Sample))
		if err := b.signals.row(texts...); err != nil {
			return err
		}
		for n := range texts {
			texts[n] = unguard(texts[n])
		}
		one, err := parseProbe(texts)
		b.report.Probes.add(one, b.report.Bins)
		return err
	case p.Line != nil:
		return b.facts.line(*p.Line)
	case p.Waiting != nil:
		return b.facts.waiting(*p.Waiting)
	case p.End != nil:
		b.ended = true
		b.report.Through, b.report.Unread = p.End.Through, p.End.Unread
		b.report.NoHistory = b.report.NoHistory || p.End.NoHistory
	}
	return nil
}

func (b *Builder) head(h incident.Head) {
	b.began = true
	i, f := h.Record.Incident, h.Record.Figures
	b.incident = i
	b.aside = f.Account.SetAside
	shown := b.redact.incident(i)
	shown.Moments, shown.Figures = nil, nil
	b.report = Report{Schema: Schema, Prepared: whole(h.At), Version: cmp.Or(b.options.Version, h.Version), Relay: b.redact.name("h", h.Relay), Redacted: b.redact != nil, Incident: shown,
		Timeline: b.redact.moments(h.Record.Timeline), Replies: b.redact.replies(f.Replies), Bins: binsOf(i, h.At), Passed: f.Account.Passed, NoHistory: f.NoHistory,
		Changes: []health.Change{}, Domains: []string{}}
	for _, d := range h.Domains {
		b.report.Domains = append(b.report.Domains, b.redact.domain(d))
	}
	if i.State == health.IncidentClosed {
		b.report.AtClose = &Closing{At: whole(f.At), Account: f.Account}
	}
	b.report.Probes = newProbes(b.report.Bins)
}

// Finish makes the report of what was taken. chain may be nil.
func (b *Builder) Finish(chain *Chain) (r Report, err error) {
	if !b.ended {
		return r, ErrOrder
	}
	if err := errors.Join(b.signals.end(), b.out.Flush()); err != nil {
		return r, err
	}
	count, err := newCounter(b.options.Dir, b.report.Bins)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, count.close()) }()
	out := bufio.NewWriter(b.messages)
	rows, err := newRowTable(out)
	if err != nil {
		return r, err
	}
	for row, err := range b.facts.rows(b.incident) {
		if err != nil {
			return r, err
		}
		row = b.redact.row(row)
		if err := errors.Join(count.add(row), rows.write(row)); err != nil {
			return r, err
		}
	}
	if err := errors.Join(rows.end(), out.Flush()); err != nil {
		return r, err
	}
	if b.report.Mail, err = count.sum(); err != nil {
		return r, err
	}
	b.report.Aside = min(b.aside, b.report.Mail.Account.Remainder)
	b.report.Chain = chain
	b.report.Probes.sort()
	slices.SortStableFunc(b.report.Replies, func(a, b incident.Replies) int { return cmp.Compare(b.Count, a.Count) })
	return b.report, nil
}

// Messages copies messages.csv, after Finish.
func (b *Builder) Messages(w io.Writer) error { return copyFile(b.messages, w) }

// Probes copies probes.csv, after Finish.
func (b *Builder) Probes(w io.Writer) error { return copyFile(b.probes, w) }

// Rows calls each with every row of messages.csv, after Finish.
func (b *Builder) Rows(each func(Row) error) error {
	if _, err := b.messages.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return readRows(b.messages, each)
}

func copyFile(file *os.File, w io.Writer) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(w, file)
	return err
}
