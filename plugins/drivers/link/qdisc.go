package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// A limit is a token bucket filter at the root of a link, with this instance's
// handle: a discipline has no other room for a mark.

// The bucket holds what the rate passes in burstTime, but no less than minBurst;
// behind it waits what the rate passes in queueTime, but no less than minQueue.
// TestLimitHolds measures that TCP then gets 95 to 98 % of 10, 50 and 200 Mbit/s, the
// rest being headers; between 5 and 20 ms, and 25 and 100 ms, nothing changes but
// the delay.
const (
	burstTime = 10 // ms
	minBurst  = 32 << 10
	queueTime = 50 // ms
	minQueue  = 64 << 10
)

// mostMbit is a rate whose queue the kernel can count, in 32 bits.
const mostMbit = 400000

// tickNS is how many nanoseconds a tick of the scheduler has: 1 << PSCHED_SHIFT of
// include/net/pkt_sched.h.
const tickNS = 64

// bucket is a token bucket in bytes and bytes per second.
type bucket struct{ rate, burst, limit uint64 }

func bucketOf(mbit int) bucket {
	rate := uint64(mbit) * 1e6 / 8
	burst := max(rate*burstTime/1000, minBurst)
	return bucket{rate, burst, burst + max(rate*queueTime/1000, minQueue)}
}

// buffer is what the kernel keeps of the burst: the time to send it, in ticks.
func (b bucket) buffer() uint64 { return b.burst * 1e9 / b.rate / tickNS }

// options are what the kernel is told.
func (b bucket) options() *nl.RtAttr {
	var q [36]byte // struct tc_tbf_qopt: rate, peakrate, limit, buffer, mtu
	q[1] = 1       // TC_LINKLAYER_ETHERNET: without it a table of rates is needed
	binary.NativeEndian.PutUint32(q[8:], uint32(min(b.rate, 1<<32-1)))
	binary.NativeEndian.PutUint32(q[24:], uint32(b.limit))
	binary.NativeEndian.PutUint32(q[28:], uint32(b.buffer()))
	out := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	out.AddRtAttr(nl.TCA_TBF_PARMS, q[:])
	if b.rate >= 1<<32 {
		out.AddRtAttr(nl.TCA_TBF_RATE64, nl.Uint64Attr(b.rate))
	}
	out.AddRtAttr(nl.TCA_TBF_BURST, nl.Uint32Attr(uint32(b.burst)))
	return out
}

// parseBucket reads them: rate, limit, and the burst in ticks.
func parseBucket(options []byte) (rate, limit, buffer uint64) {
	for typ, v := range host.Attrs(options) {
		switch {
		case typ == nl.TCA_TBF_PARMS && len(v) >= 36:
			if rate == 0 {
				rate = uint64(u32(v[8:]))
			}
			limit, buffer = uint64(u32(v[24:])), uint64(u32(v[28:]))
		case typ == nl.TCA_TBF_RATE64 && len(v) >= 8:
			rate = binary.NativeEndian.Uint64(v)
		}
	}
	return rate, limit, buffer
}

