//go:build netns

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree returns a process and all below it.
func tree(t *testing.T, root int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	parent := map[int]int{}
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(stat, "/")[2])
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		parent[pid], _ = strconv.Atoi(fields[1])
	}
	var below []int
	for pid := range parent {
		for at := pid; at != 0; at = parent[at] {
			if at == root {
				below = append(below, pid)
				break
			}
		}
	}
	return below
}

// alive returns those of the processes that still are (a zombie that nobody waits for is not).
func alive(pids []int) []int {
	return slices.DeleteFunc(slices.Clone(pids), func(pid int) bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(text), ") Z ")
	})
}

// traces is what a lab could leave in the machine's namespaces.
func traces(t *testing.T) string {
	t.Helper()
	links, err := os.ReadDir("/sys/class/net")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, l := range links {
		if regexp.MustCompile(`^(wire|port|vnet|range|uplink|eth[12])`).MatchString(l.Name()) {
			found = append(found, "link "+l.Name())
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "weft") || strings.Contains(line, "/run/lab") {
			found = append(found, line)
		}
	}
	return strings.Join(found, "\n")
}

func TestDownLeavesNothing(t *testing.T) {
	before := traces(t)
	w := start(t, "down", twoHosts())
	w.weave("kvm1")
	line, err := w.Command(w.ctx, "acme/vm11", "", []string{"sh", "-c", "echo running; exec sleep 1000"})
	if err != nil {
		t.Fatal(err)
	}
	visitor := exec.Command(line[0], line[1:]...)
	said, err := visitor.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := visitor.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(said, make([]byte, len("running\n"))); err != nil {
		t.Fatal(err)
	}
	pids := append(tree(t, w.pid), tree(t, visitor.Process.Pid)...)
	if len(pids) < 12 {
		t.Errorf("only %d processes: %v", len(pids), pids)
	}
	if during := traces(t); during != before {
		t.Errorf("a running lab shows in the machine's namespaces: %s", during)
	}
	if err := Down(w.ctx, w.Name); err != nil {
		t.Fatal(err)
	}
	if err := visitor.Wait(); err == nil {
		t.Error("a command in a guest ended well though the guest died")
	}
	if left := alive(pids); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	if after := traces(t); after != before {
		t.Errorf("left in the machine's namespaces: %s", after)
	}
	dir, _ := stateDir(w.Name)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("state directory: %v", err)
	}
	if _, err := Dial(w.Name); !errors.Is(err, ErrDown) {
		t.Errorf("dial a lab that is down: %v", err)
	}
	if err := Down(w.ctx, w.Name); err != nil {
		t.Errorf("second down: %v", err)
	}
}

