//go:build netns

package pair

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if code, ours := Main(os.Args[1:]); ours {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// A world is two routers on a bridge.
type world struct {
	*testing.T
	name string
	dir  string
}

func newWorld(t *testing.T) *world {
	w := &world{t, fmt.Sprintf("wpair%d", os.Getpid()), t.TempDir()}
	ip := func(line string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	for _, ns := range []string{"s", "0", "1"} {
		name := w.name + ns
		ip("netns add " + name)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
		ip("-n " + name + " link set lo up")
	}
	sw := w.name + "s"
	ip("-n " + sw + " link add br0 type bridge")
	ip("-n " + sw + " link set br0 up")
	for i := range 2 {
		ip(fmt.Sprintf("-n %s link add p%d type veth peer name eth0 netns %s%d", sw, i, w.name, i))
		ip(fmt.Sprintf("-n %s link set p%d master br0 up", sw, i))
		ip(fmt.Sprintf("-n %s%d link set eth0 up", w.name, i))
		ip(fmt.Sprintf("-n %s%d addr add 10.1.1.%d/24 dev eth0", w.name, i, 2+i))
		conf := fmt.Sprintf(`global_defs {
vrrp_version 3
notify_fifo {dir}/fifo root
}
vrrp_instance pair {
interface eth0
state BACKUP
nopreempt
virtual_router_id 7
priority %d
advert_int 0.1
unicast_src_ip 10.1.1.%d
unicast_peer {
10.1.1.%d
}
virtual_ipaddress {
10.1.1.1/24 dev eth0
}
}
`, 200-100*i, 2+i, 3-i)
		if err := os.WriteFile(w.conf(i), []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) conf(i int) string  { return filepath.Join(w.dir, fmt.Sprint("conf", i)) }
func (w *world) state(i int) string { return filepath.Join(w.dir, fmt.Sprint("state", i)) }

// start runs a verb in the namespace of router i until the test ends.
func (w *world) start(i int, args ...string) *exec.Cmd {
	w.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", fmt.Sprint(w.name, i), os.Args[0]}, args...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			w.Errorf("%v does not end", args)
		}
		if w.Failed() {
			w.Logf("%v:\n%s", args, &said)
		}
	})
	return cmd
}

func (w *world) serve(i int) *exec.Cmd {
	return w.start(i, Keepalived, "--config", w.conf(i), "--state", w.state(i))
}

// leads reports whether router i has the address.
func (w *world) leads(i int) bool {
	out, _ := exec.Command("ip", "-n", fmt.Sprint(w.name, i), "-o", "addr", "show", "dev", "eth0").CombinedOutput()
	return strings.Contains(string(out), " 10.1.1.1/24 ")
}

func (w *world) until(what string, ok func() bool) {
	w.Helper()
	for begun := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			w.Fatalf("not in 20s: %s", what)
		}
	}
}

// is waits until both routers are what is said, to the kernel as in the histories.
func (w *world) is(a, b State) {
	w.Helper()
	w.until(fmt.Sprint(a, " and ", b), func() bool {
		for i, want := range []State{a, b} {
			list, err := Read(w.state(i))
			if err != nil || len(list) == 0 || list[len(list)-1].State != want || w.leads(i) != (want == Primary) {
				return false
			}
		}
		return true
	})
}

func (w *world) ip(line string) {
	w.Helper()
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		w.Fatalf("ip %s: %v: %s", line, err, out)
	}
}

// TestPair: one of two is the primary; both while they do not hear each other, and
// then the preferred one; whatever of it is killed, it comes back as the backup.
func TestPair(t *testing.T) {
	if _, err := exec.LookPath("keepalived"); err != nil {
		t.Skip("no keepalived")
	}
	w := newWorld(t)
	w.serve(0)
	w.until("the first is the primary", func() bool { return w.leads(0) })
	w.serve(1)
	w.is(Primary, Backup)

	apart := func(flag string) {
		for i := range 2 {
			if out, err := exec.Command("ip", "netns", "exec", w.name+"s", "bridge", "link", "set", "dev", fmt.Sprint("p", i), "isolated", flag).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	apart("on")
	w.is(Primary, Primary)
	apart("off")
	w.is(Primary, Backup)

	pids, err := exec.Command("ip", "netns", "pids", w.name+"0").Output()
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	for _, pid := range strings.Fields(string(pids)) {
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		if strings.TrimSpace(string(name)) == "keepalived" {
			_ = exec.Command("kill", "-9", pid).Run()
			killed++
		}
	}
	if killed != 2 {
		t.Fatalf("%d processes of keepalived in %q", killed, pids)
	}
	w.is(Backup, Primary)

	// A link that comes back after it was down.
	w.ip("-n " + w.name + "s link set p1 down")
	w.is(Primary, Fault)
	w.ip("-n " + w.name + "s link set p1 up")
	w.is(Primary, Backup)
}

// TestPairReloads: another configuration is taken up without a change of roles, and
// roles are told afterwards.
func TestPairReloads(t *testing.T) {
	if _, err := exec.LookPath("keepalived"); err != nil {
		t.Skip("no keepalived")
	}
	w := newWorld(t)
	first := w.serve(0)
	w.until("the first is the primary", func() bool { return w.leads(0) })
	w.serve(1)
	w.is(Primary, Backup)
	b, err := os.ReadFile(w.conf(0))
	if err != nil {
		t.Fatal(err)
	}
	more := strings.Replace(string(b), "virtual_ipaddress {", "virtual_ipaddress_excluded {\n10.1.1.77/24 dev eth0\n}\nvirtual_ipaddress {", 1)
	if err := os.WriteFile(w.conf(0), []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := first.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.until("the new address is there", func() bool {
		out, _ := exec.Command("ip", "-n", w.name+"0", "-o", "addr").CombinedOutput()
		return strings.Contains(string(out), " 10.1.1.77/24 ")
	})
	w.is(Primary, Backup)
	if list, _ := Read(w.state(0)); len(list) != 2 {
		t.Errorf("history %v", list)
	}
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	w.is(Stopped, Primary)
}

// TestWhileAddress: a command runs while the address is there.
func TestWhileAddress(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "runs")
	w.start(0, While, "--address", "10.1.1.1/24", "--link", "eth0", "--", "sh", "-c", "trap 'rm "+file+"; exit' TERM; echo $$ >"+file+"; while :; do sleep 0.05; done")
	runs := func() bool { b, _ := os.ReadFile(file); return len(b) > 1 } // it may just be writing
	for range 2 {
		w.ip("-n " + w.name + "0 addr add 10.1.1.1/24 dev eth0")
		w.until("it runs", runs)
		w.ip("-n " + w.name + "0 addr del 10.1.1.1/24 dev eth0")
		w.until("it ended", func() bool { return !runs() })
	}
	w.ip("-n " + w.name + "0 addr add 10.1.1.1/24 dev eth0")
	w.until("it runs", runs)
	pid, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := exec.CommandContext(context.Background(), "kill", "-9", strings.TrimSpace(string(pid))).Run(); err != nil {
		t.Fatal(err)
	}
	w.until("it runs again", runs)
}
