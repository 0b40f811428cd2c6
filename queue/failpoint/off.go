//go:build !failpoint

package failpoint

// built reports whether points kill.
const built = false

// Hit does nothing, and costs nothing.
func Hit(Point) {}

// Armed is false.
func Armed(Point) bool { return false }
