//go:build e2e

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weft.dev/reconcile/status"
)

// TestEVPN has VXLANs reach as far as FRR tells, which the test runs on the lab's hosts
// as their operator would, with the configuration of the example.
func TestEVPN(t *testing.T) {
	c := startLab(t, fmt.Sprintf("ev%d", os.Getpid()), "../../examples/evpn")
	o := &operator{cloud: c, top: t, conf: "../../examples/evpn/frr", daemons: map[string]*daemon{}}
	o.part(t, "Apart", o.apart)
	o.part(t, "Told", o.told)
	o.part(t, "Move", o.move)
	o.part(t, "Repair", o.repair)
	o.part(t, "Silence", o.silence)
}

// TestEVPNOfALiveNetwork changes how the hosts of networks find each other, and back.
// A network that is new has its addresses and names through what FRR tells.
func TestEVPNOfALiveNetwork(t *testing.T) {
	c := startLab(t, fmt.Sprintf("el%d", os.Getpid()), "../../examples/linux-bridge")
	o := &operator{cloud: c, top: t, conf: "../../examples/evpn/frr", daemons: map[string]*daemon{}}
	o.part(t, "Switch", o.changeMode)
	o.part(t, "Lease", o.lease)
	o.part(t, "Migration", o.migration)
	o.part(t, "Back", o.changeBack)
}

// An operator is who runs the routing daemons of a cloud's hosts.
type operator struct {
	*cloud
	top     testing.TB // that the daemons end with
	conf    string
	daemons map[string]*daemon // by host and name
}

// part is one of o's, which builds upon those before.
func (o *operator) part(t *testing.T, name string, f func()) {
	t.Run(name, func(t *testing.T) {
		outer := o.cloud
		inner := *outer
		inner.TB = t
		o.cloud = &inner
		defer func() { o.cloud = outer }()
		o.well()
		f()
	})
}

// A daemon is one of FRR, in a host of the lab.
type daemon struct {
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	log  bytes.Buffer
}

// Write implements io.Writer.
func (d *daemon) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(b)
}

func (d *daemon) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// start runs FRR's zebra or bgpd on a host until stop, or the end of the lab.
func (o *operator) start(host, name, conf string) {
	o.Helper()
	argv := []string{"/usr/lib/frr/" + name, "-u", "frr", "-g", "frr", "-f", conf}
	if name == "bgpd" {
		argv = append(argv, "--log", "stdout", "--log-level", "warnings")
	}
	d := &daemon{done: make(chan struct{})}
	var err error
	if d.cmd, err = o.command(o.ctx, "host/"+host, argv...); err != nil {
		o.Fatal(err)
	}
	d.cmd.Stdout, d.cmd.Stderr = d, d
	if err := d.cmd.Start(); err != nil {
		o.Fatal(err)
	}
	go func() { _ = d.cmd.Wait(); close(d.done) }()
	o.daemons[host+" "+name] = d
	o.top.Cleanup(func() {
		d.stop()
		if o.top.Failed() {
			o.top.Logf("--- %s of %s\n%s", name, host, d.said())
		}
	})
}

// stop ends it as its service would: it takes back what it told and wrote.
func (d *daemon) stop() {
	_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(slow):
		_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
		<-d.done
	}
}

// frr starts the routing daemons of all hosts, which outlive a part.
func (o *operator) frr() {
	o.Helper()
	for _, h := range hosts {
		text, err := os.ReadFile(o.conf + "/" + h + ".conf")
		if err != nil {
			o.Fatal(err)
		}
		o.in("host/"+h, "sh", "-c", "install -d -m 755 -o frr -g frr /run/frr && printf %s \"$1\" >/run/frr/"+h+".conf", "sh", string(text))
		o.start(h, "zebra", "/dev/null")
		o.until(soon, "zebra of "+h+" serves", func() string {
			out, _ := o.try("host/"+h, "ls", "/run/frr/zserv.api")
			return strings.TrimSuffix(strings.TrimSpace(out), "/run/frr/zserv.api") + o.daemons[h+" zebra"].over()
		})
		o.start(h, "bgpd", "/run/frr/"+h+".conf")
	}
}

// over says what a daemon that ended said.
func (d *daemon) over() string {
	select {
	case <-d.done:
		return "it ended: " + d.said()
	default:
		return ""
	}
}

// remotes are the entries that tell a host's VXLAN where others are.
func (o *operator) remotes(host, vxlan string) string {
	o.Helper()
	return o.in("host/"+host, "sh", "-c", "bridge fdb show dev "+vxlan+" | grep 'dst ' | sort || true")
}

