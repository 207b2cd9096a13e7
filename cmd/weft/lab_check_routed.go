package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/reach"
)

// asItIs tries a guest of a network where nothing is translated from the internet: at
// one TCP port that is open there, and at one that is not.
func (k *checker) asItIs(n *model.Network, ways []reach.Way) {
	nic := running(n)[0]
	var open []reach.Way
	for _, w := range ways {
		if holds(w.From, "internet", netip.MustParseAddr(world)) && holds(w.To, "", nic.IP) {
			open = append(open, w)
		}
	}
	for _, w := range open {
		if port, ok := firstPort(w.Ports); ok {
			k.add(fmt.Sprintf("the internet reaches %s at its own address, %s:%d", vm(nic), nic.IP, port), func(ctx context.Context) error {
				return k.answered(ctx, vm(nic), port, world, nic.IP.String(), port)
			})
			break
		}
	}
	for port := 22; port < 1024; port++ {
		if !opens(open, port) {
			k.add(fmt.Sprintf("the internet does not reach %s:%d", nic.IP, port), func(ctx context.Context) error {
				return k.no(ctx, "internet", "nc", "-z", "-w", "1", nic.IP.String(), strconv.Itoa(port))
			})
			return
		}
	}
}

// holds reports whether an end of a way, all being its name for everybody, is a.
func holds(end, all string, a netip.Addr) bool {
	if end == all || end == a.String() {
		return true
	}
	p, err := netip.ParsePrefix(end)
	return err == nil && p.Contains(a)
}

func opens(ways []reach.Way, port int) bool {
	for _, w := range ways {
		if covers(w.Ports, port) {
			return true
		}
	}
	return false
}

// firstPort is the first TCP port of a way, where it has some.
func firstPort(ports string) (int, bool) {
	if ports == "tcp" {
		return 80, true
	}
	span, ok := strings.CutSuffix(ports, "/tcp")
	first, _, _ := strings.Cut(span, "-")
	port, err := strconv.Atoi(first)
	return port, ok && err == nil
}
