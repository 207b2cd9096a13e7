package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/host/facts"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/source"
)

// observing is how long an observation waits for a pass to end.
const observing = 30 * time.Second

func (a *app) observe() *cobra.Command {
	var out, secrets string
	c := &cobra.Command{
		Use:   "observe [--out FILE]",
		Short: "Write down what is weft's on this host, for plan --observed",
		Long: `Look at everything on this host that is weft's and write it down: the resources as they are,
drift included, the facts of the host, and the last good intent. Published, it lets weft plan
--observed say without root what a change will do to this host as it really is. It holds the
routers' configuration, and digests of secrets and user data, not these. Nothing is changed; an
agent may run.`,
		Example: `  weft observe --out kvm1.json
  weft plan --observed kvm1.json     # anywhere`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.doObserve(cmd.Context(), out, secrets)
		},
	}
	c.Flags().StringVar(&out, "out", "", "write into this file (default: standard output)")
	c.Flags().StringVar(&secrets, "secrets", "/etc/weft", "directory below which secretFile may point")
	return c
}

func (a *app) doObserve(ctx context.Context, out, secrets string) error {
	h := a.machine()
	if h.Name == "" {
		s, err := engine.ReadStored(engine.StoredPath(h))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return errors.New("which host is this? Nothing was ever verified here: give --host NAME, the name of its Host document")
		case err != nil:
			return fmt.Errorf("which host is this? give --host NAME, the name of its Host document: %w", err)
		}
		h.Name = s.Intent.Host
	}
	ctx, cancel := context.WithTimeout(ctx, observing)
	defer cancel()
	s, err := snapshot(ctx, newEngine(h, secrets, nil), facts.Of(ctx, h))
	if err != nil {
		return err
	}
	for _, u := range s.Observed.Unread {
		fmt.Fprintf(a.err, "%s could not be read: %s\n", u.Kind, oneLine(u.Err))
	}
	var b bytes.Buffer
	if err := indented(&b, s); err != nil {
		return err
	}
	if out == "" {
		_, err := a.out.Write(b.Bytes())
		return err
	}
	if err := host.WriteFile(out, b.Bytes(), 0o600); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.err, "%s: %s of host %s\n", out, counted(len(s.Observed.Set), "resource"), h.Name)
	return err
}

// snapshot waits for who changes the host at the moment.
func snapshot(ctx context.Context, e *engine.Engine, f model.Facts) (*engine.Snapshot, error) {
	for {
		s, err := e.Snapshot(ctx, f)
		var held *engine.LockedError
		if !errors.As(err, &held) {
			return s, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// planObserved compares the tree in dir with hosts as snapshots have them.
func (a *app) planObserved(dir string, f planFlags) (*plan.Report, error) {
	snapshots, err := readSnapshots(f.observed)
	if err != nil {
		return nil, err
	}
	if a.host != "" {
		snapshots = slices.DeleteFunc(snapshots, func(s *engine.Snapshot) bool { return s.Host != a.host })
	}
	if len(snapshots) == 0 {
		return nil, fmt.Errorf("--observed %s: there is no snapshot%s", f.observed, strings.TrimSuffix(" of host "+a.host, " of host "))
	}
	known := map[string]model.Facts{}
	for _, s := range snapshots {
		known[s.Host] = s.Facts
	}
	files, err := source.Dir(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = files.Close() }()
	t, err := newCompiler().compile(files, known)
	if err != nil {
		return nil, err
	}
	t.checkLock()
	t.readPolicies()
	if err := a.refuse(t); err != nil {
		return nil, err
	}
	opt := plan.Options{Lock: digest(t.text), Declared: t.Declared}
	if opt.Target, err = targets(f.target, t); err != nil {
		return nil, err
	}
	var hosts []*plan.Plan
	for _, s := range snapshots {
		opt.Last = s.Verified.Intent.KeyedAs(s.Observed.Set)
		p, err := plan.Diff(resource.Carry(opt.Last, intentOf(t, s.Host).KeyedAs(s.Observed.Set)), s.Observed, opt)
		if err != nil {
			return nil, fmt.Errorf("host %s: %w", s.Host, err)
		}
		hosts = append(hosts, p)
		fmt.Fprintf(a.err, "Host %s as it was on %s.\n", oneLine(s.Host), s.Time.UTC().Format("2006-01-02 at 15:04:05 UTC"))
	}
	for _, name := range t.Hosts() {
		if _, ok := known[name]; !ok && a.host == "" {
			fmt.Fprintf(a.err, "Host %s has no snapshot: nothing is planned for it.\n", name)
		}
	}
	r := plan.NewReport("", "", hosts)
	veto(r, t, nil)
	return r, nil
}

// readSnapshots reads a snapshot, or those of a directory, by host.
func readSnapshots(path string) ([]*engine.Snapshot, error) {
	at, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	files := []string{path}
	if at.IsDir() {
		if files, err = filepath.Glob(filepath.Join(globSafe(path), "*.json")); err != nil {
			return nil, err
		}
	}
	var out []*engine.Snapshot
	from := map[string]string{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s := new(engine.Snapshot)
		if err := json.Unmarshal(b, s); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if other, twice := from[s.Host]; twice {
			return nil, fmt.Errorf("%s and %s are both snapshots of host %s", other, file, s.Host)
		}
		from[s.Host] = file
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *engine.Snapshot) int { return strings.Compare(a.Host, b.Host) })
	return out, nil
}

// globSafe quotes what filepath.Match would take for a pattern.
func globSafe(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
