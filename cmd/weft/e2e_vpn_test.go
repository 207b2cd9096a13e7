//go:build e2e

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestVPN holds site-to-site and remote access VPNs to what they promise, in the lab of
// examples/vpn-site-to-site: the other ends are strongSwan and WireGuard, set up by hand.
func TestVPN(t *testing.T) {
	secrets := t.TempDir()
	vpnSecrets(t, secrets)
	c := startLab(t, fmt.Sprintf("vpn%d", os.Getpid()), vpnTree, "--secrets", secrets)
	c.secrets = secrets
	if out, err := c.tryFor(3*time.Minute, "internet", "sh", filepath.Join(c.tree, "peers.sh"), secrets); err != nil {
		t.Fatalf("peers.sh: %v\n%s", err, out)
	}
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Sites", (*cloud).sites},
		{"Wire", (*cloud).wire},
		{"Kernel", (*cloud).vpnKernel},
		{"Users", (*cloud).vpnUsers},
		{"Hidden", (*cloud).vpnHidden},
		{"Change", (*cloud).vpnChange},
		{"Secret", (*cloud).vpnSecret},
		{"Killed", (*cloud).vpnKilled},
		{"Before", (*cloud).vpnBefore},
		{"Usage", (*cloud).vpnUsage},
		{"Doctor", (*cloud).vpnDoctor},
	} {
		t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			part.run(&p)
		})
	}
}

// far runs a command at one of the other ends.
func far(name string, argv ...string) []string {
	return append([]string{"ip", "netns", "exec", name}, argv...)
}

// farPings waits until an end's ping is answered.
func (c *cloud) farPings(name, from, to string) {
	c.Helper()
	c.until(slow, name+" pings "+to+" from "+from, func() string {
		out, err := c.try("internet", far(name, "ping", "-c1", "-W2", "-I", from, to)...)
		if err != nil {
			return out
		}
		return ""
	})
}

// farSilent: an end's ping is not answered, after one that was.
func (c *cloud) farSilent(name, from, to string) {
	c.Helper()
	if out, err := c.try("internet", far(name, "ping", "-c2", "-W1", "-I", from, to)...); err == nil {
		c.Errorf("%s reaches %s: %s", name, to, out)
	}
}

// vpnState waits for what the host tells of a VPN.
func (c *cloud) vpnState(name, want string) {
	c.Helper()
	c.until(slow, "the state of "+name+" is "+want, func() string {
		out, err := c.try("router/acme/web", "sh", "-c", `printf '%s\n' "$1" | nc -U -w3 "$2"`, "sh", name, "@weft-ipsec")
		if err == nil && strings.HasPrefix(out, want) {
			return ""
		}
		return fmt.Sprint(out, err)
	})
}

