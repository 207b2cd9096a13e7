package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

// job is a step on its way.
type job struct {
	step *plan.Step
	pos  int
	done chan struct{} // closed once err is final
	err  error
}

// Do implements driver.Driver. Steps of one namespace are done one after the
// other, namespaces side by side.
func (d *Driver) Do(ctx context.Context, steps []*plan.Step) []error {
	d.doing.Lock()
	defer d.doing.Unlock()
	jobs := make([]*job, len(steps))
	byIndex := map[int]*job{}
	groups := map[string][]*job{}
	for i, st := range steps {
		jobs[i] = &job{step: st, pos: i, done: make(chan struct{})}
		byIndex[st.Index] = jobs[i]
		ns := nsOf(st.ID(), either(st.State(), st.Before()))
		groups[ns] = append(groups[ns], jobs[i])
	}
	slots := make(chan struct{}, workers)
	ended := make(chan *site)
	ends := d.outerEnds(steps)
	for ns, group := range groups {
		go func() {
			x := &site{d: d, ns: ns, ends: ends}
			x.run(ctx, group, byIndex, slots)
			ended <- x
		}()
	}
	var gone []iface
	var told []news
	for range groups {
		x := <-ended
		gone, told = append(gone, x.gone...), append(told, x.news...)
	}
	d.announce(told)
	if err := d.settle(gone); err != nil {
		for _, j := range jobs {
			if j.err == nil && j.step.Drop && j.step.ID().Kind == resource.KindNS {
				j.err = err
			}
		}
	}
	errs := make([]error, len(jobs))
	for i, j := range jobs {
		errs[i] = j.err
	}
	d.tidy()
	return errs
}

func either(a, b resource.State) resource.State {
	if a != nil {
		return a
	}
	return b
}

// nsOf returns the namespace a resource is in, "" for the host's own.
func nsOf(id resource.ID, st resource.State) string {
	switch s := st.(type) {
	case resource.NS:
		return s.Name
	case resource.Link:
		return s.NS
	case resource.Addr:
		return s.NS
	case resource.Route:
		return s.NS
	case resource.RoutingRule:
		return s.NS
	case resource.Sysctl:
		return s.NS
	}
	switch id.Kind {
	case resource.KindNS:
		return id.Name
	case resource.KindBridgePort:
		return ""
	}
	ns, _, _ := cut(id.Name)
	return ns
}

// site is where one namespace is worked on.
type site struct {
	d     *Driver
	ns    string
	space *host.Space
	root  *host.Space
	note  *note
	// ends are the outer ends of our pairs by the number of the inner one's
	// namespace, as they were before; nil when no namespace goes.
	ends map[int][]iface
	// gone are those whose inner end went with the namespace.
	gone []iface
	// seen are the links that were there when guests' were first looked for.
	seen []iface
	// places are the links that have one for filters, once that was asked.
	places map[int32]bool
	// guards is what may pass ports as it was, guarded are the ports for which it was
	// written.
	guards  *guards
	guarded []string
	// generation is that of nftables before the first of writes.
	generation uint32
	writes     int
	// news are for the neighbours.
	news []news
}

// run does the steps of one namespace in their order.
func (x *site) run(ctx context.Context, group []*job, byIndex map[int]*job, slots chan struct{}) {
	for i, j := range group {
		j.err = x.wait(ctx, j, byIndex)
		if j.err == nil {
			slots <- struct{}{}
			j.err = x.one(ctx, j.step, group[i:])
			<-slots
		}
		close(j.done)
	}
	if x.note == nil {
		return
	}
	for _, j := range group {
		if j.err == nil && j.step.Drop {
			x.note.drop(j.step.ID())
		}
	}
	// Also what was cut short: what was not noted would be written once more.
	if err := errors.Join(x.printGuards(context.WithoutCancel(ctx)), x.d.save(x.ns, x.note)); err != nil {
		last := group[len(group)-1]
		last.err = errors.Join(last.err, err)
	}
}

