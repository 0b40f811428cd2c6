package queue

import "time"

// File is one file of a store that keeps mail in files.
type File struct {
	Name       string
	CreatedAt  time.Time
	Size       int64 // bytes that it takes of the disk
	Used       int64 // bytes in use
	Youngest   bool  // takes new mail
	Account    Account
	Messages   map[State]int64 // messages that are not final
	Bytes      int64           // content of messages that are not final
	Oldest     time.Time       // AcceptedAt of the first message, by ID, that is not final; zero if none
	Damaged    int64           // as in Stats
	Unreadable int64           // as in Stats
}

// Aside is a file that cannot be used as it is, with the recipients it held.
type Aside struct {
	File       string // its name now
	InUse      bool   // the file is not set aside: only its last changes may be missing
	Gone       bool   // there is no file
	Ledger     bool   // it holds lines of the ledger, and no mail
	At         time.Time
	Why        string
	Recipients int64 // that wait in it, or are not known to have come out of it
	// Certainty says how well Recipients is known.
	Certainty Certainty
	Account   Account   // what is known of the file, SetAside being its recipients that waited
	Salvaged  time.Time // when what could be read was brought back; zero if never
	Closed    time.Time // when a person gave up the rest; zero if never
	Reason    string    // of the person
}

// Open reports whether the file is a person's business still.
func (a Aside) Open() bool {
	return a.Closed.IsZero() && (a.Salvaged.IsZero() || a.Recipients != 0 || a.Certainty != Exact)
}

// Certainty says how well a number is known.
type Certainty uint8

// The certainties.
const (
	Exact   Certainty = iota
	About             // what was last written down, or found in the ruins; later changes are missing
	Unknown           // nothing is known
)

var certaintyNames = []string{"exact", "about", "unknown"}

func (c Certainty) String() string { return name(certaintyNames, int(c)) }

// MarshalText writes the certainty as its word.
func (c Certainty) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the word that MarshalText wrote.
func (c *Certainty) UnmarshalText(text []byte) error {
	i, err := index(certaintyNames, string(text))
	*c = Certainty(i)
	return err
}

// Finding is one thing that a check found wrong.
type Finding struct {
	File string
	ID   ID // of the message; "" if it is about the file
	What string
}

// Checked counts what a check has read.
type Checked struct {
	Files, Messages, Lines int64
	Bytes                  int64 // of content
	Damaged                int64 // things found wrong
	Chain                  Chain
}

// Chain is the chain of hashes over the ledger lines that have been filed.
type Chain struct {
	First, Last  uint64 // numbers of lines; 0 without a line
	Anchor, Head string // the hash before the first line and that of the last, in hexadecimal
	Breaks       int64  // files missing between others, known and set aside
	// Found says that a hash that was asked for is that of the line FoundAt, or
	// goes before the first line after it.
	Found   bool
	FoundAt uint64
}

// Salvage is what a salvage brought back, or would.
type Salvage struct {
	File       string
	Ledger     bool // the file holds lines of the ledger, and no mail
	DryRun     bool
	Messages   int64 // brought back as held
	Recipients int64
	Bytes      int64
	Damaged    int64 // of Messages, those whose content could not be read as it was received
	Rebuilt    int64 // of Messages, those made from their ledger line since the record could not be read
	Final      int64 // messages found that need nothing: all their recipients are final
	Present    int64 // messages found that are in the store already
	Lines      int64 // of the ledger
	Rest       int64 // recipients still set aside
	Certainty  Certainty
}
