package admintest

import (
	"fmt"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// Windows are as the test says. Its fields may be set while nobody asks.
type Windows struct {
	mu   sync.Mutex
	All  []admin.Window
	Fail error // of Add and Remove
}

var _ admin.Windows = (*Windows)(nil)

// List is All.
func (w *Windows) List(time.Time) []admin.Window {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]admin.Window{}, w.All...)
}

// Add adds a window, unless it fails.
func (w *Windows) Add(one admin.Window) (admin.Window, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.Fail == nil {
		one.ID = fmt.Sprintf("WIN-2000-01-01-%d", len(w.All)+1)
		w.All = append(w.All, one)
	}
	return one, w.Fail
}

// Remove removes a window, unless it fails.
func (w *Windows) Remove(id string) (admin.Window, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.Fail != nil {
		return admin.Window{}, w.Fail
	}
	for i, one := range w.All {
		if one.ID == id {
			w.All = append(w.All[:i:i], w.All[i+1:]...)
			return one, nil
		}
	}
	return admin.Window{}, admin.ErrNoWindow
}
