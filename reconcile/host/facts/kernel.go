package facts

import (
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/model"
)

// kernel tries what the kernel can, in a namespace that goes with the thread that made
// it. Where it cannot even try, it says that the kernel cannot: the other way works
// everywhere.
func kernel(f *model.Facts) {
	f.ESP, f.WireGuard = false, false
	done := make(chan struct{})
	go host.Thread(func() {
		defer close(done)
		if unix.Unshare(unix.CLONE_NEWNET) != nil {
			return
		}
		h, err := netlink.NewHandle()
		if err != nil {
			return
		}
		defer h.Close()
		f.ESP = h.XfrmStateAdd(&netlink.XfrmState{
			Src: net.IPv4(127, 0, 0, 1), Dst: net.IPv4(127, 0, 0, 2), Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TUNNEL, Spi: 0x1000,
			Auth:  &netlink.XfrmStateAlgo{Name: "hmac(sha256)", Key: make([]byte, 32)},
			Crypt: &netlink.XfrmStateAlgo{Name: "cbc(aes)", Key: make([]byte, 32)},
		}) == nil
		f.WireGuard = h.LinkAdd(&netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: "wg0"}}) == nil
	})
	<-done
	f.PPP = false
	if ppp, err := os.OpenFile("/dev/ppp", os.O_RDWR, 0); err == nil { // the name is there before the module
		f.PPP = ppp.Close() == nil
	}
}
