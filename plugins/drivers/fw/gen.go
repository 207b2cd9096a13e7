package fw

import (
	"encoding/binary"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
)

// generation reads the number of the nft ruleset of a namespace, which changes
// with every change of it; false where there is none.
func generation(s *host.Space) (uint32, bool) {
	req := s.Request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC})
	out, err := req.Execute(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN)
	if err != nil || len(out) == 0 || len(out[0]) < nl.SizeofNfgenmsg {
		return 0, false
	}
	for typ, v := range host.Attrs(out[0][nl.SizeofNfgenmsg:]) {
		if typ == unix.NFTA_GEN_ID && len(v) == 4 {
			return binary.BigEndian.Uint32(v), true
		}
	}
	return 0, false
}

// nftFamilies lists the families (4, 6) that have any nft table; false if that
// cannot be told.
func nftFamilies(s *host.Space) ([]int, bool) {
	out, err := s.Dump(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE,
		unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE, &nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC})
	if err != nil {
		return nil, false
	}
	var has []int
	for _, m := range out {
		switch family := nl.DeserializeNfgenmsg(m).NfgenFamily; {
		case family == unix.AF_INET && !slices.Contains(has, 4):
			has = append(has, 4)
		case family == unix.AF_INET6 && !slices.Contains(has, 6):
			has = append(has, 6)
		}
	}
	return has, true
}
