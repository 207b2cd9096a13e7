package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"weft.dev/reconcile/agent"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

type applyFlags struct {
	planFlags
	file    string
	auto    bool
	removal bool
}

func (a *app) apply() *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply [DIR] --host NAME",
		Short: "Plan, ask, apply and verify on this host, without an agent",
		Long: `Make this host what the tree in DIR (default: here) says: plan, ask, apply, verify by an
empty plan. With --plan FILE exactly that plan, refused (exit status 5) when the host or the
tree moved since. Refused as well while another process applies, or an agent follows a
repository here and is not suspended.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.doApply(cmd.Context(), dirArg(args), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.file, "plan", "", "apply exactly the plan that weft plan --host --out wrote")
	fl.BoolVar(&f.auto, "auto-approve", false, "do not ask")
	fl.BoolVar(&f.removal, "allow-removal", false, "remove more than the guard allows")
	fl.StringArrayVar(&f.target, "target", nil, "OWNER: limit the changes to it")
	fl.StringVar(&f.secrets, "secrets", "/etc/weft", "directory below which secretFile may point")
	return c
}

func (a *app) doApply(ctx context.Context, dir string, f applyFlags) error {
	if a.host == "" {
		return errors.New("which host is this? give --host NAME, the name of its Host document")
	}
	if err := a.alone(ctx); err != nil {
		return err
	}
	f.format = "text"
	in, r, err := a.planHost(ctx, dir, f.planFlags)
	if err != nil {
		return err
	}
	expect := r.Hosts[0].Digest
	if f.file != "" {
		if expect, err = agreed(f.file, r.Hosts[0]); err != nil {
			return err
		}
	}
	if err := a.showPlan(r, f.planFlags); err != nil {
		return err
	}
	if r.Empty() {
		return nil
	}
	if !f.auto && f.file == "" {
		if err := a.ask(); err != nil {
			return err
		}
	}
	return a.carryOut(ctx, in, r.Hosts[0], expect, f)
}

// alone refuses to work beside an agent that would undo it.
func (a *app) alone(ctx context.Context) error {
	s, err := agent.NewClient(a.machine()).Status(ctx)
	if err != nil {
		return nil //nolint:nilerr // no agent answers, which is what is wanted
	}
	if s.Condition(status.Suspended).True {
		return nil
	}
	return exit{exitStale, fmt.Errorf("an agent runs here and follows %s: commit there, or weft suspend first", s.Repository)}
}

// agreed reads the digest that somebody agreed to and compares it.
func agreed(file string, now *plan.Plan) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var r plan.Report
	if err := json.Unmarshal(b, &r); err != nil {
		return "", fmt.Errorf("%s is no plan in JSON: %w", file, err)
	}
	if len(r.Hosts) != 1 || r.Hosts[0].Host != now.Host {
		return "", fmt.Errorf("%s is not a plan for host %s alone", file, now.Host)
	}
	if r.Hosts[0].Digest != now.Digest {
		return "", exit{exitStale, fmt.Errorf("%s is stale: the host or the tree is not what it was; plan again", file)}
	}
	return now.Digest, nil
}

func (a *app) ask() error {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return errors.New("nobody to ask on standard input: use --auto-approve or --plan FILE")
	}
	fmt.Fprint(a.err, "Apply this? Only \"yes\" does: ")
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "yes" {
		return errors.New("not applied")
	}
	return nil
}

func (a *app) carryOut(ctx context.Context, in *resource.Intent, p *plan.Plan, expect string, f applyFlags) error {
	e := newEngine(a.machine(), f.secrets, nil)
	opt := engine.Options{Lock: p.Lock, Expect: expect, Consent: f.removal, Force: true}
	for _, o := range f.target {
		opt.Target = append(opt.Target, resource.Owner(o))
	}
	r, err := e.Reconcile(ctx, in, opt)
	var held *engine.LockedError
	switch {
	case errors.Is(err, engine.ErrStale) || errors.As(err, &held):
		return exit{exitStale, err}
	case err != nil:
		return err
	case r.Refused != "":
		return fmt.Errorf("%s (--allow-removal consents)", r.Refused)
	}
	for _, o := range r.Owners {
		for _, x := range o.Failures {
			fmt.Fprintf(a.err, "%s: %s: %s\n", o.Owner, x.ID, oneLine(x.Error))
		}
	}
	if !r.Converged() {
		return errors.New("not all of it could be done; the rest is as it was")
	}
	fmt.Fprintf(a.out, "Applied and verified in %d ms.\n", r.Took.Milliseconds())
	return nil
}
