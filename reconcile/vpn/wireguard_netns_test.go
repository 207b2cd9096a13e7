//go:build netns

package vpn

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestProgramTakes: wg takes what the kernel's WireGuard is told, and leaves alone who is as
// before. An implementation in Go stands for the kernel's.
func TestProgramTakes(t *testing.T) {
	w := newWorld(t)
	link := fmt.Sprintf("wgt%d", os.Getpid()%1e6)
	cmd := exec.Command("ip", "netns", "exec", w.NS("a"), "wireguard-go", "-f", link)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove("/var/run/wireguard/" + link + ".sock")
	})
	ann, bob := strings.TrimSpace(w.Run("wg", "genkey")), strings.TrimSpace(w.Run("wg", "genkey"))
	key, err := keyOf([]byte(strings.TrimSpace(w.Run("wg", "genkey"))))
	if err != nil {
		t.Fatal(err)
	}
	c := &wgConfig{link: link, port: 51821, key: key}
	tell := func(names ...string) string {
		all := map[string]*user{}
		for i, n := range names {
			all[n] = &user{Name: "x", Key: n, IPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 254, 0, byte(2 + i)})}}
		}
		w.Write("wg.conf", c.text(all))
		w.In("a", "wg", "syncconf", link, w.Dir+"/wg.conf")
		return w.In("a", "wg", "show", link, "allowed-ips")
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
		if known := dumped(w.In("a", "wg", "show", link, "dump")); len(known) != len(x.users) || slices.ContainsFunc(x.users, func(u string) bool { _, ok := known[u]; return !ok }) {
			t.Errorf("users %q: it knows %v", x.users, known)
		}
		if !maps.Equal(got, x.want) {
			t.Errorf("users %q: %q, want %q", x.users, got, x.want)
		}
	}
	if port := strings.TrimSpace(w.In("a", "wg", "show", link, "listen-port")); port != "51821" {
		t.Errorf("it listens at %s", port)
	}
}

// TestEndsWithItsKeeper: a WireGuard in Go ends with who started it, if it is asked to,
// though it became another user since.
func TestEndsWithItsKeeper(t *testing.T) {
	w := newWorld(t)
	link := fmt.Sprintf("wgk%d", os.Getpid()%1e6)
	w.Write("a/key", strings.TrimSpace(w.Run("wg", "genkey")))
	w.Write("a/users", "")
	cmd := exec.Command("ip", "netns", "exec", w.NS("a"), "sh", "-c",
		`setpriv --pdeathsig TERM "$@" & wait`, "sh", os.Args[0], WireGuardVerb, "--dir", w.Dir+"/a", "--link", link)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	w.soon("it answers", func() bool { return w.ask(WireGuardSocket+link, "") == "Connected 0 of 0 users" })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	w.soon("it has ended", func() bool { return !strings.HasPrefix(w.ask(WireGuardSocket+link, ""), "Connected") })
	w.soon("its link is gone", func() bool {
		return exec.Command("ip", "-n", w.NS("a"), "link", "show", link).Run() != nil
	})
}