// notices are those of a host's status about remote ends.
func (o *operator) notices(host string) []string {
	o.Helper()
	s, err := o.status(host)
	if err != nil {
		return []string{err.Error()}
	}
	return slices.DeleteFunc(slices.Clone(s.Notes), func(n string) bool { return !strings.Contains(n, "no remote VTEP") })
}

// calm holds that the hosts are as they should be: whatever is said of remotes is no
// trouble of theirs.
func (o *operator) calm() {
	o.Helper()
	for _, h := range hosts {
		s, err := o.status(h)
		if err != nil {
			o.Fatal(err)
		}
		if !s.Condition(status.Ready).True || s.Condition(status.Stalled).True || len(s.Drift) > 0 {
			o.Errorf("%s: ready is %+v, stalled is %+v, drift is %v", h, s.Condition(status.Ready), s.Condition(status.Stalled), s.Drift)
		}
	}
}

// apart: without daemons the hosts do not reach each other, say so, and have nothing
// against it.
func (o *operator) apart() {
	for guest, ip := range map[string]string{"acme/node-1": "10.0.0.1/24", "acme/node-2": "10.0.0.2/24"} {
		o.in(guest, "ip", "addr", "add", ip, "dev", "eth0")
	}
	o.unreached("acme/node-1", "10.0.0.2")
	for _, h := range hosts {
		if out := o.remotes(h, o.tunnel("cluster")); out != "" {
			o.Errorf("%s has entries that nobody told: %s", h, out)
		}
		o.lonely(h, true)
	}
	o.calm()
}

// told: what the daemons tell is all that the hosts need.
func (o *operator) told() {
	o.frr()
	o.reaches("acme/node-1", "10.0.0.2", slow)
	o.answered("acme/node-2", "-M", "do", "-s", "1472", "10.0.0.1")
	for _, h := range hosts {
		o.lonely(h, false)
		if out := o.in("host/"+h, "ip", "-d", "link", "show", o.tunnel("cluster")); !strings.Contains(out, "nolearning") || !strings.Contains(out, " learning off") || !strings.Contains(out, "neigh_suppress on") {
			o.Errorf("%s learns by itself: %s", h, out)
		}
	}
	o.well()
	o.calm()
}

// repair: weft repairs what is its own, and what the daemons wrote stays.
func (o *operator) repair() {
	vx := o.tunnel("cluster")
	o.until(slow, "both MACs are told", func() string {
		if out := o.remotes("kvm1", vx); strings.Count(out, "192.168.50.12") < 2 {
			_, _ = o.try("acme/node-2", "ping", "-c1", "-W1", "10.0.0.1")
			return out
		}
		return ""
	})
	before := o.remotes("kvm1", vx)
	o.harmed(vx, "type bridge_slave neigh_suppress off learning on", "neigh_suppress off")
	o.harmed(vx, "type vxlan ttl 9", "ttl 9 ")
	o.harmed(vx, "mtu 1400", "mtu 1400")
	if after := o.remotes("kvm1", vx); after != before {
		o.Errorf("the daemon's entries are\n%s, and were\n%s", after, before)
	}
	// What went is made again, and the daemon notices by itself.
	o.in("host/kvm1", "ip", "link", "del", vx)
	o.until(slow, vx+" is made again", func() string {
		if out, err := o.try("host/kvm1", "ip", "-d", "link", "show", vx); err != nil || !strings.Contains(out, "neigh_suppress on") {
			return out
		}
		return o.unwell("kvm1", o.head())
	})
	o.reaches("acme/node-1", "10.0.0.2", slow)
	o.lonely("kvm1", false)
	o.calm()
}

// harmed sets what is not so of a link of kvm1 and waits until the sign of it is gone.
func (o *operator) harmed(link, harm, sign string) {
	o.Helper()
	o.in("host/kvm1", append([]string{"ip", "link", "set", link}, strings.Fields(harm)...)...)
	o.until(slow, "repair after "+harm, func() string {
		if out := o.in("host/kvm1", "ip", "-d", "link", "show", link); strings.Contains(out, sign) {
			return out
		}
		return o.unwell("kvm1", o.head())
	})
}

// move: a guest on another host is found there, because the daemons tell.
func (o *operator) move() {
	for _, to := range []string{"kvm1", "kvm2"} {
		o.must("lab", "move", "acme/node-2", to)
		o.reaches("acme/node-1", "10.0.0.2", slow)
		o.reaches("acme/node-2", "10.0.0.1", slow)
	}
	o.well()
}

