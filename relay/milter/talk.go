package milter

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"

	milter "github.com/d--j/go-milter"
)

// offered is what a filter may do to a message. It may say which macros it wants.
const offered = milter.OptAddHeader | milter.OptQuarantine | milter.OptSetMacros

// answer is what a filter has said about a message.
type answer struct {
	last    milter.Action
	changes []milter.ModifyAction
}

// contentError is a failure to read what the filter was to be told.
type contentError struct{ error }

// talk has one dialogue with a filter, on a connection of its own, as MTAs do.
func (f *Filter) talk(ctx context.Context, m Message, added []field) (answer, error) {
	content, err := m.Content()
	if err != nil {
		return answer{}, &contentError{err}
	}
	defer content.Close() // it is only read
	client := milter.NewClient(f.options.Network, f.options.Address, milter.WithActions(offered), milter.WithDialer(dialer{ctx, f}),
		milter.WithReadTimeout(0), milter.WithWriteTimeout(0), // ctx bounds all of it
		milter.WithoutDefaultMacros(),
		milter.WithMacroRequest(milter.StageConnect, []string{milter.MacroMTAFQDN, milter.MacroDaemonName, milter.MacroMTAVersion, milter.MacroClientAddr, milter.MacroClientName, milter.MacroClientPTR}),
		milter.WithMacroRequest(milter.StageHelo, []string{milter.MacroTlsVersion, milter.MacroCipher, milter.MacroCipherBits}),
		milter.WithMacroRequest(milter.StageMail, []string{milter.MacroQueueId, milter.MacroMailMailer, milter.MacroMailHost, milter.MacroMailAddr}),
		milter.WithMacroRequest(milter.StageRcpt, []string{milter.MacroRcptMailer, milter.MacroRcptHost, milter.MacroRcptAddr}),
		milter.WithMacroRequest(milter.StageData, []string{milter.MacroQueueId}),
		milter.WithMacroRequest(milter.StageEOH, []string{milter.MacroQueueId}),
		milter.WithMacroRequest(milter.StageEOM, []string{milter.MacroQueueId}))
	macros := macrosOf(m)
	session, err := client.Session(macros)
	if err != nil {
		return answer{}, err
	}
	defer session.Close() // the answer is there, or the failure
	d := dialogue{ClientSession: session, macros: macros, message: m}
	d.envelope()
	source := &reader{from: content}
	d.content(added, source)
	if source.failure != nil {
		return answer{}, &contentError{source.failure}
	}
	return d.answer, d.err
}

// dialogue goes on until the filter has decided, or has failed.
type dialogue struct {
	*milter.ClientSession
	macros  *milter.MacroBag
	message Message
	answer  answer
	over    bool
	err     error
}

// step does one step, unless the filter has decided.
func (d *dialogue) step(do func() (*milter.Action, error)) {
	if d.over {
		return
	}
	action, err := do()
	if d.err = err; err != nil {
		d.over = true
		return
	}
	d.answer.last = *action
	d.over = action.Type != milter.ActionContinue
}

// envelope tells who sends what to whom.
func (d *dialogue) envelope() {
	m := d.message
	d.step(func() (*milter.Action, error) {
		family, address := milter.FamilyUnknown, ""
		if m.Client.IsValid() {
			if family, address = milter.FamilyInet6, m.Client.WithZone("").String(); m.Client.Is4() {
				family = milter.FamilyInet
			}
		}
		return d.Conn(clientName(m.Host), family, 0, address)
	})
	d.step(func() (*milter.Action, error) { return d.Helo(m.Hello) })
	d.step(func() (*milter.Action, error) { return d.Mail(m.ReversePath, "") })
	for _, to := range m.Recipients {
		d.step(func() (*milter.Action, error) {
			d.macros.Set(milter.MacroRcptMailer, "esmtp")
			d.macros.Set(milter.MacroRcptHost, domainOf(to))
			d.macros.Set(milter.MacroRcptAddr, to)
			return d.Rcpt(to, "")
		})
	}
	d.step(d.DataStart)
}

