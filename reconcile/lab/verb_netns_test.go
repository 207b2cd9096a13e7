//go:build netns

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"weft.dev/reconcile/host"
)

func TestHostDiesAndReturns(t *testing.T) {
	spec := twoHosts()
	spec.Hosts[0].Agent = []string{"sh", "-c", "echo agent of $WHO; exec sleep 1000"}
	spec.Hosts[0].Env = []string{"WHO=kvm1"}
	w := start(t, "kill", spec)
	w.weave("kvm1", "kvm2")
	w.until(plugged)
	w.in("host/kvm1", "sh", "-c", "touch /var/lib/weft/kept /run/lost")
	if err := w.Kill(w.ctx, "host/kvm1"); err != nil {
		t.Fatal(err)
	}
	s := w.until(func(s Status) bool { n, _ := s.Node("acme/vm11"); return n.State == Stopped })
	if n, _ := s.Node("host/kvm1"); n.State != Stopped || n.Reason != "killed" {
		t.Errorf("killed host: %+v", n)
	}
	if _, err := w.try("host/kvm1", "true"); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("exec in a dead host: %v", err)
	}
	if n, _ := s.Node("acme/vm21"); n.State != Up {
		t.Errorf("guest of the other host: %+v", n)
	}
	if err := w.Kill(w.ctx, "host/kvm1"); err == nil {
		t.Error("a dead host was killed")
	}
	if err := w.Start(w.ctx, "host/kvm1"); err != nil {
		t.Fatal(err)
	}
	if got, err := w.try("host/kvm1", "sh", "-c", "ls /var/lib/weft/kept; ls /run/lost"); err == nil || !strings.HasPrefix(got, "/var/lib/weft/kept\n") {
		t.Errorf("after the reboot: %v, %s", err, got)
	}
	w.until(plugged)
	w.in("host/kvm1", "ovs-vsctl", "--timeout=10", "br-exists", "weft-int")
	if !w.reaches("acme/vm11", "10.1.1.22") {
		t.Error("guests do not reach each other after the reboot")
	}
	for _, want := range []bool{false, true} {
		if want {
			err := w.Start(w.ctx, "agent/kvm1")
			if err != nil {
				t.Fatal(err)
			}
		} else if err := w.Kill(w.ctx, "agent/kvm1"); err != nil {
			t.Fatal(err)
		}
		w.until(func(s Status) bool {
			n, _ := s.Node("host/kvm1")
			a, ok := n.Service("agent")
			return ok && a.Running == want
		})
	}
	if got := w.in("host/kvm1", "cat", "/run/lab/state/log/agent.log"); !strings.HasPrefix(got, "agent of kvm1\n") {
		t.Errorf("log of the agent: %q", got)
	}
}

func TestMove(t *testing.T) {
	w := start(t, "move", twoHosts())
	w.weave("kvm1", "kvm2")
	w.until(plugged)
	if !w.reaches("acme/vm11", "10.1.1.12") {
		t.Fatal("guests do not reach each other")
	}
	before := w.in("acme/vm11", "ip", "-o", "address", "show", "dev", "eth0")
	if err := w.Move(w.ctx, "acme/vm11", "kvm2"); err != nil {
		t.Fatal(err)
	}
	s := w.until(plugged)
	if n, _ := s.Node("acme/vm11"); n.Host != "kvm2" {
		t.Errorf("moved guest: %+v", n)
	}
	if after := w.in("acme/vm11", "ip", "-o", "address", "show", "dev", "eth0"); after != before {
		t.Errorf("links of the guest were %s and are %s", before, after)
	}
	// Who talked to it finds it by what it announced.
	if !w.reaches("acme/vm12", "10.1.1.11") {
		t.Error("the moved guest is not reached")
	}
	if got := w.in("host/kvm1", "ovs-vsctl", "--bare", "--columns=name", "find", "Interface", `external_ids:iface-id="acme/vm11/web"`); got != "" {
		t.Errorf("the port stayed on kvm1: %s", got)
	}
	// A guest that was moved by hand stays where it is when the tree changes elsewhere.
	next := twoHosts()
	next.VMs = append(next.VMs[:3], VM{Name: "acme/new", Host: "kvm2", NICs: []NIC{{Name: "web", MAC: "02:00:00:00:02:09",
		Addresses: []netip.Prefix{prefix("10.1.1.29/24")}}}})
	next.VMs[1].Host = "kvm2"
	if err := w.Update(w.ctx, next); err != nil {
		t.Fatal(err)
	}
	s = w.until(plugged)
	where := map[string]string{}
	for _, n := range s.Nodes {
		if n.Kind == KindVM {
			where[n.Name] = n.Host
		}
	}
	if got, want := fmt.Sprint(where), "map[acme/new:kvm2 acme/vm11:kvm2 acme/vm12:kvm2 acme/vm21:kvm2]"; got != want {
		t.Errorf("guests after the update: %s, want %s", got, want)
	}
	if !w.reaches("acme/new", "10.1.1.11") {
		t.Error("the new guest reaches nobody")
	}
}