// wait returns once all that j needs of the same call is done.
func (x *site) wait(ctx context.Context, j *job, byIndex map[int]*job) error {
	for _, i := range j.step.After {
		other := byIndex[i]
		if other == nil || other.pos >= j.pos {
			continue
		}
		<-other.done
		if other.err != nil {
			return plan.ErrSkipped
		}
	}
	return ctx.Err()
}

// one does a step; rest is what is still to do here, this step first.
func (x *site) one(ctx context.Context, st *plan.Step, rest []*job) error {
	if st.ID().Kind == resource.KindNS {
		return x.doNS(st)
	}
	if x.note == nil {
		if err := x.enter(rest); err != nil {
			if st.Drop && errors.Is(err, host.ErrNoSpace) {
				return nil // gone with its namespace
			}
			return err
		}
	}
	if st.Drop {
		return x.drop(ctx, st)
	}
	if with(st.State()) != nil {
		return x.makeGiven(st.State())
	}
	switch s := st.State().(type) {
	case resource.Link:
		if err := x.makeLink(ctx, s, st.Owner()); err != nil || s.Sort() != "" {
			return err
		}
		if s.Takeover != nil {
			return x.take(s, string(st.Owner()))
		}
		return x.d.keepTaken(s.Name, nil) // what it had stays with the bridge
	case resource.Addr:
		return x.makeAddr(s)
	case resource.Route:
		return x.makeRoute(s)
	case resource.RoutingRule:
		return x.makeRule(s)
	case resource.Sysctl:
		return x.makeSysctl(s)
	case resource.BridgePort:
		return x.makePort(ctx, s, st.Owner())
	case resource.Qdisc:
		return x.makeLimit(s, st.Owner())
	}
	return fmt.Errorf("net driver: no way to make %s of %T", st.ID(), st.State())
}

func (x *site) drop(ctx context.Context, st *plan.Step) error {
	id := st.ID()
	switch id.Kind {
	case resource.KindLink:
		ns, name, _ := cut(id.Name)
		if l, ok := st.Before().(resource.Link); ok {
			if err := x.dropLink(l); err != nil {
				return err
			}
			return x.dropPortsIn(ctx, l)
		}
		if ns == "" {
			if err := x.dropNamed(name); err != nil {
				return err
			}
			return x.dropPortsIn(ctx, resource.Link{Name: name, Bridge: &resource.LinuxBridge{}})
		}
	case resource.KindAddr:
		if a, ok := addrOf(id); ok {
			return x.dropAddr(a)
		}
	case resource.KindRoute:
		if dst, ok := dstOf(id); ok {
			return x.dropRoute(dst)
		}
	case resource.KindRule:
		return x.dropRule(id)
	case resource.KindSysctl:
		_, key, _ := cut(id.Name)
		return x.dropSysctl(key)
	case resource.KindBridgePort:
		return x.dropPort(ctx, id.Name)
	case resource.KindQdisc:
		return x.dropLimit(id)
	}
	return fmt.Errorf("net driver: no way to drop %s", id)
}

// doNS makes or drops the namespace itself.
func (x *site) doNS(st *plan.Step) error {
	x.note, x.space = nil, nil
	if !st.Drop {
		n, ok := st.State().(resource.NS)
		if !ok {
			return fmt.Errorf("net driver: no way to make %s of %T", st.ID(), st.State())
		}
		_, err := x.d.host.MakeSpace(n.Name, string(n.Owner))
		return err
	}
	s, err := x.d.host.Space(x.ns)
	if errors.Is(err, host.ErrNoSpace) {
		return x.d.forget(x.ns)
	}
	if err != nil {
		return err
	}
	nsid := s.NSID
	if err := x.d.host.DropSpace(x.ns); err != nil {
		return err
	}
	x.gone = append(x.gone, x.ends[nsid]...)
	return x.d.forget(x.ns)
}

