package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/plan/render"
	"weft.dev/reconcile/reach"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/source"
)

type planFlags struct {
	base      string
	baseExact bool
	observed  string
	format    string
	out       string
	target    []string
	steps     bool
	detailed  bool
	secrets   string
	watched   bool // the plan is for a trial
}

func (a *app) plan() *cobra.Command {
	var f planFlags
	c := &cobra.Command{
		Use:   "plan [DIR] --base REV | --observed FILE | --host NAME",
		Short: "What a change will do to every host, or to this one",
		Long: `With --base: what the files in DIR (default: here), as they are now, will do to every host
and to who reaches whom, compared with REV's merge base with HEAD. Needs neither root nor a host.
With --observed: what they will do to the hosts as they were when weft observe looked at them,
drift included; FILE is a snapshot, or a directory of them (*.json). Needs neither as well.
With --host: what they will do to this machine, looked at live.`,
		Example: `  weft plan --base origin/main                  # a pull request
  weft plan --base HEAD~1 -o md --out plan.md   # for its comment
  weft plan --observed snapshots/               # against the hosts as they are
  weft plan --host kvm1 --out plan.json         # on a host; weft apply --plan plan.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("-o", f.format, "text", "json", "md", "github"); err != nil {
				return err
			}
			return a.doPlan(cmd.Context(), dirArg(args), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.base, "base", "", "compare with this revision's merge base with HEAD")
	fl.BoolVar(&f.baseExact, "base-exact", false, "compare with the revision itself")
	fl.StringVar(&f.observed, "observed", "", "compare with this snapshot of weft observe, or the directory of them; --host picks one")
	fl.StringVarP(&f.format, "output", "o", "text", "text, json, md or github")
	fl.StringVar(&f.out, "out", "", "write the plan into this file (json if it ends so) and print only its summary")
	fl.StringArrayVar(&f.target, "target", nil, "OWNER (network/ACCOUNT/NAME, host/NAME): limit the plan to it")
	fl.BoolVar(&f.steps, "steps", false, "show the steps in the order they are done")
	fl.BoolVar(&f.detailed, "detailed-exitcode", false, "exit status 2 if there are changes")
	fl.StringVar(&f.secrets, "secrets", "/etc/weft", "with --host: directory below which secretFile may point")
	return c
}

func (a *app) doPlan(ctx context.Context, dir string, f planFlags) error {
	var r *plan.Report
	var err error
	switch {
	case f.observed != "" && f.base != "":
		return errors.New("--base and --observed are two things to compare with: give one")
	case f.observed != "":
		r, err = a.planObserved(dir, f)
	case a.host != "" && f.base == "":
		var l *live
		if l, err = a.planHost(ctx, dir, f); err == nil {
			r = l.report
		}
	case f.base != "":
		r, err = a.planBase(ctx, dir, f)
	default:
		return errors.New("weft plan wants --base REV, --observed FILE, or --host NAME on a host")
	}
	if err != nil {
		return err
	}
	if err := a.showPlan(r, f); err != nil {
		return err
	}
	switch {
	case r.Denied():
		return exit{code: exitDenied}
	case f.detailed && !r.Empty():
		return exit{code: exitDiffers}
	}
	return nil
}

// showPlan prints a report, or writes it into --out and prints its summary.
func (a *app) showPlan(r *plan.Report, f planFlags) error {
	if f.out == "" {
		return a.writePlan(a.out, r, f)
	}
	if f.format == "text" && strings.HasSuffix(f.out, ".json") {
		f.format = "json"
	}
	var b bytes.Buffer
	if err := a.writePlan(&b, r, f); err != nil {
		return err
	}
	if err := host.WriteFile(f.out, b.Bytes(), 0o644); err != nil {
		return err
	}
	for _, s := range render.Summary(r) {
		fmt.Fprintln(a.out, s)
	}
	return nil
}

func (a *app) writePlan(w io.Writer, r *plan.Report, f planFlags) error {
	opt := render.Options{Color: a.color(w), Width: a.width(w)}
	if f.steps && f.format == "text" {
		return render.Steps(w, r, opt)
	}
	switch f.format {
	case "json":
		return render.JSON(w, r)
	case "md":
		return render.Markdown(w, r)
	case "github":
		return render.GitHub(w, r)
	}
	return render.Text(w, r, opt)
}

// planBase compares the work tree with a commit of its repository.
func (a *app) planBase(ctx context.Context, dir string, f planFlags) (*plan.Report, error) {
	co, err := source.Local(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = co.Close() }()
	rev, err := co.Resolve(f.base)
	if err == nil && !f.baseExact {
		rev, err = co.MergeBase(ctx, f.base)
	}
	if err != nil {
		return nil, err
	}
	before, err := co.TreeAt(rev.Commit)
	if err != nil {
		return nil, err
	}
	now, err := co.WorkTree()
	if err != nil {
		return nil, err
	}
	defer func() { _ = now.Close() }()
	patient()
	c := newCompiler()
	head, err := c.compile(now, nil)
	if err != nil {
		return nil, err
	}
	head.checkLock()
	head.readPolicies()
	if err := a.refuse(head); err != nil {
		return nil, err
	}
	// The base comes last: of a commit only what differs need be read.
	base, err := c.compile(before, nil)
	if err != nil {
		return nil, err
	}
	changes, refused := offeringChanges(base, head)
	head.diags = refused
	if err := a.refuse(head); err != nil {
		return nil, err
	}
	r, err := between(base, head, rev.Commit, "", f.target)
	if err == nil {
		tellOfferings(r, changes)
		tellUpstream(r, base, head)
		tellAdvertised(r, base, head)
		tellDaemons(r, base, head)
		veto(r, head, base)
	}
	return r, err
}

// refuse prints what is wrong with a tree and fails if that is an error.
func (a *app) refuse(t *compiled) error {
	if len(t.diags) == 0 {
		return nil
	}
	if err := t.diags.Render(a.err, t.source, a.color(a.err)); err != nil {
		return err
	}
	if t.diags.HasErrors() {
		return exit{exitError, fmt.Errorf("the tree has %s: nothing was done", errorCount(t.diags))}
	}
	return nil
}

// between plans the way of every host from one tree to another.
func between(base, head *compiled, from, to string, target []string) (*plan.Report, error) {
	opt := plan.Options{Revision: to, Lock: digest(head.text), Declared: head.Declared}
	var err error
	if opt.Target, err = targets(target, base, head); err != nil {
		return nil, err
	}
	names := slices.Concat(base.Hosts(), head.Hosts())
	slices.Sort(names)
	names = slices.Compact(names)
	hosts, changes, errs := make([]*plan.Plan, len(names)), make([]reach.Change, len(names)), make([]error, len(names))
	var next atomic.Int64
	var planning sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		planning.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(names); i = int(next.Add(1)) - 1 {
				before, after := intentOf(base, names[i]), intentOf(head, names[i])
				after = resource.Carry(before, after)
				hosts[i], errs[i] = plan.Between(before, after, opt)
				changes[i] = reach.Between(narrowed(before, opt.Target), narrowed(after, opt.Target))
			}
		})
	}
	planning.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, fmt.Errorf("host %s: %w", names[i], errs[i])
	}
	var ways reach.Change
	for _, c := range changes {
		ways.Added, ways.Removed = append(ways.Added, c.Added...), append(ways.Removed, c.Removed...)
	}
	ways = ways.Join(reach.Heard(base.Domains(), head.Domains(), func(o resource.Owner) bool { return concerns(opt.Target, string(o)) }))
	r := plan.NewReport(from, to, hosts)
	r.Allocations = slices.DeleteFunc(allocations(base.lock, head.lock), func(a plan.Allocation) bool {
		return !concerns(opt.Target, a.Owner)
	})
	r.Reachability = reachability(ways)
	return r, nil
}

// targets checks the owners that a plan is limited to: trees know each.
func targets(names []string, trees ...*compiled) ([]resource.Owner, error) {
	var out []resource.Owner
	for _, name := range names {
		name, _ = cutRouter(name)
		known := slices.ContainsFunc(trees, func(t *compiled) bool {
			host, ok := strings.CutPrefix(name, "host/")
			return ok && slices.Contains(t.Hosts(), host) ||
				slices.ContainsFunc(t.Networks(), func(n *model.Network) bool { return n.ID.String() == name })
		})
		if !known {
			return nil, fmt.Errorf("--target %s: the tree has no such owner; owners are network/ACCOUNT/NAME and host/NAME", name)
		}
		out = append(out, resource.Owner(name))
	}
	return out, nil
}

// intentOf is what a tree wants of a host; of one that it does not have,
// nothing.
func intentOf(t *compiled, name string) *resource.Intent {
	if !slices.Contains(t.Hosts(), name) {
		return resource.NewIntent(name, nil, nil)
	}
	return t.Intent(name)
}

// concerns reports whether a plan limited to target, empty for all, tells of
// owner.
func concerns(target []resource.Owner, owner string) bool {
	return len(target) == 0 || slices.Contains(target, resource.Owner(owner))
}

// narrowed is in without the owners that a plan is not about.
func narrowed(in *resource.Intent, target []resource.Owner) *resource.Intent {
	if len(target) == 0 {
		return in
	}
	var keep []*resource.Fragment
	for _, f := range in.Fragments {
		if concerns(target, string(f.Owner)) {
			keep = append(keep, f)
		}
	}
	return resource.NewIntent(in.Host, keep, nil)
}

func reachability(c reach.Change) *plan.Reachability {
	paths := func(l []reach.Way) []plan.Path {
		var out []plan.Path
		for _, w := range l {
			out = append(out, plan.Path{From: w.From, To: w.To, Ports: w.Ports})
		}
		return out
	}
	return &plan.Reachability{Gained: paths(c.Added), Lost: paths(c.Removed), Exposed: c.Exposed()}
}

// allocations tells two locks apart.
func allocations(before, after *alloc.Lock) []plan.Allocation {
	var out []plan.Allocation
	owners := after.Changed(before)
	fields := func(l *alloc.Lock) map[[2]string]string {
		m := map[[2]string]string{}
		for _, owner := range owners {
			for _, e := range l.Of(owner) {
				m[[2]string{e.Owner, e.Field}] = e.Value
			}
		}
		return m
	}
	had, has := fields(before), fields(after)
	for k, v := range has {
		switch old, ok := had[k]; {
		case !ok:
			out = append(out, plan.Allocation{Verb: plan.Create, Owner: k[0], Field: k[1], To: v})
		case old != v:
			out = append(out, plan.Allocation{Verb: plan.Update, Owner: k[0], Field: k[1], From: old, To: v})
		}
	}
	for k, v := range had {
		if _, ok := has[k]; !ok {
			out = append(out, plan.Allocation{Verb: plan.Delete, Owner: k[0], Field: k[1], From: v})
		}
	}
	slices.SortFunc(out, func(a, b plan.Allocation) int {
		return strings.Compare(a.Owner+" "+a.Field, b.Owner+" "+b.Field)
	})
	return out
}
