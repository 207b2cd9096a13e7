package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/agent"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/status"
)

// verbs are those that talk to the running agent.
func (a *app) verbs() []*cobra.Command {
	return []*cobra.Command{a.status(), a.drift(), a.history(), a.suspend(), a.resume(), a.reconcile(), a.rollback()}
}

func (a *app) style(all bool) status.Style {
	return status.Style{Color: a.color(a.out), Now: time.Now(), All: all}
}

func outputFlag(c *cobra.Command, format *string) {
	c.Flags().StringVarP(format, "output", "o", "text", "text or json")
}

func (a *app) status() *cobra.Command {
	var format string
	var all bool
	c := &cobra.Command{
		Use:   "status [OWNER]",
		Short: "How this host stands: revision, conditions, networks, drift",
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

// only keeps what a status says of one owner; router/A/N is network/A/N.
func only(s *status.Status, name string) (*status.Status, error) {
	if rest, ok := cutRouter(name); ok {
		name = rest
	} else if strings.Count(name, "/") == 1 && !strings.HasPrefix(name, "host/") {
		name = "network/" + name
	}
	out := s.Clone()
	out.Owners, out.Drift, out.Repaired = nil, nil, nil
	for _, o := range s.Owners {
		if string(o.Name) == name {
			out.Owners = append(out.Owners, o)
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
				err = indented(a.out, map[string]any{"formatVersion": status.FormatVersion, "drift": s.Drift, "repaired": s.Repaired})
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

func (a *app) historyText(list []engine.Record) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHEN\tREVISION\tOUTCOME\tTOOK\tADD\tCHANGE\tDESTROY\tREPAIRED")
	for _, r := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\n", r.Began.Local().Format(time.DateTime), status.Short(r.Revision),
			r.Outcome, r.Took.Round(time.Millisecond), r.Count.Add, r.Count.Change, r.Count.Destroy, r.Count.Drift)
		for _, f := range r.Failures {
			fmt.Fprintf(w, "\t  %s %s: %s\n", f.Owner, f.ID, oneLine(f.Error))
		}
	}
	if len(list) == 0 {
		fmt.Fprintln(w, "Nothing was applied yet.")
	}
	return w.Flush()
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
		Use:   "suspend [network/ACCOUNT/NAME]",
		Short: "Leave a network, or this whole host, as it is until resume",
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
		Use:   "resume [network/ACCOUNT/NAME]",
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
		Use:   "rollback REVISION",
		Short: "Go back to an earlier commit and stay there until a newer one or resume",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.say(agent.NewClient(a.machine()).Rollback(cmd.Context(), args[0]))
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
