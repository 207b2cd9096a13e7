package vpn

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

// inGo is WireGuard without a kernel that has it. Its link goes with the process.
type inGo struct{ device *device.Device }

func userspace(c *wgConfig) (wg, error) {
	t, err := tun.CreateTUN(c.link, c.mtu)
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", c.link, err)
	}
	// Every packet that somebody sends may be an error to it; what matters Wait tells.
	d := device.NewDevice(t, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	if err := d.IpcSet(fmt.Sprintf("private_key=%s\nlisten_port=%d\n", hex.EncodeToString(c.key), c.port)); err != nil {
		d.Close()
		return nil, fmt.Errorf("wireguard: %w", err)
	}
	if err := d.Up(); err != nil {
		d.Close()
		return nil, fmt.Errorf("port %d: %w", c.port, err)
	}
	return &inGo{d}, nil
}

func (w *inGo) set(now, next map[string]*user) error {
	if text := uapi(now, next); text != "" {
		return w.device.IpcSet(text)
	}
	return nil
}

func (w *inGo) peers() (map[string]peer, error) {
	text, err := w.device.IpcGet()
	if err != nil {
		return nil, err
	}
	out, key := map[string]peer{}, ""
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if name == "public_key" {
			b, _ := hex.DecodeString(value)
			key = base64.StdEncoding.EncodeToString(b)
		}
		p := out[key]
		switch name {
		case "endpoint":
			p.from = value
		case "last_handshake_time_sec":
			p.handshake = moment(value)
		case "rx_bytes":
			p.in, _ = strconv.ParseUint(value, 10, 64)
		case "tx_bytes":
			p.out, _ = strconv.ParseUint(value, 10, 64)
		}
		out[key] = p
	}
	delete(out, "")
	return out, nil
}

// moment is a Unix time; 0 is never.
func moment(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

func (w *inGo) ended() <-chan struct{} { return w.device.Wait() }

func (w *inGo) remove() { w.device.Close() }

// inKernel is the kernel's WireGuard, set by the program wg. Its link stays when the
// process is killed, and is taken over by the next.
type inKernel struct {
	config *wgConfig
	gone   chan struct{}
}

func kernel(c *wgConfig) (wg, error) {
	if _, err := exec.LookPath("wg"); err != nil {
		return nil, errors.New("wg is not installed (Debian: wireguard-tools)")
	}
	l := &netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: c.link, MTU: c.mtu}}
	had, err := netlink.LinkByName(c.link)
	switch {
	case err != nil:
		err = netlink.LinkAdd(l)
	case had.Type() != l.Type():
		return nil, fmt.Errorf("link %s is there, and is a %s", c.link, had.Type())
	default: // of one that was killed
		err = netlink.LinkSetMTU(had, c.mtu)
	}
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", c.link, err)
	}
	w := &inKernel{config: c, gone: make(chan struct{})}
	go w.watch()
	return w, nil
}

// watch waits for somebody to take the link away.
func (w *inKernel) watch() {
	defer close(w.gone)
	news := make(chan netlink.LinkUpdate)
	if netlink.LinkSubscribe(news, nil) != nil {
		return
	}
	for range news {
		if _, err := netlink.LinkByName(w.config.link); err != nil {
			return
		}
	}
}

// text is the whole configuration, as wg takes it.
func (c *wgConfig) text(all map[string]*user) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\nListenPort = %d\n", base64.StdEncoding.EncodeToString(c.key), c.port)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		ips := make([]string, len(all[k].IPs))
		for i, ip := range all[k].IPs {
			ips[i] = netip.PrefixFrom(ip, ip.BitLen()).String()
		}
		fmt.Fprintf(&b, "[Peer]\nPublicKey = %s\nAllowedIPs = %s\n", k, strings.Join(ips, ", "))
	}
	return b.String()
}

// set gives wg the whole configuration: what is as it was it leaves alone.
func (w *inKernel) set(_, next map[string]*user) error {
	cmd := exec.Command("wg", "syncconf", w.config.link, "/dev/stdin")
	cmd.Stdin = strings.NewReader(w.config.text(next))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("wg syncconf %s: %w: %s", w.config.link, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (w *inKernel) peers() (map[string]peer, error) {
	text, err := exec.Command("wg", "show", w.config.link, "dump").Output()
	if err != nil {
		return nil, fmt.Errorf("wg show %s: %w", w.config.link, err)
	}
	return dumped(string(text)), nil
}

// dumped reads what wg show dump prints.
func dumped(text string) map[string]peer {
	out := map[string]peer{}
	first := true // the link's own line, with the private key
	for line := range strings.Lines(text) {
		// key, preshared key, endpoint, allowed IPs, latest handshake, received, sent, keepalive
		if f := strings.Split(strings.TrimSpace(line), "\t"); !first && len(f) >= 7 {
			p := peer{handshake: moment(f[4])}
			if f[2] != "(none)" {
				p.from = f[2]
			}
			p.in, _ = strconv.ParseUint(f[5], 10, 64)
			p.out, _ = strconv.ParseUint(f[6], 10, 64)
			out[f[0]] = p
		}
		first = false
	}
	return out
}

func (w *inKernel) ended() <-chan struct{} { return w.gone }

func (w *inKernel) remove() {
	if l, err := netlink.LinkByName(w.config.link); err == nil {
		_ = netlink.LinkDel(l)
	}
}

func netipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
