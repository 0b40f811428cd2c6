package queuetest_test

import (
	"testing"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

func TestMemory(t *testing.T) {
	queuetest.Run(t, func(*testing.T) queue.Store { return queuetest.New() })
}
