package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/reach"
)

// balanced tries the balancers that the internet may call: whoever calls is answered
// by a member.
func (k *checker) balanced(n *model.Network) {
	if n.Router == nil || !n.Router.Public() {
		return
	}
	ways := k.ways(n)
	for _, b := range n.Balancers {
		members := k.members(b)
		open := b.IP != nil && slices.ContainsFunc(ways, func(w reach.Way) bool {
			return w.To == b.Addr.String() && w.Ports == fmt.Sprintf("%d/%s", b.Port, b.Transport()) && fromWorld(w.From)
		})
		if !open || len(members) == 0 {
			continue
		}
		k.add(fmt.Sprintf("the internet reaches a member of balancer %s on %s", b.ID.Name, netip.AddrPortFrom(b.Addr, b.Port)),
			func(ctx context.Context) error { return k.member(ctx, b, members) })
	}
}

// fromWorld reports whether the lab's internet may begin a way.
func fromWorld(from string) bool {
	cidr, err := netip.ParsePrefix(from)
	return from == "internet" || err == nil && cidr.Contains(netip.MustParseAddr(world))
}

// members are the machines that answer for b.
func (k *checker) members(b *model.Balancer) []string {
	var out []string
	for i := range b.Members {
		m := &b.Members[i]
		if m.Spec.Weight > 0 && m.NIC.Running && m.NIC.Up() && m.NIC.VM.Meta.LabRuntime() == "" && m.To == m.NIC.IP {
			out = append(out, vm(m.NIC))
		}
	}
	return out
}

// isBalanced reports whether a port of a public address is a balancer's.
func isBalanced(n *model.Network, addr string, port int) bool {
	return slices.ContainsFunc(n.Balancers, func(b *model.Balancer) bool { return b.Addr.String() == addr && int(b.Port) == port })
}

// member has all members serve, and calls until one of them answers: those that did
// not serve before have to be found well first.
func (k *checker) member(ctx context.Context, b *model.Balancer, members []string) error {
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	for _, m := range members {
		stop, err := k.server(ctx, m, serveVerb, b.Transport(), strconv.Itoa(int(b.To)))
		if err != nil {
			return err
		}
		defer stop()
	}
	call := []string{"curl", "-sk", "-m", "2", "--interface", world, "http://" + netip.AddrPortFrom(b.Addr, b.Port).String() + "/"}
	switch b.Spec.Protocol {
	case "ssl":
		call[len(call)-1] = "https" + strings.TrimPrefix(call[len(call)-1], "http")
	case "udp":
		call = []string{"sh", "-c", fmt.Sprintf("echo | nc -u -w1 -s %s %s %d", world, b.Addr, b.Port)}
	}
	for {
		out, err := k.output(ctx, "internet", call...)
		if slices.ContainsFunc(members, func(m string) bool { return strings.HasSuffix(m, "/"+strings.TrimSpace(out)) }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("no member answers: %q", strings.TrimSpace(out)), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
