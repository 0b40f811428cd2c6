// Package arc validates and continues the Authenticated Received Chain of a
// message (RFC 8617): what each relay on its way found out about the sender, and
// signed.
//
//	m, err := arc.Read(content)          // one pass: header, and hashes of the body
//	chain := m.Verify(ctx, options)      // is there a chain, and does it hold?
//	set, err := sealer.Seal(m.Behind(trace), chain, results, now)
//
// Guarantee: the set that Seal returns, put in front of the message that it was
// given, verifies as long as nothing of that message changes. A chain is found
// broken by its structure before a name is looked up, and no key is asked for
// that the chain does not need. A chain whose keys cannot be had now is neither
// whole nor broken: it is not sealed, so that who comes next can decide.
package arc

import (
	"context"
	"time"
)

// Status is what a chain is worth: the cv= of the next seal, or temperror.
type Status string

// None: no chain. Fail: there is one, and it is broken for ever. TempError: a
// key could not be had, so nobody knows.
const (
	None      Status = "none"
	Pass      Status = "pass"
	Fail      Status = "fail"
	TempError Status = "temperror"
)

const (
	maxSets    = 50        // RFC 8617 4.2.1
	maxHeader  = 128 << 10 // octets
	maxFields  = 1000
	maxWord    = 255
	maxResults = 2 << 10
	maxKeys    = 60 // look-ups for one message: a seal of each set, and ten more

	minRSA, maxRSA = 1024, 4096 // bits
)

// Chain is what Verify found.
type Chain struct {
	Status Status
	Reason string // why it fails, or cannot be verified; may hold text of the message

	// Sets are those of a chain with a sound structure, the oldest first.
	Sets []Set
	// OldestPass is the instance of the oldest set since which the message has not
	// been changed, 0 if it is as the first of them saw it (RFC 8617 5.2). It
	// means something only for a chain that passes.
	OldestPass int

	highest int  // instance number; 0 if there is none
	ended   bool // the last seal says that the chain is broken
}

// Set is one link of the chain, in the words of its sealer: each on one line, and
// cut off where it is too long to be true.
type Set struct {
	Instance         int
	Domain, Selector string // d= and s= of the seal
	Algorithm        string // its a=
	Results          string // what the sealer found out, unfolded
}

// Resolver looks up keys. Its errors are bare *net.DNSError; one that is not
// "not found" makes a temperror.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Options are what Verify needs to know.
type Options struct {
	Resolver Resolver
	Now      time.Time // signatures may have an end
}
