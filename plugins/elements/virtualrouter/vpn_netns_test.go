//go:build netns

package virtualrouter

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/vpn"
	"weft.dev/schema"
)

// TestMain is the program too that a test starts.
func TestMain(m *testing.M) {
	if code, ok := vpn.Main(os.Args[1:]); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// TestCharonTakes: charon itself takes every connection, pool and secret that hostile
// names make, all of them at once, and has what the secrets' own words say.
func TestCharonTakes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	for p := dir; p != "/tmp" && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil { // charon is nobody
			t.Fatal(err)
		}
	}
	put := func(name string, text []byte) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	key, secret := pair(t), []byte("a\"b\\c\n}{ # ' \xff\x01")
	items, names := map[string]string{}, 0
	hostileVPNs(t, func(line string) {
		var i struct{ Connection, Pool, Secret, Key, File string }
		if err := json.Unmarshal([]byte(line), &i); err != nil {
			t.Fatal(err)
		}
		if i.File != "" {
			put(i.File, secret)
		}
		if i.Key != "" {
			put(i.File, key)
		}
		if i.Pool != "" && items[fmt.Sprint(i)] == "" {
			// Each wants the same addresses, of which one has them.
			line = strings.ReplaceAll(line, "10.254.1.2-10.254.1.9", fmt.Sprintf("10.%d.1.2-10.%d.1.9", 100+names, 100+names))
			names++
		}
		if items[fmt.Sprint(i)] == "" {
			items[fmt.Sprint(i)] = strings.Replace(line, `"call":true`, `"call":false`, 1)
		}
	})
	var all strings.Builder
	for _, line := range items {
		all.WriteString(line)
	}
	put("connections", []byte(all.String()))
	r := router{r: &model.Router{Host: &model.Host{}}, out: plugin.NewDraft("network/acme/web", schema.Pos{})}
	put("strongswan.conf", []byte(r.strongswan().String()))

	ns := fmt.Sprintf("weftcharon%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", ns, self, "ipsec-serve", "--dir", dir, "--state", dir+"/state")
	file, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		b, err := os.ReadFile(dir + "/log")
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	want := strings.Count(all.String(), `"connection":`)
	for end := time.Now().Add(45 * time.Second); strings.Count(read(), "added vici connection") != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("charon has %d connections, not %d", strings.Count(read(), "added vici connection"), want)
			break
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	log := read()
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "ipsec") || strings.Contains(line, "invalid") || strings.Contains(line, "unknown option") {
			t.Error(line)
		}
	}
	if want < 20 || strings.Count(log, "loaded EAP shared key") < 10 || strings.Count(log, "loaded IKE shared key") < 10 {
		t.Errorf("only %d connections:\n%s", want, log)
	}
}
