//go:build netns

package bgp

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft.dev/reconcile/status"

	"weft.dev/reconcile/lab/nstest"
)

// A world is a router, which the keeper serves, and on a wire with it a peer, which is
// FRR set up by hand and has no IPv6 address but a link-local one.
type world struct {
	*nstest.Spaces
}

const (
	routerConf = `frr defaults traditional
ip prefix-list told permit 100.64.10.0/24
route-map nothing deny 10
route-map told4 permit 10
 match ip address prefix-list told
router bgp 65001
 bgp router-id 203.0.113.10
 no bgp default ipv4-unicast
 no bgp network import-check
 bgp graceful-restart
 neighbor 203.0.113.1 remote-as 65500
 neighbor 203.0.113.1 update-source 203.0.113.10
 neighbor 203.0.113.1 timers 1 3
 neighbor 203.0.113.1 timers connect 1
 neighbor 203.0.113.1 disable-connected-check
 neighbor 203.0.113.1 password SECRET
 address-family ipv4 unicast
  network 100.64.10.0/24
  neighbor 203.0.113.1 activate
  neighbor 203.0.113.1 route-map nothing in
  neighbor 203.0.113.1 route-map told4 out
 exit-address-family
 address-family ipv6 unicast
  neighbor 203.0.113.1 activate
  neighbor 203.0.113.1 route-map nothing in
  neighbor 203.0.113.1 route-map nothing out
 exit-address-family
`
	peerConf = `router bgp 65500
 bgp router-id 203.0.113.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 neighbor 203.0.113.10 remote-as 65001
 neighbor 203.0.113.10 passive
 neighbor 203.0.113.10 timers 1 3
 neighbor 203.0.113.10 timers connect 1
 neighbor 203.0.113.10 password SECRET
 address-family ipv4 unicast
  network 0.0.0.0/0
  network 198.18.0.0/16
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:ffff::/48
  neighbor 203.0.113.10 activate
 exit-address-family
`
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{nstest.New(t, "bgp", "r", "p")}
	w.Run("ip", "link", "add", "eth1", "netns", w.NS("r"), "type", "veth", "peer", "name", "eth1", "netns", w.NS("p"))
	w.In("r", "ip", "addr", "add", "203.0.113.10/24", "dev", "eth1")
	w.In("r", "ip", "addr", "add", "2001:db8:1::10/64", "dev", "eth1", "nodad")
	w.In("p", "ip", "addr", "add", "203.0.113.1/24", "dev", "eth1")
	for _, n := range []string{"r", "p"} {
		w.In(n, "ip", "link", "set", "eth1", "up")
	}
	w.In("r", "ip", "route", "add", "default", "via", "203.0.113.1")
	w.Run("install", "-d", "-o", "frr", "-g", "frr", filepath.Join(w.Dir, "p"))
	return w
}

// begin starts a program in a namespace; it ends with the test or by the function.
func (w *world) begin(n string, argv ...string) (pid int, end func(syscall.Signal)) {
	w.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", w.NS(n)}, argv...)...)
	cmd.Stdout, cmd.Stderr = w.Output(), w.Output()
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	done := false
	end = func(s syscall.Signal) {
		if !done {
			done = true
			_ = cmd.Process.Signal(s)
			_ = cmd.Wait()
		}
	}
	w.Cleanup(func() { end(syscall.SIGTERM) })
	return cmd.Process.Pid, end
}

// peer starts FRR in the peer.
func (w *world) peer(secret string) (end func(syscall.Signal)) {
	dir := filepath.Join(w.Dir, "p")
	text := w.Write("peer.conf", strings.ReplaceAll(peerConf, "SECRET", secret))
	common := []string{"-u", "frr", "-g", "frr", "-P", "0", "-z", dir + "/zserv", "--vty_socket", dir}
	_ = os.Remove(dir + "/zserv")
	_, endZebra := w.begin("p", append([]string{zebraPath, "-f", "/dev/null", "-i", dir + "/zebra.pid"}, common...)...)
	w.until("the peer's zebra serves", func() string {
		if _, err := os.Stat(dir + "/zserv"); err != nil {
			return err.Error()
		}
		return ""
	})
	_, endBGP := w.begin("p", append([]string{bgpdPath, "-f", text, "-i", dir + "/bgpd.pid"}, common...)...)
	return func(s syscall.Signal) {
		endBGP(s)
		endZebra(s)
	}
}

// keeper starts the keeper in the router.
func (w *world) keeper(secret string) (pid int) {
	w.conf(secret)
	self, err := os.Executable()
	if err != nil {
		w.Fatal(err)
	}
	pid, _ = w.begin("r", self, Verb, "--conf", w.Dir+"/router.conf", "--state", w.Dir+"/r", "--tell", w.Dir+"/tell")
	return pid
}

func (w *world) conf(secret string) {
	w.Write("router.conf", strings.ReplaceAll(routerConf, "SECRET", secret))
}

func (w *world) ask(what string) string { return w.within(10*time.Second, what) }

// within is ask of who may not answer in time.
func (w *world) within(limit time.Duration, what string) string {
	c, err := net.Dial("unix", w.Dir+"/tell")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(limit))
	_, _ = fmt.Fprintln(c, what)
	b, err := io.ReadAll(bufio.NewReader(c))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// session is what the keeper tells of its peer.
