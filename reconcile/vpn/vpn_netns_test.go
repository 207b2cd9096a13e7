//go:build netns

package vpn

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// A world is two routers on a wire: a, which the package serves, and b, the peer, which
// is strongSwan set up by hand, or wg.
type world struct {
	t    *testing.T
	dir  string
	name string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	w := &world{t: t, dir: t.TempDir(), name: fmt.Sprintf("weftvpn%d", os.Getpid())}
	if err := os.Chmod(w.dir, 0o755); err != nil { // the daemons are nobody
		t.Fatal(err)
	}
	for p := w.dir; p != "/tmp" && p != "/"; p = filepath.Dir(p) {
		_ = os.Chmod(p, 0o755)
	}
	for _, n := range []string{"a", "b"} {
		w.run("ip", "netns", "add", w.ns(n))
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", w.ns(n)).Run() })
		w.in(n, "ip", "link", "set", "lo", "up")
	}
	w.run("ip", "link", "add", "eth1", "netns", w.ns("a"), "type", "veth", "peer", "name", "eth1", "netns", w.ns("b"))
	for i, n := range []string{"a", "b"} {
		w.in(n, "ip", "addr", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", "eth1")
		w.in(n, "ip", "link", "set", "eth1", "up")
		w.in(n, "ip", "addr", "add", fmt.Sprintf("10.%d.0.1/24", i+1), "dev", "lo")
		w.in(n, "ip", "addr", "add", fmt.Sprintf("10.%d.0.1/24", i+11), "dev", "lo")
	}
	return w
}

func (w *world) ns(n string) string { return w.name + n }

func (w *world) run(argv ...string) string {
	w.t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

func (w *world) in(n string, argv ...string) string {
	w.t.Helper()
	return w.run(append([]string{"ip", "netns", "exec", w.ns(n)}, argv...)...)
}

// ask asks at a's socket.
func (w *world) ask(socket, name string) string {
	answer := make(chan string)
	go func() {
		runtime.LockOSThread() // and ends with it: the thread is in another namespace
		at, err := netns.GetFromName(w.ns("a"))
		if err != nil {
			answer <- err.Error()
			return
		}
		defer func() { _ = at.Close() }()
		if err := netns.Set(at); err != nil {
			answer <- err.Error()
			return
		}
		c, err := net.Dial("unix", socket)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = fmt.Fprintln(c, name)
		line, _ := bufio.NewReader(c).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	return <-answer
}

// soon waits for a state of the world.
func (w *world) soon(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(45 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("%s: not in time", what)
}

func (w *world) pings(from, source, to string) bool {
	return exec.Command("ip", "netns", "exec", w.ns(from), "ping", "-c1", "-W1", "-I", source, to).Run() == nil
}

func (w *world) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		w.t.Fatal(err)
	}
}

// serve runs the package in a.
func (w *world) serve(args ...string) *exec.Cmd {
	w.t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", w.ns("a"), "/proc/self/exe"}, args...)...)
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd.Args[4] = self
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if w.t.Failed() {
			w.t.Logf("%s:\n%s", args[0], log.String())
		}
	})
	return cmd
}

const strongswanConf = `charon-systemd {
  load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey revocation constraints kdf hmac gcm kernel-libipsec kernel-netlink socket-default vici eap-identity eap-mschapv2
  retransmit_timeout = 1.0
  retransmit_base = 1.2
  retransmit_tries = 4
  plugins {
    vici {
      socket = unix://%s
    }
  }
  filelog {
    stderr {
      default = 1
    }
  }
}
swanctl {
  load = pem pkcs1 pkcs8 x509 openssl random
}
`

// peer runs strongSwan in b, told by hand.
func (w *world) peer(conf string) func(conf string) {
	w.t.Helper()
	dir := filepath.Join(w.dir, "b")
	w.write("b/strongswan.conf", fmt.Sprintf(strongswanConf, dir+"/vici"))
	cmd := exec.Command("ip", "netns", "exec", w.ns("b"), "charon-systemd")
	cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+dir+"/strongswan.conf")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if w.t.Failed() {
			w.t.Logf("the peer:\n%s", log.String())
		}
	})
	w.soon("the peer's charon", func() bool { _, err := os.Stat(dir + "/vici"); return err == nil })
	load := func(conf string) {
		w.write("b/swanctl.conf", conf)
		w.swanctl("--load-all", "--file", dir+"/swanctl.conf")
	}
	load(conf)
	return load
}

