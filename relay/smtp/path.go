package smtp

import "errors"

// ErrPath is wrapped by every error of ParsePath.
var ErrPath = errors.New("invalid path")

// Path is a reverse-path or forward-path without its angle brackets. The zero
// Path is the null reverse-path.
type Path struct {
	Local  string // decoded: a quoted local part without its quotes and backslashes
	Domain string // as written; "" for <postmaster> and the null reverse-path
}
