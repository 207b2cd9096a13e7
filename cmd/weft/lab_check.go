package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"weft.dev/reconcile/lab"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/reach"
	"weft.dev/schema"
)

// A check is one claim about the wire, and how to see whether it holds.
type check struct {
	claim string
	try   func(ctx context.Context) error
}

// A checker makes checks of what a tree promises. They send real packets
// between the nodes of a lab.
type checker struct {
	lab  *lab.Client
	tree *compiled
	list []check
}

func (k *checker) add(claim string, try func(context.Context) error) {
	k.list = append(k.list, check{claim, try})
}

// checks lists what the tree's networks promise: guests of one network reach
// each other by name with full-size frames, guests of two do not, the internet
// is reached and reaches as declared.
func checks(c *lab.Client, t *compiled) []check {
	k := checker{lab: c, tree: t}
	var nets []*model.Network
	for _, n := range t.Networks() {
		if len(running(n)) > 0 {
			nets = append(nets, n)
		}
	}
	for i, n := range nets {
		k.inside(n)
		k.apart(n, nets[(i+1)%len(nets)])
		k.outbound(n)
		k.inbound(n)
		if n.Routed() && n.Router != nil {
			k.asItIs(n, k.ways(n))
		}
		k.balanced(n)
		k.told(n)
	}
	for _, v := range t.VPCs() {
		k.cloud(v)
	}
	return k.list
}

// running are the NICs of n that checks can be made with.
func running(n *model.Network) []*model.NIC {
	var out []*model.NIC
	for _, nic := range n.NICs {
		if nic.Running && nic.Default && nic.Up() && nic.VM.Meta.LabRuntime() == "" { // a real machine has not the programs of a check
			out = append(out, nic)
		}
	}
	return out
}

// vm is the lab's name of a NIC's machine.
func vm(nic *model.NIC) string { return nic.VM.Meta.Account + "/" + nic.VM.Meta.Name }

func (k *checker) inside(n *model.Network) {
	nics := running(n)
	if n.Type() == model.GuestL2 {
		return // nobody knows the addresses of its guests
	}
	k.gateway(n, nics[0])
	if len(nics) < 2 {
		return
	}
	if n.Grouped() {
		k.grouped(n, nics)
		return
	}
	a, b := nics[0], nics[len(nics)-1]
	to, how := b.Hostname, "by name "
	if n.Offering.Spec.Services.Dns == nil {
		to, how = b.IP.String(), ""
	}
	if p := n.Spec.PVLAN; p != nil && p.Type == "Isolated" {
		k.add(fmt.Sprintf("%s does not reach %s of the same isolated network", vm(a), vm(b)),
			func(ctx context.Context) error { return k.no(ctx, vm(a), "ping", "-c1", "-W1", b.IP.String()) })
		return
	}
	size := n.MTU - 28
	k.add(fmt.Sprintf("%s reaches %s %sover %s, with unfragmented frames of %d bytes", vm(a), to, how, strings.ToUpper(n.Scheme), n.MTU),
		func(ctx context.Context) error {
			return k.ok(ctx, vm(a), "ping", "-4", "-c1", "-W3", "-M", "do", "-s", strconv.Itoa(size), to)
		})
}

// gateway tries that of a Shared network, which is none of weft's.
func (k *checker) gateway(n *model.Network, nic *model.NIC) {
	if n.Type() != model.GuestShared || n.Scheme != schema.SchemeVLAN && n.Scheme != schema.SchemeNative || n.Spec.PVLAN != nil && n.Spec.PVLAN.Type != "Promiscuous" {
		return
	}
	to := nic.Subnet.Gateway.String()
	if !mayPing(nic, nic.Subnet.Gateway, nil) {
		return
	}
	k.add(fmt.Sprintf("%s reaches its gateway %s", vm(nic), to), func(ctx context.Context) error { return k.ok(ctx, vm(nic), "ping", "-c1", "-W3", to) })
}

// apart looks at Isolated networks: the gateways of Shared ones pass on what is sent
// to them.
func (k *checker) apart(n, other *model.Network) {
	if n == other || n.Tier != nil && other.Tier != nil || n.Type() != model.GuestIsolated || other.Type() != model.GuestIsolated || n.CIDR.Overlaps(other.CIDR) || other.Routed() {
		return
	}
	a, b := running(n)[0], running(other)[0]
	k.add(fmt.Sprintf("%s does not reach %s of network %s/%s", vm(a), vm(b), other.ID.Account, other.ID.Name),
		func(ctx context.Context) error { return k.no(ctx, vm(a), "ping", "-c1", "-W1", b.IP.String()) })
}

// world is an address of the lab's internet that is in no public range.
const world = "198.51.100.5"

func (k *checker) outbound(n *model.Network) {
	if n.Router == nil || !n.Router.Public() {
		return
	}
	a := running(n)[0]
	get := []string{"curl", "-s", "-m", "2", "http://" + world + "/"}
	for _, w := range k.ways(n) {
		if w.To == "internet" && covers(w.Ports, 80) {
			want := k.leaves(n, a)
			k.add(fmt.Sprintf("%s reaches the internet, which sees %s", vm(a), want), func(ctx context.Context) error {
				return k.says(ctx, vm(a), want.String(), get...)
			})
			return
		}
	}
	k.add(vm(a)+" does not reach the internet", func(ctx context.Context) error { return k.no(ctx, vm(a), get...) })
}

