// Package memhost is a host in memory, as strict as a kernel: nothing without
// what it needs, nothing dropped while in use, no claim held twice, no name too
// long, nothing changed in place that cannot be.
//
// In go steps of plans and, from tests, faults and other hands; out come
// observations and errors. Tests of plans, engines and the drivertest suite
// import it.
package memhost

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// Host is what stands on one machine. It is a driver for every kind; Serve
// gives drivers for some. It is safe for concurrent use.
type Host struct {
	// Fault is asked before every step; an error is the step's. nil: no faults.
	Fault func(*plan.Step) error
	// Frank hosts tell all that a resource was made to need, and refuse to drop
	// any of it; others know what a kernel knows: a bridge does not know that
	// a chain had to stand before its port.
	Frank bool

	mu      sync.Mutex
	has     resource.Set
	foreign map[resource.ID]string
	unread  []resource.Unread
	plugged map[string]bool // iface-ids that something else plugged
	epoch   uint64
	watches map[int]func(driver.Scope)
	watched int
	done    []resource.ID
}

// New returns an empty host.
func New() *Host {
	return &Host{
		has: resource.Set{}, foreign: map[resource.ID]string{}, plugged: map[string]bool{},
		watches: map[int]func(driver.Scope){},
	}
}

// Serve returns a driver for some of the host's kinds.
func (h *Host) Serve(kinds ...resource.Kind) driver.Driver { return &part{h, kinds} }

// Kinds implements driver.Driver.
func (h *Host) Kinds() []resource.Kind { return resource.Kinds() }

// Observe implements driver.Driver.
func (h *Host) Observe(ctx context.Context, scope driver.Scope) (*resource.Observed, error) {
	return h.observe(ctx, scope, nil)
}

// Do implements driver.Driver.
func (h *Host) Do(ctx context.Context, steps []*plan.Step) []error { return h.do(ctx, steps) }

// Watch implements driver.Driver: it tells of what Restart, Corrupt, Remove,
// Plug and AddForeign do.
func (h *Host) Watch(ctx context.Context, changed func(driver.Scope)) error {
	h.mu.Lock()
	h.watched++
	n := h.watched
	h.watches[n] = changed
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	delete(h.watches, n)
	h.mu.Unlock()
	return nil
}

// Epoch implements driver.Driver.
func (h *Host) Epoch(context.Context, driver.Scope) (uint64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.epoch, true
}

// part is a driver for some kinds of a host.
type part struct {
	*Host
	kinds []resource.Kind
}

// Kinds implements driver.Driver.
func (p *part) Kinds() []resource.Kind { return p.kinds }

// Observe implements driver.Driver.
func (p *part) Observe(ctx context.Context, scope driver.Scope) (*resource.Observed, error) {
	return p.observe(ctx, scope, p.kinds)
}

// Do implements driver.Driver.
func (p *part) Do(ctx context.Context, steps []*plan.Step) []error {
	for _, s := range steps {
		if !slices.Contains(p.kinds, s.ID().Kind) {
			panic(fmt.Sprintf("a driver for %v was given %s", p.kinds, s.ID()))
		}
	}
	return p.do(ctx, steps)
}

func (h *Host) observe(ctx context.Context, scope driver.Scope, kinds []resource.Kind) (*resource.Observed, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("observe: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	looks := func(k resource.Kind) bool {
		return (len(kinds) == 0 || slices.Contains(kinds, k)) && (len(scope.Kinds) == 0 || slices.Contains(scope.Kinds, k))
	}
	out := resource.NewObserved()
	for id, e := range h.has {
		if !looks(id.Kind) || h.hidden(id, e.State) {
			continue
		}
		e.Origin = nil
		if !h.Frank {
			e.State = asKernel(e.State)
		}
		out.Set[id] = e
		if symbols := h.unbound(e.State); len(symbols) > 0 {
			out.Unbound[e.Owner] = append(out.Unbound[e.Owner], symbols...)
		}
	}
	for id, words := range h.foreign {
		if _, ok := scope.Desired[id]; ok && looks(id.Kind) {
			out.Foreign[id] = words
		}
	}
	for _, u := range h.unread {
		if looks(u.Kind) {
			out.Unread = append(out.Unread, u)
		}
	}
	return out, nil
}

