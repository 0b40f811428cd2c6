package queuetest_test

import (
	"testing"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

func TestLivesInMemory(t *testing.T) {
	queuetest.Live(t, func(queuetest.T) queuetest.Life {
		s := queuetest.New()
		return queuetest.Life{Store: func() queue.Store { return s }, End: func() {}}
	})
}

func TestMemory(t *testing.T) {
	queuetest.Run(t, func(*testing.T) queue.Store { return queuetest.New() })
}

func TestMemoryLimits(t *testing.T) {
	queuetest.RunLimits(t, func(_ *testing.T, l queue.Limits) queue.Store {
		s := queuetest.New()
		s.Limit(l)
		return s
	})
}
