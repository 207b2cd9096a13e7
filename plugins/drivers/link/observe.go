package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// look is one observation under way.
type look struct {
	d       *Driver
	desired resource.Set
	kinds   []resource.Kind // empty is all
	root    *host.Space
	spaces  map[string]*host.Space
	outside []iface
	// queues are the queueing disciplines of the host's own namespace.
	queues []discipline
	// filters are weft's own there, by link.
	filters map[int32][]filter
	// taken are the links that were taken over, there or not.
	taken []string
	// guards say what may pass ports.
	guards *guards
	// ends finds an outer end by the namespace and index of its inner one.
	ends map[end]*iface
	// sysctls are the desired ones by namespace.
	sysctls map[string][]resource.Entry
	// given are the desired ones that a daemon gives and takes, by namespace.
	given map[string][]resource.Entry
}

type end struct {
	nsid  int
	index int32
}

// Observe implements driver.Driver.
func (d *Driver) Observe(ctx context.Context, scope driver.Scope) (*resource.Observed, error) {
	k := &look{d: d, desired: scope.Desired, kinds: scope.Kinds, ends: map[end]*iface{}, sysctls: map[string][]resource.Entry{}, given: map[string][]resource.Entry{}}
	if len(k.kinds) > 0 && !slices.ContainsFunc(d.Kinds(), k.wants) {
		return resource.NewObserved(), nil
	}
	spaces, broken, err := k.open()
	if err != nil {
		return nil, fmt.Errorf("observe net: %w", err)
	}
	if k.outside, err = links(k.root); err != nil {
		return nil, fmt.Errorf("observe net: %w", err)
	}
	if k.queues, err = disciplines(k.root); err != nil {
		return nil, fmt.Errorf("observe net: %w", err)
	}
	for i := range k.outside {
		if l := &k.outside[i]; l.kind == "veth" && l.peerNS != -1 {
			k.ends[end{l.peerNS, l.peer}] = l
		}
	}
	parts := make([]*resource.Observed, len(spaces))
	errs := make([]error, len(spaces))
	host.Each(workers, spaces, func(i int, s *host.Space) { parts[i], errs[i] = k.inside(s) })
	out := resource.NewObserved()
	for i, s := range spaces {
		if errs[i] != nil {
			if _, err := d.host.Space(s.Name); errors.Is(err, host.ErrNoSpace) {
				continue // it went while we looked
			}
			k.unread(out, s.Name, errs[i])
			continue
		}
		out.Merge(parts[i])
	}
	for name, err := range broken {
		k.unread(out, name, err)
	}
	if err := k.onHost(ctx, out); err != nil {
		return nil, fmt.Errorf("observe net: %w", err)
	}
	k.foreignSpaces(out, broken)
	if len(k.kinds) > 0 {
		maps.DeleteFunc(out.Set, func(id resource.ID, _ resource.Entry) bool { return !k.wants(id.Kind) })
	}
	return out, nil
}

func (k *look) wants(kind resource.Kind) bool {
	return len(k.kinds) == 0 || slices.Contains(k.kinds, kind)
}

// open finds our namespaces.
func (k *look) open() ([]*host.Space, map[string]error, error) {
	var also []string
	for id, e := range k.desired {
		switch s := e.State.(type) {
		case resource.NS:
			also = append(also, id.Name)
		case resource.Sysctl:
			k.sysctls[s.NS] = append(k.sysctls[s.NS], e)
		}
		if with(e.State) != nil {
			ns := nsOf(id, e.State)
			k.given[ns] = append(k.given[ns], e)
		}
	}
	spaces, broken, err := k.d.host.Spaces(also...)
	if err != nil {
		return nil, nil, err
	}
	k.spaces = spaces
	if k.root, err = k.d.host.Root(); err != nil {
		return nil, nil, err
	}
	list := slices.Collect(maps.Values(spaces))
	slices.SortFunc(list, func(a, b *host.Space) int { return strings.Compare(a.Name, b.Name) })
	return list, broken, nil
}

func (k *look) unread(out *resource.Observed, ns string, err error) {
	for _, kind := range k.d.Kinds() {
		if k.wants(kind) {
			out.Unread = append(out.Unread, resource.Unread{Kind: kind, NS: ns, Err: err.Error()})
		}
	}
}

// foreignSpaces reports namespaces that are wanted and there without our mark.
func (k *look) foreignSpaces(out *resource.Observed, broken map[string]error) {
	for id := range k.desired {
		if id.Kind != resource.KindNS || k.spaces[id.Name] != nil || broken[id.Name] != nil {
			continue
		}
		if k.d.host.HasSpace(id.Name) {
			out.Foreign[id] = "a namespace of this name is there, without weft's mark on lo"
		}
	}
}

// put adds st, as the desired state itself where the two are equal: it may carry
// what no kernel knows, such as what it needs.
func (k *look) put(out *resource.Observed, st resource.State, owners ...string) {
	id := st.ID()
	want, wanted := k.desired[id]
	if wanted && want.State.Fingerprint() == st.Fingerprint() {
		st = want.State
	}
	e := resource.Entry{State: st, Owner: want.Owner}
	for _, o := range owners {
		if o != "" {
			e.Owner = resource.Owner(o)
			break
		}
	}
	out.Set.Put(e)
}

// guess returns the owner of what carries no mark: who wants it, or else.
func (k *look) guess(id resource.ID, or string) string {
	if e, ok := k.desired[id]; ok {
		return string(e.Owner)
	}
	return or
}
