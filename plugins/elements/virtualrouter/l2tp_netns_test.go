//go:build netns

package virtualrouter

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft.dev/reconcile/lab/nstest"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/schema"
)

// An l2tpWorld is a router, a, and a user's computer, b, on a wire.
type l2tpWorld struct {
	*nstest.Spaces
}

func (w *l2tpWorld) try(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	return string(out), err
}

func (w *l2tpWorld) in(n string, argv ...string) (string, error) {
	return w.try(append([]string{"ip", "netns", "exec", w.NS(n)}, argv...)...)
}

func (w *l2tpWorld) soon(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.Fatalf("not so in time: %s", what)
}

// serve runs a program in a namespace until the test ends.
func (w *l2tpWorld) serve(n string, env []string, argv ...string) *exec.Cmd {
	w.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", w.NS(n)}, argv...)...)
	cmd.Env = append(os.Environ(), env...)
	log := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = log, log, time.Second // who it started may have them still
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
		if w.Failed() {
			w.Logf("%s:\n%s", strings.Join(argv, " "), log)
		}
	})
	return cmd
}

// state is what a keeper of the router tells.
func (w *l2tpWorld) state(socket, ask string) string {
	out, _ := w.in("a", "sh", "-c", `printf '%s\n' "$1" | nc -U -w5 "$2"`, "sh", ask, socket)
	return out
}

// What a user's computer has, set up by hand.
const (
	l2tpClient = `connections {
 office {
  version = 1
  local_addrs = 192.0.2.2
  remote_addrs = 192.0.2.1
  proposals = aes256-sha1-modp2048
  local { 
   auth = psk 
  }
  remote { 
   auth = psk 
  }
  children { l2tp { 
   mode = transport
   local_ts = dynamic[udp/1701]
   remote_ts = dynamic[udp/1701]
   esp_proposals = aes256-sha1
  } }
 }
}
secrets { ike-office { 
 secret = "known to all" 
} }
`
	l2tpClientConf = `charon-systemd {
  load = random nonce openssl pem pkcs1 x509 pubkey kdf hmac kernel-netlink socket-default vici
  plugins {
    vici {
      socket = unix://%s/vici
    }
  }
  filelog {
    stderr {
      default = 1
    }
  }
}
swanctl {
  load = pem pkcs1 x509 openssl random
}
`
	l2tpLAC = `[global]
port = 1701
access control = no
[lac office]
lns = 192.0.2.1
pppoptfile = /etc/ppp/options.office
length bit = yes
autodial = yes
redial = yes
redial timeout = 2
`
	l2tpPPP = "name %s\nnoauth\nrefuse-pap\nrefuse-eap\nnoccp\nnoipv6\nnodefaultroute\nmtu 1400\nmru 1400\nlogfile /run/ppp.log\n"
)

