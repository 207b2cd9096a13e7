package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"weft.dev/reconcile/host"
)

// An app is one run of the program: its streams and global flags.
type app struct {
	in       io.Reader
	out, err io.Writer

	host      string
	instance  string
	noColor   bool
	logFormat string
	logLevel  string
}

// run executes args and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	a := &app{in: in, out: out, err: errw}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errw)
	return codeOf(root.ExecuteContext(ctx), func(err error) { _, _ = fmt.Fprintln(errw, "weft: "+someLines(err.Error())) })
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weft",
		Short: "Cloud networking for KVM hosts, as YAML in Git",
		Long: `weft turns a Git repository of YAML (zones, fabrics, offerings, networks, machines)
into working networks with routers on many hosts, and keeps them so.

In a pull request:   weft validate, weft lock --check, weft plan --base origin/main
On a host:           weft agent, weft status, weft drift, weft history
On a laptop:         weft lab up examples/quickstart`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkInstance() },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.host, "host", "", "the Host document that this machine is (agent, apply, doctor, observe, plan --host)")
	f.StringVar(&a.instance, "instance", "weft", "tells two wefts on one machine apart")
	f.BoolVar(&a.noColor, "no-color", false, "no colours (also NO_COLOR)")
	f.StringVar(&a.logFormat, "log-format", "text", "text or json")
	f.StringVar(&a.logLevel, "log-level", "info", "debug, info, warn or error")
	root.AddGroup(
		&cobra.Group{ID: "tree", Title: "On a tree, without root or host:"},
		&cobra.Group{ID: "host", Title: "On a host:"},
		&cobra.Group{ID: "lab", Title: "On a laptop:"},
	)
	for _, c := range []*cobra.Command{a.validate(), a.lock(), a.plan(), a.policy(), a.nic(), a.schema(), a.initTree()} {
		c.GroupID = "tree"
		root.AddCommand(c)
	}
	for _, c := range append([]*cobra.Command{a.agent(), a.apply(), a.confirm(), a.doctor(), a.observe()}, a.verbs()...) {
		c.GroupID = "host"
		root.AddCommand(c)
	}
	lab := a.lab()
	lab.GroupID = "lab"
	root.AddCommand(lab, a.version())
	root.AddCommand(a.later()...)
	return root
}

// An instance's name begins the names of namespaces and is part of paths.
var instanceName = regexp.MustCompile(`^[a-z][a-z0-9]{0,14}$`)

func (a *app) checkInstance() error {
	if !instanceName.MatchString(a.instance) {
		return fmt.Errorf("--instance %q: use 1 to 15 lower case letters and digits, a letter first", a.instance)
	}
	return nil
}

// machine is this machine under the global flags.
func (a *app) machine() *host.Host { return host.New(a.host, a.instance) }

// color reports whether w wants colours.
func (a *app) color(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && !a.noColor && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(f.Fd()))
}

// width is how many columns w has; 0 when it is no terminal.
func (a *app) width(w io.Writer) int {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil {
			return n
		}
	}
	return 0
}

// logger writes to stderr as the global flags say.
func (a *app) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: use debug, info, warn or error", a.logLevel)
	}
	opt := &slog.HandlerOptions{Level: level}
	switch a.logFormat {
	case "json":
		return slog.New(slog.NewJSONHandler(a.err, opt)), nil
	case "text":
		return slog.New(slog.NewTextHandler(a.err, opt)), nil
	}
	return nil, fmt.Errorf("--log-format %q: use text or json", a.logFormat)
}

// oneOf checks an -o flag.
func oneOf(flag, value string, allowed ...string) error {
	for _, s := range allowed {
		if s == value {
			return nil
		}
	}
	return fmt.Errorf("%s %q: use %s", flag, value, strings.Join(allowed, ", "))
}

// dirArg is the DIR argument of a verb, by default the current directory.
func dirArg(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return "."
}
