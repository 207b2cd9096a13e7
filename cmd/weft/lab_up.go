package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/agent"
	"weft.dev/reconcile/lab"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/plan/render"
	"weft.dev/reconcile/source"
	"weft.dev/reconcile/status"
)

func (l *labApp) up() *cobra.Command {
	var secrets string
	c := &cobra.Command{
		Use:   "up [DIR]",
		Short: "Bring the whole cloud of a tree up on this machine",
		Long: `For every Host of the tree in DIR (default: here) a machine with its own Open vSwitch and
agent, for every running VirtualMachine a guest with a DHCP client, wires between them, an
internet, and a Git repository with the tree as its first commit. Returns when all hosts have
converged.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := l.bringUp(cmd.Context(), dirArg(args), secrets)
			if err != nil {
				return err
			}
			return c.Close()
		},
	}
	c.Flags().StringVar(&secrets, "secrets", "", "directory that stands for the hosts' secret files")
	return c
}

// bringUp starts the lab of dir and waits until it is what the tree says.
func (l *labApp) bringUp(ctx context.Context, dir, secrets string) (*lab.Client, *compiled, error) {
	began := time.Now()
	t, err := newCompiler().workTree(dir)
	if err != nil {
		return nil, nil, err
	}
	t.checkLock()
	t.readPolicies()
	t.judge()
	if err := l.refuse(t); err != nil {
		return nil, nil, err
	}
	name := l.name
	if name == "" {
		if name, err = lab.DefaultName(dir); err != nil {
			return nil, nil, err
		}
	}
	if secrets != "" { // the lab has another working directory
		if secrets, err = filepath.Abs(secrets); err != nil {
			return nil, nil, err
		}
	}
	spec := lab.SpecOf(t.Site, t.Networks(), t.VPCs(), lab.Spec{Secrets: secrets})
	c, err := lab.Start(ctx, lab.Options{Name: name, Spec: spec, Tree: dir})
	if err != nil {
		return nil, nil, err
	}
	fmt.Fprintf(l.err, "Lab %s: %s and %s started, waiting for them to converge ...\n",
		name, counted(len(spec.Hosts), "host"), counted(len(spec.VMs), "VM"))
	rev, err := l.head(c)
	if err == nil {
		err = l.converge(ctx, c, t.Hosts(), rev)
	}
	if err != nil {
		return c, t, errors.Join(err, fmt.Errorf("lab %s is left up: weft lab status, weft lab down", name))
	}
	st, err := c.Status(ctx)
	if err != nil {
		return c, t, err
	}
	fmt.Fprintf(l.out, "Lab %s is up after %.1f s at %s: %s.\n", name, time.Since(began).Seconds(), status.Short(rev.String()), t.summary())
	if st.Dashboard != "" {
		fmt.Fprintf(l.out, "Metrics and health of each host: %sHOST/metrics\n", st.Dashboard)
	}
	return c, t, l.table(st)
}

// head is the newest commit of the lab's repository.
func (l *labApp) head(c *lab.Client) (source.Revision, error) {
	co, err := l.repository(c)
	if err != nil {
		return source.Revision{}, err
	}
	defer func() { _ = co.Close() }()
	return co.Resolve("main")
}

func (l *labApp) repository(c *lab.Client) (*source.Checkout, error) {
	path, err := lab.Repo(c.Name)
	if err != nil {
		return nil, err
	}
	return source.Bare(path)
}

// converge waits until every host has verified the revision and every guest has
// its addresses.
func (l *labApp) converge(ctx context.Context, c *lab.Client, hosts []string, rev source.Revision) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var missing []string
	for {
		var now []string
		for _, h := range hosts {
			if why := l.behind(ctx, c, h, rev); why != "" {
				now = append(now, h+": "+why)
			}
		}
		if len(now) == 0 {
			break
		}
		if ctx.Err() == nil || missing == nil {
			missing = now // the end of ctx is no reason
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s not every host has converged:\n  %s", l.timeout, strings.Join(missing, "\n  "))
		case <-tick.C:
		}
	}
	s, err := c.Wait(ctx, lab.Status.Ready)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("after %s not every VM has its addresses (weft lab ls): %s", l.timeout, strings.Join(unready(s), ", "))
	}
	if err != nil {
		return err
	}
	var failed []error
	for _, n := range s.Nodes {
		if n.State == lab.Failed {
			failed = append(failed, fmt.Errorf("%s: %s", n.Name, n.Reason))
		}
	}
	return errors.Join(failed...)
}

// behind says why a host is not yet what rev says, or "".
func (l *labApp) behind(ctx context.Context, c *lab.Client, name string, rev source.Revision) string {
	run, err := c.Path(ctx, "host/"+name, "/run/weft")
	if err != nil {
		return oneLine(err.Error())
	}
	s, err := observeHost(ctx, l.app, run)
	if err != nil {
		return "its agent does not answer"
	}
	ready := s.Condition(status.Ready)
	switch {
	case !strings.HasSuffix(s.ObservedRevision, rev.Commit):
		return "has not seen " + status.Short(rev.String())
	case !ready.True:
		return cmp.Or(ready.Message, ready.Reason, "is not ready")
	case !strings.HasSuffix(s.LastAppliedRevision, rev.Commit):
		return "is at " + status.Short(s.LastAppliedRevision)
	}
	return ""
}

// unready are the NICs that run without all their addresses.
func unready(s lab.Status) []string {
	var out []string
	for _, n := range s.Nodes {
		for _, c := range n.NICs {
			if n.State == lab.Up && !c.Ready {
				out = append(out, n.Name+"/"+c.Name)
			}
		}
	}
	return out
}

func (l *labApp) commit() *cobra.Command {
	var message string
	c := &cobra.Command{
		Use:   "commit [DIR]",
		Short: "Commit a tree to its lab and wait until every host is so",
		Long: `Commit DIR (default: here) as it is now to the lab's repository, add or remove VMs, wait
until every host has converged on that revision, and print the plan that was applied.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.doCommit(cmd.Context(), dirArg(args), message)
		},
	}
	c.Flags().StringVarP(&message, "message", "m", "lab commit", "message of the commit")
	return c
}

