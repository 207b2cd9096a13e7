package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"weft.dev/reconcile/agent"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/host/facts"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/source"
	"weft.dev/reconcile/status"
)

// A live is this machine and what is to be made of it.
type live struct {
	engine  *engine.Engine
	intent  *resource.Intent
	options engine.Options // what belongs to the plan
	report  *plan.Report
}

// planHost looks at this machine and plans the way to the tree in dir.
func (a *app) planHost(ctx context.Context, dir string, f planFlags) (*live, error) {
	files, err := source.Dir(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = files.Close() }()
	h := a.machine()
	known := facts.Of(ctx, h)
	known.Outside = a.outside(ctx)
	t, err := newCompilerOf(h.Name).compile(files, map[string]model.Facts{h.Name: known})
	if err != nil {
		return nil, err
	}
	t.checkLock()
	t.readPolicies()
	if err := a.refuse(t); err != nil {
		return nil, err
	}
	if !slices.Contains(t.Hosts(), h.Name) {
		return nil, fmt.Errorf("the tree has no host %s: its hosts are %s", h.Name, strings.Join(t.Hosts(), ", "))
	}
	l := &live{engine: newEngine(h, f.secrets, nil), intent: t.Intent(h.Name), options: engine.Options{Lock: digest(t.text), Declared: t.Declared, Watched: f.watched}}
	if l.options.Target, err = targets(f.target, t); err != nil {
		return nil, err
	}
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	veto(l.report, t, nil)
	return l, nil
}

// outside is the fact of NICs that have a port here, though it is none of their VM's
// hosts: what the agent sees of them, as it holds for what it makes.
func (a *app) outside(ctx context.Context) string {
	s, err := agent.NewClient(a.machine()).Status(ctx)
	if err != nil {
		return "" // nobody made anything for them
	}
	return outsideText(status.Outside(s.NICs))
}

// planIntent looks at this machine and plans the way to an intent that was stored. No policy
// judges it: going back must always be possible.
func (a *app) planIntent(ctx context.Context, file string, f planFlags) (*live, error) {
	if len(f.target) > 0 {
		return nil, errors.New("--intent is the whole of a host: --target goes with a tree")
	}
	s, err := engine.ReadStored(file)
	if err != nil {
		return nil, err
	}
	h := a.machine()
	if s.Intent.Host != h.Name {
		return nil, fmt.Errorf("%s is the intent of host %s, not %s", file, s.Intent.Host, h.Name)
	}
	l := &live{engine: newEngine(h, f.secrets, nil), intent: s.Intent, options: engine.Options{Revision: s.Revision, Lock: s.Lock, Watched: f.watched}}
	return l, l.look(ctx)
}

// look makes the plan.
func (l *live) look(ctx context.Context) error {
	p, err := l.engine.Plan(ctx, l.intent, l.options)
	if err == nil {
		l.report = plan.NewReport("", "", []*plan.Plan{p})
	}
	return err
}
