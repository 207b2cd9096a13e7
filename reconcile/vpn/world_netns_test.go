//go:build netns

package vpn

import (
	"bytes"
	"fmt"
	"io"
	"net"
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
	esp  string // charon's plugin that carries packets where the kernel does not; "" for the kernel
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	w := &world{t: t, dir: t.TempDir(), name: fmt.Sprintf("weftvpn%d", os.Getpid()), esp: "kernel-libipsec"}
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

// ask asks at a's socket, and returns the first line.
func (w *world) ask(socket, name string) string {
	line, _, _ := strings.Cut(w.reply(socket, name), "\n")
	return line
}

func (w *world) reply(socket, name string) string {
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
		text, _ := io.ReadAll(c)
		answer <- strings.TrimSpace(string(text))
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
