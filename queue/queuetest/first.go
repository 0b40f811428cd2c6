package queuetest

import (
	"cmp"
	"container/heap"
	"context"

	"github.com/mxkeep/mxkeep/queue"
)

// firstDue is a heap of what is due, the longest due on top. A dispatcher takes a few
// of many, so they are not put in order before it asks for them.
type firstDue []queue.Summary

func (f firstDue) Len() int      { return len(f) }
func (f firstDue) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f firstDue) Less(i, j int) bool {
	return cmp.Or(f[i].Due.Compare(f[j].Due), cmp.Compare(f[i].ID, f[j].ID)) < 0
}

func (f *firstDue) Push(x any) { *f = append(*f, x.(queue.Summary)) }

func (f *firstDue) Pop() any {
	last := len(*f) - 1
	x := (*f)[last]
	*f = (*f)[:last]
	return x
}

// yieldFirst gives the longest due first, until the context ends or nobody wants more.
func yieldFirst(ctx context.Context, due firstDue, yield func(queue.Summary, error) bool) {
	heap.Init(&due)
	for due.Len() > 0 {
		next := heap.Pop(&due).(queue.Summary)
		if err := ctx.Err(); err != nil {
			yield(next, err)
			return
		}
		if !yield(next, nil) {
			return
		}
	}
}