// outerEnds lists our ends in the host's namespace, if a step drops a namespace.
func (d *Driver) outerEnds(steps []*plan.Step) map[int][]iface {
	drops := func(st *plan.Step) bool { return st.Drop && st.ID().Kind == resource.KindNS }
	if !slices.ContainsFunc(steps, drops) {
		return nil
	}
	root, err := d.host.Root()
	if err != nil {
		return nil // each step will say so
	}
	outside, err := links(root)
	if err != nil {
		return nil // then they are not waited for
	}
	out := map[int][]iface{}
	for _, l := range outside {
		if _, ours := d.host.OwnerOf(l.alias); ours && l.kind == "veth" && l.peerNS != -1 {
			out[l.peerNS] = append(out[l.peerNS], l)
		}
	}
	return out
}

// takedown is how long the kernel gets to take down removed namespaces before
// their outer ends are removed one by one, which also helps where a process
// that has not ended keeps the namespace alive.
const takedown = 500 * time.Millisecond

// settle returns when the links in gone do not exist any more: what is observed
// right after a plan must not show them.
func (d *Driver) settle(gone []iface) error {
	if len(gone) == 0 {
		return nil
	}
	root, err := d.host.Root()
	if err != nil {
		return err
	}
	for end := time.Now().Add(takedown); ; time.Sleep(2 * time.Millisecond) {
		now, err := links(root)
		if err != nil {
			return err
		}
		left := gone[:0]
		for _, g := range gone {
			for _, l := range now {
				if l.index == g.index && l.name == g.name {
					left = append(left, g)
				}
			}
		}
		if gone = left; len(gone) == 0 {
			return nil
		}
		if time.Now().After(end) {
			break
		}
	}
	var all error
	for _, l := range gone {
		all = errors.Join(all, remove(root, l))
	}
	return all
}

// enter opens the namespace and writes into its note what rest will make, before
// it is made: what a crash leaves behind is then known.
func (x *site) enter(rest []*job) error {
	root, err := x.d.host.Root()
	if err != nil {
		return err
	}
	s, err := x.d.host.Space(x.ns)
	if err != nil {
		return err
	}
	n := x.d.note(x.ns, s.Cookie).clone()
	for _, j := range rest {
		if j.step.ID().Kind == resource.KindNS {
			break
		}
		if st := j.step.State(); st != nil {
			if err := x.announce(n, st, string(j.step.Owner())); err != nil {
				return err
			}
		}
	}
	if err := x.d.save(x.ns, n); err != nil {
		return err
	}
	x.root, x.space, x.note = root, s, n
	return nil
}

// announce notes that st is going to be made.
func (x *site) announce(n *note, st resource.State, owner string) error {
	switch s := st.(type) {
	case resource.Link:
		if s.Sort() != "" {
			n.Links[s.Name] = madeLink{Link: s, Owner: owner}
		}
	case resource.Addr, resource.Route, resource.RoutingRule:
		n.Owners[st.ID().String()] = owner
	case resource.BridgePort:
		n.Ports[st.ID().Name] = bound[resource.BridgePort]{s, owner, n.Ports[st.ID().Name].Index}
	case resource.Qdisc:
		n.Limits[st.ID().Name] = bound[resource.Qdisc]{s, owner, n.Limits[st.ID().Name].Index}
	case resource.Sysctl:
		if x.ns == "" {
			return fmt.Errorf("sysctl %s: settings of the host's own namespace are not weft's to change", s.Key)
		}
		before, known := n.Sysctls[s.Key]
		if !known {
			err := x.d.host.In(x.ns, func() (err error) {
				before.Before, _, err = readSysctl(s.Key)
				return err
			})
			if err != nil {
				return err
			}
		}
		n.Sysctls[s.Key] = setting{Sysctl: s, Owner: owner, Before: before.Before}
	}
	return nil
}
