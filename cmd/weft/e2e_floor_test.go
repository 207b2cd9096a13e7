//go:build e2e

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/host/facts"
	"weft.dev/reconcile/model"
)

// floorWorkers is how many namespaces are made at once.
const floorWorkers = 2

// took is what a timed probe prints.
type took struct {
	Times []time.Duration `json:"times"`
}

func tell(times ...time.Duration) error {
	return json.NewEncoder(os.Stdout).Encode(took{times})
}

// probeFloor N: the least in which one process can bring up N routers: namespace,
// two veths, addresses, ten rules, dnsmasq, and one OVSDB transaction. It plans,
// marks and verifies nothing.
func probeFloor(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	vsctl := func(args ...string) error {
		out, err := exec.Command("ovs-vsctl", append([]string{"--timeout=60"}, args...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ovs-vsctl: %w: %s", err, out)
		}
		return nil
	}
	if err := vsctl("add-br", "int", "--", "set", "Bridge", "int", "datapath_type=netdev", "--", "add-br", "pub", "--", "set", "Bridge", "pub", "datapath_type=netdev"); err != nil {
		return err
	}
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	here, err := netns.Get()
	if err != nil {
		return err
	}
	defer here.Close()
	began := time.Now()
	jobs, errs := make(chan int), make([]error, n)
	var all sync.WaitGroup
	for range floorWorkers {
		all.Go(func() {
			runtime.LockOSThread() // for good: it ends in another namespace
			for i := range jobs {
				errs[i] = floorRouter(here, i)
			}
		})
	}
	for i := range n {
		jobs <- i
	}
	close(jobs)
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var ports []string
	for i := range n {
		ports = append(ports, "--", "add-port", "int", fmt.Sprintf("g%d", i), fmt.Sprintf("tag=%d", i+1), "--", "add-port", "pub", fmt.Sprintf("p%d", i))
	}
	if err := vsctl(ports[1:]...); err != nil {
		return err
	}
	return tell(time.Since(began))
}

// floorRouter makes one router, on a thread of its own, which is in that
// router's namespace afterwards.
func floorRouter(here netns.NsHandle, i int) error {
	path := fmt.Sprintf("/run/netns/f%d", i)
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, ""); err != nil {
		return err
	}
	space, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer space.Close()
	out, err := netlink.NewHandleAt(here)
	if err != nil {
		return err
	}
	defer out.Close()
	in, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer in.Close()
	for k, end := range []struct{ name, address string }{
		{"g", "10.1.1.1/24"}, {"p", fmt.Sprintf("203.0.%d.%d/22", 112+(i+10)/256, (i+10)%256)},
	} {
		inner := fmt.Sprintf("eth%d", k)
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("%s%d", end.name, i), Flags: net.FlagUp}, PeerName: inner, PeerNamespace: netlink.NsFd(space)}
		if err := out.LinkAdd(pair); err != nil {
			return err
		}
		link, err := in.LinkByName(inner)
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr(end.address)
		if err != nil {
			return err
		}
		if err := errors.Join(in.AddrAdd(link, address), in.LinkSetUp(link)); err != nil {
			return err
		}
	}
	lo, err := in.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := errors.Join(in.LinkSetUp(lo), in.RouteAdd(&netlink.Route{Gw: net.IPv4(203, 0, 112, 1)}),
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)); err != nil {
		return err
	}
	return errors.Join(floorRules(i), floorDaemon(i))
}

func floorRules(i int) error {
	cmd := exec.Command("iptables-restore")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`*mangle
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
COMMIT
*nat
-A POSTROUTING -s 10.1.1.0/24 -o eth1 -j SNAT --to-source 203.0.%d.%d
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -i eth0 -p udp -m multiport --dports 53,67 -j ACCEPT
-A INPUT -i eth0 -p tcp -m tcp --dport 53 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i eth0 -o eth1 -j ACCEPT
-A FORWARD -i eth1 -o eth0 -m conntrack --ctstate DNAT -j ACCEPT
COMMIT
`, 112+(i+10)/256, (i+10)%256))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("iptables-restore: %w: %s", err, out)
	}
	return nil
}

func floorDaemon(i int) error {
	dir := fmt.Sprintf("/run/floor/%d", i)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file := filepath.Join(dir, "conf")
	text := fmt.Sprintf("interface=eth0\nbind-interfaces\nexcept-interface=lo\nno-resolv\nno-hosts\ndhcp-range=10.1.1.1,static\n"+
		"dhcp-host=02:00:00:00:00:11,10.1.1.11,vm1\ndhcp-leasefile=%s/leases\npid-file=%[1]s/pid\n", dir)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("dnsmasq", "--conf-file="+file).CombinedOutput(); err != nil {
		return fmt.Errorf("dnsmasq: %w: %s", err, out)
	}
	return nil
}

// probePass TREE N: passes of one engine over a host that is what the tree says,
// after a first one, as an agent makes them.
func probePass(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	ctx, h := context.Background(), host.New("kvm1", "")
	t, err := newCompiler().compile(os.DirFS(args[0]), map[string]model.Facts{h.Name: facts.Of(ctx, h)})
	if err != nil {
		return err
	}
	e := newEngine(h, "/etc/weft", nil)
	var times []time.Duration
	for i := range n + 1 {
		r, err := e.Reconcile(ctx, t.Intent("kvm1"), engine.Options{Revision: "bench"})
		if err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		if !r.Plan.Empty() {
			return fmt.Errorf("pass %d had %d actions", i, len(r.Plan.Actions))
		}
		times = append(times, r.Took)
	}
	return tell(times...)
}

// probeKnock ADDR:PORT: connects until that is answered.
func probeKnock(args []string) error {
	fmt.Println("ready")
	for {
		c, err := net.DialTimeout("tcp4", args[0], 100*time.Millisecond)
		if err == nil {
			return c.Close()
		}
	}
}
