package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"weft.dev/reconcile/agent"
	"weft.dev/reconcile/engine/trial"
	"weft.dev/reconcile/plan"
)

type applyFlags struct {
	planFlags
	file    string
	intent  string
	await   string
	confirm time.Duration
	auto    bool
	removal bool
}

func (a *app) apply() *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply [DIR] --host NAME [--plan FILE] [--confirm-timeout 60s]",
		Short: "Plan, ask, apply and verify on this host",
		Long: `Make this host what the tree in DIR (default: here) says: plan, ask, apply, verify by an
empty plan. With --plan FILE exactly that plan, refused (exit status 5) when the host or the
tree moved since. Refused as well while another process applies.

Where an agent runs here and is not suspended, it is asked to do it: now, over what would have
to wait. It does what its repository says, so a DIR that asks something else of this host is
refused (exit status 5), and so are --target, --intent and --confirm-timeout.

With --confirm-timeout the host goes back to the last good intent by itself unless somebody
runs weft confirm in time, best from a new login: a watchdog, started before the first step,
does that even if this command and the agent are dead and nobody can reach the host. With or
without it the host goes back when its default gateway or the repository's server answered
before the apply and does not after it. Exit status 4 says that it went back.`,
		Example: `  weft suspend && weft apply --host kvm1 --confirm-timeout 60s   # and in another login: weft confirm
  weft apply --host kvm1 --plan plan.json                        # what weft plan --host --out wrote
  weft apply --host kvm1 --intent /var/lib/weft/intent.json      # the last good intent again`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.await != "":
				return a.keepWatch(cmd.Context(), f)
			case f.intent != "" && len(args) > 0:
				return errors.New("a tree in DIR and an intent are two things to apply: give one")
			case cmd.Flags().Changed("confirm-timeout") && (f.confirm < time.Second || f.confirm > 24*time.Hour):
				return fmt.Errorf("--confirm-timeout %s: use 1s to 24h", f.confirm)
			}
			return a.doApply(cmd.Context(), dirArg(args), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.file, "plan", "", "apply exactly the plan that weft plan --host --out wrote")
	fl.DurationVar(&f.confirm, "confirm-timeout", 0, "go back by itself unless weft confirm is run within this time")
	fl.StringVar(&f.intent, "intent", "", "apply this stored intent instead of a tree")
	fl.StringVar(&f.await, "await", "", "be the watchdog of this trial")
	if err := fl.MarkHidden("await"); err != nil {
		panic(err)
	}
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
	if p, ok := trial.Open(a.machine()).Pending(); ok {
		return exit{exitStale, &trial.PendingError{Until: p.Until}}
	}
	client := agent.NewClient(a.machine())
	following, err := a.beside(ctx, client, f)
	if err != nil {
		return err
	}
	f.format, f.watched = "text", f.confirm > 0
	l, err := a.planLive(ctx, dir, f)
	if err != nil {
		return err
	}
	if following != nil && following.Intent != agent.IntentPrint(l.intent) {
		return exit{exitStale, fmt.Errorf("an agent runs here and follows another tree, %s: commit there, or weft suspend first", follows(following))}
	}
	r := l.report
	expect := r.Hosts[0].Digest
	if f.file != "" {
		if expect, err = agreed(f.file, r.Hosts[0]); err != nil {
			return err
		}
	}
	if err := a.showPlan(r, f.planFlags); err != nil {
		return err
	}
	if r.Denied() {
		return exit{exitDenied, errors.New("a policy forbids it: nothing was done")}
	}
	if r.Empty() {
		return nil
	}
	if !f.auto && f.file == "" {
		if err := a.ask(); err != nil {
			return err
		}
	}
	if following != nil {
		return a.askAgent(ctx, client, following, f)
	}
	l.options.Expect, l.options.Consent, l.options.Force = expect, f.removal, true
	return a.carryOut(ctx, l, f)
}

func (a *app) planLive(ctx context.Context, dir string, f applyFlags) (*live, error) {
	if f.intent != "" {
		return a.planIntent(ctx, f.intent, f.planFlags)
	}
	return a.planHost(ctx, dir, f.planFlags)
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
