package relay

import "syscall"

// places is how many sessions may be open at once: as many as are wanted, or as
// descriptors allow. The store needs some: without one it could not open its next
// file, which would end the relay.
//
// The runtime has raised the soft limit of this process to the hard one.
func (r *Relay) places(wanted int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return wanted // there is no limit to know of
	}
	deliveries := 0
	for _, u := range r.config.Upstreams {
		deliveries += u.Delivery.Connections
	}
	places := fitting(wanted, deliveries, limit.Cur)
	if places < wanted {
		r.log.Warn("relay.descriptors", "limit", limit.Cur, "sessions", places, "wanted", wanted)
	}
	return places
}

// fitting leaves a quarter of the descriptors to everything that is neither a
// session nor a delivery.
func fitting(wanted, deliveries int, limit uint64) int {
	free := limit - limit/4
	if free <= uint64(deliveries) {
		return 1
	}
	return int(min(uint64(wanted), free-uint64(deliveries)))
}