func (w *world) swanctl(args ...string) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, "b")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", append(append([]string{"netns", "exec", w.ns("b"), "swanctl"}, args...), "--uri", "unix://"+dir+"/vici")...)
	cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+dir+"/strongswan.conf", "SWANCTL_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("swanctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func lines(t *testing.T, items ...item) string {
	t.Helper()
	var b strings.Builder
	for _, i := range items {
		line, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.String()
}

type section = map[string]any

func site(name, local, remote string, net string) []item {
	return []item{
		{Connection: name, Of: "acme/" + name, Call: true, Config: section{
			"version": "2", "local_addrs": []string{"192.0.2.1"}, "remote_addrs": []string{"192.0.2.2"}, "proposals": []string{"aes256-sha256-modp2048"},
			"dpd_delay": "2s", "unique": "never", "local": section{"auth": "psk", "id": local}, "remote": section{"auth": "psk", "id": remote},
			"children": section{"net": section{
				"local_ts": []string{"10.1" + net + ".0.0/24"}, "remote_ts": []string{"10." + net2(net) + ".0.0/24"},
				"esp_proposals": []string{"aes256-sha256-modp2048"}, "dpd_action": "restart",
			}},
		}},
		{Secret: name, Kind: "IKE", Owners: []string{local, remote}, File: "psk/" + name},
	}
}

func net2(n string) string {
	if n == "" {
		return "2"
	}
	return "12"
}

const peerConf = `connections {
 one { 
  version = 2
  local_addrs = 192.0.2.2
  remote_addrs = 192.0.2.1
  proposals = aes256-sha256-modp2048
  unique = never
  local { 
   auth = psk
   id = b1 
  }
  remote { 
   auth = psk
   id = a1 
  }
  children { net { 
   local_ts = 10.2.0.0/24
   remote_ts = 10.1.0.0/24
   esp_proposals = aes256-sha256-modp2048 
  } }
 }
 two { 
  version = 2
  local_addrs = 192.0.2.2
  remote_addrs = 192.0.2.1
  proposals = aes256-sha256-modp2048
  unique = never
  local { 
   auth = psk
   id = b2 
  }
  remote { 
   auth = psk
   id = a2 
  }
  children { net { 
   local_ts = 10.12.0.0/24
   remote_ts = 10.11.0.0/24
   esp_proposals = aes256-sha256-modp2048 
  } }
 }
}
secrets { 
 ike-1 { 
  id-1 = a1
  id-2 = b1
  secret = "one \"quoted\" # secret" 
 }
 ike-2 { 
  id-1 = a2
  id-2 = b2
  secret = "%s" 
 } 
}
`

func TestSites(t *testing.T) {
	w := newWorld(t)
	load := w.peer(fmt.Sprintf(peerConf, "two"))
	w.write("a/strongswan.conf", fmt.Sprintf(strongswanConf, viciName))
	w.write("a/psk/one", `one "quoted" # secret`)
	w.write("a/psk/two", "two")
	both := append(site("one", "a1", "b1", ""), site("two", "a2", "b2", "1")...)
	w.write("a/connections", lines(t, both...))
	k := w.serve(IPsecVerb, "--dir", w.dir+"/a", "--state", w.dir+"/state")
	state := func(name string) string { return w.ask(IPsecSocket, "acme/"+name) }
	w.soon("both tunnels", func() bool { return state("one") == "Connected" && state("two") == "Connected" })
	w.soon("a ping", func() bool { return w.pings("a", "10.1.0.1", "10.2.0.1") && w.pings("b", "10.12.0.1", "10.11.0.1") })
	if got := state("none"); !strings.HasPrefix(got, "Error") {
		t.Errorf("a VPN that is not there: %s", got)
	}

	// Meanwhile the first does not notice what happens to the second.
	flood := exec.Command("ip", "netns", "exec", w.ns("a"), "ping", "-q", "-i", "0.01", "-I", "10.1.0.1", "10.2.0.1")
	var counted bytes.Buffer
	flood.Stdout = &counted
	if err := flood.Start(); err != nil {
		t.Fatal(err)
	}
	w.write("a/psk/two", "another")
	hup(t, k)
	w.soon("the wrong secret shows", func() bool { return strings.HasPrefix(state("two"), "Error") })
	t.Log(state("two"))
	load(fmt.Sprintf(peerConf, "another"))
	w.soon("the second tunnel again", func() bool { return state("two") == "Connected" })
	w.write("a/connections", lines(t, both[:2]...))
	hup(t, k)
	w.soon("the second is gone", func() bool {
		return strings.HasPrefix(state("two"), "Error there is no") && !w.pings("a", "10.11.0.1", "10.12.0.1")
	})
	w.write("a/connections", lines(t, both...))
	hup(t, k)
	w.soon("the second is back", func() bool { return state("two") == "Connected" && w.pings("a", "10.11.0.1", "10.12.0.1") })
	_ = flood.Process.Signal(os.Interrupt)
	_ = flood.Wait()
	if !strings.Contains(counted.String(), " 0% packet loss") {
		t.Errorf("the first tunnel noticed:\n%s", counted.String())
	}

	// charon takes the keeper with it, and the keeper charon.
	charon := strings.Fields(w.run("pgrep", "-P", fmt.Sprint(k.Process.Pid)))
	if len(charon) != 1 {
		t.Fatalf("the keeper has the children %v", charon)
	}
	if b, _ := os.ReadFile("/proc/" + charon[0] + "/status"); !strings.Contains(string(b), "Uid:\t65534") {
		t.Errorf("charon is not nobody:\n%s", b)
	}
	_ = k.Process.Kill()
	w.soon("charon ends", func() bool { _, err := os.Stat("/proc/" + charon[0]); return err != nil })
	k = w.serve(IPsecVerb, "--dir", w.dir+"/a", "--state", w.dir+"/state")
	w.soon("both tunnels after a crash", func() bool { return w.pings("a", "10.1.0.1", "10.2.0.1") && w.pings("a", "10.11.0.1", "10.12.0.1") })
	w.run("kill", "-9", strings.Fields(w.run("pgrep", "-P", fmt.Sprint(k.Process.Pid)))[0])
	if err := k.Wait(); err == nil {
		t.Error("the keeper outlives charon")
	}
}

func hup(t *testing.T, k *exec.Cmd) {
	t.Helper()
	if err := k.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// TestProgramTakes: wg takes what the kernel's WireGuard is told, and leaves alone who is as
// before. An implementation in Go stands for the kernel's.
func TestProgramTakes(t *testing.T) {
	w := newWorld(t)
	link := fmt.Sprintf("wgt%d", os.Getpid()%1e6)
	cmd := exec.Command("ip", "netns", "exec", w.ns("a"), "wireguard-go", "-f", link)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove("/var/run/wireguard/" + link + ".sock")
	})
	ann, bob := strings.TrimSpace(w.run("wg", "genkey")), strings.TrimSpace(w.run("wg", "genkey"))
	key, err := keyOf([]byte(strings.TrimSpace(w.run("wg", "genkey"))))
	if err != nil {
		t.Fatal(err)
	}
	c := &wgConfig{link: link, port: 51821, key: key}
	tell := func(names ...string) string {
		all := map[string]*user{}
		for i, n := range names {
			all[n] = &user{Name: "x", Key: n, IPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 254, 0, byte(2 + i)})}}
		}
		w.write("wg.conf", c.text(all))
		w.in("a", "wg", "syncconf", link, w.dir+"/wg.conf")
		return w.in("a", "wg", "show", link, "allowed-ips")
	}
	w.soon("its socket", func() bool { _, err := os.Stat("/var/run/wireguard/" + link + ".sock"); return err == nil })
	for _, x := range []struct {
		users []string
		want  map[string]string
	}{
		{[]string{ann, bob}, map[string]string{ann: "10.254.0.2/32", bob: "10.254.0.3/32"}},
		{[]string{bob}, map[string]string{bob: "10.254.0.2/32"}},
		{nil, nil},
	} {
		got := map[string]string{}
		for line := range strings.Lines(tell(x.users...)) {
			k, ips, _ := strings.Cut(strings.TrimSpace(line), "\t")
			got[k] = ips
		}
		if !maps.Equal(got, x.want) {
			t.Errorf("users %q: %q, want %q", x.users, got, x.want)
		}
	}
	if port := strings.TrimSpace(w.in("a", "wg", "show", link, "listen-port")); port != "51821" {
		t.Errorf("it listens at %s", port)
	}
}

// TestCharonDoesNotStart: a host that lacks a plugin is told so, and nobody waits for ever.
func TestCharonDoesNotStart(t *testing.T) {
	w := newWorld(t)
	w.write("a/strongswan.conf", "charon-systemd {\n  load = nosuch!\n}\n")
	w.write("a/connections", "")
	out, err := exec.Command("ip", "netns", "exec", w.ns("a"), "timeout", "40", os.Args[0], IPsecVerb, "--dir", w.dir+"/a", "--state", w.dir+"/state").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "charon ended") || !strings.Contains(string(out), "libcharon-extra-plugins") {
		t.Errorf("%v: %s", err, out)
	}
}
