package relay

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCopyIsToldTheManager: who makes a long copy is not taken for one who hangs.
func TestCopyIsToldTheManager(t *testing.T) {
	path := filepath.Join(folder(t), "n")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	(&Relay{manager: manager(path)}).copying(3<<20, 9<<20)
	if err := socket.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	var told [400]byte
	n, err := socket.Read(told[:])
	if err != nil || !strings.HasPrefix(string(told[:n]), "EXTEND_TIMEOUT_USEC=120000000\nSTATUS=") || !strings.HasSuffix(string(told[:n]), ": 3 of 9 MiB") {
		t.Errorf("told %q, %v", told[:n], err)
	}
}
