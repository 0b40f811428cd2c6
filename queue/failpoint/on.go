//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// built reports whether points kill.
const built = true

// armed is the point to die at, and how many visits are left until then.
type armed struct {
	point Point
	left  atomic.Int64
}

// read reads the environment. A name that is not in the list is a mistake of
// the test, which would wait for ever.
var read = sync.OnceValue(func() *armed {
	name, visits, counted := strings.Cut(os.Getenv(Variable), ":")
	a := &armed{point: Point(name)}
	a.left.Store(1)
	if counted {
		n, err := strconv.ParseInt(visits, 10, 64)
		if err != nil || n < 1 {
			panic(Variable + ": want a number from 1 on behind the colon, not " + visits)
		}
		a.left.Store(n)
	}
	if name != "" && a.point != Lie && !slices.Contains(Points(), a.point) {
		panic(Variable + ": there is no point " + name)
	}
	return a
})

// Hit kills the process if the point is armed and its visit has come.
func Hit(p Point) {
	if !Armed(p) || read().left.Add(-1) != 0 {
		return
	}
	fmt.Fprintln(os.Stderr, Epitaph(p))
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal may be a moment behind
}

// Armed reports whether the environment names the point.
func Armed(p Point) bool { return read().point == p }