// sites: both offices reach the guests and are reached, by ping and by TCP, and nobody
// reaches what no tunnel is for.
func (c *cloud) sites() {
	for _, to := range []string{"10.50.0.1", "10.50.1.1", "10.60.0.1"} {
		c.reaches("acme/web-1", to, slow)
	}
	c.farPings("berlin", "10.50.0.1", "10.1.1.11")
	c.farPings("paris", "10.60.0.1", "10.1.1.11")
	// TCP of more than one packet each way, and not smaller ones than the tunnel takes.
	c.in("internet", "sh", "-c", "head -c 300000 /dev/zero | tr '\\0' w >/run/peers/page; setsid ip netns exec berlin sh -c 'cd /run/peers && exec python3 -m http.server --bind 10.50.0.1 8000' >/run/peers/http.log 2>&1 </dev/null &")
	c.until(slow, "a page of berlin's", func() string {
		out, err := c.try("acme/web-1", "curl", "-s", "-m", "5", "http://10.50.0.1:8000/page")
		if err != nil || len(out) != 300000 {
			return fmt.Sprintf("%d bytes, %v", len(out), err)
		}
		return ""
	})
	c.farSilent("berlin", "198.18.1.2", "10.1.1.11")
	c.farSilent("berlin", "10.50.0.1", "10.60.0.1")
	if out, err := c.try("internet", "ping", "-c2", "-W1", "10.1.1.11"); err == nil {
		c.Errorf("the internet reaches a guest: %s", out)
	}
	c.vpnTold(map[string]string{"berlin": "Connected", "paris": "Connected", "staff": "Connected", "laptops": "Connected"})
	out := c.in("host/kvm1", "weft", "status", "router/acme/web")
	for _, line := range []string{`10\.50\.1\.0/24 +up +\d`, `ann +up +\d.* 10\.254\.0\.2, from 198\.18\.3\.2:\d+, last handshake \d+[sm] ago, .* in, .* out`, `bob +up +\d.* 10\.254\.1\.\d+, from 198\.18\.4\.2`} {
		if !regexp.MustCompile(line).MatchString(out) {
			c.Errorf("no %s in the status:\n%s", line, out)
		}
	}
	out = c.in("host/kvm1", "weft", "status")
	if !regexp.MustCompile(`vpn/acme/berlin +Connected +\d`).MatchString(out) {
		c.Errorf("the status of the host does not tell of berlin:\n%s", out)
	}
	out = c.in("host/kvm1", "curl", "-sf", "http://127.0.0.1:9464/metrics")
	for _, want := range []string{
		`weft_vpn_state{account="acme",state="Connected",vpn="berlin"} 1`, `weft_vpn_state{account="acme",state="Error",vpn="berlin"} 0`,
		`weft_vpn_user_up{account="acme",user="ann",vpn="staff"} 1`, `weft_vpn_user_bytes_total{account="acme",direction="in",user="ann",vpn="staff"} `,
	} {
		if !strings.Contains(out, want) {
			c.Errorf("the metrics lack %s", want)
		}
	}
}

// overheard notes what passes the internet until the test ends, and returns how to ask.
func (c *cloud) overheard(name string) func() string {
	c.Helper()
	file := "/run/peers/" + name
	c.in("internet", "sh", "-c", "tcpdump --immediate-mode -lnei any 'udp port 4500 or ip proto 50 or net 10.1.1.0/24 or net 10.50.0.0/16 or net 10.60.0.0/24' >"+file+" 2>/dev/null </dev/null & echo $! >"+file+".pid")
	c.Cleanup(func() { _, _ = c.try("internet", "sh", "-c", "kill $(cat "+file+".pid)") })
	return func() string { return c.in("internet", "cat", file) }
}

