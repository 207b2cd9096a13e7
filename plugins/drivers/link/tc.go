package link

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
)

// discipline is a queueing discipline as the kernel tells it.
type discipline struct {
	index          int32
	handle, parent uint32
	kind           string
	options        []byte
}

// Places of include/uapi/linux/pkt_sched.h.
const (
	atRoot    = 0xffffffff // TC_H_ROOT
	atClsact  = 0xfffffff1 // TC_H_CLSACT
	atIngress = 0xfffffff2 // TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
	atEgress  = 0xfffffff3
)

// The priorities of weft's filters are 'W', 'F' and up: all of one have one protocol.
const (
	prioUntag = 0x5746 + iota
	prioTag
	prioLimit
)

// disciplines reads those of all links of s that are not inside others.
func disciplines(s *host.Space) ([]discipline, error) {
	out, err := s.Dump(unix.NETLINK_ROUTE, unix.RTM_GETQDISC, unix.RTM_NEWQDISC, &nl.TcMsg{})
	if err != nil {
		return nil, fmt.Errorf("read queueing disciplines: %w", err)
	}
	var list []discipline
	for _, m := range out {
		if q, ok := parseDiscipline(m); ok {
			list = append(list, q)
		}
	}
	return list, nil
}

func parseDiscipline(m []byte) (discipline, bool) {
	if len(m) < nl.SizeofTcMsg {
		return discipline{}, false
	}
	msg := nl.DeserializeTcMsg(m)
	q := discipline{index: msg.Ifindex, handle: msg.Handle, parent: msg.Parent}
	for typ, v := range host.Attrs(m[nl.SizeofTcMsg:]) {
		switch typ {
		case nl.TCA_KIND:
			q.kind = text(v)
		case nl.TCA_OPTIONS:
			q.options = v
		}
	}
	return q, q.parent == atRoot || q.parent == atClsact
}

// filter is a BPF filter as the kernel tells it. Its name is its mark; that of a
// classic program, which the kernel does not tell, is read from the program.
type filter struct {
	index  int32
	handle uint32
	prio   uint16
	proto  uint16
	name   string
}

// filters reads weft's filters of what comes in through the link at index, and
// says whether anybody has others there.
func (x *site) filters(index int32, parent uint32) (ours []filter, others bool, err error) {
	return filtersAt(x.d, x.root, index, parent)
}

func filtersAt(d *Driver, s *host.Space, index int32, parent uint32) (ours []filter, others bool, err error) {
	out, err := s.Dump(unix.NETLINK_ROUTE, unix.RTM_GETTFILTER, unix.RTM_NEWTFILTER, &nl.TcMsg{Ifindex: index, Parent: parent})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return nil, false, nil // it has no place for filters, or went
	}
	if err != nil {
		return nil, false, fmt.Errorf("read filters: %w", err)
	}
	for _, m := range out {
		f := d.parseFilter(m)
		if f.handle == 0 {
			continue // the head of those of one priority
		}
		if strings.HasPrefix(f.name, d.filterMark()) {
			ours = append(ours, f)
		} else {
			others = true
		}
	}
	return ours, others, nil
}

func (d *Driver) parseFilter(m []byte) filter {
	msg := nl.DeserializeTcMsg(m)
	f := filter{index: msg.Ifindex, handle: msg.Handle, prio: uint16(msg.Info >> 16), proto: swap16(uint16(msg.Info))}
	for typ, v := range host.Attrs(m[nl.SizeofTcMsg:]) {
		if typ != nl.TCA_OPTIONS {
			continue
		}
		for t, w := range host.Attrs(v) {
			switch t {
			case nl.TCA_BPF_NAME:
				f.name = text(w)
			case nl.TCA_BPF_OPS:
				f.name = d.limitName(w)
			}
		}
	}
	return f
}

// filterMark is what the names of this instance's filters begin with.
func (d *Driver) filterMark() string { return "weft/" + d.host.Instance + "/" }