func (l *labApp) doCommit(ctx context.Context, dir, message string) error {
	c, err := l.dial(dir)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	began := time.Now()
	r, head, rev, err := l.push(ctx, c, dir, message)
	if err != nil || r == nil {
		return err
	}
	if err := render.Text(l.out, r, render.Options{Color: l.color(l.out), Width: l.width(l.out)}); err != nil {
		return err
	}
	head.checkLock()
	head.readPolicies()
	head.judge()
	if err := l.refuse(head); err != nil {
		return fmt.Errorf("committed as %s all the same, as somebody might push it: %w", status.Short(rev.String()), err)
	}
	if err := l.grow(ctx, c, head); err != nil {
		return err
	}
	if err := l.converge(ctx, c, head.Hosts(), rev); err != nil {
		return err
	}
	fmt.Fprintf(l.out, "On every host %.2f s after the commit (%s).\n", time.Since(began).Seconds(), status.Short(rev.String()))
	return nil
}

// push commits dir and plans the way from the commit before; nil when nothing
// changed.
func (l *labApp) push(ctx context.Context, c *lab.Client, dir, message string) (*plan.Report, *compiled, source.Revision, error) {
	var none source.Revision
	co, err := l.repository(c)
	if err != nil {
		return nil, nil, none, err
	}
	defer func() { _ = co.Close() }()
	last, err := co.Resolve("main")
	if err != nil {
		return nil, nil, none, err
	}
	rev, made, err := c.Commit(ctx, dir, message)
	if err != nil {
		return nil, nil, none, err
	}
	if !made {
		fmt.Fprintf(l.out, "Nothing to commit: the lab is at %s.\n", status.Short(rev.String()))
		return nil, nil, none, nil
	}
	units := newCompiler()
	var trees [2]*compiled
	for i, r := range []string{last.Commit, rev.Commit} {
		files, err := co.TreeAt(r)
		if err != nil {
			return nil, nil, none, err
		}
		if trees[i], err = units.compile(files, nil); err != nil {
			return nil, nil, none, err
		}
	}
	r, err := between(trees[0], trees[1], last.Commit, rev.Commit, nil)
	return r, trees[1], rev, err
}

// grow turns the lab's machines into those of a tree.
func (l *labApp) grow(ctx context.Context, c *lab.Client, t *compiled) error {
	spec, err := c.Spec(ctx)
	if err != nil {
		return err
	}
	return c.Update(ctx, lab.SpecOf(t.Site, t.Networks(), t.VPCs(), spec))
}

func (l *labApp) status() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "status",
		Short: "Each host's revision and conditions",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", format, "text", "json"); err != nil {
				return err
			}
			return l.with(func(c *lab.Client) error { return l.hosts(cmd.Context(), c, format) })
		},
	}
	outputFlag(c, &format)
	return c
}

// observeNode asks the agent of a host of the lab how it stands.
func (l *labApp) observeNode(ctx context.Context, c *lab.Client, n lab.NodeStatus) (*status.Status, error) {
	if n.State != lab.Up {
		return nil, agent.ErrNotRunning
	}
	run, err := c.Path(ctx, n.Name, "/run/weft")
	if err != nil {
		return nil, err
	}
	return observeHost(ctx, l.app, run)
}

func (l *labApp) hosts(ctx context.Context, c *lab.Client, format string) error {
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	all := map[string]any{"formatVersion": status.FormatVersion, "name": st.Name, "state": st.State}
	hosts := map[string]*status.Status{}
	for _, n := range st.Nodes {
		if n.Kind != lab.KindHost {
			continue
		}
		s, err := l.observeNode(ctx, c, n)
		if format == "json" {
			hosts[strings.TrimPrefix(n.Name, "host/")] = s
			continue
		}
		switch {
		case n.State != lab.Up:
			fmt.Fprintf(l.out, "%s: %s\n", n.Name, n.State)
		case err != nil:
			fmt.Fprintf(l.out, "%s: its agent does not answer\n", n.Name)
		default:
			if err := s.Text(l.out, l.style(false)); err != nil {
				return err
			}
		}
	}
	if format == "json" {
		all["hosts"] = hosts
		return indented(l.out, all)
	}
	return nil
}
