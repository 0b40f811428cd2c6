package report

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/queue"
)

// ErrBundle says that a file is no bundle of a report.
var ErrBundle = errors.New("it is no bundle of an incident report")

const (
	maxFaults   = 20       // that are told one by one
	maxEntries  = 32       // files of a bundle
	maxDocument = 64 << 20 // bytes of a file that is read whole
)

// Verified is what was found in a bundle.
type Verified struct {
	Incident    string
	Version     string // that made it
	Redacted    bool
	Files       int
	Rows        int64  // of messages.csv
	Fingerprint string // SHA-256 of SHA256SUMS: who has it noted knows the bundle
	Chain       *Chain
	Notes       []string // what could not be checked
	Faults      []string // the first ones; none if the bundle is whole
}

func (v *Verified) fault(format string, args ...any) {
	if len(v.Faults) < maxFaults {
		v.Faults = append(v.Faults, line(fmt.Sprintf(format, args...)))
	}
}

// Verify checks a bundle: the sums, the chain of the ledger, that messages.csv
// follows from the ledger, that the figures follow from messages.csv and
// probes.csv, and, if this version made it, that the pages follow from the
// figures. dir is for temporary files. ErrBundle if it is none; other errors are
// those of reading.
func Verify(file io.ReaderAt, size int64, dir, version string) (Verified, error) {
	var v Verified
	archive, err := zip.NewReader(file, size)
	if err != nil {
		return v, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	b, err := openBundle(archive)
	if err != nil {
		return v, err
	}
	document, err := b.text(fileJSON)
	if err != nil {
		return v, err
	}
	var r Report
	if err := json.Unmarshal(document, &r); err != nil || r.Schema != Schema || !r.Bins.valid() {
		return v, fmt.Errorf("%w: report.json is no %s", ErrBundle, Schema)
	}
	v.Incident, v.Version, v.Redacted, v.Files = r.Incident.ID, r.Version, r.Redacted, len(b.files)
	if err := b.sums(&v); err != nil {
		return v, err
	}
	if len(v.Faults) > 0 { // what is in them need not be looked at
		return v, nil
	}
	for _, check := range []func(*Verified, Report, string) error{b.chain, b.rows, b.probes} {
		if err := check(&v, r, dir); err != nil {
			return v, err
		}
	}
	if len(v.Faults) == 0 {
		err = b.pages(&v, r, version)
	}
	return v, err
}

// bundle is an archive, by the names in it.
type bundle struct{ files map[string]*zip.File }

func openBundle(archive *zip.Reader) (bundle, error) {
	b := bundle{map[string]*zip.File{}}
	if len(archive.File) > maxEntries {
		return b, fmt.Errorf("%w: %d files", ErrBundle, len(archive.File))
	}
	for _, f := range archive.File {
		if b.files[f.Name] != nil {
			return b, fmt.Errorf("%w: %q is in it twice", ErrBundle, f.Name)
		}
		b.files[f.Name] = f
	}
	for _, name := range []string{fileJSON, fileMessages, fileProbes, fileSums} {
		if b.files[name] == nil {
			return b, fmt.Errorf("%w: there is no %s", ErrBundle, name)
		}
	}
	return b, nil
}

// text is a file that is not large.
func (b bundle) text(name string) ([]byte, error) {
	in, err := b.files[name].Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBundle, name, err)
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxDocument+1))
	if err == nil && len(text) > maxDocument {
		err = fmt.Errorf("it is larger than %d bytes", maxDocument)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBundle, name, err)
	}
	return text, nil
}

// sums compares every file with SHA256SUMS.
func (b bundle) sums(v *Verified) error {
	list, err := b.text(fileSums)
	if err != nil {
		return err
	}
	own := sha256.Sum256(list)
	v.Fingerprint = hex.EncodeToString(own[:])
	summed := map[string]bool{fileSums: true}
	for text := range strings.Lines(string(list)) {
		wanted, name, _ := strings.Cut(strings.TrimRight(text, "\n"), "  ")
		f := b.files[name]
		if f == nil || summed[name] {
			v.fault("SHA256SUMS names %q, which is not in the bundle, or names it twice", name)
			continue
		}
		summed[name] = true
		got, err := sumOf(f)
		switch {
		case err != nil:
			v.fault("%s: %v", name, err)
		case got != wanted:
			v.fault("%s differs from its sum", name)
		}
	}
	for name := range b.files {
		if !summed[name] {
			v.fault("%q is not in SHA256SUMS", name)
		}
	}
	slices.Sort(v.Faults)
	return nil
}

func sumOf(f *zip.File) (string, error) {
	in, err := f.Open()
	if err != nil {
		return "", err
	}
	defer in.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, in)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// chain follows the chain of the ledger.
