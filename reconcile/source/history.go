package source

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// A history walks commits, newest first.
type history struct {
	objects *objects
	shallow map[plumbing.Hash]bool // commits whose parents were not cloned
	queue   visits
	seen    map[plumbing.Hash]*visit
	cut     bool // a parent that was not cloned would have been next
}

type visit struct {
	id      plumbing.Hash
	when    time.Time
	parents []plumbing.Hash
	flags   uint8
	queued  bool
}

func newHistory(o *objects) *history {
	return &history{objects: o, seen: map[plumbing.Hash]*visit{}}
}

// push gives a commit flags, and queues it unless it had them all.
func (h *history) push(id plumbing.Hash, flags uint8) error {
	v := h.seen[id]
	if v == nil {
		c, err := h.objects.commit(id)
		if err != nil {
			return err
		}
		v = &visit{id: id, when: c.Committer.When, parents: c.ParentHashes}
		if h.shallow[id] && len(v.parents) > 0 {
			v.parents, h.cut = nil, true
		}
		h.seen[id] = v
	} else if v.flags&flags == flags {
		return nil
	}
	v.flags |= flags
	if !v.queued {
		v.queued = true
		heap.Push(&h.queue, v)
	}
	return nil
}

func (h *history) pop() *visit {
	v := heap.Pop(&h.queue).(*visit) // nothing else is in it
	v.queued = false
	return v
}

// isAncestor reports whether old is in the history of tip.
func isAncestor(ctx context.Context, o *objects, old, tip plumbing.Hash) (bool, error) {
	h := newHistory(o)
	if err := h.push(tip, 1); err != nil {
		return false, err
	}
	for h.queue.Len() > 0 {
		v := h.pop()
		if v.id == old {
			return true, nil
		}
		for _, p := range v.parents {
			if err := errors.Join(ctx.Err(), h.push(p, 1)); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

const (
	ofFirst uint8 = 1 << iota
	ofSecond
	result
	stale // in the history of a result
)

// errNoBase says that two commits have no common history.
var errNoBase = errors.New("no common history")

// mergeBase returns the best common ancestor, the newest where there are
// several: git's paint_down_to_common.
func (h *history) mergeBase(ctx context.Context, a, b plumbing.Hash) (plumbing.Hash, error) {
	if a == b {
		return a, nil
	}
	if err := errors.Join(h.push(a, ofFirst), h.push(b, ofSecond)); err != nil {
		return plumbing.ZeroHash, err
	}
	var found []*visit
	for slices.ContainsFunc(h.queue, func(v *visit) bool { return v.flags&stale == 0 }) {
		if err := ctx.Err(); err != nil {
			return plumbing.ZeroHash, err
		}
		v := h.pop()
		flags := v.flags & (ofFirst | ofSecond | stale)
		if flags == ofFirst|ofSecond {
			if v.flags&result == 0 {
				v.flags |= result
				found = append(found, v)
			}
			flags |= stale
		}
		for _, p := range v.parents {
			if err := h.push(p, flags); err != nil {
				return plumbing.ZeroHash, err
			}
		}
	}
	for _, v := range found {
		if v.flags&stale == 0 {
			return v.id, nil
		}
	}
	return plumbing.ZeroHash, errNoBase
}

// visits is a heap of commits, the newest first.
type visits []*visit

func (q visits) Len() int           { return len(q) }
func (q visits) Less(i, j int) bool { return q[i].when.After(q[j].when) }
func (q visits) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *visits) Push(v any)        { *q = append(*q, v.(*visit)) } // container/heap's API

// Pop implements heap.Interface.
func (q *visits) Pop() any {
	last := len(*q) - 1
	v := (*q)[last]
	*q = (*q)[:last]
	return v
}
