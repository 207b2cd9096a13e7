//go:build netns

package vpn

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/host/facts"
	"weft.dev/reconcile/status"
)

const strongswanConf = `charon-systemd {
  load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey revocation constraints kdf hmac gcm %s kernel-netlink socket-default vici eap-identity eap-mschapv2
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
	w.Helper()
	dir := filepath.Join(w.Dir, "b")
	w.Write("b/strongswan.conf", fmt.Sprintf(strongswanConf, w.esp, dir+"/vici"))
	cmd := exec.Command("ip", "netns", "exec", w.NS("b"), "charon-systemd")
	cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+dir+"/strongswan.conf")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if w.Failed() {
			w.Logf("the peer:\n%s", log.String())
		}
	})
	w.soon("the peer's charon", func() bool { _, err := os.Stat(dir + "/vici"); return err == nil })
	load := func(conf string) {
		w.Write("b/swanctl.conf", conf)
		w.swanctl("--load-all", "--file", dir+"/swanctl.conf")
	}
	load(conf)
	return load
}

func (w *world) swanctl(args ...string) string {
	w.Helper()
	dir := filepath.Join(w.Dir, "b")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", append(append([]string{"netns", "exec", w.NS("b"), "swanctl"}, args...), "--uri", "unix://"+dir+"/vici")...)
	cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+dir+"/strongswan.conf", "SWANCTL_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.Fatalf("swanctl %s: %v\n%s", strings.Join(args, " "), err, out)
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
		{Secret: name, Of: "acme/" + name, Kind: "IKE", Owners: []string{local, remote}, File: "psk/" + name},
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

func TestSites(t *testing.T) { sites(newWorld(t)) }

// TestKernelSites is TestSites where the kernel carries the packets.
func TestKernelSites(t *testing.T) {
	if !facts.Of(t.Context(), host.New("kvm1", "weft")).ESP {
		t.Skip("the kernel has no ESP")
	}
	w := newWorld(t)
	w.esp = ""
	sites(w)
}

func sites(w *world) {
	t := w.T
	t.Helper()
	load := w.peer(fmt.Sprintf(peerConf, "two"))
	w.Write("a/strongswan.conf", fmt.Sprintf(strongswanConf, w.esp, viciName))
	w.Write("a/psk/one", `one "quoted" # secret`)
	w.Write("a/psk/two", "")
	both := append(site("one", "a1", "b1", ""), site("two", "a2", "b2", "1")...)
	w.Write("a/keys/staff", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("none")})))
	w.Write("a/connections", lines(t, append(slices.Clone(both), item{Key: "users.staff", Of: "acme/staff", File: "keys/staff"},
		item{Connection: "users.staff", Of: "acme/staff", Config: section{"version": "2", "remote_addrs": []string{"%any"}, "children": section{}}})...))
	k := w.serve(IPsecVerb, "--dir", w.Dir+"/a", "--state", w.Dir+"/state")
	state := func(name string) string { return w.ask(IPsecSocket, "acme/"+name) }
	// What is wrong with the secret of one, or with another VPN's key, is told, and holds up nobody.
	w.soon("the first tunnel", func() bool {
		return state("one") == "Connected" && state("two") == "Error secret: it is empty" && strings.HasPrefix(state("staff"), "Error key: charon refuses it: ")
	})
	w.Write("a/psk/two", "two")
	w.Write("a/connections", lines(t, both...))
	hup(t, k)
	w.soon("both tunnels", func() bool { return state("one") == "Connected" && state("two") == "Connected" })
	w.soon("a ping", func() bool { return w.pings("a", "10.1.0.1", "10.2.0.1") && w.pings("b", "10.12.0.1", "10.11.0.1") })
	if got := state("none"); !strings.HasPrefix(got, "Error") {
		t.Errorf("a VPN that is not there: %s", got)
	}

	// Meanwhile the first does not notice what happens to the second.
	flood := exec.Command("ip", "netns", "exec", w.NS("a"), "ping", "-i", "0.05", "-I", "10.1.0.1", "10.2.0.1")
	var counted bytes.Buffer
	flood.Stdout = &counted
	if err := flood.Start(); err != nil {
		t.Fatal(err)
	}
	w.Write("a/psk/two", "another")
	hup(t, k)
	w.soon("the wrong secret shows", func() bool { return strings.HasPrefix(state("two"), "Error") })
	t.Log(state("two"))
	load(fmt.Sprintf(peerConf, "another"))
	w.soon("the second tunnel again", func() bool { return state("two") == "Connected" })
	w.Write("a/connections", lines(t, both[:2]...))
	hup(t, k)
	w.soon("the second is gone", func() bool {
		return strings.HasPrefix(state("two"), "Error there is no") && !w.pings("a", "10.11.0.1", "10.12.0.1")
	})
	w.Write("a/connections", lines(t, both...))
	hup(t, k)
	w.soon("the second is back", func() bool { return state("two") == "Connected" && w.pings("a", "10.11.0.1", "10.12.0.1") })
	w.refused(k, both)
	_ = flood.Process.Signal(os.Interrupt)
	_ = flood.Wait()
	if lost := gaps(counted.String()); lost != "" {
		t.Errorf("the first tunnel noticed: %s", lost)
	}

	w.Write("a/psk/two", "")
	hup(t, k)
	w.soon("the old secret stays", func() bool { return state("two") == "Connected the one before stays: secret: it is empty" })
	if _, v := status.ParseVPN(w.reply(IPsecSocket, "acme/one")); v == nil || len(v.Ends) != 1 || !v.Ends[0].Up || v.Ends[0].Name != "10.2.0.0/24" || v.Since.IsZero() || v.Since.Equal(v.Ends[0].Since) && v.Was == nil {
		t.Errorf("what is told of a tunnel: %+v", v)
	}
	w.Write("a/psk/two", "another")
	// charon takes the keeper with it, and the keeper charon.
	charon := strings.Fields(w.Run("pgrep", "-P", fmt.Sprint(k.Process.Pid)))
	if len(charon) != 1 {
		t.Fatalf("the keeper has the children %v", charon)
	}
	if b, _ := os.ReadFile("/proc/" + charon[0] + "/status"); !strings.Contains(string(b), fmt.Sprintf("Uid:\t%d", userOf(w.Dir+"/state"))) {
		t.Errorf("charon is not a user of its own:\n%s", b)
	}
	if said := w.ask(IPsecSocket, Daemon); said != Answers {
		t.Errorf("of charon is said %q", said)
	}
	w.Run("kill", "-STOP", charon[0])
	if out, _ := exec.Command("ip", "netns", "exec", w.NS("a"), "sh", "-c", "echo "+Daemon+" | nc -U -w2 "+IPsecSocket).Output(); len(out) > 0 {
		t.Errorf("of charon, which is stopped, is said %q", out)
	}
	w.Run("kill", "-CONT", charon[0])
	w.soon("charon answers again", func() bool { return w.ask(IPsecSocket, Daemon) == Answers })
	_ = k.Process.Kill()
	w.soon("charon ends", func() bool { _, err := os.Stat("/proc/" + charon[0]); return err != nil })
	k = w.serve(IPsecVerb, "--dir", w.Dir+"/a", "--state", w.Dir+"/state")
	w.soon("both tunnels after a crash", func() bool { return w.pings("a", "10.1.0.1", "10.2.0.1") && w.pings("a", "10.11.0.1", "10.12.0.1") })
	w.Run("kill", "-9", strings.Fields(w.Run("pgrep", "-P", fmt.Sprint(k.Process.Pid)))[0])
	if err := k.Wait(); err == nil {
		t.Error("the keeper outlives charon")
	}
}

