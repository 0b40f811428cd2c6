package configs

import "time"

// Incident says when an outage is over.
type Incident struct {
	Quiet time.Duration // after the last mail of it has gone, before it is closed
}

func (i *Incident) fields() []field {
	return []field{duration("quiet", &i.Quiet, moment, day)}
}

// History bounds what is kept of what was observed of the upstreams.
type History struct {
	Keep  time.Duration // age of samples and changes
	Fine  time.Duration // age after which good samples are thinned out
	Bytes int64         // of the file
}

func (h *History) fields() []field {
	return []field{
		duration("keep", &h.Keep, day, 3650*day),
		duration("fine", &h.Fine, time.Hour, 3650*day),
		size("max_bytes", &h.Bytes, 1<<20, 1<<40),
	}
}

// checkHistory finds times that contradict each other.
func (c *Config) checkHistory(say report) {
	if c.History.Fine > c.History.Keep {
		say("history.fine", "it is longer than history.keep", "Make it shorter: samples are gone by then")
	}
}
