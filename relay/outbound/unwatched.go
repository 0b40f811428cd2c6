package outbound

import "github.com/mxkeep/mxkeep/health"

// Unwatched is the Health of what nobody watches: it is up, and always was.
type Unwatched struct{}

// Status says up.
func (Unwatched) Status() health.Status { return health.Status{State: health.Up} }

// Observe learns nothing.
func (Unwatched) Observe(health.Signal) {}

// Changed gives a channel that nothing ever comes from.
func (Unwatched) Changed() (<-chan struct{}, func()) { return nil, func() {} }
