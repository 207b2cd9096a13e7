//go:build netns

package fw_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"weft.dev/plugins/drivers/fw"
	"weft.dev/reconcile/resource"
)

// long is a list of n CIDRs of a family, sorted, and friend, which is loopback's.
func long(family, n int, friend netip.Addr) []netip.Prefix {
	out := []netip.Prefix{netip.PrefixFrom(friend, friend.BitLen())}
	for i := range n - 1 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(i >> 13), byte(i >> 5), byte(i << 3)}), 30)
		if family == 6 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i)}), 64)
		}
		out = append(out, p)
	}
	return out
}

// TestListsChange: while one CIDR after the other of two lists of 10,000 changes, what
// is listed passes without a gap, what is not listed never does, and nothing else of
// the firewall is written.
func TestListsChange(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(string(v), func(t *testing.T) {
			h := newHost(t)
			ns := space(t, h, 1)
			sh(t, ns, "ip link set lo up; ip addr add 127.0.0.9/8 dev lo; ip addr add 2001:db9::1/128 dev lo; ip addr add 2001:db9::9/128 dev lo")
			d := fw.New(h, fw.WithVariant(v))
			friends := map[int]netip.Addr{4: netip.MustParseAddr("127.0.0.1"), 6: netip.MustParseAddr("2001:db9::1")}
			var states []resource.State
			sets := map[int]*resource.AddrSet{}
			for family, friend := range friends {
				sets[family] = &resource.AddrSet{NS: ns, Name: fmt.Sprintf("list%d", family), Family: family, Members: long(family, 10_000, friend)}
				states = append(states, *sets[family], resource.Chain{NS: ns, Family: family, Table: "filter", Name: "INPUT", Policy: "DROP", Rules: []resource.Rule{
					accept(resource.Match{SrcSet: sets[family].Name}, "listed"),
				}})
			}
			do(t, d, steps(false, states...))
			same(t, d, set(states...))
			before := rulesOf(t, ns, v)

			var stop atomic.Bool
			results := make(chan error, len(friends))
			for _, friend := range friends {
				stranger := netip.MustParseAddr(strings.TrimSuffix(friend.String(), "1") + "9")
				go func() { results <- h.In(ns, func() error { return speak(friend, stranger, &stop) }) }()
			}
			for i := range 20 {
				s := sets[4+2*(i%2)]
				next := *s
				next.Members = append([]netip.Prefix{}, s.Members...)
				gone := next.Members[100+i]
				next.Members[100+i] = netip.PrefixFrom(gone.Addr().Next(), gone.Addr().BitLen())
				do(t, d, steps(false, next))
				*s = next
			}
			stop.Store(true)
			for range friends {
				if err := <-results; err != nil {
					t.Error(err)
				}
			}
			if after := rulesOf(t, ns, v); after != before {
				t.Errorf("the rules were written anew:\n%s\n%s", before, after)
			}
			now := []resource.State{*sets[4], *sets[6], states[1], states[3]}
			same(t, d, set(now...))
			sh(t, ns, "ipset del list4 198.0.0.0/30; ipset add list6 2001:db8:ffff::/64; ipset flush list6")
			if got := diff(observe(t, d, set(now...)), set(now...)); len(got) != 2 {
				t.Errorf("%d sets have drifted", len(got))
			}
			heal(t, d, now)
		})
	}
}

// rulesOf lists the rules, where the kernel numbers them with their handles: one that is
// written anew has another one.
func rulesOf(t *testing.T, ns string, v fw.Variant) string {
	t.Helper()
	if v == fw.Legacy {
		return sh(t, ns, "iptables-legacy -S INPUT; ip6tables-legacy -S INPUT")
	}
	return sh(t, ns, "nft -a list chain ip filter INPUT | sed 's/counter packets [0-9]* bytes [0-9]*//'; nft -a list chain ip6 filter INPUT | sed 's/counter packets [0-9]* bytes [0-9]*//'")
}

// speak sends datagrams to friend, from itself and from a stranger, until stop: each of
// the friend's arrives, none of the stranger's does. A datagram over loopback has arrived
// or is lost when the sender is back.
func speak(friend, stranger netip.Addr, stop *atomic.Bool) error {
	at := func(a netip.Addr) (*net.UDPConn, error) {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	}
	ear, err := at(friend)
	if err != nil {
		return err
	}
	defer func() { _ = ear.Close() }()
	good, err := at(friend)
	if err != nil {
		return err
	}
	defer func() { _ = good.Close() }()
	bad, err := at(stranger)
	if err != nil {
		return err
	}
	defer func() { _ = bad.Close() }()
	to := ear.LocalAddr()
	buf := make([]byte, 8)
	for n := 0; !stop.Load() || n == 0; n++ {
		// A DROP in OUTPUT would fail the call; here it is INPUT's, and silent.
		if _, err := bad.WriteTo([]byte("bad"), to); err != nil {
			return err
		}
		if _, err := good.WriteTo([]byte("good"), to); err != nil {
			return err
		}
		if err := arrived(ear, buf, "good"); err != nil {
			return fmt.Errorf("datagram %d of %s: %w", n, friend, err)
		}
	}
	return nil
}

// arrived reads one datagram that is there already.
func arrived(ear *net.UDPConn, buf []byte, want string) error {
	raw, err := ear.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var read error
	if err := raw.Read(func(fd uintptr) bool {
		n, _, read = syscall.Recvfrom(int(fd), buf, syscall.MSG_DONTWAIT)
		return true
	}); err != nil {
		return err
	}
	if read != nil {
		return fmt.Errorf("lost: %w", read)
	}
	if got := string(buf[:n]); got != want {
		return fmt.Errorf("%q came through instead of %q", got, want)
	}
	return nil
}

// BenchmarkListChange is one CIDR of 10,000, as the driver writes and sees it.
func BenchmarkListChange(b *testing.B) {
	h := newHost(b)
	ns := space(b, h, 1)
	d := fw.New(h)
	s := resource.AddrSet{NS: ns, Name: "list", Family: 4, Members: long(4, 10_000, netip.MustParseAddr("127.0.0.1"))}
	do(b, d, steps(false, s))
	b.Run("write", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			s.Members[9_000] = netip.PrefixFrom(netip.AddrFrom4([4]byte{199, 0, byte(i >> 8), byte(i)}), 32)
			do(b, d, steps(false, s))
		}
	})
	b.Run("observe", func(b *testing.B) {
		want := set(s)
		for b.Loop() {
			observe(b, d, want)
		}
	})
}
