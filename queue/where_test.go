package queue_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

var noon = time.Date(2026, 3, 12, 12, 0, 0, 0, time.UTC)

// supplier is two hours old, was deferred twice, and is due in 10 minutes.
func supplier() queue.Message {
	return queue.Message{
		ID: "1q3fyr400000", AcceptedAt: noon.Add(-2 * time.Hour), NextAttempt: noon.Add(10 * time.Minute),
		Lifetime: 5 * 24 * time.Hour, Attempts: 2, Size: 38 << 10, MessageID: "<20260312.1@supplier.example>",
		Envelope: queue.Envelope{
			ReversePath: "Billing@supplier.example",
			Origin:      queue.Origin{Address: "192.0.2.44"},
			Recipients: []queue.Recipient{
				{ForwardPath: "a.meyer@Corp.example", Last: queue.Result{Action: queue.Deferred,
					Reply: queue.Reply{Command: "MAIL", Code: 451, Enhanced: "4.3.2", Text: "Temporary server error"}}},
				{ForwardPath: "sales@eu.corp.example"},
			},
		},
	}
}

// notification is five minutes old, held, and has the null reverse-path.
func notification() queue.Message {
	return queue.Message{
		ID: "1q3fyr400001", AcceptedAt: noon.Add(-5 * time.Minute), NextAttempt: noon.Add(-5 * time.Minute),
		Lifetime: 5 * 24 * time.Hour, Size: 500, Held: "looks odd", HeldAt: noon.Add(-5 * time.Minute),
		Envelope: queue.Envelope{
			Origin:     queue.Origin{Address: "2001:db8::25"},
			Recipients: []queue.Recipient{{ForwardPath: `"a,b"@corp.example`}},
		},
	}
}

func TestConditions(t *testing.T) {
	for _, test := range []struct {
		field, value           string
		supplier, notification bool
	}{
		{"id", "1q3fyr400000", true, false},
		{"id", "1q3fyr400000,1q3fyr400001", true, true},
		{"state", "deferred", true, false},
		{"state", "queued", true, false}, // one recipient of two
		{"state", "held,deferred", true, true},
		{"state", "delivered", false, false},
		{"from", "billing@SUPPLIER.example", true, false},
		{"from", "<>", false, true},
		{"from", "@supplier.example", true, false},
		{"from", "@plier.example", false, false},
		{"from", "bill*", true, false},
		{"from", "*", true, true},
		{"from", "bill", false, false},
		{"from", "b?lling@supplier.example", false, false}, // only * stands for other letters
		{"from", "/^b.*@/", true, false},
		{"from", "x@y.example,<>", false, true},
		{"to", "@corp.example", true, true},
		{"to", "sales@eu.corp.example", true, false},
		{"to", `"a,b"@corp.example`, false, true},
		{"to", "/a,b/,nobody@corp.example", false, true},
		{"domain", "eu.corp.example", true, false},
		{"domain", "corp.example", true, true},
		{"domain", "*.corp.example", true, false},
		{"client", "192.0.2.44", true, false},
		{"client", "::ffff:192.0.2.44", true, false},
		{"client", "192.0.2.0/24", true, false},
		{"client", "2001:db8::/32,10.0.0.0/8", false, true},
		{"older", "1h", true, false},
		{"older", "2h", false, false}, // exactly as old is not older
		{"older", "4m59s", true, true},
		{"newer", "1d", true, true},
		{"newer", "10m", false, true},
		{"next", "<15m", true, false},
		{"next", ">15m", false, false},
		{"next", "<1d", true, false}, // nothing comes next for what is held
		{"expires", "<5d", true, false},
		{"expires", ">4d23h", false, true},
		{"size", ">1K", true, false},
		{"size", "<=500", false, true},
		{"size", ">=38KiB", true, false},
		{"size", ">38K", false, false},
		{"attempts", "2", true, false},
		{"attempts", "=0", false, true},
		{"attempts", ">=3", false, false},
		{"reply", "451", true, false},
		{"reply", "45", false, false},
		{"reply", "451*", true, false},
		{"reply", "*temporary*", true, false},
		{"reply", "/^5/", false, false},
		{"enhanced", "4.3.2", true, false},
		{"enhanced", "4.7.*,4.3.*", true, false},
		{"message-id", "<20260312.1@supplier.example>", true, false},
		{"message-id", "20260312.1@supplier.example", true, false},
		{"message-id", "<>", false, true},
	} {
		holds, err := queue.ParseCondition(test.field, test.value)
		if err != nil {
			t.Errorf("%s=%s: %v", test.field, test.value, err)
			continue
		}
		if got := holds(supplier(), noon); got != test.supplier {
			t.Errorf("%s=%s of the supplier's message: %v", test.field, test.value, got)
		}
		if got := holds(notification(), noon); got != test.notification {
			t.Errorf("%s=%s of the notification: %v", test.field, test.value, got)
		}
		if queue.Not(holds)(supplier(), noon) == test.supplier {
			t.Errorf("not %s=%s is not the opposite", test.field, test.value)
		}
	}
}

