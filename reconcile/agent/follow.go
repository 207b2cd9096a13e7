package agent

import (
	"context"
	"runtime/debug"
	"time"

	"weft.dev/reconcile/source"
)

// The pauses between fetches that fail, doubled from the first to the last.
const (
	firstRefetch = time.Second
	lastRefetch  = 30 * time.Second
)

// news is what the follower tells the loop.
type news struct {
	// number counts the fetches; 0 is what was fetched by an earlier agent.
	number int64
	// asked: the repository was asked; fetched is its error.
	asked   bool
	fetched error
	// observed is the newest revision there, tried the one that was compiled.
	observed, tried source.Revision
	// rewritten: observed does not descend from what is followed, and is not.
	rewritten bool
	// unsigned is why observed, or what is to be followed instead, is not.
	unsigned error
	// compiled is nil where nothing new was compiled; invalid is why.
	compiled *Compiled
	invalid  error
}

// follow asks the repository, compiles what is new, and tells the loop. It is
// its own goroutine: a slow repository delays no repair.
func (a *Agent) follow(ctx context.Context) {
	wakes, err := a.Source.Watch(ctx)
	if err != nil {
		a.Log.Warn("the repository is polled only", "error", err)
	}
	f := &follower{Agent: a}
	if rev, ok := a.Source.Last(); ok {
		// What was fetched before serves until the repository has answered.
		f.tell(ctx, f.consider(ctx, rev, news{observed: rev}))
	}
	pause := firstRefetch
	for ctx.Err() == nil {
		n := f.fetch(ctx)
		f.tell(ctx, n)
		var again <-chan time.Time
		if n.fetched != nil {
			again, pause = time.After(pause), min(2*pause, lastRefetch)
		} else {
			pause = firstRefetch
		}
		select {
		case <-ctx.Done():
		case <-again:
		case <-a.refetch:
		case _, open := <-wakes:
			if !open {
				wakes = nil // ctx has ended
			}
		}
	}
}

type follower struct {
	*Agent
	done string // the commit that was compiled last
}

func (f *follower) tell(ctx context.Context, n news) {
	select {
	case f.news <- n:
	case <-ctx.Done():
	}
}

func (f *follower) fetch(ctx context.Context) news {
	began, n := time.Now(), news{asked: true, number: f.fetches.Add(1)}
	rev, err := f.Source.Fetch(ctx)
	f.Metrics.fetched(time.Since(began), err)
	if n.fetched = err; err != nil {
		// Another revision of those that are here may be wanted.
		var ok bool
		if rev, ok = f.Source.Last(); !ok {
			return n
		}
	}
	n.observed = rev
	return f.consider(ctx, rev, n)
}

// consider decides what to follow now that rev is the newest, and compiles it.
func (f *follower) consider(ctx context.Context, rev source.Revision, n news) news {
	s := f.saved.get()
	n.tried, n.unsigned = rev, f.signed(rev)
	// What is not signed ends no rollback.
	pinned, rewritten := s.Pin != "" && (rev.Commit == s.Over || n.unsigned != nil), false
	if !pinned && n.unsigned == nil {
		if rewritten, n.invalid = f.rewritten(ctx, rev, s); n.invalid != nil {
			return n
		}
	}
	switch {
	case pinned:
		rev = source.Revision{Commit: s.Pin}
	case n.unsigned != nil:
		rev = source.Revision{Ref: rev.Ref, Commit: s.Followed}
	case rewritten:
		n.rewritten = true
		f.remember(func(n *state) { n.Pin, n.Over, n.Refused = "", "", rev.Commit })
		// What was followed before may still be in the clone.
		rev = source.Revision{Ref: rev.Ref, Commit: s.Followed}
	case s.Pin != "":
		f.remember(func(n *state) { n.Pin, n.Over = "", "" })
	}
	if rev.Commit == "" || !f.alsoSigned(rev, &n) {
		return n
	}
	n.tried = rev
	if f.done == rev.Commit && !f.recompile.Swap(false) {
		return n
	}
	if n.invalid = f.recovering(func() error { return f.compile(ctx, rev, &n) }); n.invalid != nil {
		f.done = "" // to be tried again, though an earlier compilation of it went well
		return n
	}
	f.done = rev.Commit
	if !pinned && !n.rewritten && n.unsigned == nil && s.Followed != rev.Commit {
		f.remember(func(n *state) { n.Followed, n.Refused = rev.Commit, "" })
	}
	return n
}

// remember changes what is saved; a disk that is full does not stop the agent.
func (f *follower) remember(change func(*state)) {
	if err := f.saved.change(change); err != nil {
		f.Log.Error("remember", "error", err)
	}
}

func (f *follower) compile(ctx context.Context, rev source.Revision, n *news) error {
	tree, err := f.Source.Tree(rev)
	if err != nil {
		return err
	}
	n.compiled, err = f.Compiler.Compile(ctx, tree)
	return err
}

func stack() string { return string(debug.Stack()) }