func TestSupervisorKilled(t *testing.T) {
	spec := twoHosts()
	spec.VMs = spec.VMs[:1]
	w := start(t, "nine", spec)
	pids := tree(t, w.pid)
	if _, err := Start(w.ctx, Options{Name: w.Name, Spec: spec}); err == nil || !strings.Contains(err.Error(), "is up already") {
		t.Errorf("second start: %v", err)
	}
	if err := syscall.Kill(w.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Wait(w.ctx, func(Status) bool { return false }); !errors.Is(err, ErrDown) {
		t.Errorf("the connection to a dead supervisor: %v", err)
	}
	if left := gone(pids); len(left) > 0 {
		t.Errorf("processes that survived the supervisor: %v", left)
	}
	if _, err := Dial(w.Name); !errors.Is(err, ErrDown) {
		t.Errorf("dial a dead lab: %v", err)
	}
	again, err := Start(w.ctx, Options{Name: w.Name, Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	pids = tree(t, again.pid)
	if err := syscall.Kill(again.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if left := gone(pids); len(left) > 0 {
		t.Errorf("processes that survived the supervisor: %v", left)
	}
	if err := Down(w.ctx, w.Name); err != nil {
		t.Errorf("down of a dead lab: %v", err)
	}
}

// gone waits for processes to end and returns those that do not.
func gone(pids []int) []int {
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it is gone already
		}
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
		}
		_ = unix.Close(fd)
	}
	return alive(pids)
}

func TestTwoLabs(t *testing.T) {
	a, b := start(t, "a", twoHosts()), start(t, "b", twoHosts())
	for _, w := range []*world{a, b} {
		w.weave("kvm1", "kvm2")
	}
	for _, w := range []*world{a, b} {
		w.until(plugged)
		if !w.reaches("acme/vm11", "10.1.1.22") {
			t.Errorf("guests of lab %s do not reach each other", w.Name)
		}
	}
	names, err := All()
	if err != nil || !slices.Contains(names, a.Name) || !slices.Contains(names, b.Name) {
		t.Errorf("labs: %v, %v", names, err)
	}
	if err := b.Kill(b.ctx, "acme/vm22"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.try("acme/vm11", "ping", "-c1", "-W1", "10.1.1.22"); err == nil {
		t.Error("a killed guest answers")
	}
	if !a.reaches("acme/vm11", "10.1.1.22") {
		t.Error("killing a guest of one lab cut off one of the other")
	}
}

func TestDashboard(t *testing.T) {
	spec := twoHosts()
	spec.VMs, spec.Ranges = nil, nil
	for i := range spec.Hosts {
		spec.Hosts[i].Agent = []string{"sh", "-c", "mkdir -p /run/www/api; echo page of $(hostname) >/run/www/api/x; exec busybox httpd -f -p " + agentAddress + " -h /run/www"}
	}
	w := start(t, "dash", spec)
	s, err := w.Status(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	page := func(url, host string) string {
		request, err := http.NewRequestWithContext(w.ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		for { // the agent was started, it need not listen yet
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if response.StatusCode != http.StatusBadGateway || w.ctx.Err() != nil {
				return string(text)
			}
		}
	}
	if got := page(s.Dashboard+"kvm2/api/x", ""); got != "page of kvm2\n" {
		t.Errorf("by path: %q", got)
	}
	if got := page(s.Dashboard+"api/x", "kvm1.localhost:1"); got != "page of kvm1\n" {
		t.Errorf("by name: %q", got)
	}
	if got := page(s.Dashboard, ""); !strings.Contains(got, "kvm1.localhost") {
		t.Errorf("index: %q", got)
	}
}

// TestWithoutRoot runs some of the tests as an ordinary user. Root gives it a /dev/net/tun of its own that such a user
// may open, in a mount namespace of the test's.
func TestWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the test needs root to become another user")
	}
	t.Parallel() // with others that mostly wait
	if err := userNamespaces(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	const nobody = 65534
	for _, make := range []error{os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), copySelf(dir + "/lab.test"), os.Mkdir(dir+"/home", 0o700), os.Chown(dir+"/home", nobody, nobody)} {
		if make != nil {
			t.Fatal(make)
		}
	}
	script := `set -e
		mkdir "$0/dev"; mount -t tmpfs none "$0/dev"; mknod -m 0666 "$0/dev/tun" c 10 200; mount --bind "$0/dev/tun" /dev/net/tun
		exec setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$0/home" "$0/lab.test" -test.v -test.run '^TestGuestsAcrossWire$|^TestDHCP$|^TestHostView$|^TestDownLeavesNothing$|^TestMove$'`
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "sh", "-c", script, dir)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") != 5 {
		t.Errorf("as user %d: %v\n%s", nobody, err, out)
	}
}

// TestHungSupervisor has a supervisor that does not answer: it goes down all the same.
func TestHungSupervisor(t *testing.T) {
	t.Parallel()
	spec := twoHosts()
	spec.VMs, spec.Hosts, spec.Ranges = nil, nil, nil
	w := start(t, "hung", spec)
	pids := tree(t, w.pid)
	if err := syscall.Kill(w.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := Down(w.ctx, w.Name); err != nil {
		t.Fatal(err)
	}
	if left := alive(pids); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
}
