package configs

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestFilters: the keys of content filters, and what is wrong with them.
func TestFilters(t *testing.T) {
	c, err := Parse("f.yaml", []byte(with(`inbound:
  filters:
    - {name: rspamd, address: "unix:/run/rspamd/milter.sock", on_failure: accept, timeout: 20s}
    - {name: clamav, address: "[::1]:7357", connections: 4, on_failure: hold}
    - {name: other, address: "filter.corp.example:10025"}
`)))
	wantProblems(t, err)
	want := []Filter{
		{Name: "rspamd", Address: "unix:/run/rspamd/milter.sock", OnFailure: FailureAccept, Timeout: 20 * time.Second, Connections: 20},
		{Name: "clamav", Address: "[::1]:7357", OnFailure: FailureHold, Timeout: 30 * time.Second, Connections: 4},
		{Name: "other", Address: "filter.corp.example:10025", OnFailure: FailureDefer, Timeout: 30 * time.Second, Connections: 20},
	}
	if !reflect.DeepEqual(c.Inbound.Filters, want) {
		t.Errorf("%+v", c.Inbound.Filters)
	}
	for i, place := range []string{"unix /run/rspamd/milter.sock", "tcp [::1]:7357", "tcp filter.corp.example:10025"} {
		if network, address := want[i].Place(); network+" "+address != place {
			t.Errorf("%s %s", network, address)
		}
	}
}

func TestWrongFilters(t *testing.T) {
	for filters, want := range map[string]string{
		"rspamd":                                                 `4:20 inbound.filters: want a list, not "rspamd"; after a hyphen`,
		"['127.0.0.1:11332']":                                    `4:21 inbound.filters[0].name: a filter without a name; name:`,
		"[{name: a}]":                                            `4:21 inbound.filters[0].address: missing; address:`,
		"[{name: a b, address: 'h:1'}]":                          `4:28 inbound.filters[0].name: "a b" is not a name for a filter`,
		"[{name: a, address: 'h'}]":                              `4:40 inbound.filters[0].address: "h" is not the address of a filter; HOST:PORT`,
		"[{name: a, address: 'h:0'}]":                            `4:40 inbound.filters[0].address: not the address of a filter`,
		"[{name: a, address: ':1'}]":                             `4:40 inbound.filters[0].address: not the address of a filter`,
		"[{name: a, address: 'h h:1'}]":                          `4:40 inbound.filters[0].address: not the address of a filter`,
		"[{name: a, address: 'unix:milter.sock'}]":               `4:40 inbound.filters[0].address: not the address of a filter; unix:`,
		`[{name: a, address: "unix:/a\tb"}]`:                     `4:40 inbound.filters[0].address: not the address of a filter`,
		"[{name: a, address: 'h:1', on_failure: reject}]":        `4:59 inbound.filters[0].on_failure: not one of defer, accept, hold`,
		"[{name: a, address: 'h:1', timeout: 4m}]":               `4:56 inbound.filters[0].timeout: `,
		"[{name: a, address: 'h:1', connections: 0}]":            `4:60 inbound.filters[0].connections: `,
		"[{name: a, address: 'h:1', port: 1}]":                   `4:47 inbound.filters[0].port: no such key; name, address`,
		"[{name: a, address: 'h:1'}, {name: a, address: 'h:2'}]": `4:55 inbound.filters[1].name: another filter has the name a`,
		"[{name: a, address: 'h:1', timeout: 2m}, {name: b, address: 'h:2', timeout: 2m}]": `4:11 inbound.filters: together they may take 4m`,
	} {
		_, err := Parse("f.yaml", []byte(with("inbound: {filters: "+filters+"}\n")))
		t.Run(strings.ReplaceAll(filters, "/", "|"), func(t *testing.T) { wantProblems(t, err, want) })
	}
}
