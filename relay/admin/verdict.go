package admin

import (
	"fmt"
	"slices"
	"time"
)

const (
	verdictLeast = 20 // messages: fewer have no shape
	youngColumns = 3  // up to 20 minutes
	oldColumns   = 4  // from 40 minutes on
	evenFactor   = 3  // between the fastest and the slowest arrival that count as even
)

// verdict reads an age shape as experienced postmasters do; "" if it says
// nothing. An even arrival is an outage; one tall young column is a burst; old
// mail beside an empty young side is stuck.
func verdict(ages []int, oldest time.Duration) string {
	total, young, old := sum(ages), sum(ages[:youngColumns]), sum(ages[oldColumns:])
	switch tallest := slices.Max(ages[:youngColumns]); {
	case total < verdictLeast:
		return ""
	case young == 0:
		return "All of it is older than 20 minutes: mail that is stuck, not mail that arrives."
	case old > 0 && 5*tallest >= 4*total:
		return "Most of it came at once, not long ago: a burst, not an outage."
	case even(ages):
		return fmt.Sprintf("Even arrival for %d minutes: an upstream outage, not a burst.", int(oldest.Minutes()))
	}
	return ""
}

// even reports whether about as many messages came in every minute of the last
// 40 at least. The oldest column need not be full.
func even(ages []int) bool {
	last := len(ages) - 1
	for last > 0 && ages[last] == 0 {
		last--
	}
	if last < oldColumns {
		return false
	}
	slowest, fastest, from := 0.0, 0.0, 0
	for i, n := range ages[:last] {
		rate := float64(n) / float64(ageLimits[i]-from)
		if from = ageLimits[i]; i == 0 {
			slowest = rate
		}
		slowest, fastest = min(slowest, rate), max(fastest, rate)
	}
	return slowest > 0 && fastest <= evenFactor*slowest
}

func sum(ages []int) (n int) {
	for _, age := range ages {
		n += age
	}
	return n
}
