package host

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// NftGeneration reads the number of the nft ruleset of the namespace, which grows
// with every change of it; false where there is none.
func (s *Space) NftGeneration() (uint32, bool) {
	req := s.Request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC})
	out, err := req.Execute(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN)
	if err != nil || len(out) == 0 || len(out[0]) < nl.SizeofNfgenmsg {
		return 0, false
	}
	for typ, v := range Attrs(out[0][nl.SizeofNfgenmsg:]) {
		if typ == unix.NFTA_GEN_ID && len(v) == 4 {
			return binary.BigEndian.Uint32(v), true
		}
	}
	return 0, false
}
