package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/balance"
	"weft.dev/reconcile/bgp"
	"weft.dev/reconcile/lab"
	"weft.dev/reconcile/metadata"
	"weft.dev/reconcile/pair"
	"weft.dev/reconcile/vpn"
)

// reexec runs the hidden verbs: what weft starts of itself in routers, and with
// which a lab starts its own processes.
func reexec(args []string) (code int, ours bool) {
	if len(args) > 1 && args[1] == answerVerb {
		return runAnswer(args[2:]), true
	}
	if len(args) > 1 && args[1] == serveVerb {
		return runServe(args[2:]), true
	}
	if code, ok := metadata.Main(args[1:]); ok {
		return code, true
	}
	if code, ok := balance.Main(args[1:]); ok {
		return code, true
	}
	if code, ok := bgp.Main(args[1:]); ok {
		return code, true
	}
	if code, ok := vpn.Main(args[1:]); ok {
		return code, true
	}
	if code, ok := pair.Main(args[1:]); ok {
		return code, true
	}
	return lab.Main(args[1:])
}

// A labApp is one run of `weft lab`.
type labApp struct {
	*app
	name    string
	timeout time.Duration
}

func (a *app) lab() *cobra.Command {
	l := &labApp{app: a}
	c := &cobra.Command{
		Use:   "lab",
		Short: "A cloud in network namespaces, on this machine",
		Long: `A lab is the whole cloud of a tree on this machine: every host with a real Open vSwitch and
agent, every virtual machine with a real DHCP client, wires between them and an internet. It
lives in namespaces of its own; "weft lab down" leaves nothing behind. Several labs can live
side by side; without --name a lab is named after its directory.`,
	}
	c.PersistentFlags().StringVar(&l.name, "name", "", "name of the lab (default: from the directory)")
	c.PersistentFlags().DurationVar(&l.timeout, "timeout", 2*time.Minute, "how long to wait for the hosts to converge")
	c.AddCommand(l.up(), l.commit(), l.exec(), l.ls(), l.status(), l.kill(), l.start(), l.move(), l.down(), l.demo())
	return c
}

// nameOf is the lab meant by a verb: --name, else that of the directory if such
// a lab exists, else the only one there is.
func (l *labApp) nameOf(dir string) (string, error) {
	if l.name != "" {
		return l.name, nil
	}
	name, err := lab.DefaultName(dir)
	if err != nil {
		return "", err
	}
	all, err := lab.All()
	if err != nil {
		return "", err
	}
	for _, n := range all {
		if n == name {
			return name, nil
		}
	}
	if len(all) == 1 && dir == "." {
		return all[0], nil
	}
	return name, nil
}

func (l *labApp) dial(dir string) (*lab.Client, error) {
	name, err := l.nameOf(dir)
	if err != nil {
		return nil, err
	}
	c, err := lab.Dial(name)
	if errors.Is(err, lab.ErrDown) {
		all, _ := lab.All()
		hint := "start one with weft lab up DIR"
		if len(all) > 0 {
			hint = "labs here: " + strings.Join(all, ", ") + " (pick one with --name)"
		}
		return nil, fmt.Errorf("lab %s: %w; %s", name, err, hint)
	}
	return c, err
}

// with calls f with the lab of the current directory.
func (l *labApp) with(f func(*lab.Client) error) error {
	c, err := l.dial(".")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return f(c)
}

func (l *labApp) exec() *cobra.Command {
	return &cobra.Command{
		Use:   "exec NAME -- COMMAND [ARG...]",
		Short: "Run a command in a VM, host, router or the internet",
		Long: `NAME is a virtual machine (acme/web-1), a host (host/kvm1), a router of a network or VPC
(router/acme/web; of a pair the primary, --host picks the other one) or "internet". Streams and
exit status are the command's.`,
		Example: `  weft lab exec acme/web-1 -- ping -c1 web-2
  weft lab exec router/acme/web -- iptables -t nat -S
  weft lab exec host/kvm1 -- weft status`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.with(func(c *lab.Client) error {
				return l.run(cmd.Context(), c, args[0], args[1:])
			})
		},
	}
}

// run becomes the command in a node.
func (l *labApp) run(ctx context.Context, c *lab.Client, name string, argv []string) error {
	if _, ok := l.out.(*os.File); ok {
		return c.Exec(ctx, name, l.host, argv)
	}
	return l.runChild(ctx, c, name, argv)
}

func (l *labApp) kill() *cobra.Command {
	return &cobra.Command{
		Use:   "kill host/NAME | agent/NAME | internet | ACCOUNT/VM",
		Short: "Cut the power of a host or VM, or end an agent",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.with(func(c *lab.Client) error { return c.Kill(cmd.Context(), args[0]) })
		},
	}
}

func (l *labApp) start() *cobra.Command {
	return &cobra.Command{
		Use:   "start host/NAME | agent/NAME | internet | ACCOUNT/VM",
		Short: "Start what kill stopped",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.with(func(c *lab.Client) error { return c.Start(cmd.Context(), args[0]) })
		},
	}
}

func (l *labApp) move() *cobra.Command {
	return &cobra.Command{
		Use:   "move ACCOUNT/VM HOST",
		Short: "Move a VM to another of its hosts as it runs",
		Long: `A VM in a namespace is unplugged and plugged on the other host, as a live migration does; one
with the annotation weft.dev/lab-runtime: qemu is migrated by libvirt. One that does not run is
started there.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.with(func(c *lab.Client) error { return c.Move(cmd.Context(), args[0], args[1]) })
		},
	}
}

func (l *labApp) down() *cobra.Command {
	return &cobra.Command{
		Use:   "down [DIR]",
		Short: "Remove a lab without a trace",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := l.nameOf(dirArg(args))
			if err != nil {
				return err
			}
			return l.remove(cmd.Context(), name)
		},
	}
}

func (l *labApp) remove(ctx context.Context, name string) error {
	if err := lab.Down(ctx, name); err != nil {
		return err
	}
	fmt.Fprintf(l.out, "Lab %s is down.\n", name)
	return nil
}