// L2TP runs where the kernel has what it needs: make deps-kernel, and -exec inside.
func l2tpKernel(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, name := range []string{"xl2tpd", "pppd"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat("/dev/ppp"); err != nil {
		t.Skip("this kernel has no PPP: run it in a machine (reconcile/lab/machine/inside)")
	}
}

// TestL2TP: a user with strongSwan, xl2tpd and pppd set up by hand comes in by a password
// that no file format likes, has an address of the range, and is out with the password.
func TestL2TP(t *testing.T) {
	l2tpKernel(t)
	w := &l2tpWorld{nstest.New(t, "l2tp", "a", "b")}
	w.Run("ip", "link", "add", "eth1", "netns", w.NS("a"), "type", "veth", "peer", "name", "eth1", "netns", w.NS("b"))
	for i, n := range []string{"a", "b"} {
		w.Run("ip", "-n", w.NS(n), "addr", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", "eth1")
		w.Run("ip", "-n", w.NS(n), "link", "set", "eth1", "up")
	}
	w.Run("ip", "-n", w.NS("a"), "addr", "add", "10.1.1.1/24", "dev", "lo")

	const password = "it's \"q\" \\ #{} *\t$(x)"
	w.filters()
	server := w.router(map[string]string{"ann": password, "bob": "bob's"})
	w.client("ann", `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(password)+`"`)
	w.soon("ann is in", func() bool { return strings.HasPrefix(w.state("@weft-l2tp", ""), "Connected 1 of 2 users") })
	if out := w.state("@weft-l2tp", ""); !strings.Contains(out, `"name":"ann","up":true`) || !strings.Contains(out, `"address":"10.254.2.`) {
		t.Errorf("told: %s", out)
	}
	if out := w.state("@weft-ipsec", "acme/staff"); !strings.HasPrefix(out, "Connected 1 user") {
		t.Errorf("told of IPsec: %s", out)
	}
	w.soon("the route", func() bool {
		_, err := w.in("b", "ip", "route", "replace", "10.1.1.0/24", "dev", "ppp0")
		return err == nil
	})
	w.soon("ann pings a guest", func() bool { _, err := w.in("b", "ping", "-c1", "-W3", "10.1.1.1"); return err == nil })
	if out, err := w.in("a", "cat", "/proc/sys/net/ipv4/conf/ppp0/rp_filter"); err != nil || strings.TrimSpace(out) != "1" {
		t.Errorf("users may have each other's addresses: %s", out)
	}
	if out, _ := w.in("b", "ip", "-s", "xfrm", "state"); !strings.Contains(out, "mode transport") {
		t.Errorf("IPsec does not carry it:\n%s", out)
	}
	// What is not IPsec's does not come in, though there is a flow of that port: the kernel itself
	// asks for IPsec of this user, the filter of everybody.
	before := w.dropped()
	w.soon("L2TP in the clear is dropped", func() bool {
		_, _ = w.in("b", "sh", "-c", "ip addr replace 192.0.2.3/24 dev eth1; echo x | nc -u -w1 -s 192.0.2.3 192.0.2.1 1701")
		return w.dropped() > before
	})
	// Nobody is in by a password that is one no more, and no link outlives the server.
	w.Write("l2tp/passwords/ann", "another")
	if err := server.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.soon("ann is out", func() bool { return strings.HasPrefix(w.state("@weft-l2tp", ""), "Connected 0 of 2 users") })
	w.soon("her link is gone", func() bool { _, err := w.try("ip", "-n", w.NS("a"), "link", "show", "ppp0"); return err != nil })
	w.Write("l2tp/passwords/ann", password)
	if err := server.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.soon("ann is in again", func() bool { return strings.HasPrefix(w.state("@weft-l2tp", ""), "Connected 1 of 2 users") })
	_ = server.Process.Kill()
	w.soon("all links are gone", func() bool {
		out, err := w.try("ip", "-n", w.NS("a"), "link")
		return err == nil && !strings.Contains(out, "ppp")
	})
	if b, _ := os.ReadFile("/etc/ppp/chap-secrets"); strings.Contains(string(b), "weft") {
		t.Error("the host's own secrets were written")
	}
}

// filters are the rules of a router's chains that matter to L2TP, as the element asks for
// them (testdata/vpn-l2tp.txtar).
func (w *l2tpWorld) filters() {
	w.Helper()
	const outer, esp = "-i eth1 -d 192.0.2.1 -p udp -m multiport --dports 500,4500 -j ACCEPT", "-i eth1 -d 192.0.2.1 -p 50 -j ACCEPT"
	const inner = "-i eth1 -d 192.0.2.1 -p udp --dport 1701 -m policy --dir in --pol ipsec -j ACCEPT"
	for _, rule := range []string{
		"-t mangle -A PREROUTING " + outer, "-t mangle -A PREROUTING " + inner, "-t mangle -A PREROUTING " + esp, "-t mangle -A PREROUTING -i eth1 -p udp ! --dport 1701 -j DROP",
		"-A INPUT " + inner, "-A INPUT -d 192.0.2.1 -p udp --dport 1701 -j DROP", "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", "-A INPUT -i lo -j ACCEPT",
		"-A INPUT " + outer, "-A INPUT " + esp, "-A INPUT -p icmp -j ACCEPT", "-P INPUT DROP",
		"-A OUTPUT -o eth1 -s 192.0.2.1 -p udp --sport 1701 -m policy --dir out --pol none -j DROP",
	} {
		if out, err := w.in("a", append([]string{"iptables", "-w"}, strings.Fields(rule)...)...); err != nil {
			w.Fatalf("%s: %s", rule, out)
		}
	}
}

// dropped counts what the filter dropped of L2TP in the clear.
func (w *l2tpWorld) dropped() int {
	out, _ := w.in("a", "iptables", "-w", "-L", "INPUT", "-vnx")
	n := 0
	for line := range strings.Lines(out) {
		if strings.Contains(line, "DROP") && strings.Contains(line, "dpt:1701") {
			_, _ = fmt.Sscan(line, &n)
		}
	}
	return n
}

// router runs what the element asks for.
func (w *l2tpWorld) router(passwords map[string]string) (server *exec.Cmd) {
	w.Helper()
	remote := &schema.RemoteAccessVPN{Protocol: "L2TP", Ranges: []schema.IPRange{{From: netip.MustParseAddr("10.254.2.1"), To: netip.MustParseAddr("10.254.2.9")}}}
	v := &model.VPN{
		ID: schema.ID{Kind: schema.KindRemoteAccessVPN, Account: "acme", Name: "staff"}, Remote: remote, Link: model.L2TPLinks,
		Own: netip.MustParseAddr("10.254.2.1"), IP: &model.PublicIP{Addr: netip.MustParseAddr("192.0.2.1")},
	}
	r := &router{
		r:   &model.Router{Host: &model.Host{Facts: model.Facts{ESP: true, PPP: true}}, Legs: []*model.Leg{{Link: "eth1", MTU: 1500}}, VPNs: []*model.VPN{v}},
		out: plugin.NewDraft("network/acme/web", schema.Pos{}),
	}
	list := &config{}
	r.l2tpTransport(v, list)
	list.item(section{"secret": vpnName(v), "of": v.Name(), "kind": "IKE", "owners": []string{"192.0.2.1"}, "file": "psk"})
	w.Write("ipsec/connections", list.String())
	w.Write("ipsec/psk", "known to all")
	w.Write("ipsec/strongswan.conf", r.strongswan().String())
	w.Write("l2tp/xl2tpd.conf", r.xl2tpd(v).String())
	w.Write("l2tp/options", r.pppd().String())
	users := &config{}
	for name, password := range passwords {
		w.Write("l2tp/passwords/"+name, password)
		users.item(section{"user": name, "file": "passwords/" + name})
	}
	w.Write("l2tp/users", users.String())
	self, err := os.Executable()
	if err != nil {
		w.Fatal(err)
	}
	w.serve("a", nil, self, "ipsec-serve", "--dir", w.Dir+"/ipsec", "--state", w.Dir+"/ipsec-state")
	server = w.serve("a", nil, self, "l2tp-serve", "--dir", w.Dir+"/l2tp", "--vpn", "acme/staff")
	w.soon("the router serves", func() bool {
		return strings.HasPrefix(w.state("@weft-l2tp", ""), "Connected 0 of ") && strings.HasPrefix(w.state("@weft-ipsec", "acme/staff"), "Connected")
	})
	return server
}

// client has a user call.
func (w *l2tpWorld) client(user, password string) {
	w.Helper()
	dir := w.Dir + "/b"
	w.Write("b/strongswan.conf", fmt.Sprintf(l2tpClientConf, dir))
	w.Write("b/swanctl.conf", l2tpClient)
	w.Write("b/lac.conf", l2tpLAC)
	w.Write("b/options.office", fmt.Sprintf(l2tpPPP, user))
	w.Write("b/chap-secrets", user+" * "+password+" *\n")
	env := []string{"STRONGSWAN_CONF=" + dir + "/strongswan.conf", "SWANCTL_DIR=" + dir}
	w.serve("b", env, "charon-systemd")
	w.soon("the client's charon", func() bool { _, err := os.Stat(dir + "/vici"); return err == nil })
	swanctl := append([]string{"env"}, env...)
	w.soon("the client's IPsec", func() bool {
		if out, err := w.in("b", append(swanctl, "swanctl", "--load-all", "--file", dir+"/swanctl.conf", "--uri", "unix://"+dir+"/vici")...); err != nil {
			w.Log(out)
			return false
		}
		out, err := w.in("b", append(swanctl, "swanctl", "--initiate", "--child", "l2tp", "--timeout", "30", "--uri", "unix://"+dir+"/vici")...)
		if err != nil {
			w.Log(out)
		}
		return err == nil
	})
	w.serve("b", nil, "unshare", "-m", "-p", "-f", "--kill-child", "sh", "-c", `set -e
mount -t tmpfs tmpfs /etc/ppp; mount -t tmpfs tmpfs /run; mkdir /run/lock; cp "$1"/options.office "$1"/chap-secrets /etc/ppp/; touch /etc/ppp/options; chmod 600 /etc/ppp/*
(until [ -e /run/ppp.log ]; do sleep 0.2; done; exec tail -f /run/ppp.log) &
exec xl2tpd -D -c "$1"/lac.conf -p /run/xl2tpd.pid -C /run/l2tp-control`, "sh", dir)
}
