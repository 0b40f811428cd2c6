package queue

// KeptFor says why a refusal, or an expiry, is kept as Refused and its sender has
// not been told.
type KeptFor string

// The reasons. "" is a refusal of before they were written down.
const (
	KeptHold            KeptFor = "hold"            // the reply must not become a notification, or we could not send: a person has to look
	KeptOff             KeptFor = "off"             // no way out for notifications is configured
	KeptNullSender      KeptFor = "null-sender"     // there is nobody to tell
	KeptUnauthenticated KeptFor = "unauthenticated" // the reverse-path may be forged: an innocent person would be told
	KeptNever           KeptFor = "notify-never"    // the sender does not want to be told (RFC 3461 4.1)
	KeptIncident        KeptFor = "incident"        // the upstream is, or was a moment ago, in trouble
	KeptSpike           KeptFor = "spike"           // the upstream refuses recipients that it has
	KeptRate            KeptFor = "rate"            // the sender has been told much already
	KeptUnsent          KeptFor = "unsent"          // the notification could not be stored
)

// Again reports whether the reason passes by itself, so that the recipient is
// worth another attempt then.
func (k KeptFor) Again() bool { return k == KeptIncident || k == KeptSpike || k == KeptUnsent }
