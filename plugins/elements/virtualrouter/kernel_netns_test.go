//go:build netns

package virtualrouter

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/resource"
)

// sysctl sets what the intent asks of links that are there.
func (x *lan) sysctl(in *resource.Intent) {
	x.t.Helper()
	for _, e := range in.Set() {
		if s, ok := e.State.(resource.Sysctl); ok {
			run(x.t, "ip", "netns", "exec", x.router, "sysctl", "-qw", s.Key+"="+s.Value)
		}
	}
}

// An address that goes takes none of the others along, whichever came first.
func TestAddressesStay(t *testing.T) {
	in := plugintest.Intent(t, registry, "several-ips")
	x := newLAN(t, in, "web")
	x.sysctl(in)
	list := func() []string {
		var out []string
		for w := range strings.FieldsSeq(run(t, "ip", "-n", x.router, "-o", "-4", "addr", "show", "dev", "eth1")) {
			if strings.HasPrefix(w, "203.0.113.") && strings.HasSuffix(w, "/24") {
				out = append(out, w)
			}
		}
		return out
	}
	for left := list(); len(left) > 0; {
		run(t, "ip", "-n", x.router, "addr", "del", left[0], "dev", "eth1")
		if left = left[1:]; strings.Join(list(), " ") != strings.Join(left, " ") {
			t.Fatalf("left are %v, not %v", list(), left)
		}
	}
}

// within runs f with the calling thread in a namespace.
func within(t *testing.T, ns string, f func() error) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = home.Close() }()
	there, err := netns.GetFromName(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = there.Close() }()
	if err := netns.Set(there); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(home); err != nil {
			panic("a thread is lost in another namespace: " + err.Error())
		}
	}()
	if err := f(); err != nil {
		t.Fatal(err)
	}
}

// What lies behind a route is reached over TCP, though its answers do not pass the
// router.
func TestRoutedConnection(t *testing.T) {
	in := plugintest.Intent(t, registry, "routes")
	x := newLAN(t, in, "web")
	x.sysctl(in)
	run(t, "ip", "-n", x.router, "route", "add", "172.16.0.0/12", "via", "10.1.1.11")
	x.filter(in)

	// The guests' end of the router's link becomes a port of a switch.
	run(t, "ip", "-n", x.guests, "link", "add", "br0", "type", "bridge")
	run(t, "ip", "-n", x.guests, "link", "set", "br0", "up")
	run(t, "ip", "-n", x.guests, "link", "set", "eth0", "master", "br0")
	guest, hop := fmt.Sprintf("weft-vr-%d-a", os.Getpid()), fmt.Sprintf("weft-vr-%d-b", os.Getpid())
	for ns, addr := range map[string]string{guest: "10.1.1.12/24", hop: "10.1.1.11/24"} {
		run(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { run(t, "ip", "netns", "del", ns) })
		port := ns[len(ns)-1:]
		run(t, "ip", "-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", x.guests)
		run(t, "ip", "-n", x.guests, "link", "set", "dev", port, "up", "master", "br0")
		run(t, "ip", "-n", ns, "link", "set", "lo", "up")
		run(t, "ip", "-n", ns, "link", "set", "eth0", "up")
		run(t, "ip", "-n", ns, "addr", "add", addr, "dev", "eth0")
		run(t, "ip", "-n", ns, "route", "add", "default", "via", "10.1.1.1")
	}
	run(t, "ip", "-n", hop, "addr", "add", "172.16.0.1/32", "dev", "lo")

	var server net.Listener
	within(t, hop, func() (err error) {
		server, err = net.Listen("tcp4", "172.16.0.1:80")
		return err
	})
	t.Cleanup(func() { _ = server.Close() })
	got := make(chan string, 1)
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		b, _ := io.ReadAll(conn)
		got <- string(b)
		_ = conn.Close()
	}()
	var conn net.Conn
	within(t, guest, func() (err error) {
		conn, err = net.DialTimeout("tcp4", "172.16.0.1:80", patience)
		return err
	})
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	select {
	case s := <-got:
		if s != "hello" {
			t.Errorf("it arrives as %q", s)
		}
	case <-time.After(patience):
		t.Error("what the guest says does not arrive")
	}
}

// filter loads the forwarding rules of the intent that neither jump nor match more
// than interfaces, addresses and states.
func (x *lan) filter(in *resource.Intent) {
	x.t.Helper()
	c, ok := in.Set()[resource.ChainID("weft-acme-web", 4, "filter", "FORWARD")].State.(resource.Chain)
	if !ok || len(c.Rules) == 0 {
		x.t.Fatal("no chain FORWARD")
	}
	text := "*filter\n:FORWARD " + c.Policy + "\n"
	for _, r := range c.Rules {
		if r.Do.Jump != "" {
			continue
		}
		text += "-A FORWARD"
		for flag, v := range map[string]string{"-i": r.Match.In, "-o": r.Match.Out, "-m conntrack --ctstate": strings.Join(r.Match.CT, ",")} {
			if v != "" {
				text += " " + flag + " " + v
			}
		}
		if r.Match.Dst.IsValid() {
			text += " -d " + r.Match.Dst.String()
		}
		text += " -j " + r.Do.Target + "\n"
	}
	cmd := exec.Command("ip", "netns", "exec", x.router, "iptables-restore")
	cmd.Stdin = strings.NewReader(text + "COMMIT\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		x.t.Fatalf("iptables-restore: %v: %s\n%s", err, out, text)
	}
}