// asKernel is st without what only weft knows.
func asKernel(st resource.State) resource.State {
	switch s := st.(type) {
	case resource.Port:
		s.Guards, s.Link = nil, nil
		return s
	case resource.Tunnel:
		s.Endpoint = nil
		return s
	case resource.Flows:
		s.Ports = nil
		return s
	case resource.Route:
		s.From = nil
		return s
	case resource.Sysctl:
		s.After, s.Link = nil, nil
		return s
	case resource.Process:
		s.After = nil
		return s
	case resource.BridgePort:
		s.Link, s.Guards = nil, nil
		return s
	case resource.Link:
		if s.VXLAN != nil {
			v := *s.VXLAN
			v.Endpoint, v.Joined = nil, false
			s.VXLAN = &v
		}
		return s
	}
	return st
}

// inForce is st as far as the host itself holds to it.
func (h *Host) inForce(st resource.State) resource.State {
	if h.Frank {
		return st
	}
	k := asKernel(st)
	if s, ok := k.(resource.Sysctl); ok {
		// The settings of a link go with it, whether or not anybody said so.
		s.Link = st.(resource.Sysctl).Link
		return s
	}
	return k
}

func (h *Host) hidden(id resource.ID, st resource.State) bool {
	ns, _, _ := strings.Cut(id.Name, "/")
	if p, ok := st.(resource.Process); ok {
		ns = p.NS
	}
	return slices.ContainsFunc(h.unread, func(u resource.Unread) bool { return u.Kind == id.Kind && (u.NS == "" || u.NS == ns) })
}

// unbound lists the symbols of flows that have no port, and of what waits for a
// guest's interface.
func (h *Host) unbound(st resource.State) []string {
	waits := func(may bool, nic, sym string) []string {
		if !may || h.plugged[nic] {
			return nil
		}
		return []string{sym}
	}
	switch s := st.(type) {
	case resource.BridgePort:
		return waits(s.MayWait(), s.IfaceID, s.Symbol())
	case resource.Qdisc:
		return waits(s.MayWait(), s.IfaceID, s.Symbol())
	}
	f, ok := st.(resource.Flows)
	if !ok {
		return nil
	}
	missing := map[string]bool{}
	look := func(sym string) {
		if sym != "" && !h.bound(sym) {
			missing[sym] = true
		}
	}
	for _, r := range f.Rules {
		for _, c := range r.Match {
			look(c.Sym)
		}
		for _, a := range r.Do {
			look(a.Sym)
		}
	}
	return slices.Sorted(maps.Keys(missing))
}

func (h *Host) bound(sym string) bool {
	if name, ok := strings.CutPrefix(sym, "port:"); ok {
		for _, k := range []resource.Kind{resource.KindPort, resource.KindTunnel, resource.KindBridge} {
			if _, ok := h.has[resource.ID{Kind: k, Name: name}]; ok {
				return true
			}
		}
		return false
	}
	nic, mac, _ := strings.Cut(strings.TrimPrefix(sym, "nic:"), ",")
	for _, e := range h.has {
		if p, ok := e.State.(resource.Port); ok && (p.IfaceID == nic || mac != "" && p.MAC == mac) {
			return true
		}
	}
	return h.plugged[nic]
}

func (h *Host) do(ctx context.Context, steps []*plan.Step) []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	errs := make([]error, len(steps))
	failed := map[int]bool{}
	for i, s := range steps {
		switch {
		case slices.ContainsFunc(s.After, func(j int) bool { return failed[j] }):
			errs[i] = plan.ErrSkipped
		case ctx.Err() != nil:
			errs[i] = ctx.Err()
		default:
			errs[i] = h.step(s)
		}
		failed[s.Index] = errs[i] != nil
	}
	return errs
}

func (h *Host) step(s *plan.Step) error {
	if h.Fault != nil {
		if err := h.Fault(s); err != nil {
			return err
		}
	}
	h.done = append(h.done, s.ID())
	h.epoch++
	if s.Drop {
		return h.drop(s.ID())
	}
	return h.make(*s.Action.After)
}