// content tells the fields that other filters have added, and then what was received.
func (d *dialogue) content(added []field, from *reader) {
	for _, f := range added {
		d.field(field{f.name, strings.ReplaceAll(f.value, "\r\n", "\n")}, true)
	}
	in := bufio.NewReaderSize(from, maxField)
	for !d.over {
		f, ok := readField(in)
		if !ok {
			break
		}
		d.field(f, false)
	}
	d.step(d.HeaderEnd)
	chunk := make([]byte, maxChunk)
	for first := true; !d.over; first = false {
		n, _ := io.ReadFull(in, chunk) // its error is that of the reader, or the end
		if n == 0 && !first || d.Skip() {
			break
		}
		d.step(func() (*milter.Action, error) { return d.BodyChunk(chunk[:n]) }) // one at least, or the library loses its way
	}
	d.step(func() (*milter.Action, error) {
		changes, action, err := d.End()
		d.answer.changes = changes
		return action, err
	})
}

// maxChunk is as much of a body as filters take at once.
const maxChunk = 64<<10 - 1

// field tells one field. Filters expect its value without the space behind the
// colon, unless they have asked for it; bare says that it has none.
func (d *dialogue) field(f field, bare bool) {
	leading := d.ProtocolOption(milter.OptHeaderLeadingSpace)
	switch {
	case leading && bare:
		f.value = " " + f.value
	case !leading && !bare:
		f.value = strings.TrimPrefix(f.value, " ")
	}
	d.step(func() (*milter.Action, error) { return d.HeaderField(f.name, f.value, nil) })
}

// reader notes a failure, which must not pass for one of the filter.
type reader struct {
	from    io.Reader
	failure error
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		r.failure = err
	}
	return n, err
}

// macrosOf are the macros that do not change within the dialogue.
func macrosOf(m Message) *milter.MacroBag {
	client := "" // unknown
	if m.Client.IsValid() {
		client = m.Client.WithZone("").String()
	}
	macros := milter.NewMacroBag()
	for name, value := range map[string]string{
		milter.MacroMTAFQDN: m.By, milter.MacroDaemonName: "mxkeep", milter.MacroMTAVersion: "mxkeep", milter.MacroQueueId: m.ID,
		milter.MacroClientAddr: client, milter.MacroClientName: clientName(m.Host), milter.MacroClientPTR: clientName(m.Host),
		milter.MacroMailMailer: "esmtp", milter.MacroMailHost: domainOf(m.ReversePath), milter.MacroMailAddr: m.ReversePath,
		milter.MacroTlsVersion: tlsVersion(m.TLS), milter.MacroCipher: m.Cipher, milter.MacroCipherBits: cipherBits(m.Cipher),
	} {
		if value != "" || name == milter.MacroMailAddr { // the null reverse-path is known
			macros.Set(name, value)
		}
	}
	return macros
}

// clientName is the word of MTAs for a client without a name.
func clientName(host string) string {
	if host == "" {
		return "unknown"
	}
	return host
}

func domainOf(path string) string {
	return path[strings.LastIndexByte(path, '@')+1:]
}

// tlsVersion is the name that filters know, which is that of OpenSSL.
func tlsVersion(version string) string {
	return strings.Replace(version, "TLS", "TLSv", 1)
}

// cipherBits is the key length of a cipher suite; "" if it is not known.
func cipherBits(suite string) string {
	switch {
	case strings.Contains(suite, "AES_256"), strings.Contains(suite, "CHACHA20"):
		return "256"
	case strings.Contains(suite, "AES_128"):
		return "128"
	}
	return ""
}

// dialer connects within the time of a dialogue.
type dialer struct {
	ctx context.Context
	*Filter
}

// Dial makes a connection that ends with the context.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.options.Dial(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	return newGate(d.ctx, conn), nil
}

// verdict is what an answer of a filter of that name means to us.
func verdict(name string, a answer, utf8Allowed bool) said {
	v := said{Verdict: Verdict{Filter: name}}
	switch a.last.Type {
	case milter.ActionReject, milter.ActionTempFail, milter.ActionRejectWithCode:
		v.Action, v.Reply = Defer, replyOf(a.last)
		if v.Reply.Permanent() {
			v.Action = Reject
		}
		v.Reason = brief("filter " + name + ": " + v.Reply.Error())
		return v
	case milter.ActionDiscard:
		v.Action, v.Reason = Hold, "filter "+name+" wants it discarded"
	}
	v.take(name, a.changes, utf8Allowed)
	return v
}
