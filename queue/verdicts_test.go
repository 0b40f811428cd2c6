package queue

import (
	"encoding/json"
	"reflect"
	"testing"
)

// TestVerdictsAreAnAddition: a message of which nobody asked who wrote it is
// written as before there were verdicts.
func TestVerdictsAreAnAddition(t *testing.T) {
	text, err := json.Marshal(Origin{Address: "192.0.2.1"})
	if err != nil || string(text) != `{"address":"192.0.2.1"}` {
		t.Errorf("%s, %v", text, err)
	}
	o := Origin{Auth: Verdicts{By: "mx2.example", MailFrom: SPF{Result: "pass"}, ReversePath: true, DMARC: DMARC{Percent: -1}}}
	if text, err = json.Marshal(o); err != nil || string(text) != `{"auth":{"by":"mx2.example","mail_from":{"result":"pass"},"dmarc":{"percent":-1},"reverse_path":true}}` {
		t.Errorf("%s, %v", text, err)
	}
	var back Origin
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, o) {
		t.Errorf("%+v, %v", back, err)
	}
	if (Origin{}).Authenticated() || !o.Authenticated() || !(Verdicts{}).IsZero() || o.Auth.IsZero() {
		t.Error("what is not known counts")
	}
}
