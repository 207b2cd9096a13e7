package fw

import (
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
)

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