// refused: of a connection that charon does not take as it is now nothing stays that lets
// in, or is called, as it was before.
func (w *world) refused(k *exec.Cmd, both []item) {
	w.Helper()
	known := func() string { return w.Run("swanctl", "--list-conns", "--uri", "unix://"+w.Dir+"/state/"+viciName) }
	if out := known(); !strings.Contains(out, "one:") || !strings.Contains(out, "two:") {
		w.Errorf("charon knows of\n%s", out)
	}
	w.Write("a/connections", lines(w.T, append(slices.Clone(both[:2]), item{Connection: "two", Of: "acme/two", Call: true, Config: section{
		"version": "2", "remote_addrs": []string{"192.0.2.2"}, "proposals": []string{"nosuch"}, "children": section{"net": section{}},
	}}, both[3])...))
	hup(w.T, k)
	w.soon("it is told that it is refused", func() bool {
		return strings.HasPrefix(w.ask(IPsecSocket, "acme/two"), "Error connection: charon refuses it: ") && !strings.Contains(known(), "two:")
	})
	w.Write("a/connections", lines(w.T, both...))
	hup(w.T, k)
	w.soon("it is taken again", func() bool { return w.ask(IPsecSocket, "acme/two") == "Connected" })
}

// gaps are the pings that were not answered before one that was: what was sent last may be
// on its way.
func gaps(out string) (lost string) {
	seq, last := 0, 0
	for line := range strings.Lines(out) {
		if _, rest, ok := strings.Cut(line, "icmp_seq="); ok {
			if _, err := fmt.Sscanf(rest, "%d", &seq); err != nil || seq != last+1 {
				lost += fmt.Sprintf("after ping %d: %s", last, line)
			}
			last = seq
		}
	}
	if last < 10 {
		lost += fmt.Sprintf("only %d pings: %s", last, out)
	}
	return lost
}

func hup(t *testing.T, k *exec.Cmd) {
	t.Helper()
	if err := k.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// TestCharonDoesNotStart: a host that lacks a plugin is told so, and nobody waits for ever.
func TestCharonDoesNotStart(t *testing.T) {
	w := newWorld(t)
	w.Write("a/strongswan.conf", "charon-systemd {\n  load = nosuch!\n}\n")
	w.Write("a/connections", "")
	out, err := exec.Command("ip", "netns", "exec", w.NS("a"), "timeout", "40", os.Args[0], IPsecVerb, "--dir", w.Dir+"/a", "--state", w.Dir+"/state").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "charon ended") || !strings.Contains(string(out), "libcharon-extra-plugins") {
		t.Errorf("%v: %s", err, out)
	}
}
