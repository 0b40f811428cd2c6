package primary

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Delivery is one accepted message, a line of the record.
type Delivery struct {
	At                time.Time `json:"at"`
	InternalID        int64     `json:"internal_id"` // as in the 250; grows from one to the next, also over restarts
	Address           string    `json:"address"`     // "ip:port" of ours that took it
	Client            string    `json:"client"`      // "ip:port" of the client
	Session           string    `json:"session"`     // as in the banner
	Hello             string    `json:"hello"`
	TLS               string    `json:"tls,omitempty"`                // version, "" for none
	ClientCertificate string    `json:"client_certificate,omitempty"` // its subject
	ReversePath       string    `json:"reverse_path"`
	Params            string    `json:"params,omitempty"` // of MAIL, as sent
	Recipients        []string  `json:"recipients"`
	RecipientParams   []string  `json:"recipient_params"` // of RCPT, one for each of Recipients
	MessageID         string    `json:"message_id,omitempty"`
	Size              int64     `json:"size"`
	SHA256            string    `json:"sha256"`               // of the content
	File              string    `json:"file,omitempty"`       // that has the content, in the record's folder
	Unanswered        bool      `json:"unanswered,omitempty"` // taken, but the scenario cut the line instead of saying 250
	Content           []byte    `json:"-"`                    // without a folder, and from ReadRecord
}

const (
	recordName = "record.jsonl"
	arriving   = "arriving-" // prefix of files whose message is not recorded
	firstID    = 28063237275001
)

// record is what was accepted. With a folder it is durable: a delivery is on
// disk, content first, before add returns.
type record struct {
	folder string

	mu     sync.Mutex
	file   *os.File // nil without a folder
	lastID int64
	kept   []Delivery
	grown  chan struct{} // closed when kept grows, then replaced
	err    error         // the file is in doubt: nothing more is taken
}

// openRecord continues the record in the folder, or keeps one in memory if
// folder is "". What a killed process left behind half written is removed.
func openRecord(folder string) (*record, error) {
	r := &record{folder: folder, lastID: firstID - 1, grown: make(chan struct{})}
	if folder == "" {
		return r, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	left, err := filepath.Glob(filepath.Join(folder, arriving+"*"))
	if err != nil {
		return nil, err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	whole := int64(0)
	r.kept, whole, err = readLines(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if len(r.kept) > 0 {
		r.lastID = r.kept[len(r.kept)-1].InternalID
	}
	r.file, err = os.OpenFile(filepath.Join(folder, recordName), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := r.file.Truncate(whole); err != nil {
		return nil, errors.Join(err, r.file.Close())
	}
	return r, nil
}

// add records the delivery with its content and gives it its InternalID. When
// it returns nil the content belongs to the record.
func (r *record) add(d Delivery, c *content) (Delivery, error) {
	if c.file != nil {
		if err := c.file.Sync(); err != nil {
			return d, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return d, r.err
	}
	d.InternalID = r.lastID + 1
	if c.file == nil {
		d.Content = c.bytes
		c.bytes = nil // the memory stays counted
	} else if d, r.err = r.write(d, c); r.err != nil {
		return d, r.err
	}
	r.lastID = d.InternalID
	r.kept = append(r.kept, d)
	close(r.grown)
	r.grown = make(chan struct{})
	return d, nil
}

// write puts the content and then the line on disk.
func (r *record) write(d Delivery, c *content) (Delivery, error) {
	d.File = fmt.Sprintf("%d.eml", d.InternalID)
	if err := os.Rename(c.file.Name(), filepath.Join(r.folder, d.File)); err != nil {
		return d, err
	}
	if err := errors.Join(c.file.Close(), syncFolder(r.folder)); err != nil {
		return d, err
	}
	c.file = nil
	line, err := json.Marshal(d)
	if err != nil {
		return d, err
	}
	if _, err := r.file.Write(append(line, '\n')); err != nil {
		return d, err
	}
	return d, r.file.Sync()
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// deliveries returns what there is, and a channel that is closed when there is more.
func (r *record) deliveries() ([]Delivery, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept[:len(r.kept):len(r.kept)], r.grown
}

func (r *record) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = errors.New("the record is closed")
	}
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// ReadRecord reads the record in a folder, each Delivery with its Content, all
// of it in memory. The server may be running, or have been killed: a last line
// without its end was never answered and is left out. A content that differs
// from its digest is an error.
func ReadRecord(folder string) ([]Delivery, error) {
	deliveries, _, err := readLines(folder)
	if err != nil {
		return nil, err
	}
	for i := range deliveries {
		d := &deliveries[i]
		if d.File != filepath.Base(d.File) || !strings.HasSuffix(d.File, ".eml") {
			return nil, fmt.Errorf("record of %d: no content file %q", d.InternalID, d.File)
		}
		if d.Content, err = os.ReadFile(filepath.Join(folder, d.File)); err != nil {
			return nil, fmt.Errorf("record of %d: %w", d.InternalID, err)
		}
		if sum := sha256.Sum256(d.Content); hex.EncodeToString(sum[:]) != d.SHA256 {
			return nil, fmt.Errorf("record of %d: %s differs from its digest", d.InternalID, d.File)
		}
	}
	return deliveries, nil
}

// readLines reads the whole lines of a record and returns how many bytes they are.
func readLines(folder string) (deliveries []Delivery, whole int64, err error) {
	file, err := os.Open(filepath.Join(folder, recordName))
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	for in := bufio.NewReader(file); ; {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return deliveries, whole, nil
		}
		if err != nil {
			return nil, 0, err
		}
		var d Delivery
		if err := json.Unmarshal(bytes.TrimSpace(line), &d); err != nil {
			return nil, 0, fmt.Errorf("%s, line %d: %w", recordName, len(deliveries)+1, err)
		}
		deliveries = append(deliveries, d)
		whole += int64(len(line))
	}
}
