package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/source"
	"weft.dev/schema"
)

type lockFlags struct {
	check      bool
	base       string
	rebalance  bool
	reallocate []string
	evacuate   []string
	pin        []string
	format     string
}

func (a *app) lock() *cobra.Command {
	var f lockFlags
	c := &cobra.Command{
		Use:   "lock [DIR]",
		Short: "Write weft.lock: the numbers that the tree needs",
		Long: `Allocate what the tree in DIR needs (VLAN ids, VNIs, keys, IP and MAC addresses, public
addresses, router hosts) and write weft.lock, which belongs into the same commit. Numbers that
are there stay. With --check nothing is written: exit status 1 if the lock is stale.`,
		Example: `  weft lock                                  # after an edit
  weft lock --check                          # in CI
  weft lock --evacuate kvm1                  # routers leave kvm1
  weft lock --reallocate network/acme/web    # give up its numbers and take new ones
  weft lock --pin network/acme/web vnet 5001 # adopt a number
  weft lock --base origin/main               # after a merge conflict`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := f.take(args)
			if err != nil {
				return err
			}
			return a.doLock(dir, f)
		},
	}
	fl := c.Flags()
	fl.BoolVar(&f.check, "check", false, "write nothing; exit status 1 if the lock is stale")
	fl.StringVar(&f.base, "base", "", "keep the entries of that revision's lock, reallocate this branch's own where both meet")
	fl.BoolVar(&f.rebalance, "rebalance", false, "place every router anew")
	fl.StringArrayVar(&f.reallocate, "reallocate", nil, "OWNER whose entries are given up first")
	fl.StringArrayVar(&f.evacuate, "evacuate", nil, "HOST that routers move away from")
	fl.StringArrayVar(&f.pin, "pin", nil, "OWNER FIELD VALUE: state one entry")
	fl.StringVarP(&f.format, "output", "o", "text", "format of diagnostics: text, json, sarif, junit or github")
	return c
}

// take reads the arguments: --pin OWNER takes FIELD VALUE from them, so that it
// can be written without quotes.
func (f *lockFlags) take(args []string) (string, error) {
	for i, p := range f.pin {
		words := strings.Fields(p)
		if len(words) == 1 {
			if len(args) < 2 {
				return "", errors.New("--pin wants OWNER FIELD VALUE")
			}
			at := 0
			if len(args) > 2 && isDir(args[0]) {
				at = 1 // weft lock DIR --pin ...
			}
			words = append(words, args[at], args[at+1])
			args = slices.Delete(args, at, at+2)
		}
		if len(words) != 3 {
			return "", errors.New("--pin wants OWNER FIELD VALUE")
		}
		f.pin[i] = strings.Join(words, " ")
	}
	if len(args) > 1 {
		return "", fmt.Errorf("one DIR, not %q", args)
	}
	return dirArg(args), oneOf("-o", f.format, "text", "json", "sarif", "junit", "github")
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

func (a *app) doLock(dir string, f lockFlags) error {
	patient()
	c := newCompiler()
	t, err := c.workTree(dir)
	if err != nil {
		return err
	}
	opts, err := f.options(dir)
	if err != nil {
		return err
	}
	for _, h := range f.evacuate {
		if !slices.Contains(t.Hosts(), h) {
			return fmt.Errorf("--evacuate %s: the tree has no such host; its hosts are %s", h, strings.Join(t.Hosts(), ", "))
		}
	}
	diags := t.diags
	next, report, more := alloc.Allocate(t.Demands(), t.lock, opts)
	diags = append(diags, more...)
	if f.check && !diags.HasErrors() {
		diags = append(diags, alloc.Check(t.Demands(), t.lock)...)
	}
	diags.Sort()
	if err := a.writeDiags(a.diagStream(f), f.format, diags, t.source); err != nil {
		return err
	}
	if diags.HasErrors() {
		if !f.check && f.format == "text" {
			fmt.Fprintf(a.err, "%s is left as it is: the tree has %s.\n", alloc.FileName, errorCount(diags))
		}
		return exit{code: exitError}
	}
	if f.check {
		if f.format == "text" {
			fmt.Fprintf(a.out, "%s is current.\n", alloc.FileName)
		}
		return nil
	}
	if err := writeLock(dir, next, t.text); err != nil {
		return err
	}
	out := a.out
	if f.format != "text" {
		out = a.err // the diagnostics are all there is on stdout
	}
	printReport(out, report)
	return nil
}

// diagStream is stdout where diagnostics are the result, else stderr.
func (a *app) diagStream(f lockFlags) io.Writer {
	if f.check || f.format != "text" {
		return a.out
	}
	return a.err
}

func errorCount(ds schema.Diags) string {
	bad, _ := count(ds)
	return counted(bad, "error")
}

func (f *lockFlags) options(dir string) (alloc.Options, error) {
	o := alloc.Options{Reallocate: f.reallocate, Rebalance: f.rebalance, Evacuate: f.evacuate}
	for _, p := range f.pin {
		w := strings.Fields(p)
		o.Pin = append(o.Pin, alloc.Entry{Owner: w[0], Field: w[1], Value: w[2]})
	}
	if f.base == "" {
		return o, nil
	}
	co, err := source.Local(dir)
	if err != nil {
		return o, err
	}
	defer func() { _ = co.Close() }()
	tree, err := co.TreeAt(f.base)
	if err != nil {
		return o, err
	}
	text, err := fs.ReadFile(tree, alloc.FileName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return o, fmt.Errorf("read %s of %s: %w", alloc.FileName, f.base, err)
	}
	base, diags := alloc.Parse(alloc.FileName, text, nil)
	if diags.HasErrors() {
		return o, fmt.Errorf("%s of %s: %s", alloc.FileName, f.base, diags[0].String())
	}
	o.Base = base
	return o, nil
}

func writeLock(dir string, l *alloc.Lock, old []byte) error {
	text := l.Marshal()
	if string(text) == string(old) {
		return nil
	}
	path := filepath.Join(dir, alloc.FileName)
	mode := fs.FileMode(0o644)
	if st, err := os.Stat(path); err == nil {
		mode = st.Mode().Perm()
	}
	return host.WriteFile(path, text, mode)
}

func printReport(w io.Writer, r alloc.Report) {
	for _, e := range r.Allocated {
		fmt.Fprintf(w, "+ %s %s %s\n", e.Owner, e.Field, e.Value)
	}
	for _, c := range r.Changed {
		fmt.Fprintf(w, "~ %s %s %s -> %s\n", c.Owner, c.Field, c.From, c.Value)
	}
	for _, e := range r.Released {
		fmt.Fprintf(w, "- %s %s %s\n", e.Owner, e.Field, e.Value)
	}
	if r.Empty() {
		fmt.Fprintf(w, "%s is current.\n", alloc.FileName)
		return
	}
	fmt.Fprintf(w, "%s: %d allocated, %d changed, %d released.\n", alloc.FileName, len(r.Allocated), len(r.Changed), len(r.Released))
}
