//go:build netns

package vpn

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPPPTakes: pppd has what the passwords' own words say, whatever is in them, and lets
// nobody in by anything else. It runs where the kernel has PPP (reconcile/lab/machine/inside).
func TestPPPTakes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat("/dev/ppp"); err != nil {
		t.Skip("this kernel has no PPP")
	}
	users := map[string]l2tpUser{}
	for name, password := range map[string]string{
		"quotes": "a\"b'c\\d", "lines": "x\n\"eve\" * \"eve\" *\n", "spaces": " \t # {} $(reboot) ; ", "a.b-c_d@e": "\\101\\x41%s\x01\x7f",
		"long": strings.Repeat("p\"", 127),
	} {
		users[name] = l2tpUser{Name: name, password: []byte(password)}
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/chap-secrets", []byte(secretsOf(users)), 0o600); err != nil {
		t.Fatal(err)
	}
	// Both ends are pppd, on two ends of a pty: the second serves. A client is told its
	// password by its own file, as its user would write it: from the command line.
	const script = `set -e
mount -t tmpfs tmpfs /etc/ppp; mount -t tmpfs tmpfs /run; mkdir /run/lock
install -m 600 "$1"/chap-secrets /etc/ppp/chap-secrets; touch /etc/ppp/options
pppd nodetach noauth nolock user "$2" password "$3" noccp noipv6 nodefaultroute logfile /run/client \
  pty 'exec pppd notty nodetach nolock auth require-mschap-v2 refuse-eap name weft noccp noipv6 10.9.9.1:10.9.9.2 logfile /run/server' >/dev/null 2>&1 &
for i in $(seq 100); do
  grep -q 'CHAP authentication succeeded' /run/client 2>/dev/null && echo in && exit
  grep -q -e 'authentication failed' -e terminated /run/client 2>/dev/null && echo out && exit
  sleep 0.2
done
cat /run/client /run/server; exit 1
`
	try := func(name, password string) string {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, "unshare", "-m", "-p", "-f", "--kill-child", "sh", "-c", script, "sh", dir, name, password).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for name, u := range users {
		if got := try(name, string(u.password)); got != "in" {
			t.Errorf("%s with %q is %s", name, u.password, got)
		}
	}
	if got := try("quotes", "a"); got != "out" {
		t.Errorf("with another password: %s", got)
	}
	if got := try("eve", "eve"); got != "out" {
		t.Errorf("whom a password names: %s", got)
	}
}

// TestOnTheWayIn: who is let in by what may be no password any more has to try again.
func TestOnTheWayIn(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	line := exec.Command("sh", "-c", "tail -f /dev/null & tail -f /dev/null & wait")
	line.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if err := line.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	t.Cleanup(func() {
		_ = line.Process.Kill()
		<-ended
	})
	go func() {
		ended <- line.Wait()
		close(ended)
	}()
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not so: %s: %v", what, below(line.Process.Pid))
			}
		}
	}
	until("two are below it, with names of their own", func() bool {
		got := slices.Sorted(maps.Values(below(line.Process.Pid)))
		return slices.Equal(got, []int{2, 3})
	})
	new(sessions).end(map[string]bool{"ann": true}, line.Process.Pid)
	until("both are gone", func() bool { return len(below(line.Process.Pid)) == 0 })
}