func (w *world) session() status.BGP {
	line, b := status.ParseBGP(w.ask("203.0.113.1"))
	if b == nil {
		return status.BGP{State: "nothing", Reset: line}
	}
	return *b
}

func (w *world) until(what string, ok func() string) {
	w.Helper()
	why := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if why = ok(); why == "" {
			return
		}
	}
	w.Fatalf("%s: not after 30 s: %s", what, why)
}

func (w *world) established(n int) {
	w.Helper()
	w.until(fmt.Sprintf("session %d is established", n), func() string {
		if s := w.session(); s.State != status.BGPEstablished || s.Sessions != n || s.Told != 1 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
}

// counter reads a number that the router's bgpd tells of its neighbour.
func (w *world) counter(name string) (n int) {
	text, _ := command(w.Dir+"/r/"+bgpdVTY, []string{"show bgp neighbors json"})
	if _, after, ok := strings.Cut(text, `"`+name+`":`); ok {
		_, _ = fmt.Sscanf(after, "%d", &n)
	}
	return n
}

// TestSession: a session with a peer that tells routes of both families, IPv6 ones with a
// link-local next hop, lasts; nothing of them gets into the router's namespace; how it is
// is told, also while the peer is away.
func TestSession(t *testing.T) {
	w := newWorld(t)
	ways := func() string {
		return w.In("r", "sh", "-c", "ip route show table all | grep -v 'fe80\\|ff00'; ip nexthop; ip rule; ip -6 rule")
	}
	endPeer := w.peer("first")
	before := ways()
	pid := w.keeper("first")
	w.established(1)
	w.until("the peer has told its routes", func() string {
		out := w.In("p", "vtysh", "--vty_socket", w.Dir+"/p", "-c", "show bgp ipv6 unicast neighbors 203.0.113.10 advertised-routes")
		if !strings.Contains(out, "2001:db8:ffff::/48") {
			return out
		}
		return ""
	})
	heard := w.counter("keepalivesRecv")
	w.until("the session goes on", func() string {
		if now := w.counter("keepalivesRecv"); now < heard+4 {
			return fmt.Sprintf("%d keepalives, from %d on", now, heard)
		}
		return ""
	})
	w.established(1)
	if got := ways(); got != before {
		t.Errorf("the router's ways are\n%s\nand were\n%s", got, before)
	}
	if got := w.ask(""); !strings.HasPrefix(got, Well) {
		t.Errorf("of bgpd it is said: %s", got)
	}
	w.unprivileged(pid)

	endPeer(syscall.SIGKILL)
	w.until("it is told that the peer is away", func() string {
		if s := w.session(); s.State == status.BGPEstablished || s.Reset == "" || s.Ended.IsZero() {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	w.peer("first")
	w.established(2)
	if s := w.session(); s.Reset == "" || s.Ended.After(s.Since) || s.ASN != 65500 {
		t.Errorf("the session that was before is told as %+v", s)
	}

	// The directory and every file in it is no place where the password stays.
	if out, err := exec.Command("grep", "-rl", "first", w.Dir+"/r").Output(); err == nil {
		t.Errorf("the password is in %s", out)
	}
	daemons := w.daemons(pid)
	bgpd := daemons["bgpd"]
	if err := syscall.Kill(bgpd, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if got := w.within(time.Second, ""); strings.HasPrefix(got, Well) {
		t.Error("a bgpd that hangs is told to be well")
	}
	_ = syscall.Kill(bgpd, syscall.SIGCONT)
	// Without zebra nothing goes on as before: the keeper ends, for the agent to start it anew.
	if err := syscall.Kill(daemons["zebra"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.until("the keeper ends with zebra, and bgpd with it", func() string {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/exe", bgpd)); err == nil {
			return "bgpd runs"
		}
		return ""
	})
}

// daemons are the pids of what the keeper started.
func (w *world) daemons(keeper int) map[string]int {
	out := map[string]int{}
	for _, f := range strings.Fields(w.Run("pgrep", "-P", fmt.Sprint(keeper))) {
		var pid int
		_, _ = fmt.Sscan(f, &pid)
		name, _ := os.ReadFile("/proc/" + f + "/comm")
		out[strings.TrimSpace(string(name))] = pid
	}
	return out
}

// unprivileged: bgpd may listen at its port and no more, and what zebra may is worth
// nothing in the host's namespaces.
func (w *world) unprivileged(keeper int) {
	w.Helper()
	daemons := w.daemons(keeper)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", daemons["bgpd"]))
	if err != nil {
		w.Fatal(err)
	}
	for _, want := range []string{"CapPrm:\t0000000000000400\n", "CapEff:\t0000000000000400\n", "NoNewPrivs:\t1\n"} {
		if !strings.Contains(string(b), want) {
			w.Errorf("bgpd is not %q:\n%s", want, b)
		}
	}
	ours, err1 := os.Readlink("/proc/self/ns/user")
	its, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", daemons["zebra"]))
	if err1 != nil || err2 != nil || ours == its {
		w.Errorf("zebra is in the user namespace %s, and so are we (%v, %v)", its, err1, err2)
	}
}