// clear lists what passed in the clear; the VLAN of the guests' own network is on the same
// wire.
func clear(wire string) string {
	var out []string
	for line := range strings.Lines(wire) {
		if !strings.Contains(line, ", vlan ") && (strings.Contains(line, " 10.1.1.") || strings.Contains(line, " 10.50.")) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// wire: what passes is encrypted.
func (c *cloud) wire() {
	heard := c.overheard("wire")
	c.until(slow, "packets on the wire", func() string {
		_, _ = c.try("acme/web-1", "ping", "-c1", "-W1", "10.50.0.1")
		if out := heard(); strings.Count(out, "ESP(spi=") < 10 {
			return out
		}
		return ""
	})
	if bare := clear(heard()); bare != "" {
		c.Errorf("in the clear:\n%s", bare)
	}
}

// vpnUsers: users of WireGuard and IKEv2 reach the guests and the router's names, guests
// begin nothing with them, and who is a user no more is out at once.
func (c *cloud) vpnUsers() {
	for name, own := range map[string]string{"ann": "10.254.0.2", "bob": "10.254.1.2"} {
		c.farPings(name, own, "10.1.1.11")
		c.until(soon, name+" asks for a name", func() string {
			out, err := c.try("internet", far(name, "dig", "+time=2", "+tries=1", "+short", "-b", own, "@10.1.1.1", "web-1.zone1.internal")...)
			if err != nil || strings.TrimSpace(out) != "10.1.1.11" {
				return fmt.Sprint(out, err)
			}
			return ""
		})
		if out, err := c.try("acme/web-1", "ping", "-c2", "-W1", own); err == nil {
			c.Errorf("a guest begins with %s: %s", name, out)
		}
	}
	c.farSilent("ann", "10.254.0.2", "10.50.0.1")
	c.edit("cloud.yaml", "users: [{name: ann,", "users: [{name: anna,")
	c.edit("cloud.yaml", "users: [{name: bob,", "users: [{name: rob,")
	key := c.in("internet", far("ann", "wg", "show", "ann", "public-key")...)
	c.edit("cloud.yaml", strings.TrimSpace(key), "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=")
	c.commit()
	for name, own := range map[string]string{"ann": "10.254.0.2", "bob": "10.254.1.2"} {
		c.until(slow, name+" is out", func() string {
			if out, err := c.try("internet", far(name, "ping", "-c1", "-W1", "-I", own, "10.1.1.11")...); err == nil {
				return out
			}
			return ""
		})
	}
	c.copyTree(vpnTree)
	c.must("lab", "commit", c.tree)
	c.annAgain()
}

// annAgain: WireGuard forgets at this end what the other one forgot. By itself it would,
// 15 seconds after what it sent last without an answer.
func (c *cloud) annAgain() {
	c.Helper()
	c.in("internet", far("ann", "wg", "setconf", "ann", "/run/peers/ann/wg.conf")...)
	c.farPings("ann", "10.254.0.2", "10.1.1.11")
}

// vpnHidden: no output of the host has a secret, and nobody else may read one.
func (c *cloud) vpnHidden() {
	const script = "weft drift; weft status router/acme/web; weft history; cat /run/weft/log/* /run/weft/marks/*/*; weft observe; cat /proc/[0-9]*/cmdline; true" // a process may have ended
	out := c.in("host/kvm1", "sh", "-c", script)
	for _, name := range []string{"berlin.psk", "paris.psk", "bob.pw", "staff.key"} {
		secret, err := os.ReadFile(filepath.Join(c.secrets, name))
		if err != nil {
			c.Fatal(err)
		}
		if strings.Contains(out, strings.TrimSpace(string(secret))) {
			c.Errorf("%s is shown", name)
		}
	}
	open := c.in("host/kvm1", "sh", "-c", "cd /run/weft/files/routers/weft-acme-web && find ipsec/psk ipsec/keys ipsec/passwords wireguard -type f ! -name users -perm /077; ls ipsec/psk")
	if open != "berlin\nparis\n" {
		c.Errorf("others on the host may read, or there is nothing to read: %q", open)
	}
}

// vpnChange: another lifetime of one connection is not noticed by the other, either way.
func (c *cloud) vpnChange() {
	// On a busy machine a ping may be lost all the same: what weft does would lose some
	// each time.
	var noticed string
	for range 3 {
		if noticed = c.vpnRound(); noticed == "" {
			return
		}
		c.Log(noticed)
	}
	c.Errorf("each time berlin's tunnel noticed: %s", noticed)
}

// vpnRound changes paris' connection and back, and says which ping through berlin's was
// lost meanwhile, or "".
func (c *cloud) vpnRound() (noticed string) {
	c.reaches("acme/web-1", "10.50.0.1", slow)
	counted, stop := c.countedPings("acme/web-1", "10.50.0.1")
	c.edit("cloud.yaml", "ike: {version: 1, proposals: [aes256-sha256-modp2048]}", "ike: {version: 1, proposals: [aes256-sha256-modp2048], lifetime: 12h}")
	called := func() string {
		return c.in("internet", "sh", "-c", "grep -c 'IKE_SA acme.* established' /run/peers/paris/log")
	}
	again := func(change func()) {
		before := called()
		change()
		c.until(slow, "paris is called again", func() string {
			if called() == before {
				return "not yet"
			}
			return ""
		})
		c.reaches("acme/web-1", "10.60.0.1", slow)
		c.vpnState("acme/paris", "Connected")
	}
	again(func() { c.commit() })
	again(func() {
		c.copyTree(vpnTree)
		c.must("lab", "commit", c.tree)
	})
	c.until(soon, "ten pings", func() string {
		if _, err := c.try("acme/web-1", "ping", "-c10", "-i0.05", "-W2", "10.50.0.1"); err != nil {
			return err.Error()
		}
		return ""
	})
	stop()
	// What was sent last may be on its way.
	var seq, last int
	for line := range strings.Lines(counted.String()) {
		if _, rest, ok := strings.Cut(line, "icmp_seq="); ok {
			if _, err := fmt.Sscanf(rest, "%d", &seq); err != nil || seq != last+1 {
				noticed += fmt.Sprintf("after ping %d: %s", last, line)
			}
			last = seq
		}
	}
	if last < 10 {
		c.Errorf("only %d pings:\n%s", last, counted)
	}
	return noticed
}

// countedPings pings until it is stopped.
func (c *cloud) countedPings(node, to string) (*bytes.Buffer, func()) {
	c.Helper()
	cmd, err := c.command(c.ctx, node, "sh", "-c", "ping -i 0.05 "+to+" & p=$!; read x; kill -INT $p; wait $p")
	if err != nil {
		c.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		c.Fatal(err)
	}
	out := new(bytes.Buffer)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	return out, func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
}

// vpnSecret: with another secret the tunnel is gone, and nothing leaves in the clear
// instead; that the peer refuses it is told. The right one brings it back.
func (c *cloud) vpnSecret() {
	heard := c.overheard("secret")
	path := filepath.Join(c.secrets, "berlin.psk")
	right, err := os.ReadFile(path)
	if err != nil {
		c.Fatal(err)
	}
	put := func(text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			c.Fatal(err)
		}
	}
	put([]byte("a wrong one\n"))
	c.vpnState("acme/berlin", "Error received AUTHENTICATION_FAILED")
	c.vpnTold(map[string]string{"berlin": "Error received AUTHENTICATION_FAILED", "paris": "Connected"})
	for range 3 {
		if out, err := c.try("acme/web-1", "ping", "-c1", "-W1", "10.50.0.1"); err == nil {
			c.Errorf("there is a way without the tunnel: %s", out)
		}
	}
	// One that is not there is not taken, and holds up nobody.
	if err := os.Remove(path); err != nil {
		c.Fatal(err)
	}
	c.vpnState("acme/berlin", "Error received AUTHENTICATION_FAILED notify error; the one before stays: secret: it is empty")
	c.vpnState("acme/paris", "Connected")
	put(right)
	c.vpnState("acme/berlin", "Connected")
	c.vpnTold(map[string]string{"berlin": "Connected"})
	if out := c.in("host/kvm1", "weft", "status", "router/acme/web"); !regexp.MustCompile(`was Error +\d+[sm] +received AUTHENTICATION_FAILED`).MatchString(out) {
		c.Errorf("what berlin was is not told:\n%s", out)
	}
	c.reaches("acme/web-1", "10.50.0.1", slow)
	c.until(soon, "the packets of the new tunnel", func() string {
		if out := heard(); !strings.Contains(out, "ESP(spi=") {
			return out
		}
		return ""
	})
	if bare := clear(heard()); bare != "" {
		c.Errorf("in the clear:\n%s", bare)
	}
}

// vpnKilled: charon that dies is replaced and calls its peers again, and so is
// WireGuard.
func (c *cloud) vpnKilled() {
	for _, name := range []string{"charon-systemd", "wireguard-serve"} {
		// There are only the router's on the host.
		before := c.in("host/kvm1", "pgrep", "-f", name)
		c.in("host/kvm1", append([]string{"kill", "-9"}, strings.Fields(before)...)...)
		c.until(slow, "another "+name, func() string {
			if now, err := c.try("host/kvm1", "pgrep", "-f", name); err != nil || now == before {
				return "not yet"
			}
			return ""
		})
	}
	c.reaches("acme/web-1", "10.50.0.1", slow)
	c.reaches("acme/web-1", "10.60.0.1", slow)
	c.farPings("berlin", "10.50.0.1", "10.1.1.11")
	c.annAgain()
}
