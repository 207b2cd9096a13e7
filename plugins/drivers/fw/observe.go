package fw

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
	tools   *tools
	desired resource.Set
	kinds   []resource.Kind
}

// Observe implements driver.Driver.
func (d *Driver) Observe(ctx context.Context, scope driver.Scope) (*resource.Observed, error) {
	out := resource.NewObserved()
	k := &look{d: d, desired: scope.Desired, kinds: scope.Kinds}
	if !k.wants(resource.KindChain) && !k.wants(resource.KindSet) {
		return out, nil
	}
	var also []string
	for id := range scope.Desired {
		if id.Kind == resource.KindChain || id.Kind == resource.KindSet {
			ns, _, _ := strings.Cut(id.Name, "/")
			also = append(also, ns)
		}
	}
	slices.Sort(also)
	spaces, broken, err := d.host.Spaces(slices.Compact(also)...)
	if err != nil {
		return nil, fmt.Errorf("observe fw: %w", err)
	}
	for name, err := range broken {
		k.unread(out, name, err)
	}
	if len(spaces) == 0 {
		return out, nil
	}
	if k.tools, err = d.find(ctx); err != nil {
		return nil, fmt.Errorf("observe fw: %w", err)
	}
	list := slices.Collect(maps.Values(spaces))
	parts := make([]*resource.Observed, len(list))
	errs := make([]error, len(list))
	host.Each(readers, list, func(i int, s *host.Space) { parts[i], errs[i] = k.inside(ctx, s) })
	for i, s := range list {
		if errs[i] == nil {
			out.Merge(parts[i])
			continue
		}
		if _, err := d.host.Space(s.Name); !errors.Is(err, host.ErrNoSpace) {
			k.unread(out, s.Name, errs[i])
		} // else it went while we looked
	}
	return out, ctx.Err()
}

func (k *look) wants(kind resource.Kind) bool {
	return len(k.kinds) == 0 || slices.Contains(k.kinds, kind)
}

func (k *look) unread(out *resource.Observed, ns string, err error) {
	for _, kind := range k.d.Kinds() {
		if k.wants(kind) {
			out.Unread = append(out.Unread, resource.Unread{Kind: kind, NS: ns, Err: err.Error()})
		}
	}
}

// inside observes one namespace.
func (k *look) inside(ctx context.Context, s *host.Space) (*resource.Observed, error) {
	out := resource.NewObserved()
	n := k.d.note(s)
	if k.wants(resource.KindChain) {
		kernel, err := k.d.read(ctx, k.tools, s)
		if err != nil {
			return nil, err
		}
		for id, c := range kernel {
			if w, ok := n.Chains[id.Name]; ok && n.Variant == k.tools.variant {
				out.Set.Put(k.noted(id, c, w))
			} else if !c.bare() {
				out.Set.Put(k.unknown(id, c, s))
			}
		}
	}
	if k.wants(resource.KindSet) {
		sets, err := readSets(s)
		if err != nil {
			return nil, err
		}
		for _, set := range sets {
			out.Set.Put(k.set(s, set, n))
		}
	}
	return out, nil
}

// noted is a chain that weft wrote.
func (k *look) noted(id resource.ID, c *kchain, w written) resource.Entry {
	if slices.Equal(c.text(), w.Text) {
		return resource.Entry{State: w.Chain, Owner: w.Owner}
	}
	return resource.Entry{Owner: w.Owner, State: seen(id, c, w.Text, w.Chain.Needs())}
}

// unknown is a chain of which there is no note.
func (k *look) unknown(id resource.ID, c *kchain, s *host.Space) resource.Entry {
	owner := resource.Owner(s.Owner)
	var needs []resource.ID
	if want, ok := k.desired[id]; ok {
		owner, needs = want.Owner, want.State.Needs()
	}
	return resource.Entry{Owner: owner, State: seen(id, c, nil, needs)}
}

// seen tells how a chain differs from what was written.
func seen(id resource.ID, c *kchain, was []string, needs []resource.ID) resource.Seen {
	ns, _, _ := strings.Cut(id.Name, "/")
	return resource.Seen{
		Ident: id, Print: resource.Digest(append([]string{"drift"}, c.text()...)...),
		Up: resource.ID{Kind: resource.KindNS, Name: ns}, Needed: needs, Drift: drift(was, c),
	}
}

// drift lists in lines what is missing and what is extra.
func drift(was []string, c *kchain) string {
	var lines []string
	if len(was) == 0 {
		lines = append(lines, "not written by weft, or its note is lost")
		was = []string{":" + c.policy}
	}
	if p := was[0][1:]; p != c.policy {
		lines = append(lines, "policy is "+c.policy+" instead of "+p)
	}
	left := map[string]int{}
	for _, r := range c.rules {
		left[r]++
	}
	moved := true
	for _, r := range was[1:] {
		if left[r] == 0 {
			lines, moved = append(lines, "missing "+r), false
			continue
		}
		left[r]--
	}
	for _, r := range c.rules {
		if left[r] > 0 {
			left[r]--
			lines, moved = append(lines, "extra "+r), false
		}
	}
	if moved && !slices.Equal(was[1:], c.rules) {
		lines = append(lines, "the rules are in another order")
	}
	return strings.Join(lines, "\n")
}

// set turns an ipset into a state: the one asked for if the members are its.
func (k *look) set(s *host.Space, set kset, n *note) resource.Entry {
	st := resource.AddrSet{NS: s.Name, Name: set.name, Family: set.family, Members: join(set.members)}
	id := st.ID()
	want, wanted := k.desired[id]
	e := resource.Entry{Owner: resource.Owner(s.Owner)}
	if made, ok := n.Sets[set.name]; ok {
		e.Owner = made.Owner
		if same(made.Set, set) {
			st = made.Set
		}
	} else if wanted {
		e.Owner = want.Owner
	}
	if w, ok := want.State.(resource.AddrSet); ok && same(w, set) {
		st = w
	}
	e.State = st
	if set.odd != "" && set.family != 0 {
		e.State = resource.Seen{Ident: id, Print: resource.Digest("odd", set.odd), Up: st.Parent(), Drift: set.odd}
	}
	return e
}

// same reports whether the kernel's set is what st asks for.
func same(st resource.AddrSet, set kset) bool {
	return st.Family == set.family && slices.Equal(split(st.Members), set.members)
}
