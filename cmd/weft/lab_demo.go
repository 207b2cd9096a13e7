package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/plan/render"
)

func (l *labApp) demo() *cobra.Command {
	var secrets string
	c := &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Bring a tree up and show with packets that it does what it says",
		Long: `What make demo runs: weft lab up, the plan that was applied, then checks with real packets of
what the tree's networks promise. The lab is left running.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.doDemo(cmd.Context(), dirArg(args), secrets)
		},
	}
	c.Flags().StringVar(&secrets, "secrets", "", "directory that stands for the hosts' secret files")
	return c
}

func (l *labApp) doDemo(ctx context.Context, dir, secrets string) error {
	if err := l.takeDown(ctx, dir); err != nil {
		return err
	}
	c, t, err := l.bringUp(ctx, dir, secrets)
	if c != nil {
		defer func() { _ = c.Close() }()
	}
	if err != nil {
		return err
	}
	empty, err := newCompiler().emptyTree()
	if err != nil {
		return err
	}
	r, err := between(empty, t, "", "", nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(l.out, "\nThe plan that was applied (weft plan shows the same in a pull request):\n")
	for _, s := range render.Summary(r) {
		fmt.Fprintln(l.out, "  "+s)
	}
	fmt.Fprintf(l.out, "\nWhat it promises, tried with real packets:\n")
	list := checks(c, t)
	began := time.Now()
	bad := 0
	for i, err := range runChecks(ctx, list) {
		if err != nil {
			bad++
			fmt.Fprintf(l.out, "  FAIL %s: %s\n", list[i].claim, oneLine(err.Error()))
			continue
		}
		fmt.Fprintf(l.out, "  ok   %s\n", list[i].claim)
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d checks failed", bad, len(list))
	}
	if len(list) == 0 { // L2 networks
		fmt.Fprintln(l.out, "  nothing: weft knows no addresses of these guests, or there is one guest only")
	} else {
		fmt.Fprintf(l.out, "All %d hold (%.1f s).\n", len(list), time.Since(began).Seconds())
	}
	l.next(dir, t)
	return nil
}

// takeDown removes a lab of the same tree that runs already.
func (l *labApp) takeDown(ctx context.Context, dir string) error {
	c, err := l.dial(dir)
	if err != nil {
		return nil //nolint:nilerr // there is none, which is what is wanted
	}
	_ = c.Close()
	fmt.Fprintf(l.err, "Lab %s runs already: starting it anew.\n", c.Name)
	return l.remove(ctx, c.Name)
}

// next says what to try, with names of the tree.
func (l *labApp) next(dir string, t *compiled) {
	dir = filepath.Clean(dir)
	host, from, to := t.Hosts()[0], "ACCOUNT/VM", "OTHER-VM"
	for _, n := range t.Networks() {
		if nics := running(n); len(nics) > 1 {
			from, to = vm(nics[0]), nics[len(nics)-1].Hostname
		}
	}
	fmt.Fprintf(l.out, `
What to try next (bin/weft knows the lab by its directory, or where there is only one):
  bin/weft lab status                                        how each host stands
  bin/weft lab exec %[2]s -- ping -c1 %[3]s
  bin/weft lab exec host/%[4]s -- ovs-vsctl show              ordinary tools see it all
  bin/weft lab exec host/%[4]s -- ovs-vsctl del-br weft-int   break it ...
  bin/weft lab exec host/%[4]s -- weft drift                  ... it was seen, and repaired
  edit a file in %[1]s, then
  bin/weft lock %[1]s && bin/weft lab commit %[1]s
  bin/weft lab down %[1]s
`, dir, from, to, host)
}