// TestUpdate changes everything that can change at once.
func TestUpdate(t *testing.T) {
	spec := twoHosts()
	spec.VMs = spec.VMs[:2]
	spec.VMs[1].Host = "kvm2"
	w := start(t, "update", spec)
	w.weave("kvm1", "kvm2")
	w.in("acme/vm11", "touch", "/run/first-life")

	next := twoHosts()
	next.Wires[0].MTU = 9000
	next.Wires = append(next.Wires, Wire{Name: "zone1/new"})
	next.Hosts = []Host{next.Hosts[0], {Name: "kvm3", Bridges: []Bridge{{Name: "cloudbr1", Wire: "zone1/cloudbr1", Manage: Use,
		Uplinks: []string{"eth1"}, Address: prefix("192.168.50.13/24")}}}}
	next.Hosts[0].Bridges = append(next.Hosts[0].Bridges[:1], Bridge{Name: "new", Wire: "zone1/new", Uplinks: []string{"eth9"}})
	next.Ranges[0].VLAN = 51
	next.VMs = next.VMs[:2]
	next.VMs[0].NICs[0].Addresses = []netip.Prefix{prefix("10.1.1.99/24")}
	next.VMs[1].Host = "kvm3"
	if err := w.Update(w.ctx, next); err != nil {
		t.Fatal(err)
	}
	w.weave("kvm3")
	s := w.until(plugged)
	var names []string
	for _, n := range s.Nodes {
		names = append(names, n.Name+" on "+n.Host)
	}
	if got, want := strings.Join(names, ", "), "internet on , host/kvm1 on , host/kvm3 on , acme/vm11 on kvm1, acme/vm12 on kvm3"; got != want {
		t.Errorf("nodes: %s, want %s", got, want)
	}
	if _, err := w.try("acme/vm11", "test", "-e", "/run/first-life"); err == nil {
		t.Error("a guest whose card changed was not started anew")
	}
	if !w.reaches("acme/vm12", "10.1.1.99") {
		t.Error("guests do not reach each other")
	}
	if got := w.in("host/kvm1", "sh", "-c", "ls /sys/class/net | grep ^eth; cat /sys/class/net/eth1/mtu"); got != "eth1\neth9\n9000\n" {
		t.Errorf("uplinks and size of the first: %q", got)
	}
	if got := w.in("internet", "ovs-vsctl", "--bare", "--columns=tag", "list", "Port", "range0"); got != "51\n" {
		t.Errorf("tag of the range: %q", got)
	}
	bad := next
	bad.VMs = append([]VM{}, next.VMs...)
	bad.VMs[0].Host = "nowhere"
	if err := w.Update(w.ctx, bad); err == nil || !strings.Contains(err.Error(), `there is no host "nowhere"`) {
		t.Errorf("update to a Spec that cannot be: %v", err)
	}
}

// TestHostView looks for what an agent and its user find on a host: secrets, a router by its mark, this program, the name of
// the lab; and that the machine's own files are untouched by it.
func TestHostView(t *testing.T) {
	secrets := t.TempDir()
	if err := os.WriteFile(secrets+"/web.pw", []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := twoHosts()
	spec.VMs, spec.Secrets = nil, secrets
	w := start(t, "view", spec)
	if got := w.in("host/kvm1", "cat", "/etc/weft/web.pw"); got != "hush" {
		t.Errorf("secret: %q", got)
	}
	if out, err := w.try("host/kvm1", "touch", "/etc/weft/web.pw"); err == nil || !strings.Contains(out, "Read-only") {
		t.Errorf("a secret may be written: %v, %s", err, out)
	}
	if _, err := os.Stat("/etc/weft"); err == nil {
		t.Error("the lab made /etc/weft on the machine")
	}
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	if got := w.in("host/kvm1", "cat", "/etc/passwd"); got != string(passwd) {
		t.Errorf("/etc/passwd on the host: %q", got)
	}
	if out, err := w.try("router/acme/web", "true"); err == nil || !strings.Contains(err.Error(), "there is no router acme/web") {
		t.Errorf("a router that is not yet: %v, %s", err, out)
	}
	mark := must(host.New("kvm2", "").Alias("network/acme/web")) // as drivers mark it
	w.in("host/kvm2", "sh", "-ec", "ip netns add weft-acme-web; ip -n weft-acme-web link set lo alias "+mark+" up")
	if got := w.in("router/acme/web", "sh", "-c", "hostname; ip netns identify $$; cat /sys/class/net/lo/ifalias"); got != "kvm2\nweft-acme-web\n"+mark+"\n" {
		t.Errorf("in the router: %q", got)
	}
	if out, err := w.try("router/acme/nothing", "true"); err == nil || !strings.Contains(err.Error(), "there is no router acme/nothing") {
		t.Errorf("a router that is not: %v, %s", err, out)
	}
	if got := w.in("host/kvm1", "sh", "-c", "command -v weft; echo $WEFT_LAB; pwd"); got != "/run/lab/bin/weft\n"+w.Name+"\n"+must(os.Getwd())+"\n" {
		t.Errorf("program, lab and directory: %q", got)
	}
}
