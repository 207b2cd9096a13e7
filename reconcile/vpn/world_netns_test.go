//go:build netns

package vpn

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"weft.dev/reconcile/lab/nstest"
)

// A world is two routers on a wire: a, which the package serves, and b, the peer, which
// is strongSwan set up by hand, or wg.
type world struct {
	*nstest.Spaces
	esp string // charon's plugin that carries packets where the kernel does not; "" for the kernel
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Spaces: nstest.New(t, "vpn", "a", "b"), esp: "kernel-libipsec"}
	w.Run("ip", "link", "add", "eth1", "netns", w.NS("a"), "type", "veth", "peer", "name", "eth1", "netns", w.NS("b"))
	for i, n := range []string{"a", "b"} {
		w.In(n, "ip", "addr", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", "eth1")
		w.In(n, "ip", "link", "set", "eth1", "up")
		w.In(n, "ip", "addr", "add", fmt.Sprintf("10.%d.0.1/24", i+1), "dev", "lo")
		w.In(n, "ip", "addr", "add", fmt.Sprintf("10.%d.0.1/24", i+11), "dev", "lo")
	}
	return w
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
		at, err := netns.GetFromName(w.NS("a"))
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
	w.Helper()
	for end := time.Now().Add(45 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.Fatalf("%s: not in time", what)
}

func (w *world) pings(from, source, to string) bool {
	return exec.Command("ip", "netns", "exec", w.NS(from), "ping", "-c1", "-W1", "-I", source, to).Run() == nil
}

// serve runs the package in a.
func (w *world) serve(args ...string) *exec.Cmd {
	w.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", w.NS("a"), "/proc/self/exe"}, args...)...)
	self, err := os.Executable()
	if err != nil {
		w.Fatal(err)
	}
	cmd.Args[4] = self
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if w.Failed() {
			w.Logf("%s:\n%s", args[0], log.String())
		}
	})
	return cmd
}
