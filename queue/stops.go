package queue

import "time"

// Stop is a time in which the clock of messages stands still, because their
// upstream took none. Until is zero while it lasts.
type Stop struct{ From, Until time.Time }

// Stops are the stops of one upstream, in any order; they may overlap.
type Stops []Stop

// Within is how much of the time between two instants is within stops, each
// moment counted once.
func (s Stops) Within(from, to time.Time) (total time.Duration) {
	for from.Before(to) {
		begin, end := s.next(from, to)
		total += end.Sub(begin)
		from = end
	}
	return total
}

// next is the first piece of a stop between two instants; the empty piece at
// the end if there is none.
func (s Stops) next(from, to time.Time) (begin, end time.Time) {
	begin, end = to, to
	for _, stop := range s {
		until := stop.Until
		if until.IsZero() || until.After(to) {
			until = to
		}
		if first := later(stop.From, from); first.Before(until) && first.Before(begin) {
			begin, end = first, until
		}
	}
	return begin, end
}
