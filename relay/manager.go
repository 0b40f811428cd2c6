package relay

import (
	"fmt"
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

// copyPatience is what the manager is asked to wait for the next word of a copy.
const copyPatience = 2 * time.Minute

// copying tells the manager how far the copy is that is made before files are
// changed, so that it does not take us for one who hangs.
func (r *Relay) copying(done, all int64) {
	r.tell(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=copying the queue before its format is changed: %d of %d MiB", copyPatience.Microseconds(), done>>20, all>>20))
}

// tell tells the service manager. That it cannot be reached stops no mail.
func (r *Relay) tell(state string) {
	if err := r.manager.tell(state); err != nil {
		r.log.Warn("relay.unnotified", "state", state, "error", err)
	}
}