func (b bundle) chain(v *Verified, r Report, _ string) error {
	v.Chain = r.Chain
	f := b.files[fileLedger]
	switch {
	case r.Chain == nil && f == nil:
		v.Notes = append(v.Notes, "there is no ledger in it: nothing shows that messages.csv was not changed before the bundle was made")
		return nil
	case f == nil && r.Redacted:
		v.Notes = append(v.Notes, "it is redacted, and without the ledger: the relay's own one has the hashes that report.json names")
		return nil
	case f == nil || r.Chain == nil:
		v.fault("either the ledger is missing, or report.json does not name it")
		return nil
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	x, err := queue.VerifyExport(in, nil)
	if err != nil {
		return err
	}
	for _, fault := range x.Faults {
		v.fault("ledger.jsonl: %s", fault)
	}
	if got := ChainOf(x); !reflect.DeepEqual(got, r.Chain) {
		v.fault("ledger.jsonl is not the one that report.json names: lines %d to %d with head %s", got.First, got.Last, got.Head)
	}
	return nil
}

// ChainOf describes an export of the ledger that was verified.
func ChainOf(x queue.Export) *Chain {
	return &Chain{Lines: x.Lines, First: x.First, Last: x.End.Last, Anchor: x.Head.Anchor.String(), Head: x.End.Head.String(), Missing: append([]string{}, x.Missing...)}
}

// rows counts messages.csv again, and compares it with the ledger.
func (b bundle) rows(v *Verified, r Report, dir string) (err error) {
	count, err := newCounter(dir, r.Bins)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, count.close()) }()
	ledger, err := b.ledgerFacts(r, dir)
	if err != nil {
		return err
	}
	compare, end := func(Row) error { return nil }, func() {}
	if ledger != nil {
		defer func() { err = errors.Join(err, ledger.Close()) }()
		next, stop := iter.Pull2(ledger.rows(r.Incident))
		defer stop()
		compare = follower(v, next)
		end = func() {
			if extra, _, more := next(); more {
				v.fault("messages.csv lacks %s for %s, which is in the ledger", extra.ID, extra.Recipient)
			}
		}
	}
	in, err := b.files[fileMessages].Open()
	if err != nil {
		return err
	}
	defer in.Close()
	if err := readRows(in, func(row Row) error {
		v.Rows++
		if err := count.add(row); err != nil {
			return err
		}
		return compare(row)
	}); err != nil {
		v.fault("messages.csv: %v", err)
		return nil
	}
	end()
	mail, err := count.sum()
	if err != nil {
		return err
	}
	if !sameDocument(mail, r.Mail) {
		v.fault("the figures of report.json do not follow from messages.csv")
	}
	return nil
}

// follower compares rows with those that follow from the ledger. Of what waits,
// only the queue has known in which state.
func follower(v *Verified, next func() (Row, error, bool)) func(Row) error {
	cells := rowCells()
	return func(row Row) error {
		wanted, err, more := next()
		switch {
		case err != nil:
			return err
		case !more:
			return fmt.Errorf("%s for %s is not in the ledger", row.ID, row.Recipient)
		}
		var state queue.State
		if wanted.State == Unaccounted && (row.State == Unaccounted || state.UnmarshalText([]byte(row.State)) == nil && (!state.Final() || state == queue.StateDeleted)) {
			wanted.State = row.State
		}
		for _, c := range cells {
			if c.get(&row) != c.get(&wanted) {
				v.fault("messages.csv: %s for %s: %s is %.80q, and %.80q by the ledger", row.ID, row.Recipient, c.name, c.get(&row), c.get(&wanted))
			}
		}
		return nil
	}
}

// sameDocument compares what JSON shows of two values.
func sameDocument(a, b any) bool {
	first, wrong := json.Marshal(a)
	second, bad := json.Marshal(b)
	return wrong == nil && bad == nil && bytes.Equal(first, second)
}

// ledgerFacts gathers the lines of the ledger that the report was made of; nil
// if it is not there. What is no line is left out: the chain has told of it.
func (b bundle) ledgerFacts(r Report, dir string) (*facts, error) {
	f := b.files[fileLedger]
	if f == nil {
		return nil, nil
	}
	in, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	all, err := newFacts(dir)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxDocument)
	for lines.Scan() {
		var one struct {
			Seq  uint64 `json:"seq"`
			Line string `json:"line"`
		}
		var e queue.Entry
		if json.Unmarshal(lines.Bytes(), &one) != nil || one.Line == "" || one.Seq > r.Through || json.Unmarshal([]byte(one.Line), &e) != nil || e.ID == "" || e.At.Before(r.Incident.From) {
			continue
		}
		e.Seq = one.Seq
		if err := all.line(e); err != nil {
			return nil, errors.Join(err, all.Close())
		}
	}
	if err := lines.Err(); err != nil {
		return nil, errors.Join(err, all.Close())
	}
	return &all, nil
}

// probes counts probes.csv again.
func (b bundle) probes(v *Verified, r Report, _ string) error {
	in, err := b.files[fileProbes].Open()
	if err != nil {
		return err
	}
	defer in.Close()
	got, err := readProbes(in, r.Bins)
	switch {
	case err != nil:
		v.fault("probes.csv: %v", err)
	case !sameDocument(got, r.Probes):
		v.fault("the observations of report.json do not follow from probes.csv")
	}
	return nil
}

// pages makes the pages anew.
func (b bundle) pages(v *Verified, r Report, version string) error {
	if r.Version != version {
		v.Notes = append(v.Notes, fmt.Sprintf("the pages were made by mxkeep %s, this is %s: that they show the figures of report.json was not checked", line(r.Version), version))
		return nil
	}
	all, err := derived(r)
	if err != nil {
		return err
	}
	for _, one := range all {
		if b.files[one.name] == nil {
			v.fault("there is no %s", one.name)
			continue
		}
		got, err := b.text(one.name)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, one.text) {
			v.fault("%s does not follow from report.json", one.name)
		}
	}
	return nil
}
