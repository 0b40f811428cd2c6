package configs

import _ "embed"

var (
	//go:embed mxkeep.service
	service []byte
	//go:embed mxkeep.socket
	socket []byte
)

// Unit is an example of a unit of systemd: that of the service for "systemd",
// and that of the port for "socket". Of others there is nothing.
func Unit(kind string) []byte {
	unit := map[string][]byte{"systemd": service, "socket": socket}[kind]
	return append([]byte(nil), unit...)
}
