package integration

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
)

// missive is one message of a correspondent, and what became of it as far as
// the correspondent knows. Only that one touches it until the letter is taken.
type missive struct {
	messageID string
	from      string
	to        []string
	size      int // of the content
	digest    [sha256.Size]byte
	taken     string // ID in the 250; "" before there is one
	unsure    int    // offers that were whole, and whose reply never came
}

// maxMissive bounds a content, so that a generation holds several.
const maxMissive = 200 << 10

// newMissive makes a letter and its content. Each line of it says whose it is
// and where it stands, so that bytes of another letter, or of another place,
// show. Some lines begin with dots, end with blanks, or are no ASCII.
func newMissive(random *rand.Rand, correspondent, number int) (*missive, []byte) {
	l := &missive{messageID: fmt.Sprintf("<%d.%d@client.example>", correspondent, number), from: fmt.Sprintf("correspondent%d@client.example", correspondent)}
	for n := range 1 + random.IntN(3) {
		l.to = append(l.to, fmt.Sprintf("reader%d.%d@corp.example", correspondent, n))
	}
	text := fmt.Appendf(nil, "From: <%s>\r\nTo: readers:;\r\nMessage-ID: %s\r\nSubject: a letter\r\n\r\n", l.from, l.messageID)
	for line, size := 0, missiveSize(random); len(text) < size; line++ {
		text = fmt.Appendf(text, "%s letter %s, line %06d, %016x \xc3\xbc\xff  \r\n", [...]string{"", ".", "..", " "}[line%4], l.messageID, line, random.Uint64())
	}
	l.size, l.digest = len(text), sha256.Sum256(text)
	return l, text
}

// missiveSize: most letters are small, some need several chunks of the store.
func missiveSize(random *rand.Rand) int {
	switch random.IntN(10) {
	case 0:
		return 64<<10 + random.IntN(maxMissive-64<<10)
	case 1, 2:
		return 8<<10 + random.IntN(48<<10)
	}
	return 200 + random.IntN(6<<10)
}

// stuffed is a content as it goes over the wire behind DATA.
func stuffed(content []byte) []byte {
	wire := bytes.ReplaceAll(content, []byte("\r\n."), []byte("\r\n.."))
	return append(wire, ".\r\n"...)
}
