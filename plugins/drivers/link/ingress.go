package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/resource"
)

// What comes in through a link cannot wait there: it is led through a link of its
// own, an ifb, at whose root the bucket is, and goes on from the first link as if
// nothing had happened.

// bucketLink is the kind of such links.
const bucketLink = "ifb"

// bucketName is the name of that of a limit.
func bucketName(id resource.ID) string { return resource.Short(15, "wi", id.Name) }

// toBucket is the filter that leads from a link to its bucket.
func (d *Driver) toBucket(link, bucket int32) filter {
	return filter{
		index: link, handle: 1, prio: prioLimit, proto: unix.ETH_P_ALL,
		name: fmt.Sprintf("%slimit/%d", d.filterMark(), bucket),
	}
}

// limitIngress makes the bucket, and then leads what comes in through l there.
func (x *site) limitIngress(q resource.Qdisc, l iface, owner resource.Owner) error {
	if q.NS != "" {
		return fmt.Errorf("limit of %s: what comes in is limited in the host's namespace only", l.name)
	}
	bucket, err := x.makeBucketLink(bucketName(q.ID()), owner)
	if err != nil {
		return fmt.Errorf("limit of %s: %w", l.name, err)
	}
	if err := x.putBucket(q, bucket); err != nil {
		return err
	}
	want := x.d.toBucket(l.index, bucket.index)
	has, _, err := x.filters(l.index, atIngress)
	if err != nil {
		return err
	}
	for _, f := range has {
		if f == want {
			return nil
		}
	}
	if err := x.clsact(l.index); err != nil {
		return err
	}
	return x.sendFilter(want, x.d.redirectTo(bucket.index))
}

// takeAll is a program of classic BPF, for which no privilege for programs is needed,
// that takes every frame. Its first two instructions are the mark: they load whose
// it is, and for which bucket.
func (d *Driver) takeAll(bucket int32) []unix.SockFilter {
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_IMM, K: d.group},
		{Code: unix.BPF_LDX | unix.BPF_IMM, K: uint32(bucket)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
	}
}

func limitCode(prog []unix.SockFilter) (code []byte) {
	for _, i := range prog {
		code = append(binary.NativeEndian.AppendUint16(code, i.Code), i.Jt, i.Jf)
		code = binary.NativeEndian.AppendUint32(code, i.K)
	}
	return code
}

// limitName reads the mark of such a program; "" if it is not this instance's.
func (d *Driver) limitName(code []byte) string {
	if len(code) < 16 {
		return ""
	}
	bucket := int32(u32(code[12:]))
	if !bytes.Equal(code, limitCode(d.takeAll(bucket))) {
		return ""
	}
	return d.toBucket(0, bucket).name
}

// redirectTo are the options of a filter that takes every frame and sends it out of
// another link.
func (d *Driver) redirectTo(index int32) *nl.RtAttr {
	code := limitCode(d.takeAll(index))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_BPF_OPS_LEN, nl.Uint16Attr(uint16(len(code)/8)))
	options.AddRtAttr(nl.TCA_BPF_OPS, code)
	act := options.AddRtAttr(nl.TCA_BPF_ACT, nil).AddRtAttr(1, nil)
	act.AddRtAttr(nl.TCA_ACT_KIND, nl.ZeroTerminated("mirred"))
	var parms [28]byte                                   // struct tc_mirred: tc_gen, eaction, ifindex
	binary.NativeEndian.PutUint32(parms[8:], actStolen)  // the frame is gone from here
	binary.NativeEndian.PutUint32(parms[20:], redirects) // out of that link
	binary.NativeEndian.PutUint32(parms[24:], uint32(index))
	act.AddRtAttr(nl.TCA_ACT_OPTIONS, nil).AddRtAttr(nl.TCA_MIRRED_PARMS, parms[:])
	return options
}

// TC_ACT_STOLEN and TCA_EGRESS_REDIR.
const (
	actStolen = 4
	redirects = 1
)

func (x *site) makeBucketLink(name string, owner resource.Owner) (iface, error) {
	alias, err := x.d.host.Alias(string(owner))
	if err != nil {
		return iface{}, err
	}
	l, there, err := linkNamed(x.root, name)
	switch {
	case err != nil:
		return iface{}, err
	case there && (l.kind != bucketLink || !x.d.made(l)):
		return iface{}, fmt.Errorf("link %s is in the way and not weft's", name)
	case !there:
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(bucketLink))
		err := ask(x.root, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, nl.NewIfInfomsg(unix.AF_UNSPEC),
			nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)), nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(x.d.group)), info)
		if errors.Is(err, unix.EOPNOTSUPP) {
			return iface{}, errors.New("the kernel has no ifb devices, without which what comes in cannot be limited")
		}
		if err != nil {
			return iface{}, fmt.Errorf("make link %s: %w", name, err)
		}
		if l, there, err = linkNamed(x.root, name); err != nil || !there {
			return iface{}, errors.Join(fmt.Errorf("link %s went as it was made", name), err)
		}
	}
	if err := silenceLink(name, true); err != nil {
		return iface{}, err
	}
	if err := change(x.root, l, wanted{up: true, alias: alias}); err != nil {
		return iface{}, fmt.Errorf("link %s: %w", name, err)
	}
	return l, nil
}

// dropIngress lets what comes in through a link pass again, and removes the bucket.
func (x *site) dropIngress(id resource.ID, name, nic string) error {
	bucket, there, err := linkNamed(x.root, bucketName(id))
	if err != nil {
		return err
	}
	l, err := x.search(name, nic)
	if err != nil {
		return err
	}
	if l != nil {
		has, _, err := x.filters(l.index, atIngress)
		if err != nil {
			return err
		}
		for _, f := range has {
			if f.prio != prioLimit {
				continue
			}
			if err := x.dropFilter(f); err != nil {
				return err
			}
		}
	}
	if !there || !x.d.made(bucket) || bucket.kind != bucketLink {
		return nil
	}
	return remove(x.root, bucket)
}
