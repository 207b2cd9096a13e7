package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"weft.dev/reconcile/host/facts"
)

// bootInternet makes this node the world outside: it owns the gateways of the public ranges, answers HTTP with the
// client's address, and names.
func (n *Node) bootInternet(ctx context.Context, i Internet) error {
	for _, setting := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := sysctl(setting, "1"); err != nil {
			return err
		}
	}
	if err := errors.Join(sysctl("net/ipv4/conf/all/rp_filter", "0"), sysctl("net/ipv4/conf/default/rp_filter", "0")); err != nil {
		return err
	}
	if err := world(i.World); err != nil {
		return err
	}
	if len(i.Gateways) > 0 {
		if err := n.bootSwitch(ctx); err != nil {
			return err
		}
		if err := n.gateways(ctx, i.Gateways); err != nil {
			return err
		}
	}
	for _, port := range []string{":80", ":443"} {
		listener, err := net.Listen("tcp", port)
		if err != nil {
			return err
		}
		go func() { slog.Error("http", "error", http.Serve(listener, http.HandlerFunc(whoAmI))) }()
	}
	if len(i.Resolver) == 0 {
		return nil
	}
	if err := os.WriteFile(Dir+"/dnsmasq.conf", []byte(resolver(i)), 0o644); err != nil {
		return err
	}
	// --no-daemon because in a user namespace dnsmasq may not change its groups.
	_, err := n.keep("dnsmasq", []string{"dnsmasq", "--no-daemon", "--conf-file=" + Dir + "/dnsmasq.conf"}, nil)
	return err
}

// world puts the addresses of the world on the loopback.
func world(addresses []netip.Addr) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	for _, a := range addresses {
		p := netip.PrefixFrom(a, a.BitLen())
		if err := netlink.AddrReplace(lo, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	return nil
}

// gateways makes a bridge per uplink and an internal port per range, because a kernel need not know VLANs.
func (n *Node) gateways(ctx context.Context, gateways []Gateway) error {
	bridges := map[string]string{}
	var args []string
	for _, g := range gateways {
		bridge := bridges[g.Uplink]
		if bridge == "" {
			bridge = "br" + strconv.Itoa(len(bridges))
			bridges[g.Uplink] = bridge
			args = append(args, "--", "--may-exist", "add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type="+facts.LabDatapath(),
				"--", "--may-exist", "add-port", bridge, g.Uplink)
		}
		args = append(args, "--", "--may-exist", "add-port", bridge, g.Link, "--", "set", "Interface", g.Link, "type=internal",
			"mtu_request="+strconv.Itoa(g.MTU))
		if g.VLAN != 0 {
			args = append(args, "--", "set", "Port", g.Link, "tag="+strconv.Itoa(g.VLAN))
		}
	}
	if _, err := n.vsctl(ctx, args...); err != nil {
		return err
	}
	for _, g := range gateways {
		l, err := netlink.LinkByName(g.Link)
		if err != nil {
			return fmt.Errorf("gateway of %s: %w", g.Alias, err)
		}
		if err := errors.Join(netlink.LinkSetAlias(l, g.Alias), setAddresses(l, g.Addresses), netlink.LinkSetUp(l)); err != nil {
			return fmt.Errorf("gateway of %s: %w", g.Alias, err)
		}
		if len(g.Prefixes) == 0 {
			continue
		}
		if err := advertise(g.Link, g.Prefixes); err != nil {
			return err
		}
	}
	return nil
}

// whoAmI answers with the client's address and nothing else.
func whoAmI(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(host))
}

// resolver is the configuration of the world's name server.
func resolver(i Internet) string {
	var text strings.Builder
	text.WriteString("no-resolv\nno-hosts\nbind-interfaces\nlocal=/#/\n") // other names do not exist
	for _, a := range i.Resolver {
		fmt.Fprintf(&text, "listen-address=%s\n", a)
	}
	for _, name := range sortedKeys(i.Hosts) {
		for _, a := range i.Hosts[name] {
			fmt.Fprintf(&text, "host-record=%s,%s\n", name, a)
		}
	}
	return text.String()
}