// clsact gives a link a place for filters, unless it has one. It is noted before it
// is made: it has no room for a mark.
func (x *site) clsact(index int32) error {
	if err := x.lookPlaces(); err != nil || x.places[index] {
		return err
	}
	if err := x.d.places.Put(placeKey(index), x.root.Cookie); err != nil {
		return err
	}
	msg := &nl.TcMsg{Ifindex: index, Handle: unclassified, Parent: atClsact}
	err := ask(x.root, unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL, msg, nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("clsact")))
	if errors.Is(err, unix.EEXIST) { // another hand was faster
		return x.d.places.Drop(placeKey(index))
	}
	if err != nil {
		return fmt.Errorf("clsact: %w", err)
	}
	x.places[index] = true
	return nil
}

// lookPlaces reads, once, which links have places for filters, and drops the notes of
// those of links that are gone.
func (x *site) lookPlaces() error {
	if x.places != nil {
		return nil
	}
	all, err := disciplines(x.root)
	if err != nil {
		return err
	}
	now, err := links(x.root)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(now))
	for _, l := range now {
		there[placeKey(l.index)] = true
	}
	for _, key := range x.d.places.Keys() {
		if !there[key] {
			err = errors.Join(err, x.d.places.Drop(key))
		}
	}
	x.places = map[int32]bool{}
	for _, q := range all {
		if q.parent == atClsact {
			x.places[q.index] = true
		}
	}
	return err
}

// placeKey is that of the note that weft made the place for filters of a link.
func placeKey(index int32) string { return strconv.Itoa(int(index)) }

// placed reports whether weft made it, in this namespace.
func (x *site) placed(index int32) bool {
	var cookie uint64
	return x.d.places.Load(placeKey(index), &cookie) && cookie == x.root.Cookie
}

// unclassified is the handle that clsact has: TC_H_MAKE(TC_H_CLSACT, 0).
const unclassified = 0xffff0000

// putFilter makes prog the filter of that handle for frames of proto that come in
// through a link.
func (x *site) putFilter(f filter, prog []inst) error {
	if err := x.clsact(f.index); err != nil {
		return err
	}
	fd, err := load(prog)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_BPF_FD, nl.Uint32Attr(uint32(fd)))
	options.AddRtAttr(nl.TCA_BPF_FLAGS, nl.Uint32Attr(nl.TCA_BPF_FLAG_ACT_DIRECT))
	return x.sendFilter(f, options)
}

func (x *site) sendFilter(f filter, options *nl.RtAttr) error {
	options.AddRtAttr(nl.TCA_BPF_NAME, nl.ZeroTerminated(f.name))
	if err := ask(x.root, unix.RTM_NEWTFILTER, unix.NLM_F_CREATE, f.msg(), nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("bpf")), options); err != nil {
		return fmt.Errorf("filter %s: %w", f.name, err)
	}
	return nil
}

func (f filter) msg() *nl.TcMsg {
	return &nl.TcMsg{Ifindex: f.index, Handle: f.handle, Parent: atIngress, Info: uint32(f.prio)<<16 | uint32(swap16(f.proto))}
}

// dropFilter removes a filter, and the place for filters with the last one if weft
// made it.
func (x *site) dropFilter(f filter) error {
	err := ask(x.root, unix.RTM_DELTFILTER, 0, f.msg(), nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("bpf")))
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove filter %s: %w", f.name, err)
	}
	if !x.placed(f.index) {
		return nil
	}
	for _, parent := range []uint32{atIngress, atEgress} {
		ours, others, err := x.filters(f.index, parent)
		if err != nil || others || len(ours) > 0 {
			return err
		}
	}
	if err := x.d.places.Drop(placeKey(f.index)); err != nil { // before it goes: who makes one afterwards is another
		return err
	}
	delete(x.places, f.index)
	msg := &nl.TcMsg{Ifindex: f.index, Handle: unclassified, Parent: atClsact}
	err = ask(x.root, unix.RTM_DELQDISC, 0, msg, nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("clsact")))
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove clsact: %w", err)
	}
	return nil
}