// silence: what a daemon no longer tells is gone, which is said and no trouble.
func (o *operator) silence() {
	o.daemons["kvm2 bgpd"].stop()
	for _, h := range hosts {
		o.lonely(h, true)
	}
	o.unreached("acme/node-1", "10.0.0.2")
	o.calm()
	o.start("kvm2", "bgpd", "/run/frr/kvm2.conf")
	o.reaches("acme/node-1", "10.0.0.2", slow)
	for _, h := range hosts {
		o.lonely(h, false)
	}
}

// changeMode: a network that lives is left to the daemons, and keeps nothing of what the
// tree had said.
func (o *operator) changeMode() {
	peer := o.guests()["acme/app-2"].ip.String()
	o.reaches("acme/app-1", peer, soon)
	o.edit("cloud.yaml", "  isolation: VXLAN\n", "  isolation: VXLAN\n  vxlan: {mode: EVPN}\n")
	o.commit()
	o.unreached("acme/app-1", peer)
	o.frr()
	o.reaches("acme/app-1", peer, slow)
	for _, h := range hosts {
		o.lonely(h, false)
	}
}

// lease: guests of a new network get their addresses across hosts, and names.
func (o *operator) lease() {
	text := o.read("cloud.yaml")
	for _, doc := range strings.Split(text, "---\n") {
		if strings.Contains(doc, "name: app") {
			doc = strings.NewReplacer("name: app", "name: new", "network: app", "network: new", "10.1.2.0/24", "10.1.3.0/24").Replace(doc)
			text = strings.TrimSuffix(text, "\n") + "\n---\n" + doc
		}
	}
	o.write("cloud.yaml", text)
	o.commit() // waits for the leases
	o.well()
	o.reaches("acme/new-1", "new-2", soon)
	o.reaches("acme/new-2", "new-1", soon)
	if out := o.remotes("kvm1", "vxlan5001"); strings.Count(out, "\n") == 0 {
		o.Errorf("kvm1 was told nothing: %s", out)
	}
}

// migration: a guest moves under pings and a TCP connection, and the daemons tell.
func (o *operator) migration() {
	guests := o.guests()
	self, peer := guests["acme/app-2"], guests["acme/app-1"]
	for _, to := range []string{"kvm1", "kvm2"} {
		m := &migration{fabric: "EVPN", self: self, peer: peer, to: to}
		m.in = o.pinging(peer.name, self.ip.String())
		m.out = o.pinging(self.name, self.net.Gateway.String())
		m.tcp = o.streaming(peer.name, self.name, self.ip.String())
		m.move(o.cloud)
		m.end(o.cloud)
	}
	o.well()
}

// changeBack: the tree says again where the hosts are, and nothing that the daemons
// told is left.
func (o *operator) changeBack() {
	for _, d := range o.daemons {
		d.stop()
	}
	o.edit("cloud.yaml", "  vxlan: {mode: EVPN}\n", "")
	o.commit()
	o.reaches("acme/app-1", o.guests()["acme/app-2"].ip.String(), soon)
	o.reaches("acme/new-2", "new-1", soon)
	if out := o.in("host/kvm1", "bridge", "fdb", "show"); strings.Contains(out, "extern_learn") {
		o.Errorf("left of what the daemons told is %s", out)
	}
}

// unreached: a node's pings are not answered.
func (o *operator) unreached(from, to string) {
	o.Helper()
	if out, err := o.try(from, "ping", "-c3", "-W1", to); err == nil {
		o.Errorf("%s reaches %s, of which nobody told: %s", from, to, out)
	}
}

// lonely waits until a host says that a VXLAN has no remotes, or does not.
func (o *operator) lonely(host string, want bool) {
	o.Helper()
	o.until(slow, fmt.Sprintf("%s is without remotes: %t", host, want), func() string {
		if n := o.notices(host); len(n) > 0 != want {
			return fmt.Sprintf("it says %q", n)
		}
		return ""
	})
}

// tunnel is the VXLAN of a network of acme's.
func (o *operator) tunnel(network string) string {
	o.Helper()
	for line := range strings.Lines(o.read("weft.lock")) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "network/acme/"+network && f[1] == "vnet" {
			return "vxlan" + f[2]
		}
	}
	o.Fatalf("weft.lock has no VNI of %s", network)
	return ""
}
