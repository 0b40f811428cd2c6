package reconcile

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/csvfile"
)

// Errors of a trace.
var (
	ErrTrace = errors.New("it is no export of a message trace: a column of times, recipients or states is missing")
	ErrRow   = errors.New("the row cannot be read")
)

// record is what a row of a trace says of one recipient.
type record struct {
	At        time.Time `json:"at"` // zero if the row has none
	Sender    string    `json:"sender"`
	Recipient string    `json:"recipient"`
	Verdict   Verdict   `json:"verdict"`
	Status    string    `json:"status"` // in the words of the trace
	MessageID string    `json:"message_id"`
	NetworkID string    `json:"network_id"`
	Taken     []taken   `json:"taken"` // by which servers, under which numbers
	ClientIP  string    `json:"client_ip"`
	Size      int64     `json:"size"` // 0 if it is not known
}

// taken is what a server called the message when it took it.
type taken struct {
	InternalID string `json:"internal_id"`
	Server     string `json:"server"` // the first label, in lower case
}

// meanings are the titles, as csvfile.Plain writes them, that say the same. The
// summary, the enhanced summary and the extended report of the admin centre, and
// what PowerShell exports, each have some of them.
func meanings() map[string][]string {
	return map[string][]string{
		"time":       {"origintimestamputc", "origintimestamp", "datetimeutc", "datetime", "receiveddatetime", "receivedutc", "received", "datereceived", "date"},
		"sender":     {"senderaddress", "sender", "returnpath"},
		"recipient":  {"recipientaddress", "recipient", "recipients"},
		"status":     {"status", "deliverystatus", "eventid"},
		"both":       {"recipientstatus"}, // address##Receive, Deliver
		"message_id": {"messageid"},
		"network_id": {"networkmessageid", "messagetraceid"},
		"internal":   {"internalmessageid"},
		"server":     {"serverhostname"},
		"client":     {"originalclientip", "fromip", "clientip"},
		"size":       {"totalbytes", "size", "messagesize"},
	}
}

// columns finds the column of each meaning: of several, the first in the list of titles.
func columns(titles []string) map[string]int {
	at := map[string]int{}
	for n, title := range titles {
		if _, twice := at[csvfile.Plain(title)]; !twice {
			at[csvfile.Plain(title)] = n
		}
	}
	found := map[string]int{}
	for meaning, names := range meanings() {
		for _, name := range names {
			if n, ok := at[name]; ok {
				found[meaning] = n
				break
			}
		}
	}
	return found
}

// isTrace says whether a table can be joined at all.
func isTrace(titles []string) bool {
	found := columns(titles)
	_, when := found["time"]
	_, who := found["recipient"]
	_, how := found["status"]
	_, both := found["both"]
	return when && (who && how || both)
}

// readTrace calls each with what every row says of every recipient.
func readTrace(r io.Reader, each func(record) error) error {
	table, err := csvfile.Open(r, isTrace)
	if errors.Is(err, csvfile.ErrNoTable) {
		return ErrTrace
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRow, err)
	}
	found := columns(table.Titles)
	for number := 1; ; number++ {
		cells, err := table.Row()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", ErrRow, err)
		}
		all, err := parseRow(found, cells)
		if err != nil {
			return fmt.Errorf("%w: row %d: %w", ErrRow, number, err)
		}
		for _, one := range all {
			if err := each(one); err != nil {
				return err
			}
		}
	}
}

// parseRow reads a row, which may be about several recipients.
func parseRow(found map[string]int, cells []string) (all []record, err error) {
	get := func(meaning string) string {
		if n, ok := found[meaning]; ok && n < len(cells) {
			return strings.TrimSpace(cells[n])
		}
		return ""
	}
	one := record{Sender: strings.ToLower(get("sender")), MessageID: bracketed(get("message_id")), NetworkID: strings.ToLower(get("network_id")), ClientIP: get("client")}
	if one.At, err = parseTime(get("time")); err != nil {
		return nil, err
	}
	if text := get("size"); text != "" {
		if one.Size, err = strconv.ParseInt(text, 10, 64); err != nil || one.Size < 0 {
			return nil, fmt.Errorf("size %q", text)
		}
	}
	if id := get("internal"); id != "" {
		one.Taken = []taken{{id, label(get("server"))}}
	}
	_, who := found["recipient"]
	_, how := found["status"]
	if !who || !how { // address##Receive, Deliver;address##...
		for _, part := range strings.Split(get("both"), ";") {
			address, status, _ := strings.Cut(strings.TrimSpace(part), "##")
			all = one.with(all, address, status)
		}
		return all, nil
	}
	for _, address := range strings.Split(get("recipient"), ";") {
		all = one.with(all, address, get("status"))
	}
	return all, nil
}

// with adds the record for one recipient; none if there is no address.
func (one record) with(all []record, address, status string) []record {
	if one.Recipient = strings.ToLower(strings.TrimSpace(address)); one.Recipient == "" {
		return all
	}
	one.Status = strings.TrimSpace(status)
	one.Verdict = verdictOf(one.Status)
	return append(all, one)
}

// bracketed is a Message-ID with its brackets.
func bracketed(id string) string {
	if id == "" || strings.HasPrefix(id, "<") {
		return id
	}
	return "<" + id + ">"
}

// label is the first label of a host name.
func label(host string) string {
	first, _, _ := strings.Cut(strings.ToLower(host), ".")
	return first
}

// layouts are how times are written. Without a zone they are UTC; with slashes
// the month is first, as PowerShell writes it in the United States.
func layouts() []string {
	return []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "1/2/2006 3:04:05 PM", "1/2/2006 15:04:05", "1/2/2006 3:04 PM", "1/2/2006 15:04"}
}

func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range layouts() {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("the time %q is not written in a known way", text)
}

// verdictOf reads a state, or the events that led to one. What is not known is pending.
func verdictOf(status string) Verdict {
	status = strings.ToLower(status)
	for _, one := range []struct {
		words   string
		verdict Verdict
	}{
		{"quarantin", Quarantined}, {"spam", Filtered}, {"undeliver fail drop badmail reject", Failed}, {"deliver expand resolve send redirect", Delivered},
	} {
		for _, w := range strings.Fields(one.words) {
			if strings.Contains(status, w) {
				return one.verdict
			}
		}
	}
	return Pending
}
