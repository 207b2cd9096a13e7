//go:build e2e

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/status"
)

// foreign makes things that are nobody's business, next to weft's, on a host.
const foreign = `
	ovs-vsctl add-br stranger -- set Bridge stranger datapath_type=netdev -- add-port stranger s0 -- set Interface s0 type=internal
	ovs-vsctl add-port cloudbr0 s1 -- set Interface s1 type=internal
	ip link add s2 type veth peer name s3; ip addr add 192.0.2.1/24 dev s2; ip link set s2 up
	ip netns add stranger; ip -n stranger link set lo up
	ip netns exec stranger iptables -A INPUT -s 192.0.2.9 -j DROP
	iptables -N STRANGER; iptables -A INPUT -s 192.0.2.9 -j STRANGER; iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE
	ip route add 192.0.2.128/25 via 192.0.2.2
	mkdir -p /run/stranger; echo mine >/run/stranger/file
	ip netns exec stranger dnsmasq --conf-file=/dev/null --port=53 --listen-address=127.0.0.1 --bind-interfaces --pid-file=/run/stranger/pid`

// strange is all of it as ordinary tools show it.
const strange = `
	ovs-vsctl list-ports stranger; ovs-vsctl port-to-br s1; ip -br addr show dev s2; ip -n stranger -br addr
	ip netns exec stranger iptables -S; iptables -S; iptables -t nat -S; ip route
	cat /run/stranger/file; kill -0 $(cat /run/stranger/pid) && echo alive`

// A breakage is something of weft's that another hand changes.
type breakage struct {
	name, host, owner, id string
	command               string
	from, to              string // who reaches whom once it is healed
}

var breakages = []breakage{
	{"bridge", "kvm1", "host/kvm1", "ovs.bridge cloudbr1", "ovs-vsctl del-br cloudbr1", "acme/web-1", "web-2"},
	{"chains", "kvm1", "network/acme/web", "fw.chain weft-acme-web/", "for t in filter nat mangle; do ip netns exec weft-acme-web iptables -t $t -F; done", "acme/web-1", world},
	{"dnsmasq", "kvm1", "network/beta/office", "process weft-beta-office/dnsmasq", "kill -9 $(pgrep -f '^dnsmasq.*weft-beta-office/dnsmasq.conf')", "beta/files", "mail"},
	{"address", "kvm1", "network/acme/app", "net.addr weft-acme-app/eth0/10.1.2.1/24", "ip -n weft-acme-app addr del 10.1.2.1/24 dev eth0", "acme/app-2", "10.1.2.1"},
	{"flows", "kvm2", "network/acme/db", "ovs.flows weft-int/", "ovs-ofctl -O OpenFlow14 del-flows weft-int table=60", "acme/db-1", "db-2"},
	{"rule", "kvm2", "network/acme/db", "fw.chain weft-acme-db/4/filter/FORWARD", "ip netns exec weft-acme-db iptables -I FORWARD 1 -p tcp -j ACCEPT", "acme/db-2", "db-1"},
	{"namespace", "kvm1", "network/beta/office", "net.ns weft-beta-office", "ip netns del weft-beta-office", "beta/files", world},
	{"port", "kvm1", "network/acme/web", "ovs.port wg-acme-", "ovs-vsctl del-port $(ovs-vsctl list-ports weft-int | grep -m1 ^wg-acme)", "acme/web-2", world},
	{"link", "kvm1", "network/acme/app", "net.link weft-acme-app/eth1", "ip -n weft-acme-app link set eth1 down", "acme/app-1", "app-2"},
	{"file", "kvm2", "network/acme/db", "file ", "echo 192.0.2.7 intruder >>/run/weft/files/routers/weft-acme-db/hosts", "acme/db-1", "db-2"},
	{"flow too many", "kvm2", "host/kvm2", "ovs.flows weft-int/", `cookie=$(ovs-ofctl -O OpenFlow14 dump-flows weft-int table=40 --no-stats | sed -n 's/^ cookie=\([^,]*\),.*/\1/p' | head -1)
		ovs-ofctl -O OpenFlow14 add-flow weft-int cookie=$cookie,table=40,priority=999,actions=drop`, "acme/app-2", "app-1"},
}

// drift: what another hand changes of weft's is told and healed; what is not
// weft's is left alone.
func (c *cloud) drift() {
	c.in("host/kvm1", "sh", "-ec", foreign)
	strangers := c.in("host/kvm1", "sh", "-c", strange)
	before := map[string]string{}
	for _, h := range hosts {
		before[h] = c.made(h)
	}
	for _, b := range breakages {
		c.TB.(*testing.T).Run(b.name, func(t *testing.T) {
			p := *c
			p.TB = t
			p.breaks(b, before[b.host])
		})
	}
	// A pass over everything, and a commit, with the strangers there.
	for _, h := range hosts {
		c.in("host/"+h, "weft", "reconcile")
	}
	c.edit("tenants/beta.yaml", "ports: 25,", "ports: 26,")
	c.commit()
	if diff := difference(strangers, c.in("host/kvm1", "sh", "-c", strange)); diff != "" {
		c.Errorf("what is not weft's was touched:%s", diff)
	}
	c.in("host/kvm1", "sh", "-c", `kill $(cat /run/stranger/pid); ovs-vsctl del-br stranger -- del-port s1; ip link del s2; ip netns del stranger
		iptables -D INPUT 1; iptables -X STRANGER; iptables -t nat -F POSTROUTING; rm -r /run/stranger`)
}

