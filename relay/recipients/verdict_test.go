package recipients

import (
	"fmt"
	"testing"
	"time"
)

// TestDecide has every cell of what a list, a directory and evidence can say
// together, and what follows.
func TestDecide(t *testing.T) {
	day := func(n int) time.Time { return time.Unix(0, 0).AddDate(0, 0, n) }
	list := map[string][]saying{
		"none":         nil,
		"has":          {{source: SourceList, says: Known, at: day(2)}},
		"has, old":     {{source: SourceList, says: Known, at: day(1), stale: true}},
		"lacks":        {{source: SourceList, at: day(2)}},
		"stale":        {{source: SourceList, at: day(1), stale: true}},
		"two lack":     {{source: SourceDirectory, at: day(2)}, {source: SourceList, at: day(1)}},
		"one is stale": {{source: SourceList, at: day(2)}, {source: SourceDirectory, stale: true}},
	}
	evidence := map[string][]saying{
		"none":     nil,
		"silent":   {{source: SourceLearned}},
		"old yes":  {{source: SourceLearned, says: Known, at: day(1)}},
		"new yes":  {{source: SourceLearned, says: Known, at: day(3)}},
		"no":       {{source: SourceLearned, says: Unknown, at: day(3)}},
		"in doubt": {{source: SourceLearned, at: day(3), doubt: true}},
	}
	const known, unknown, not = "known", "unknown", "not known"
	for name, row := range map[string]map[string]string{
		"none":         {"none": known, "silent": not, "old yes": known, "new yes": known, "no": unknown, "in doubt": not},
		"has":          {"none": known, "silent": known, "old yes": known, "new yes": known, "no": known, "in doubt": known},
		"has, old":     {"none": known, "silent": known, "old yes": known, "new yes": known, "no": known, "in doubt": known},
		"lacks":        {"none": unknown, "silent": unknown, "old yes": unknown, "new yes": known, "no": unknown, "in doubt": unknown},
		"two lack":     {"none": unknown, "silent": unknown, "old yes": unknown, "new yes": known, "no": unknown, "in doubt": unknown},
		"stale":        {"none": not, "silent": not, "old yes": known, "new yes": known, "no": unknown, "in doubt": not},
		"one is stale": {"none": not, "silent": not, "old yes": known, "new yes": known, "no": unknown, "in doubt": not},
	} {
		for said, want := range row {
			for _, all := range [][]saying{append(append([]saying{}, list[name]...), evidence[said]...), append(append([]saying{}, evidence[said]...), list[name]...)} {
				a := decide(all)
				if a.Verdict.String() != want || a.Why == "" {
					t.Errorf("list %s, evidence %s: %s (%s), want %s", name, said, a.Verdict, a.Why, want)
				}
				if a.Doubted != (want == not && said == "in doubt") {
					t.Errorf("list %s, evidence %s: doubted %v", name, said, a.Doubted)
				}
				if decided := a.Source != ""; decided != (want != not || said == "in doubt") && len(all) > 0 {
					t.Errorf("list %s, evidence %s: decided by %q", name, said, a.Source)
				}
			}
		}
	}
}

// TestOutcome has every cell of verdict, policy and primary.
func TestOutcome(t *testing.T) {
	for _, test := range []struct {
		verdict Verdict
		policy  Policy
		want    string // up, in doubt, down, and down for one whom the primary has begun to refuse
	}{
		{Known, Accept, "take take take take"},
		{Known, Defer, "take take take take"},
		{Known, Reject, "take take take take"},
		{Unknown, Accept, "550 550 550 550"},
		{Unknown, Defer, "550 550 550 550"},
		{Unknown, Reject, "550 550 550 550"},
		{NotKnown, Accept, "take take take take"},
		{NotKnown, Defer, "take 451 451 451"},
		{NotKnown, Reject, "take 451 550 451"},
		{NotKnown, "", "take take take take"},
	} {
		a := Answer{Verdict: test.verdict, Policy: test.policy}
		words := map[Outcome]string{Take: "take", Later: "451", Refuse: "550"}
		doubted := a
		doubted.Doubted = true
		if got := fmt.Sprint(words[a.Outcome(Up)], " ", words[a.Outcome(Doubt)], " ", words[a.Outcome(Down)], " ", words[doubted.Outcome(Down)]); got != test.want {
			t.Errorf("%s, %s: %s, want %s", test.verdict, test.policy, got, test.want)
		}
	}
}
