package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/agent"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/plan/render"
	"weft.dev/reconcile/status"
)

// verbs are those that talk to the running agent.
func (a *app) verbs() []*cobra.Command {
	return []*cobra.Command{a.status(), a.drift(), a.history(), a.suspend(), a.resume(), a.reconcile(), a.rollback()}
}

func (a *app) style(all bool) status.Style {
	return status.Style{Color: a.color(a.out), Now: time.Now(), All: all, Width: a.width(a.out)}
}

func outputFlag(c *cobra.Command, format *string) {
	c.Flags().StringVarP(format, "output", "o", "text", "text or json")
}

func (a *app) status() *cobra.Command {
	var format string
	var all bool
	c := &cobra.Command{
		Use:   "status [OWNER|vm/ACCOUNT/NAME|router/ACCOUNT/NAME]",
		Short: "How this host stands: revision, conditions, networks, NICs, drift",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("-o", format, "text", "json"); err != nil {
				return err
			}
			s, err := agent.NewClient(a.machine()).Status(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				if s, err = only(s, args[0]); err != nil {
					return err
				}
			}
			if format == "json" {
				return indented(a.out, s)
			}
			return s.Text(a.out, a.style(all || len(args) == 1))
		},
	}
	outputFlag(c, &format)
	c.Flags().BoolVarP(&all, "all", "a", false, "show networks that are well too")
	return c
}

// ownerKnown reports whether a status says something of an owner.
func ownerKnown(s *status.Status, name string) bool {
	return slices.ContainsFunc(s.Owners, func(o status.Owner) bool { return string(o.Name) == name })
}

// only keeps what a status says of one owner; router/A/N is network/A/N, or the VPC
// whose router that is.
func only(s *status.Status, name string) (*status.Status, error) {
	if i := slices.IndexFunc(s.Routers, func(r status.Router) bool {
		return name == r.Name || name == "router/"+string(r.Owner)
	}); i >= 0 {
		name = string(s.Routers[i].Owner)
	} else if rest, ok := cutRouter(name); ok {
		name = rest
	} else if strings.Count(name, "/") == 1 && !strings.HasPrefix(name, "host/") {
		name = "network/" + name
	}
	if vpc := strings.Replace(name, "network/", "vpc/", 1); !ownerKnown(s, name) && ownerKnown(s, vpc) {
		name = vpc
	}
	out := s.Clone()
	out.Owners, out.NICs, out.Routers, out.Drift, out.Repaired = nil, nil, nil, nil, nil
	if kind, id, _ := strings.Cut(name, "/"); kind == "vm" || kind == "nic" {
		if out.NICs = s.OfVM(id); len(out.NICs) == 0 {
			return nil, fmt.Errorf("%s is not expected on this host, and has no port here", name)
		}
		return out, nil
	}
	for _, n := range s.NICs {
		if string(n.Network) == name {
			out.NICs = append(out.NICs, n)
		}
	}
	for _, o := range s.Owners {
		if string(o.Name) == name {
			out.Owners = append(out.Owners, o)
		}
	}
	for _, r := range s.Routers {
		if string(r.Owner) == name {
			out.Routers = append(out.Routers, r)
		}
	}
	for _, d := range s.Drift {
		if string(d.Owner) == name {
			out.Drift = append(out.Drift, d)
		}
	}
	if out.Owners == nil {
		return nil, fmt.Errorf("%s has nothing on this host", name)
	}
	return out, nil
}

func (a *app) drift() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "drift",
		Short: "What somebody else changed of what is weft's; exit status 2 if anything",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", format, "text", "json"); err != nil {
				return err
			}
			s, err := agent.NewClient(a.machine()).Drift(cmd.Context())
			if err != nil {
				return err
			}
			if format == "json" {
				err = indented(a.out, map[string]any{"formatVersion": status.FormatVersion, "drift": append([]status.Drift{}, s.Drift...), "repaired": append([]status.Drift{}, s.Repaired...)})
			} else {
				err = s.DriftText(a.out, a.style(true))
			}
			if err == nil && len(s.Drift) > 0 {
				return exit{code: exitDiffers}
			}
			return err
		},
	}
	outputFlag(c, &format)
	return c
}

func (a *app) history() *cobra.Command {
	var format string
	var n int
	c := &cobra.Command{
		Use:   "history",
		Short: "What was applied on this host, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", format, "text", "json"); err != nil {
				return err
			}
			list, err := agent.NewClient(a.machine()).History(cmd.Context(), n)
			if err != nil {
				return err
			}
			if format == "json" {
				return indented(a.out, list)
			}
			return a.historyText(list)
		},
	}
	outputFlag(c, &format)
	c.Flags().IntVarP(&n, "number", "n", 20, "how many")
	return c
}

