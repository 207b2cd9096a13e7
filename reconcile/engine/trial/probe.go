package trial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Probe is something that has to go on working whatever is changed. Check blocks
// until it knows, or ctx ends; nil is that it works.
type Probe struct {
	Name  string
	Check func(ctx context.Context) error
}

// probing is how long the answer to a probe may take before an apply, settling how
// long after it: a link that went down comes up, addresses are learned anew.
const (
	probing  = 4 * time.Second
	settling = 10 * time.Second
)

// Holding returns those of probes that hold now.
func Holding(ctx context.Context, probes []Probe) []Probe {
	ctx, cancel := context.WithTimeout(ctx, probing)
	defer cancel()
	ok := make([]bool, len(probes))
	var all sync.WaitGroup
	for i, p := range probes {
		all.Go(func() { ok[i] = p.Check(ctx) == nil })
	}
	all.Wait()
	var out []Probe
	for i, p := range probes {
		if ok[i] {
			out = append(out, p)
		}
	}
	return out
}

// StillHold returns nil once each of probes held again, else after a while why not.
func StillHold(ctx context.Context, probes []Probe) error {
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	errs := make([]error, len(probes))
	var all sync.WaitGroup
	for i, p := range probes {
		all.Go(func() {
			for {
				one, done := context.WithTimeout(ctx, probing)
				err := p.Check(one)
				done()
				if err == nil {
					errs[i] = nil
					return
				}
				if ctx.Err() == nil || errs[i] == nil {
					errs[i] = fmt.Errorf("%s does not answer any more: %w", p.Name, err)
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(look):
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// Gateways are probes of the default gateways of this host, by the kernel's own
// neighbour discovery: ARP or NDP.
func Gateways() []Probe {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil // without an answer there is nothing that held
	}
	var out []Probe
	seen := map[netip.Addr]bool{}
	add := func(link int, gw net.IP) {
		a, ok := netip.AddrFromSlice(gw)
		if a = a.Unmap(); !ok || a.IsUnspecified() || seen[a] {
			return
		}
		seen[a] = true
		out = append(out, Probe{"the default gateway " + a.String(), func(ctx context.Context) error { return resolve(ctx, link, a) }})
	}
	for _, r := range routes {
		if r.Dst != nil {
			if n, _ := r.Dst.Mask.Size(); n != 0 {
				continue
			}
		}
		add(r.LinkIndex, r.Gw)
		for _, h := range r.MultiPath {
			add(h.LinkIndex, h.Gw)
		}
	}
	return out
}

// resolve has the kernel ask for the hardware address of a anew. link is where it
// was reached when the probe was chosen; it may be reached otherwise now, as when
// a bridge took the address over from its uplink.
func resolve(ctx context.Context, link int, a netip.Addr) error {
	if via, err := netlink.RouteGet(a.AsSlice()); err == nil && len(via) > 0 {
		link = via[0].LinkIndex
	}
	if err := ask(link, a); err != nil {
		return err
	}
	tick := time.NewTicker(look / 2)
	defer tick.Stop()
	for {
		n, err := neighbour(link, a)
		switch {
		case err != nil:
			return err
		case n != nil && n.State&(unix.NUD_REACHABLE|unix.NUD_PERMANENT|unix.NUD_NOARP) != 0:
			return nil
		case n == nil || n.State&unix.NUD_FAILED != 0:
			// The first questions may have gone into a wire that was just plugged in.
			if err := ask(link, a); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("no answer to ARP or NDP")
		case <-tick.C:
		}
	}
}

// ask starts neighbour discovery: for what is known a probe, else a first question.
func ask(link int, a netip.Addr) error {
	n, err := neighbour(link, a)
	if err != nil {
		return err
	}
	to := netlink.Neigh{LinkIndex: link, IP: a.AsSlice(), Flags: unix.NTF_USE}
	switch {
	case n != nil && n.State&(unix.NUD_PERMANENT|unix.NUD_NOARP) != 0:
		return nil // somebody wrote it there; nobody asks
	case n != nil && len(n.HardwareAddr) > 0 && n.State&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY) != 0:
		to = netlink.Neigh{LinkIndex: link, IP: a.AsSlice(), HardwareAddr: n.HardwareAddr, State: unix.NUD_PROBE}
	}
	if err := netlink.NeighSet(&to); err != nil {
		return fmt.Errorf("ask for %s: %w", a, err)
	}
	return nil
}

func neighbour(link int, a netip.Addr) (*netlink.Neigh, error) {
	family := netlink.FAMILY_V4
	if a.Is6() {
		family = netlink.FAMILY_V6
	}
	list, err := netlink.NeighList(link, family)
	if err != nil {
		return nil, fmt.Errorf("neighbours: %w", err)
	}
	for i := range list {
		if b, ok := netip.AddrFromSlice(list[i].IP); ok && b.Unmap() == a {
			return &list[i], nil
		}
	}
	return nil, nil
}

// Repository returns a probe of the server of a Git repository: that its port
// accepts connections. Of a local one there is none.
func Repository(repository string) []Probe {
	at := server(repository)
	if at == "" {
		return nil
	}
	return []Probe{{"the repository's server " + at, func(ctx context.Context) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", at)
		if err != nil {
			return err
		}
		return c.Close()
	}}}
}

// server is HOST:PORT of a repository's URL, or of user@host:path; "" if it is local.
func server(repository string) string {
	ports := map[string]string{"https": "443", "http": "80", "ssh": "22", "git+ssh": "22", "ssh+git": "22", "git": "9418"}
	if u, err := url.Parse(repository); err == nil && strings.Contains(repository, "://") {
		port, remote := ports[u.Scheme]
		if !remote || u.Hostname() == "" {
			return ""
		}
		if u.Port() != "" {
			port = u.Port()
		}
		return net.JoinHostPort(u.Hostname(), port)
	}
	host, _, ok := strings.Cut(repository, ":")
	if !ok || host == "" || strings.Contains(host, "/") || strings.Contains(repository, "://") {
		return ""
	}
	return net.JoinHostPort(host[strings.LastIndexByte(host, '@')+1:], "22")
}
