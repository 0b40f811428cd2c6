package queue

import (
	"testing"
)

func TestAsideIsOpen(t *testing.T) {
	for _, c := range []struct {
		rule string
		a    Aside
		open bool
	}{
		{"as it was set aside", Aside{Recipients: 5}, true},
		{"without recipients: nobody has looked", Aside{}, true},
		{"salvaged to the end", Aside{Salvaged: noon}, false},
		{"salvaged, with a rest", Aside{Salvaged: noon, Recipients: 1}, true},
		{"salvaged, as far as is known", Aside{Salvaged: noon, Certainty: About}, true},
		{"given up", Aside{Recipients: 5, Certainty: Unknown, Closed: noon}, false},
	} {
		if c.a.Open() != c.open {
			t.Errorf("%s: open %t", c.rule, c.a.Open())
		}
	}
}

func TestCertaintyIsAWord(t *testing.T) {
	for c, word := range map[Certainty]string{Exact: "exact", About: "about", Unknown: "unknown"} {
		var again Certainty
		text, err := c.MarshalText()
		if err == nil {
			err = again.UnmarshalText(text)
		}
		if err != nil || string(text) != word || again != c {
			t.Errorf("%d: %q, %d, %v", c, text, again, err)
		}
	}
	var c Certainty
	if c.UnmarshalText([]byte("perhaps")) == nil {
		t.Error("perhaps is no certainty")
	}
}