// leaves is the address that a guest's connections come from.
func (k *checker) leaves(n *model.Network, nic *model.NIC) netip.Addr {
	for _, ip := range n.IPs {
		if ip.StaticNAT == nic && ip.StaticTo == nic.IP {
			return ip.Addr
		}
	}
	if n.Routed() {
		return nic.IP
	}
	return n.Router.SourceNAT
}

func (k *checker) ways(n *model.Network) []reach.Way {
	f := k.tree.Intent(n.Router.Host.Name).Fragment(ownerOf(n))
	if f == nil {
		return nil
	}
	return reach.Of(f)
}

// inbound tries one port of every TCP way from the internet, and one port that
// nothing opens on each address.
func (k *checker) inbound(n *model.Network) {
	if n.Router == nil || !n.Router.Public() {
		return
	}
	ways := k.ways(n)
	for _, ip := range n.IPs {
		for _, w := range ways {
			if w.To == ip.Addr.String() && strings.HasSuffix(w.Ports, "/tcp") && w.At != "" {
				k.reached(n, w)
			}
		}
		shut := closed(ip.Addr, ways)
		k.add(fmt.Sprintf("the internet does not reach %s:%d", ip.Addr, shut), func(ctx context.Context) error {
			return k.no(ctx, "internet", "nc", "-z", "-w", "1", ip.Addr.String(), strconv.Itoa(shut))
		})
	}
}

func closed(addr netip.Addr, ways []reach.Way) int {
	for port := 22; ; port++ {
		if !slices.ContainsFunc(ways, func(w reach.Way) bool { return w.To == addr.String() && covers(w.Ports, port) }) {
			return port
		}
	}
}

// covers reports whether "80/tcp", "8000-8100/tcp" or "tcp" holds port.
func covers(ports string, port int) bool {
	span, ok := strings.CutSuffix(ports, "/tcp")
	if !ok {
		return ports == "tcp"
	}
	from, to, ranged := strings.Cut(span, "-")
	if !ranged {
		to = from
	}
	lo, _ := strconv.Atoi(from)
	hi, _ := strconv.Atoi(to)
	return lo <= port && port <= hi
}

// reached checks one way: a machine answers, the internet calls.
func (k *checker) reached(n *model.Network, w reach.Way) {
	from, _, _ := strings.Cut(strings.TrimSuffix(w.Ports, "/tcp"), "-")
	port, err := strconv.Atoi(from)
	if err != nil || isBalanced(n, w.To, port) {
		return // see balanced
	}
	inner := port
	ip, shift, moved := strings.Cut(w.At, " port ")
	if moved {
		d, _ := strconv.Atoi(shift)
		inner += d
	}
	i := slices.IndexFunc(n.NICs, func(nic *model.NIC) bool {
		return nic.IP.String() == ip || slices.ContainsFunc(nic.Spec.SecondaryIPs, func(a netip.Addr) bool { return a.String() == ip })
	})
	if i < 0 {
		return
	}
	source := world
	if cidr, err := netip.ParsePrefix(w.From); err == nil && !cidr.Contains(netip.MustParseAddr(world)) {
		return // from somewhere that the lab's internet is not
	}
	target := vm(n.NICs[i])
	k.add(fmt.Sprintf("the internet reaches %s on %s:%d", target, w.To, port), func(ctx context.Context) error {
		return k.answered(ctx, target, inner, source, w.To, port)
	})
}

func (k *checker) answered(ctx context.Context, target string, inner int, source, to string, port int) error {
	return k.served(ctx, target, inner, func(ctx context.Context) error {
		return k.says(ctx, "internet", target, "nc", "-s", source, "-w", "3", to, strconv.Itoa(port))
	})
}

// served calls try while target answers who connects to a port.
func (k *checker) served(ctx context.Context, target string, inner int, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*persistence)
	defer cancel()
	stop, err := k.server(ctx, target, answerVerb, strconv.Itoa(inner))
	if err != nil {
		return err
	}
	defer stop()
	return try(ctx)
}

// persistence is how long what must pass is tried: a packet may be lost, a daemon may
// be about to listen, and the machine be busy with other things.
const persistence = 15 * time.Second

// persist tries until it succeeds, or persistence is over.
func persist(ctx context.Context, try func() error) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(persistence); ; {
		err := try()
		if err == nil || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

func (k *checker) ok(ctx context.Context, node string, argv ...string) error {
	return persist(ctx, func() error {
		_, err := k.output(ctx, node, argv...)
		return err
	})
}

func (k *checker) no(ctx context.Context, node string, argv ...string) error {
	if _, err := k.output(ctx, node, argv...); err == nil {
		return errors.New("it does")
	}
	return ctx.Err()
}

// says runs a command whose output must be the machine's name or the address.
func (k *checker) says(ctx context.Context, node, want string, argv ...string) error {
	if _, name, ok := strings.Cut(want, "/"); ok {
		want = name
	}
	return persist(ctx, func() error {
		out, err := k.output(ctx, node, argv...)
		if err != nil {
			return err
		}
		if got := strings.TrimSpace(out); got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}

func (k *checker) output(ctx context.Context, node string, argv ...string) (string, error) {
	line, err := k.lab.Command(ctx, node, "", argv)
	if err != nil {
		return "", err
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(out.String() + errs.String())
		return out.String(), fmt.Errorf("%s: %w %s", strings.Join(argv, " "), err, text)
	}
	return out.String(), nil
}

// runChecks tries all, a few at a time, and returns their errors in order.
func runChecks(ctx context.Context, list []check) []error {
	out := make([]error, len(list))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i, c := range list {
		wg.Go(func() {
			slots <- struct{}{}
			out[i] = c.try(ctx)
			<-slots
		})
	}
	wg.Wait()
	return out
}