func TestConditionsRefused(t *testing.T) {
	for _, test := range []struct{ field, value, says string }{
		{"subject", "x", "no field"},
		{"from", "", "no value"},
		{"from", "  ", "no value"},
		{"from", "a@b.example,,c@d.example", "empty value"},
		{"from", "/(/", "missing closing"},
		{"from", strings.Repeat("x", 1001), "1001 bytes"},
		{"id", "1q3fyr40000", "12 characters"},
		{"id", "1q3fyr40000u", "Crockford"},
		{"state", "gone", `no state "gone"`},
		{"client", "mx.example", "no IP address"},
		{"client", "192.0.2.0/33", "no IP address"},
		{"older", "yesterday", "no duration"},
		{"older", "-2h", "no duration"},
		{"older", "<2h", "no duration"},
		{"older", "xd", "no duration"},
		{"older", "65536d", "no duration"},
		{"older", "1d-1h", "no duration"},
		{"older", "60000d2560000h", "no duration"}, // more than fits
		{"next", "15m", "write <15m or >15m"},
		{"next", "<soon", "no duration"},
		{"expires", "1d", "write <1d or >1d"},
		{"size", "10M", "write <10M or >10M"},
		{"size", ">big", "no size"},
		{"size", ">", "no size"},
		{"size", ">-1", "no size"},
		{"size", ">9999999999999G", "no size"},
		{"attempts", "many", "no number"},
		{"attempts", ">-1", "no number"},
	} {
		_, err := queue.ParseCondition(test.field, test.value)
		if !errors.Is(err, queue.ErrWhere) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s=%s: %v, want an ErrWhere with %q", test.field, test.value, err, test.says)
		}
	}
}

func TestParseFilter(t *testing.T) {
	for _, test := range []struct {
		name                   string
		where                  []string
		ids, states, rules     int
		supplier, notification bool
	}{
		{"nothing chooses what is not final", nil, 0, 0, 0, true, true},
		{"rules must all hold", []string{"older=1h", "to=@corp.example"}, 0, 0, 2, true, false},
		{"a rule can be negated", []string{"!state=held"}, 0, 0, 1, true, false},
		{"first states tell the store where to look", []string{"state=held"}, 0, 1, 0, false, true},
		{"further states restrict", []string{"state=deferred", "state=queued"}, 0, 1, 1, true, false},
		{"first ids tell the store where to look", []string{"id=1q3fyr400000,1q3fyr400001"}, 2, 0, 0, true, true},
		{"further ids restrict", []string{"id=1q3fyr400000,1q3fyr400001", "id=1q3fyr400001"}, 2, 0, 1, false, true},
		{"negated ids", []string{"!id=1q3fyr400001"}, 0, 0, 1, true, false},
		{"a value may have an equals sign", []string{"from=a=b@c.example"}, 0, 0, 1, false, false},
	} {
		f, err := queue.ParseFilter(test.where)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if len(f.IDs) != test.ids || len(f.States) != test.states || len(f.Where) != test.rules {
			t.Errorf("%s: %d ids, %d states, %d rules", test.name, len(f.IDs), len(f.States), len(f.Where))
		}
		if f.Match(supplier(), noon) != test.supplier || f.Match(notification(), noon) != test.notification {
			t.Errorf("%s: chooses %v and %v", test.name, f.Match(supplier(), noon), f.Match(notification(), noon))
		}
	}
	for _, where := range []string{"older", "", "!", "!from", "what=ever"} {
		if _, err := queue.ParseFilter([]string{where}); !errors.Is(err, queue.ErrWhere) {
			t.Errorf("rule %q: %v, want ErrWhere", where, err)
		}
	}
}

func TestParseDurationAndSize(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "15m": 15 * time.Minute, "3d": 72 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0, "0d": 0, "1.5h": 90 * time.Minute,
	} {
		if got, err := queue.ParseDuration(value); got != want || err != nil {
			t.Errorf("%s: %v, %v", value, got, err)
		}
	}
	for value, want := range map[string]int64{
		"500": 500, "30K": 30 << 10, "30k": 30 << 10, "10MB": 10 << 20, "2GiB": 2 << 30, "7B": 7,
	} {
		if got, err := queue.ParseSize(value); got != want || err != nil {
			t.Errorf("%s: %d, %v", value, got, err)
		}
	}
	for _, value := range []string{"", "K", "B", "iB", "5I", "1.5M", "-1", "0x10"} {
		if got, err := queue.ParseSize(value); err == nil {
			t.Errorf("size %q is taken as %d", value, got)
		}
	}
}

// FuzzCondition: what is accepted can be asked of any message, and its
// negation is the opposite; what is not is refused with ErrWhere.
func FuzzCondition(f *testing.F) {
	for _, seed := range [][2]string{
		{"id", "1q3fyr400000"}, {"state", "held,deferred"}, {"from", "<>"}, {"from", "/a,b/,@c"}, {"to", `"a,b"@c.example`},
		{"client", "192.0.2.0/24"}, {"older", "1d12h"}, {"next", "<15m"}, {"expires", ">4d"}, {"size", ">10M"},
		{"attempts", ">=3"}, {"reply", "451*"}, {"enhanced", "4.7.*"}, {"message-id", "<a@b>"}, {"domain", "/[/"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, field, value string) {
		holds, err := queue.ParseCondition(field, value)
		if err != nil {
			if !errors.Is(err, queue.ErrWhere) {
				t.Fatalf("%s=%s: %v is no ErrWhere", field, value, err)
			}
			return
		}
		for _, m := range []queue.Message{supplier(), notification(), {}} {
			if holds(m, noon) == queue.Not(holds)(m, noon) {
				t.Fatalf("%s=%s and its negation agree", field, value)
			}
		}
		filter, err := queue.ParseFilter([]string{field + "=" + value, "!" + field + "=" + value})
		if err != nil {
			t.Fatalf("%s=%s is a condition but no filter: %v", field, value, err)
		}
		if len(filter.IDs) == 0 && filter.Match(supplier(), noon) { // ids are the store's affair
			t.Fatalf("%s=%s holds together with its negation", field, value)
		}
	})
}