// historyText writes a table with what is to be said of an apply below its line.
func (a *app) historyText(list []engine.Record) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(a.out, "Nothing was applied yet.")
		return err
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHEN\tREVISION\tOUTCOME\tTOOK\tCHANGES")
	for _, r := range list {
		rev := cmp.Or(status.Short(r.Revision), "by hand")
		changes := fmt.Sprintf("+%d ~%d -%d", r.Count.Add, r.Count.Change, r.Count.Destroy)
		if r.Count.Drift > 0 {
			changes += fmt.Sprintf(", %d repaired", r.Count.Drift)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Began.Local().Format(time.DateTime), rev, r.Outcome, r.Took.Round(time.Millisecond), changes)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	n := -1 // the heading
	for line := range strings.Lines(table.String()) {
		fmt.Fprint(a.out, line)
		if n >= 0 {
			a.remarks(list[n])
		}
		n++
	}
	return nil
}

// mostDone is how many owners a verb names.
const mostDone = 3

// done says what an apply did, or was to do, to whom: "implement network/acme/web". The
// host's own share is told where there is nothing else.
func done(r engine.Record) string {
	shared := func(x engine.Action) bool { return strings.HasPrefix(string(x.Owner), "host/") }
	alone := !slices.ContainsFunc(r.Actions, func(x engine.Action) bool { return !shared(x) })
	var verbs []string
	to := map[string][]string{}
	add := func(verb string, of func(engine.Action) bool) {
		for _, x := range r.Actions {
			if of(x) && (alone || !shared(x)) && !slices.Contains(to[verb], string(x.Owner)) {
				to[verb] = append(to[verb], string(x.Owner))
			}
		}
		if len(to[verb]) > 0 {
			verbs = append(verbs, verb)
		}
	}
	for _, p := range plan.Phases() {
		add(string(p), func(x engine.Action) bool { return x.Phase == p && !x.Drift })
	}
	add("repair", func(x engine.Action) bool { return x.Drift })
	for i, v := range verbs {
		list := to[v]
		if n := len(list) - mostDone; n > 1 {
			list = append(list[:mostDone:mostDone], fmt.Sprintf("%d more", n))
		}
		verbs[i] = v + " " + strings.Join(list, ", ")
	}
	return strings.Join(verbs, "; ")
}

// remarks writes what is to be said of one apply.
func (a *app) remarks(r engine.Record) {
	const indent = "    "
	say := func(words string) {
		lines := []string{oneLine(words)}
		if width := a.width(a.out); width > 0 {
			lines = render.Wrap(lines[0], max(width-len(indent), 40))
		}
		fmt.Fprintln(a.out, indent+strings.Join(lines, "\n"+indent))
	}
	if words := done(r); words != "" {
		say(words)
	}
	if r.Tries > 1 {
		say(fmt.Sprintf("tried %d times", r.Tries))
	}
	if r.Note != "" {
		say(r.Note)
	}
	for _, f := range r.Failures {
		say(fmt.Sprintf("%s %s: %s", f.Owner, f.ID, f.Error))
	}
}

// say prints the status line that a change led to.
func (a *app) say(s *status.Status, err error) error {
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, s.Line())
	return err
}

func (a *app) suspend() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "suspend [network/ACCOUNT/NAME|vpc/ACCOUNT/NAME]",
		Short: "Leave a network, a VPC's router, or this whole host as it is until resume",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.say(agent.NewClient(a.machine()).Suspend(cmd.Context(), first(args), reason))
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, shown in the status")
	return c
}

func (a *app) resume() *cobra.Command {
	return &cobra.Command{
		Use:   "resume [network/ACCOUNT/NAME|vpc/ACCOUNT/NAME]",
		Short: "End a suspension, or a rollback",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.say(agent.NewClient(a.machine()).Resume(cmd.Context(), first(args)))
		},
	}
}

func (a *app) reconcile() *cobra.Command {
	var o agent.ReconcileOptions
	c := &cobra.Command{
		Use:   "reconcile",
		Short: "Fetch and make a pass now, and try again what failed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.say(agent.NewClient(a.machine()).Reconcile(cmd.Context(), o))
		},
	}
	c.Flags().BoolVar(&o.AllowRemoval, "allow-removal", false, "this once, remove more than the guard allows")
	c.Flags().BoolVar(&o.AcceptRewrite, "accept-rewrite", false, "follow a history that was rewritten")
	return c
}

func (a *app) rollback() *cobra.Command {
	return &cobra.Command{
		Use:   "rollback [REVISION]",
		Short: "Go back to an earlier commit and stay there until a newer one or resume",
		Long: `Go back to REVISION: a commit, or the first digits of one that was applied on this host;
without it to the one that was applied before this one. The agent stays there until the
repository has a newer commit than today's, or weft resume.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.say(agent.NewClient(a.machine()).Rollback(cmd.Context(), first(args)))
		},
	}
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// observeHost asks the agent behind a run directory how it stands.
func observeHost(ctx context.Context, a *app, runDir string) (*status.Status, error) {
	h := a.machine()
	h.RunDir = runDir
	return agent.NewClient(h).Status(ctx)
}
