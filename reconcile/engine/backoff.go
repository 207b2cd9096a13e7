package engine

import (
	"fmt"
	"time"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// The pauses of an owner that fails or flaps: doubled from the first to the
// last. quiet is how long it must go well until it starts anew.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
	quiet      = time.Minute
)

// A backoff keeps an owner from being tried all the time. What fails is one
// case; what succeeds and is broken again at once, such as a daemon that dies
// soon after its start, is the other.
type backoff struct {
	fails int
	until time.Time
	last  time.Time // of the try that counted last
	print uint64    // of the fragment that was tried: another one is another try
	cause string
}

// pause is the wait after n failures in a row.
func (e *Engine) pause(n int) time.Duration {
	d := lastPause
	if n < 6 {
		d = min(lastPause, firstPause<<(n-1))
	}
	return d + time.Duration(0.2*e.settings.Jitter()*float64(d))
}

// waiting returns the backoff of what must not be tried now, or nil.
func (e *Engine) waiting(l lane, desired *resource.Intent, now time.Time) *backoff {
	b := e.backoff[l]
	if b == nil || !now.Before(b.until) || b.print != printOf(desired, l.owner) {
		return nil
	}
	return b
}

// hold is the error of a step of an owner that waits.
func (b *backoff) hold(o resource.Owner) error {
	return fmt.Errorf("%w: %s is tried again later: %s", plan.ErrSkipped, o, b.cause)
}

// failed counts a failure of l and returns when it may be tried again.
func (e *Engine) failed(l lane, desired *resource.Intent, cause string) time.Time {
	now := e.settings.Now()
	b := e.attempt(l, desired)
	b.fails++
	b.last, b.until, b.cause = now, now.Add(e.pause(b.fails)), cause
	return b.until
}

// healed counts the repair of something of l that nobody asked for. The first
// one costs nothing; each further one within quiet makes the next wait.
func (e *Engine) healed(l lane, desired *resource.Intent) {
	now := e.settings.Now()
	b := e.attempt(l, desired)
	if b.last.IsZero() {
		b.last, b.until = now, now
		return
	}
	b.fails++
	b.last, b.until, b.cause = now, now.Add(e.pause(b.fails)), "it was repaired a moment ago, and broke again"
}

// attempt returns the backoff of l, a new one where the last try was of
// something else or long ago.
func (e *Engine) attempt(l lane, desired *resource.Intent) *backoff {
	b, now := e.backoff[l], e.settings.Now()
	if p := printOf(desired, l.owner); b == nil || b.print != p || now.Sub(b.until) > quiet {
		b = &backoff{print: p}
		e.backoff[l] = b
	}
	return b
}

// well forgets the failures of l.
func (e *Engine) well(l lane) {
	if b := e.backoff[l]; b != nil && e.settings.Now().Sub(b.until) > quiet {
		delete(e.backoff, l)
	}
}

func printOf(in *resource.Intent, o resource.Owner) uint64 {
	if f := in.Fragment(o); f != nil {
		return f.Print
	}
	return 0
}
