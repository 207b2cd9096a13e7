package fw

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/resource"
)

// ending are the destinations whose connections the rules of a chain end.
func ending(c resource.Chain) []netip.Prefix {
	var out []netip.Prefix
	for i := range c.Rules {
		if r := &c.Rules[i]; r.Do.Ends && r.Match.Dst.IsValid() && !slices.Contains(out, r.Match.Dst) {
			out = append(out, r.Match.Dst)
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out
}

// hold lets jobs first write chains that still have the rules that go and end something:
// else what they end would go on without them until then. The rest is what to write
// afterwards.
func (x *site) hold(jobs []*job) (rest []section, err error) {
	for _, j := range jobs {
		if j.step.Drop {
			continue
		}
		was, c, now := x.note.Chains[j.step.ID().Name].Chain, j.edit.chain, ending(j.edit.chain)
		var going []resource.Rule
		for _, r := range was.Rules {
			if r.Do.Ends && !slices.Contains(now, r.Match.Dst) {
				going = append(going, r)
			}
		}
		if len(going) == 0 {
			continue
		}
		rest = append(rest, section{table: c.Table, edits: []*edit{j.edit}})
		c.Rules = slices.Concat(going, c.Rules)
		lines, err := render(c, j.step.Owner())
		if err != nil {
			return nil, err
		}
		j.edit = &edit{chain: c, lines: lines, last: j.edit}
	}
	return rest, nil
}

// end ends the connections that a chain ends and, as it was, did not, or no longer does.
func (x *site) end(family int, j *job) error {
	if j.edit.last != nil {
		j.edit = j.edit.last
	}
	b := between{was: ending(x.note.Chains[j.step.ID().Name].Chain), now: ending(j.edit.chain)}
	if slices.Equal(b.was, b.now) {
		return nil
	}
	err := x.d.host.In(x.space.Name, func() error {
		f := netlink.InetFamily(unix.AF_INET)
		if family == 6 {
			f = unix.AF_INET6
		}
		_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, f, b)
		return err
	})
	// A kernel that does not tell of connections does not let them be ended.
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EPROTONOSUPPORT) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("end connections with %v: %w", append(b.was, b.now...), err)
	}
	return nil
}

// between are connections that began from or to where they were to end before or are
// now, not both.
type between struct{ was, now []netip.Prefix }

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (b between) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	for _, raw := range [][]byte{flow.Forward.SrcIP, flow.Forward.DstIP} {
		a, ok := netip.AddrFromSlice(raw)
		in := func(p netip.Prefix) bool { return p.Contains(a.Unmap()) }
		if ok && slices.ContainsFunc(b.was, in) != slices.ContainsFunc(b.now, in) {
			return true
		}
	}
	return false
}
