package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// The size of a chart, in units of its viewBox, and its margins.
const (
	chartWidth, chartHeight = 760.0, 200.0
	marginLeft, marginBelow = 64.0, 24.0
	marginTop, marginRight  = 8.0, 12.0
	barHeight               = 56.0 // of the bar of states
)

// chart is the geometry of an SVG.
type chart struct {
	Title         string
	Width, Height float64
	Area          string // points of a polygon
	Bars          []bar
	Labels        []label
	Lines         []gridLine
	Legend        []string // classes, which are words as well
	Empty         bool     // nothing is recorded
}

type bar struct {
	X, Y, W, H float64
	Class      string
	Title      string
}

type label struct {
	X, Y   float64
	Anchor string
	Text   string
}

type gridLine struct{ X1, Y1, X2, Y2 float64 }

// charts are those of a report, by name. It is pure.
func charts(r Report) map[string]chart {
	return map[string]chart{"queue": queueChart(r), "replies": replyChart(r), "states": stateChart(r)}
}

func places(b Bins) (x func(edge float64) float64) {
	return func(edge float64) float64 {
		return round(marginLeft + (chartWidth-marginLeft-marginRight)*edge/float64(max(b.Count, 1)))
	}
}

func round(v float64) float64 { return float64(int64(v*10+0.5)) / 10 }

// frame draws the axes.
func frame(title string, r Report, top int64, height float64) chart {
	c := chart{Title: title, Width: chartWidth, Height: height}
	x, bottom := places(r.Bins), height-marginBelow
	for n := range 5 {
		edge := float64(r.Bins.Count) * float64(n) / 4
		anchor := map[int]string{0: "start", 4: "end"}[n]
		c.Labels = append(c.Labels, label{x(edge), height - 6, cmp.Or(anchor, "middle"), r.Bins.at(edge).UTC().Format("2 Jan 15:04")})
		c.Lines = append(c.Lines, gridLine{x(edge), bottom, x(edge), bottom + 4})
	}
	c.Lines = append(c.Lines, gridLine{marginLeft, bottom, chartWidth - marginRight, bottom})
	if top > 0 {
		c.Labels = append(c.Labels, label{marginLeft - 6, marginTop + 10, "end", thousands(top)}, label{marginLeft - 6, bottom, "end", "0"})
		c.Lines = append(c.Lines, gridLine{marginLeft, marginTop, marginLeft, bottom})
	}
	return c
}

// height is how high a value stands above the axis.
func height(value, top int64) float64 {
	return (chartHeight - marginTop - marginBelow) * float64(value) / float64(max(top, 1))
}

func queueChart(r Report) chart {
	top := int64(0)
	for _, n := range r.Mail.Queue {
		top = max(top, n)
	}
	c := frame("Recipients whose mail waited at the relay", r, top, chartHeight)
	if top == 0 {
		c.Empty = true
		return c
	}
	x, bottom := places(r.Bins), chartHeight-marginBelow
	points := []string{fmt.Sprintf("%g,%g", marginLeft, bottom)}
	last := 0.0
	for n, value := range r.Mail.Queue {
		last = x(float64(n))
		points = append(points, fmt.Sprintf("%g,%g", last, round(bottom-height(max(value, 0), top))))
	}
	c.Area = strings.Join(append(points, fmt.Sprintf("%g,%g", last, bottom)), " ")
	return c
}

func replyChart(r Report) chart {
	series := []struct {
		class  string
		values []int64
	}{{"delivered", r.Mail.Taken}, {"temporary", r.Probes.Temporary}, {"permanent", r.Probes.Permanent}, {"no-reply", r.Probes.None}}
	top := int64(0)
	for n := range r.Bins.Count {
		sum := int64(0)
		for _, s := range series {
			sum += at(s.values, n)
		}
		top = max(top, sum)
	}
	c := frame("Replies of the primary: mail taken, and refusals of mail and of probes", r, top, chartHeight)
	if top == 0 {
		c.Empty = true
		return c
	}
	x, bottom := places(r.Bins), chartHeight-marginBelow
	for n := range r.Bins.Count {
		y := bottom
		for _, s := range series {
			if value := at(s.values, n); value > 0 {
				h := height(value, top)
				y -= h
				c.Bars = append(c.Bars, bar{x(float64(n)), round(y), round(x(float64(n+1)) - x(float64(n))), round(h), s.class, fmt.Sprintf("%s: %s %s", clock(r.Bins.at(float64(n))), thousands(value), s.class)})
			}
		}
	}
	for _, s := range series {
		c.Legend = append(c.Legend, s.class)
	}
	return c
}

func at(values []int64, n int) int64 {
	if n < len(values) {
		return values[n]
	}
	return 0
}

// stretch is a time in one state.
type stretch struct {
	from, until time.Time
	state       string
}

// stretches are the states that counted: an override wins while it lasts.
func stretches(r Report) []stretch {
	begin, end := r.Bins.at(0), r.Bins.at(float64(r.Bins.Count))
	state, override := "", ""
	var all []stretch
	for _, c := range r.Changes {
		if c.Kind == health.ChangeState && state == "" {
			state = c.From
		}
	}
	effective := func() string {
		if override != "" && override != "none" {
			return override
		}
		return cmp.Or(state, "unknown")
	}
	from := begin
	for _, c := range slices.SortedStableFunc(slices.Values(r.Changes), func(a, b health.Change) int { return a.At.Compare(b.At) }) {
		at := c.At
		if at.Before(begin) {
			at = begin
		}
		if c.Kind != health.ChangeState && c.Kind != health.ChangeOverride || at.After(end) {
			continue
		}
		if at.After(from) {
			all = append(all, stretch{from, at, effective()})
			from = at
		}
		if c.Kind == health.ChangeState {
			state = c.To
		} else {
			override = c.To
		}
	}
	if end.After(from) {
		all = append(all, stretch{from, end, effective()})
	}
	return all
}

func stateChart(r Report) chart {
	c := frame("State of the primary, as the relay saw it", r, 0, barHeight)
	x := places(r.Bins)
	for _, s := range stretches(r) {
		left := x(s.from.Sub(r.Bins.From).Seconds() / r.Bins.Width)
		right := x(s.until.Sub(r.Bins.From).Seconds() / r.Bins.Width)
		class := s.state
		if !slices.Contains([]string{"up", "degraded", "down", "recovering"}, class) {
			class = "unknown"
		}
		c.Bars = append(c.Bars, bar{left, marginTop, round(max(right-left, 0.5)), barHeight - marginBelow - marginTop, class, fmt.Sprintf("%s from %s to %s", class, clock(s.from), clock(s.until))})
		if !slices.Contains(c.Legend, class) {
			c.Legend = append(c.Legend, class)
		}
	}
	return c
}