// breaks does one breakage and waits until it was told and healed.
func (c *cloud) breaks(b breakage, before string) {
	since := time.Now()
	c.in("host/"+b.host, "sh", "-ec", b.command)
	c.until(slow, "weft drift tells", func() string {
		s, err := c.client(b.host).Drift(c.ctx)
		if err != nil {
			return err.Error()
		}
		for _, d := range append(s.Drift, s.Repaired...) {
			if string(d.Owner) == b.owner && strings.HasPrefix(d.ID.String(), b.id) && !d.Since.Before(since) && len(d.What) > 0 {
				return ""
			}
		}
		return fmt.Sprintf("neither drift nor repaired has %s %s: %v %v", b.owner, b.id, s.Drift, s.Repaired)
	})
	c.until(slow, "it is healed", func() string { return difference(before, c.made(b.host)) })
	c.Logf("healed after %v", time.Since(since).Round(time.Millisecond))
	c.well()
	c.reaches(b.from, b.to, soon)
	out, code := c.code("host/"+b.host, "weft", "drift")
	if code != exitOK || !strings.Contains(out, b.owner) || !strings.Contains(out, "Repaired") {
		c.Errorf("weft drift: exit status %d\n%s", code, out)
	}
	c.until(slow, "the journal has the repair", func() string {
		if h := c.history(b.host); h[0].Count.Drift == 0 || h[0].Outcome != "Applied" {
			return fmt.Sprintf("the newest record: %+v", h[0])
		}
		return ""
	})
}

// dead says whether a network's dnsmasq does not run on kvm1.
func (c *cloud) dead(network string) bool {
	_, code := c.code("host/kvm1", "pgrep", "-f", "^dnsmasq.*"+network+"/dnsmasq.conf")
	return code != 0
}

// suspend: what is suspended is told of and not healed until resume.
func (c *cloud) suspend() {
	const on = "host/kvm1"
	kill := func(network string) {
		c.in(on, "sh", "-ec", "kill -9 $(pgrep -f '^dnsmasq.*"+network+"/dnsmasq.conf')")
	}
	c.in(on, "weft", "suspend", "--reason", "somebody works here")
	kill("weft-acme-web")
	out, code := c.code(on, "weft", "drift")
	if code != exitDiffers || !strings.Contains(out, "process weft-acme-web/dnsmasq") || !strings.Contains(out, "network/acme/web") {
		c.Errorf("weft drift of a host that is suspended: exit status %d\n%s", code, out)
	}
	c.in(on, "weft", "reconcile") // a whole pass
	if !c.dead("weft-acme-web") {
		c.Error("a host that is suspended was changed")
	}
	if out := c.in(on, "weft", "status"); !strings.Contains(out, "somebody works here") || !strings.Contains(out, "Suspended") {
		c.Errorf("status of a host that is suspended:\n%s", out)
	}
	c.in(on, "weft", "resume")
	c.until(slow, "dnsmasq is back", func() string {
		if c.dead("weft-acme-web") {
			return "it is dead"
		}
		return ""
	})

	// One network only.
	c.in(on, "weft", "suspend", "acme/web", "--reason", "wait")
	kill("weft-acme-web")
	kill("weft-acme-app")
	c.until(slow, "another network is healed", func() string {
		if c.dead("weft-acme-app") {
			return "it is dead"
		}
		return ""
	})
	c.in(on, "weft", "reconcile")
	if !c.dead("weft-acme-web") {
		c.Error("a network that is suspended was changed")
	}
	s, err := c.status("kvm1")
	if err != nil {
		c.Fatal(err)
	}
	for _, o := range s.Owners {
		want := status.OwnerReady
		if o.Name == "network/acme/web" {
			want = status.OwnerSuspended
		}
		if o.State != want {
			c.Errorf("%s is %s, want %s", o.Name, o.State, want)
		}
	}
	// A commit meanwhile changes the others.
	c.edit("tenants/beta.yaml", "ports: 25,", "ports: 26,")
	if out, code := c.run("lock", c.tree); code != exitOK {
		c.Fatal(out)
	}
	if _, _, err := c.lab.Commit(c.ctx, c.tree, "while one is suspended"); err != nil {
		c.Fatal(err)
	}
	c.probe("beta/mail", "e2e-echo", ":26")
	c.until(slow, "another network is changed", func() string {
		out, err := c.try("internet", "nc", "-z", "-w", "1", "203.0.113.73", "26")
		if err != nil {
			return out + err.Error()
		}
		return ""
	})
	out, code = c.code(on, "weft", "suspend", "acme/nothing")
	if code != exitError || !strings.Contains(out, "acme/nothing") {
		c.Errorf("suspend of nothing: exit status %d\n%s", code, out)
	}
	c.in(on, "weft", "resume", "acme/web")
	c.well()
	if c.dead("weft-acme-web") {
		c.Error("resume did not heal")
	}
	c.reaches("acme/web-1", "web-2", soon)
}
