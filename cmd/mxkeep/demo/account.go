package demo

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/integration/primary"
)

// Account joins two records that the relay cannot touch: the sender's journal
// of 250s and the primary's record of what it accepted.
type Account struct {
	Sent       int      `json:"sent"`       // messages that somebody answered with 250
	ViaRelay   int      `json:"via_relay"`  // of these by the relay
	Delivered  int      `json:"delivered"`  // of Sent, those that the primary has
	Lost       []string `json:"lost"`       // Message-IDs with a 250 that the primary does not have
	Duplicated []string `json:"duplicated"` // Message-IDs that the primary has more than once
	Repeated   []string `json:"repeated"`   // of Duplicated: the sender itself sent them twice, after a 250 that it never saw
	Changed    []string `json:"changed"`    // Message-IDs whose bytes differ from what was sent, apart from what was prepended
	Bounced    []string `json:"bounced"`    // Message-IDs that somebody refused for good
}

// ByRelay lists the duplicates that the relay made: those that the sender did not.
func (a Account) ByRelay() []string {
	var ids []string
	for _, id := range a.Duplicated {
		if !slices.Contains(a.Repeated, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// MakeAccount compares what was sent with what arrived.
func MakeAccount(journal []Line, arrived []primary.Delivery) Account {
	a := Account{Lost: []string{}, Duplicated: []string{}, Repeated: []string{}, Changed: []string{}, Bounced: []string{}}
	sent := map[string]Line{}
	unsure := map[string]bool{}
	for _, line := range journal {
		switch line.Outcome {
		case Taken:
			sent[line.ID] = line
			if line.Via == "relay" {
				a.ViaRelay++
			}
		case Unknown:
			unsure[line.ID] = true
		case Bounced:
			a.Bounced = append(a.Bounced, line.ID)
		}
	}
	a.Sent = len(sent)
	copies := map[string]int{}
	for _, d := range arrived {
		id := messageID(d.Content)
		copies[id]++
		if line, ok := sent[id]; ok && !endsWith(d.Content, line) {
			a.Changed = append(a.Changed, id)
		}
	}
	for id := range sent {
		if copies[id] == 0 {
			a.Lost = append(a.Lost, id)
			continue
		}
		a.Delivered++
	}
	for id, n := range copies {
		if n > 1 {
			a.Duplicated = append(a.Duplicated, id)
			if unsure[id] {
				a.Repeated = append(a.Repeated, id)
			}
		}
	}
	for _, ids := range []*[]string{&a.Lost, &a.Duplicated, &a.Repeated, &a.Changed, &a.Bounced} {
		slices.Sort(*ids)
		*ids = slices.Compact(*ids) // of two copies, both may have been changed
	}
	return a
}

// endsWith reports whether content is what was sent, with at most trace header lines before it.
func endsWith(content []byte, line Line) bool {
	if len(content) < line.Size {
		return false
	}
	prepended, rest := content[:len(content)-line.Size], content[len(content)-line.Size:]
	sum := sha256.Sum256(rest)
	if hex.EncodeToString(sum[:]) != line.SHA256 {
		return false
	}
	lines := bytes.HasPrefix(prepended, []byte("Received: ")) && bytes.HasSuffix(prepended, []byte("\r\n"))
	return len(prepended) == 0 || lines && !bytes.Contains(prepended, []byte("\r\n\r\n")) // which would make a body of the header
}

func messageID(content []byte) string {
	for _, field := range strings.Split(string(content[:min(len(content), 4096)]), "\r\n") {
		if id, ok := strings.CutPrefix(field, "Message-ID: "); ok {
			return id
		}
	}
	return ""
}

// ReadJournal reads a sender's journal.
func ReadJournal(path string) ([]Line, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var lines []Line
	for in := json.NewDecoder(bufio.NewReader(file)); ; {
		var line Line
		if err := in.Decode(&line); err == io.EOF {
			return lines, nil
		} else if err != nil {
			return nil, fmt.Errorf("journal line %d: %w", len(lines)+1, err)
		}
		lines = append(lines, line)
	}
}
