package relay

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/configs"
)

func TestFitting(t *testing.T) {
	for _, test := range []struct {
		wanted, deliveries int
		limit              uint64
		want               int
	}{
		{5000, 20, 65535, 5000},
		{5000, 20, 1024, 748},
		{748, 20, 1024, 748},
		{5000, 20, math.MaxUint64, 5000},
		{5000, 800, 1024, 1},
		{5000, 768, 1024, 1},
		{5000, 20, 0, 1},
	} {
		if got := fitting(test.wanted, test.deliveries, test.limit); got != test.want {
			t.Errorf("%d sessions, %d deliveries, %d descriptors: %d, want %d", test.wanted, test.deliveries, test.limit, got, test.want)
		}
	}
}

// TestPlaces: what descriptors do not allow is not promised, and said.
func TestPlaces(t *testing.T) {
	var log bytes.Buffer
	r := &Relay{log: slog.New(slog.NewTextHandler(&log, nil)), config: configs.Config{Upstreams: []configs.Upstream{{Delivery: configs.Delivery{Connections: 20}}}}}
	if got := r.places(10); got != 10 || log.Len() != 0 {
		t.Errorf("%d, %s", got, log.String())
	}
	if got := r.places(math.MaxInt32); got < 10 || got == math.MaxInt32 || !strings.Contains(log.String(), "relay.descriptors") || !strings.Contains(log.String(), "wanted=2147483647") {
		t.Errorf("%d, %s", got, log.String())
	}
}
