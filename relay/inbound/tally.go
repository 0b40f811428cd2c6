package inbound

// refusals are the reasons for which something may be refused. Each is counted
// from the start, so that a rise from none can be seen.
var refusals = [...]string{reasonRelayDenied, reasonUnknown, reasonNotKnown, reasonPrimaryUp, reasonPassFailed, reasonBusy, reasonPrimary,
	reasonUpstream, reasonRecipients, reasonRefusals, reasonErrors, reasonPath, reasonParameter, reasonPlaintext, reasonRequireTLS, reasonUTF8,
	reasonSequence, reasonSyntax, reasonControl, reasonLineEnd, reasonLineLength, reasonHello, reasonChunk, reasonForeign, reasonEarly,
	reasonInjection, reasonHandshake, reasonTimeout, reasonDeaf, reasonBareCRLF, reasonSize, reasonLoop, reasonTruncated, reasonPaused,
	reasonDraining, reasonSpace, reasonLimit, reasonStore, reasonConnections, reasonPerAddress, reasonPerNetwork, reasonDismissed, reasonProxy, reasonListed,
	reasonSlow, reasonGreylisted, reasonOwnHello, reasonTarpit, reasonDMARC, reasonFiltered, reasonFilterDefers, reasonFilterFailed, reasonPanic, reasonNotSupported}

// newCounts begins to count for every reason. Of what may be used in a minute
// only the limits that there are have one.
func newCounts(m *meter) counts {
	refused := map[string]int64{}
	for _, reason := range refusals {
		refused[reason] = 0
	}
	for s := range scopes {
		for u := range uses {
			if m.limits[s][u] > 0 {
				refused[rateReason(u, s)] = 0
			}
		}
	}
	return counts{refused: refused}
}

// engineReasons are for what the engine refuses by itself, without asking the
// session, by code.
var engineReasons = map[string]string{"500": reasonSyntax, "501": reasonParameter, "502": reasonNotSupported, "503": reasonSequence,
	"504": reasonParameter, "552": reasonSize, "553": reasonPath, "555": reasonParameter}

// uncounted begins a command. A chunk goes on with the message before it, whose
// refusal may have come already.
func (c *conn) uncounted(verb string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted = c.counted && verb == "BDAT" && c.open
}

// countEngine counts a refusal that nobody has counted. After all recipients
// were refused, content out of sequence is no fault (RFC 2920 3.1).
func (c *conn) countEngine(code string) {
	c.mu.Lock()
	counted := c.counted
	c.mu.Unlock()
	reason := engineReasons[code]
	if counted || reason == "" || isFault(code) && (c.verb == "DATA" || c.verb == "BDAT") {
		return
	}
	c.refuse(reason)
}