// limits observes the limits of one namespace, all, by what was noted and wanted.
// Others of our handle are ours too, and so is any other in a namespace of ours.
func (k *look) limits(out *resource.Observed, s *host.Space, n *note, list []iface, all []discipline, or string) {
	roots := map[int32]discipline{}
	for _, q := range all {
		if q.parent == atRoot && q.handle != 0 {
			roots[q.index] = q
		}
	}
	ids := map[resource.ID]bool{}
	for name := range n.Limits {
		ids[resource.ID{Kind: resource.KindQdisc, Name: name}] = true
	}
	for id, e := range k.desired {
		if q, ok := e.State.(resource.Qdisc); ok && q.NS == s.Name {
			ids[id] = true
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(ids), resource.ID.Compare) {
		k.limit(out, id, n.Limits[id.Name], list, roots)
	}
	for _, l := range list {
		q, ok := roots[l.index]
		if !ok || s.Name == "" && q.handle != k.d.handle || own(l) {
			continue
		}
		st := resource.Qdisc{NS: s.Name, Link: l.name}
		k.put(out, drifted(st, []string{"nobody asked for " + q.describe()}), or)
	}
}

// limit observes one, and takes its discipline out of roots.
func (k *look) limit(out *resource.Observed, id resource.ID, was bound[resource.Qdisc], list []iface, roots map[int32]discipline) {
	noted, desired := was.Owner != "", k.desires(id)
	q, owner := was.or(k.desired[id])
	l := k.d.find(list, q.Link, q.MAC)
	if l == nil {
		if noted && desired && q.MayWait() {
			k.put(out, q, owner)
			unbound(out, resource.Owner(owner), q.Symbol())
		}
		return
	}
	has, ok := roots[l.index]
	if q.Ingress {
		has, ok = k.bucketOf(id, l, roots)
	} else {
		delete(roots, l.index)
	}
	switch {
	case ok && has.handle == k.d.handle:
		k.put(out, limitState(q, has), owner)
	case ok && q.NS == "" && desired:
		out.Foreign[id] = fmt.Sprintf("on %s is %s that is not weft's", l.name, has.describe())
	case ok && q.NS != "":
		k.put(out, drifted(q, []string{"in its place is " + has.describe()}), owner)
	case noted && desired && q.MayWait() && was.Index != l.index:
		k.put(out, rebound(q, l.name), owner)
	}
}

// bucketOf is what is in the bucket that what comes in through l is led to. That of
// a limit which is wanted is taken out of roots even if nothing leads there.
func (k *look) bucketOf(id resource.ID, l *iface, roots map[int32]discipline) (discipline, bool) {
	bucket := k.d.find(k.outside, bucketName(id), "")
	if bucket == nil {
		return discipline{}, false
	}
	has, ok := roots[bucket.index]
	led := slices.Contains(k.filters[l.index], k.d.toBucket(l.index, bucket.index))
	if led || k.desires(id) {
		delete(roots, bucket.index)
	}
	return has, ok && led
}

// limitState is q as the kernel has it.
func limitState(q resource.Qdisc, has discipline) resource.State {
	if has.kind != "tbf" {
		return drifted(q, []string{"in its place is " + has.describe()})
	}
	rate, limit, buffer := parseBucket(has.options)
	q.Mbit = int(rate * 8 / 1e6)
	if want := bucketOf(max(q.Mbit, 1)); rate != want.rate || limit != want.limit || !near(buffer, want.buffer()) {
		return drifted(q, []string{fmt.Sprintf("rate %d B/s, queue %d B, burst %d ticks", rate, limit, buffer)})
	}
	return q
}

// near allows for the kernel's own arithmetic, which rounds down.
func near(a, b uint64) bool { return max(a, b)-min(a, b) <= b/1000+2 }

func (q discipline) describe() string { return fmt.Sprintf("a %s %x:", q.kind, q.handle>>16) }

// makeLimit makes q what leaves through its link at most. A guest's that is not
// there yet is noted only.
func (x *site) makeLimit(q resource.Qdisc, owner resource.Owner) error {
	if q.Mbit < 1 || q.Mbit > mostMbit {
		return fmt.Errorf("limit of %s: %d Mbit/s is not between 1 and %d", q.ID().Name, q.Mbit, mostMbit)
	}
	if q.Link == "" && hostMAC(q.MAC) == "" {
		return fmt.Errorf("limit of %s has neither a link nor a MAC", q.ID().Name)
	}
	l, err := x.search(q.Link, q.MAC)
	note := bound[resource.Qdisc]{State: q, Owner: string(owner)}
	switch {
	case err != nil:
		return err
	case l == nil && q.MayWait():
		x.note.Limits[q.ID().Name] = note
		return nil
	case l == nil:
		return fmt.Errorf("link %s does not exist", q.Link)
	}
	if q.Ingress {
		err = x.limitIngress(q, *l, owner)
	} else {
		err = x.putBucket(q, *l)
	}
	if err != nil {
		return err
	}
	note.Index = l.index
	x.note.Limits[q.ID().Name] = note
	return nil
}

// putBucket makes a bucket what is at the root of a link. The kernel says what is in
// its way: to read what is there would be to read it of all links.
func (x *site) putBucket(q resource.Qdisc, l iface) error {
	msg := &nl.TcMsg{Ifindex: l.index, Handle: x.d.handle, Parent: atRoot}
	put := func() error {
		return ask(x.space, unix.RTM_NEWQDISC, unix.NLM_F_CREATE, msg, nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("tbf")), bucketOf(q.Mbit).options())
	}
	err := put()
	switch {
	case errors.Is(err, unix.EEXIST) && x.ns == "": // one with another handle
		return x.inTheWay(l)
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.EINVAL): // or one of another kind with ours
		if err := x.removeRoot(l); err != nil {
			return err
		}
		err = put()
	}
	if err != nil {
		return fmt.Errorf("limit of %s: %w", l.name, err)
	}
	return nil
}

// inTheWay says what somebody else has at the root of a link.
func (x *site) inTheWay(l iface) error {
	all, err := disciplines(x.space)
	if err != nil {
		return err
	}
	what := "a discipline"
	for _, q := range all {
		if q.index == l.index && q.parent == atRoot {
			what = q.describe()
		}
	}
	return fmt.Errorf("limit of %s: %s is there that is not weft's", l.name, what)
}

// removeRoot removes the discipline at the root of a link if it has our handle; in a
// namespace of ours, any that is not the kernel's own choice.
func (x *site) removeRoot(l iface) error {
	msg := &nl.TcMsg{Ifindex: l.index, Parent: atRoot}
	if x.ns == "" {
		msg.Handle = x.d.handle
	}
	err := ask(x.space, unix.RTM_DELQDISC, 0, msg)
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove the limit of %s: %w", l.name, err)
	}
	return nil
}

// dropLimit lifts the limit of that ID: in a namespace of ours, any.
func (x *site) dropLimit(id resource.ID) error {
	_, name, _ := strings.Cut(id.Name, "/")
	nic := ""
	if was, ok := x.note.Limits[id.Name]; ok {
		if name, nic = was.State.Link, was.State.MAC; was.State.Ingress {
			return x.dropIngress(id, name, nic)
		}
	}
	l, err := x.search(name, nic)
	if err != nil || l == nil {
		return err
	}
	if l.kind == bucketLink && x.ns == "" && x.d.made(*l) {
		return remove(x.root, *l) // what fed it is gone
	}
	return x.removeRoot(*l)
}
