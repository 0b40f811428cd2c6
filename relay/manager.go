package relay

import (
	"net"
	"time"
)

// manager is the socket on which a service manager such as systemd wants to be
// told how far we are, in the words of sd_notify(3); "" is nobody.
type manager string

// managerTime is how long a manager that does not read may keep us waiting.
const managerTime = 5 * time.Second

// tell sends one datagram. A name that begins with @ is an abstract one.
func (m manager) tell(state string) error {
	if m == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: string(m), Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetWriteDeadline(time.Now().Add(managerTime)) // of an open socket: it does not fail
	_, err = conn.Write([]byte(state))
	return err
}

// tell tells the service manager. That it cannot be reached stops no mail.
func (r *Relay) tell(state string) {
	if err := r.manager.tell(state); err != nil {
		r.log.Warn("relay.unnotified", "state", state, "error", err)
	}
}
