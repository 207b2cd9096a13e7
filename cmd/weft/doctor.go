package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/doctor"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/host/facts"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/source"
)

func (a *app) doctor() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "doctor [DIR]",
		Short: "Say what on this host will bite, and what to do about it",
		Long: `Look at this machine for what will bite: programs that are missing, other managers of the
network, the kernel and its settings, Open vSwitch, rules in the other iptables. With the tree in
DIR also for what of this host's share is refused here and at which line, and whether bridges,
uplinks and the MTU of the wires are what the tree says. Nothing is changed; run it as root.

Errors are what fails for certain, warnings what fails sooner or later, notes good to know. Exit
status 1 if there is an error.`,
		Example: `  weft doctor
  weft doctor /srv/network --host kvm1
  weft doctor -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("-o", format, "text", "json"); err != nil {
				return err
			}
			return a.examine(cmd.Context(), args, format)
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return c
}

func (a *app) examine(ctx context.Context, args []string, format string) error {
	ctx, cancel := context.WithTimeout(ctx, observing)
	defer cancel()
	h := a.machine()
	p := doctor.Patient{
		Root: os.DirFS("/"), Look: lookEverywhere, OVSDB: h.OVSDB, Addresses: addresses(),
		Run: func(ctx context.Context, ns string, argv ...string) ([]byte, error) {
			if path, err := lookEverywhere(argv[0]); err == nil {
				argv = append([]string{path}, argv[1:]...)
			}
			return h.Run(ctx, ns, nil, argv...)
		},
		Facts: facts.Of(ctx, h), Privileged: os.Geteuid() == 0,
	}
	if !p.Privileged { // what could not be tried
		stock := model.StockFacts()
		p.Facts.ESP, p.Facts.WireGuard, p.Facts.PPP = stock.ESP, stock.WireGuard, stock.PPP
	}
	if len(args) > 0 {
		var err error
		if p.Share, err = a.share(h, args[0], p.Facts); err != nil {
			return err
		}
	}
	found := doctor.Examine(ctx, p)
	write := a.findings
	if format == "json" {
		write = func(w io.Writer, found []doctor.Finding) error { return findingsJSON(w, h.Name, found) }
	}
	if err := write(a.out, found); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("not all could be looked at in %s: %w", observing, err)
	}
	if slices.ContainsFunc(found, func(f doctor.Finding) bool { return f.Level == doctor.Error }) {
		return exit{code: exitError}
	}
	return nil
}

// share is what the tree in dir says of this host, which it names where nobody has.
func (a *app) share(h *host.Host, dir string, known model.Facts) (*doctor.Share, error) {
	files, err := source.Dir(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = files.Close() }()
	if h.Name == "" {
		h.Name = supposed(h)
	}
	t, err := newCompilerOf(h.Name).compile(files, map[string]model.Facts{h.Name: known})
	if err != nil {
		return nil, err
	}
	if !slices.Contains(t.Hosts(), h.Name) && !t.diags.HasErrors() {
		return nil, fmt.Errorf("the tree has no host %q: give --host NAME, one of %s", h.Name, strings.Join(t.Hosts(), ", "))
	}
	s := &doctor.Share{Host: t.Site.Hosts[h.Name], Set: t.Intent(h.Name).Set(), Diags: t.withoutNumbers()}
	if s.Host != nil {
		for _, name := range slices.Sorted(maps.Keys(t.Site.Physical)) {
			if p := t.Site.Physical[name]; p.Zone == s.Host.Zone {
				s.Wires = append(s.Wires, p)
			}
		}
	}
	return s, nil
}

// supposed is the host that was verified here last, else the one called as the machine.
func supposed(h *host.Host) string {
	if s, err := engine.ReadStored(engine.StoredPath(h)); err == nil {
		return s.Intent.Host
	}
	name, _ := os.Hostname()
	name, _, _ = strings.Cut(name, ".")
	return name
}

// lookEverywhere finds a program also where only root's PATH leads, and one that only root
// may run.
func lookEverywhere(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, program)
		if st, no := os.Stat(path); no == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", err
}

// addresses are those of this host's devices that are more than link-local.
func addresses() map[string][]netip.Prefix {
	devices, err := net.Interfaces()
	if err != nil {
		return nil
	}
	out := map[string][]netip.Prefix{}
	for _, d := range devices {
		list, _ := d.Addrs()
		for _, each := range list {
			if a, err := netip.ParsePrefix(each.String()); err == nil && a.Addr().IsGlobalUnicast() {
				out[d.Name] = append(out[d.Name], a)
			}
		}
	}
	return out
}
