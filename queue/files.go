package queue

import "time"

// File is one file of a store that keeps mail in files.
type File struct {
	Name       string
	CreatedAt  time.Time
	Size       int64 // bytes that it takes of the disk
	Used       int64 // bytes in use
	Reusable   int64 // of Used, those of mail that is done with: they go with the file
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

// Identity says which store mail comes from: it stays when files are copied,
// and differs between any two stores that were begun.
type Identity struct {
	ID        string    `json:"id"` // 128 random bits, in hexadecimal
	CreatedAt time.Time `json:"created_at"`
}

// Copy is a copy of a store's files from before their format was changed. It
// has mail in it, and goes by itself.
type Copy struct {
	Path  string
	At    time.Time
	Until time.Time // when it is removed
	Size  int64     // bytes that it takes of the disk, about: file systems may share them
}

// Migration says what opening a store of an older format does to its files.
type Migration struct {
	Folder string
	Reads  int // the oldest format that can be read
	Writes int // the format that files will have
	Files  []MigratedFile
	Copy   int64         // bytes to copy before anything is changed; file systems may share them
	Free   int64         // bytes that the file system has left
	About  time.Duration // how long it takes, about
}

// MigratedFile is a file that is changed, or copied.
type MigratedFile struct {
	Name    string
	Format  int // 0 if it cannot be read: it is looked at when the store is opened
	Size    int64
	Changes bool // its format
	Copied  bool // before anything is changed
	Recount bool // its counters are incomplete
}

// CompactedFile is what became, or would become, of one file.
type CompactedFile struct {
	Name    string
	Before  int64 // bytes that it took of the disk; 0 if it is new
	After   int64 // bytes that it takes now
	Needed  int64 // bytes of mail in it that somebody waits for, about
	Outcome Outcome
}

// Outcome says what a compaction did with a file.
type Outcome uint8

// The outcomes.
const (
	Kept   Outcome = iota // most of it is needed, or little is to be gained
	Freed                 // it has gone, after what was needed had moved
	Grew                  // it is new, or has taken what has moved
	Busy                  // somebody is writing to it: it goes as soon as that has ended
	NoRoom                // the disk has no room for what would have to move first
	Stuck                 // records in it cannot be read, and so cannot move
)

var outcomeNames = []string{"kept", "freed", "grew", "busy", "no_room", "stuck"}

func (o Outcome) String() string { return name(outcomeNames, int(o)) }

// Compaction is what a compaction did, or would do.
type Compaction struct {
	DryRun        bool
	Files         []CompactedFile
	Before, After int64 // bytes of the disk
	Took          time.Duration
}
