package reconcile

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/incident/report"
)

func at(minutes int) time.Time {
	return time.Date(2026, 3, 12, 17, 50, 0, 0, time.UTC).Add(time.Duration(minutes) * time.Minute)
}

// ours is a row of a message that was delivered at a minute; -1 is not at all.
func ours(id, messageID, recipient string, minute int, change ...func(*report.Row)) report.Row {
	r := report.Row{ID: queue.ID(id), MessageID: messageID, Recipient: recipient, Sender: "a@sender.example", Size: 2000, State: "delivered", ReceivedAt: at(-200), Session: "S" + id}
	if minute >= 0 {
		r.DeliveredAt = at(minute)
	} else {
		r.State = "queued"
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

const (
	summaryHead  = "Received,Sender address,Recipient,Subject,Status,Message ID\n"
	enhancedHead = "origin_timestamp_utc,sender_address,recipient_status,message_subject,total_bytes,message_id,network_message_id,original_client_ip,directionality,connector_id,delivery_priority\n"
	extendedHead = "date_time_utc,client_ip,server_hostname,source,event_id,internal_message_id,message_id,network_message_id,recipient_address,recipient_status,total_bytes,sender_address,return_path\n"
	shellHead    = "#TYPE Selected.X\n\"MessageId\",\"Received\",\"SenderAddress\",\"RecipientAddress\",\"Subject\",\"Status\",\"FromIP\",\"Size\",\"MessageTraceId\"\n"
)

func enhanced(minute int, status, messageID, network string, more ...string) string {
	sender, size, ip := "a@sender.example", "2400", "203.0.113.7"
	for n, into := range []*string{&sender, &size, &ip} {
		if n < len(more) {
			*into = more[n]
		}
	}
	return fmt.Sprintf("%s,%s,\"%s\",subject,%s,%s,%s,%s,Inbound,x,Normal\n", at(minute).Format("2006-01-02T15:04:05.0000000Z"), sender, status, size, messageID, network, ip)
}

// join prints verdicts with ids and ways.
func join(t *testing.T, rows []report.Row, traces ...string) (string, Summary) {
	t.Helper()
	r, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, row := range rows {
		if err := r.Ours(row); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range traces {
		if err := r.Trace(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	var words []string
	for one, err := range r.Results() {
		if err != nil {
			t.Fatal(err)
		}
		words = append(words, strings.TrimSpace(fmt.Sprintf("%s %s %s", one.Verdict, one.ID, one.How)))
	}
	return strings.Join(words, ", "), r.Summary()
}

func TestJoin(t *testing.T) {
	plain := ours("1", "<1@x>", "B@corp.example", 0)
	none := ours("2", "", "b@corp.example", 0)
	numbered := ours("3", "<3@x>", "b@corp.example", 0, func(r *report.Row) { r.InternalID, r.Host = "4711", "AM0PR04MB1234.eurprd04.prod.outlook.com" })
	for name, test := range map[string]struct {
		rows   []report.Row
		traces []string
		want   string
		others int64
	}{
		"nothing in the trace":  {[]report.Row{plain}, []string{enhancedHead}, "missing 1", 0},
		"not taken":             {[]report.Row{ours("1", "<1@x>", "b@corp.example", -1)}, []string{enhancedHead}, "not_relayed 1", 0},
		"delivered":             {[]report.Row{plain}, []string{enhancedHead + enhanced(0, "b@Corp.example##Receive, Deliver", "<1@x>", "N1")}, "delivered 1 message_id", 0},
		"without brackets":      {[]report.Row{plain}, []string{enhancedHead + enhanced(0, "b@corp.example##Receive, Deliver", "1@x", "N1")}, "delivered 1 message_id", 0},
		"the reply was lost":    {[]report.Row{ours("1", "<1@x>", "b@corp.example", -1)}, []string{enhancedHead + enhanced(0, "b@corp.example##Receive, Deliver", "<1@x>", "N1")}, "delivered 1 message_id", 0},
		"another recipient":     {[]report.Row{plain}, []string{enhancedHead + enhanced(0, "c@corp.example##Receive, Deliver", "<1@x>", "N1")}, "missing 1", 1},
		"several recipients":    {[]report.Row{plain, ours("1", "<1@x>", "c@corp.example", 0)}, []string{enhancedHead + enhanced(0, "b@corp.example##Receive, Deliver;c@corp.example##Receive, Fail", "<1@x>", "N1")}, "failed 1 message_id, delivered 1 message_id", 0},
		"summary":               {[]report.Row{plain}, []string{summaryHead + "3/12/2026 5:50:10 PM,a@sender.example,b@corp.example,x,Quarantined,<1@x>\n"}, "quarantined 1 message_id", 0},
		"filtered":              {[]report.Row{plain}, []string{shellHead + `"<1@x>","2026-03-12T17:50:10","a@sender.example","b@corp.example","x","FilteredAsSpam","203.0.113.7","2400","N1"`}, "filtered 1 message_id", 0},
		"still on its way":      {[]report.Row{plain}, []string{summaryHead + "2026-03-12 17:50:10,a@sender.example,b@corp.example,x,GettingStatus,<1@x>\n"}, "pending 1 message_id", 0},
		"the same in two files": {[]report.Row{plain}, []string{enhancedHead + enhanced(0, "b@corp.example##Receive, Deliver", "<1@x>", "N1"), enhancedHead + enhanced(0, "b@corp.example##Receive, Deliver", "<1@x>", "N1")}, "delivered 1 message_id", 0},
		"summary and enhanced": {[]report.Row{plain}, []string{enhancedHead + enhanced(0, "b@corp.example##Receive, Deliver", "<1@x>", "N1"), summaryHead + "2026-03-12 17:50:10,a@sender.example,b@corp.example,x,FilteredAsSpam,<1@x>\n"},
			"filtered 1 message_id", 0},
		"twice": {[]report.Row{plain}, []string{enhancedHead + enhanced(0, "b@corp.example##Receive, Deliver", "<1@x>", "N1") + enhanced(-100, "b@corp.example##Receive, Deliver", "<1@x>", "N2", "a@sender.example", "2000", "192.0.2.44")},
			"duplicate 1 message_id, delivered 1 message_id", 0},
		"one Message-ID of two senders": {[]report.Row{plain, ours("4", "<1@x>", "b@corp.example", 0, func(r *report.Row) { r.Sender = "z@other.example" })},
			[]string{enhancedHead + enhanced(0, "b@corp.example##Receive, Fail", "<1@x>", "N1", "Z@other.example") + enhanced(0, "b@corp.example##Receive, Deliver", "<1@x>", "N2")}, "failed 4 message_id, delivered 1 message_id", 0},
		"one Message-ID at two times": {[]report.Row{plain, ours("4", "<1@x>", "b@corp.example", 60)},
			[]string{enhancedHead + enhanced(60, "b@corp.example##Receive, Fail", "<1@x>", "N1")}, "missing 1, failed 4 message_id", 0},
		"no Message-ID":             {[]report.Row{none}, []string{enhancedHead + enhanced(1, "b@corp.example##Receive, Deliver", "<made.up@there>", "N1")}, "delivered 2 time_and_size", 0},
		"no Message-ID, late":       {[]report.Row{none}, []string{enhancedHead + enhanced(3, "b@corp.example##Receive, Deliver", "<made.up@there>", "N1")}, "missing 2", 1},
		"no Message-ID, larger":     {[]report.Row{none}, []string{enhancedHead + enhanced(1, "b@corp.example##Receive, Deliver", "<made.up@there>", "N1", "a@sender.example", "9000")}, "missing 2", 1},
		"no Message-ID, of another": {[]report.Row{none}, []string{enhancedHead + enhanced(1, "b@corp.example##Receive, Deliver", "<made.up@there>", "N1", "z@other.example")}, "missing 2", 1},
		"no Message-ID, not taken":  {[]report.Row{ours("2", "", "b@corp.example", -1)}, []string{enhancedHead + enhanced(1, "b@corp.example##Receive, Deliver", "<made.up@there>", "N1")}, "not_relayed 2", 1},
		"by the number of the reply": {[]report.Row{numbered}, []string{extendedHead +
			"2026-03-12T17:50:00Z,203.0.113.7,FRONT1,SMTP,RECEIVE,99,<changed@x>,N1,b@corp.example,,2400,a@sender.example,a@sender.example\n" +
			"2026-03-12T17:50:01Z,203.0.113.7,AM0PR04MB1234,SMTP,RECEIVE,4711,<changed@x>,N1,b@corp.example,,2400,a@sender.example,a@sender.example\n" +
			"2026-03-12T17:50:02Z,203.0.113.7,AM0PR04MB1234,STOREDRIVER,DELIVER,4711,<changed@x>,N1,b@corp.example,250 2.1.5,2400,a@sender.example,a@sender.example\n"}, "delivered 3 internal_id", 0},
		"another number": {[]report.Row{numbered}, []string{extendedHead +
			"2026-03-12T17:50:01Z,203.0.113.7,FRONT1,SMTP,RECEIVE,98,<changed@x>,N1,b@corp.example,,2400,a@sender.example,a@sender.example\n" +
			"2026-03-12T17:50:01Z,203.0.113.7,FRONT2,SMTP,RECEIVE,99,<changed@x>,N1,b@corp.example,,2400,a@sender.example,a@sender.example\n" +
			"2026-03-12T17:50:01Z,203.0.113.7,FRONT2,SMTP,RECEIVE,97,<changed@x>,N2,b@corp.example,,2400,a@sender.example,a@sender.example\n" +
			"2026-03-12T17:50:01Z,203.0.113.7,FRONT3,SMTP,RECEIVE,96,<changed@x>,N2,b@corp.example,,2400,a@sender.example,a@sender.example\n"}, "missing 3", 2},
	} {
		got, sum := join(t, test.rows, test.traces...)
		if got != test.want || sum.Others != test.others {
			t.Errorf("%s: %s (%d others), want %s", name, got, sum.Others, test.want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for status, want := range map[string]Verdict{"Delivered": Delivered, "Receive, Deliver": Delivered, "Expanded": Delivered, "Resolved": Delivered, "Receive, Send": Delivered, "SENDEXTERNAL": Delivered,
		"Failed": Failed, "Receive, Fail": Failed, "DROP": Failed, "undeliverable": Failed, "Quarantined": Quarantined, "FilteredAsSpam": Filtered,
		"Pending": Pending, "DEFER": Pending, "RECEIVE": Pending, "": Pending, "something new": Pending} {
		if got := verdictOf(status); got != want {
			t.Errorf("%q is %s, want %s", status, got, want)
		}
	}
}

func TestWhatIsNoTrace(t *testing.T) {
	for text, want := range map[string]error{
		"":                         ErrTrace,
		"Recipient,Status\nb@c,x":  ErrTrace,
		"Date,Recipient\n1,b@c":    ErrTrace,
		summaryHead + "noon,a,b,c": ErrRow,
		summaryHead + "\"x":        ErrRow,
		enhancedHead + "2026-03-12T17:50:00Z,a,b@c##x,s,many,m,n,i,d,c,p": ErrRow,
		enhancedHead + "2026-03-12T17:50:00Z,a,b@c##x,s,-1,m,n,i,d,c,p":   ErrRow,
		"\xff\xfea": ErrRow,
	} {
		r, err := New(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Trace(strings.NewReader(text)); !errors.Is(err, want) {
			t.Errorf("%.60q: %v, want %v", text, err, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := New("/nowhere/at/all"); err == nil {
		t.Error("a folder that is not there")
	}
}

// TestUTF16 reads what the admin centre saves.
func TestUTF16(t *testing.T) {
	var text strings.Builder
	for _, u := range append([]uint16{0xfeff}, utf16.Encode([]rune(enhancedHead+enhanced(0, "b@corp.example##Receive, Deliver;", "<1@x>", "N1")))...) {
		text.WriteString(string([]byte{byte(u), byte(u >> 8)}))
	}
	if got, _ := join(t, []report.Row{ours("1", "<1@x>", "b@corp.example", 0)}, text.String()); got != "delivered 1 message_id" {
		t.Error(got)
	}
}

// TestManyOfOneMessageID joins more than are joined at a time.
func TestManyOfOneMessageID(t *testing.T) {
	var rows []report.Row
	text := strings.Builder{}
	text.WriteString(enhancedHead)
	for n := range 2 * atOnce {
		rows = append(rows, ours(fmt.Sprintf("%05d", n), "<1@x>", "b@corp.example", n))
		text.WriteString(enhanced(n, "b@corp.example##Receive, Deliver", "<1@x>", fmt.Sprintf("N%d", n)))
	}
	_, sum := join(t, rows, text.String())
	if sum.Verdicts[Delivered] != 2*atOnce || sum.Verdicts[Missing]+sum.Verdicts[Duplicate] != 0 || sum.Rows != 2*atOnce {
		t.Errorf("%+v", sum)
	}
}

// TestADiskThatFails has no result that looks whole.
func TestADiskThatFails(t *testing.T) {
	dir := t.TempDir()
	r, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Ours(ours("1", "<1@x>", "b@corp.example", 0)), os.RemoveAll(dir)); err != nil {
		t.Fatal(err)
	}
	failed := false
	for _, err := range r.Results() {
		failed = failed || err != nil
	}
	if !failed {
		t.Error("no error")
	}
	_ = r.Close()
}

// FuzzTrace has no export that takes the reader down, or makes a record without a recipient.
func FuzzTrace(f *testing.F) {
	for _, seed := range []string{enhancedHead + enhanced(0, "b@corp.example##Receive, Deliver;c@corp.example", "<1@x>", "N1"), summaryHead + "3/12/2026 5:50:10 PM,a,b,c,d,e\n", shellHead + "1,2", extendedHead + "x", "\xff\xfea\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_ = readTrace(strings.NewReader(text), func(r record) error {
			if r.Recipient == "" || r.Size < 0 || rank(r.Verdict) < 0 {
				t.Fatalf("%+v", r)
			}
			return nil
		})
	})
}
