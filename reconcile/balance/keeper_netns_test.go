//go:build netns

package balance

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if code, ok := Main(os.Args[1:]); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// A lab is a keeper in a network namespace of its own, and the thread of the test in
// the same one.
type lab struct {
	*testing.T
	dir    string
	keeper *exec.Cmd
	ended  chan error
}

// configOf has a balancer that remembers cookies, others by name at ports from 8001, and
// one with a certificate.
func configOf(names ...string) []byte {
	var b strings.Builder
	b.WriteString("global\n    nbthread 4\n    no strict-limits\n    stats socket abns@weft-lb level admin\n" +
		"defaults\n    mode http\n    timeout connect 1s\n    timeout client 5s\n    timeout server 5s\n" +
		"peers weft\n    peer weft abns@weft-lb-peers\n" +
		"listen app\n    bind 127.0.0.1:8000\n    stick-table type string len 52 size 1000 expire 1h peers weft\n" +
		"    stick match req.cook(S)\n    server a 127.0.0.1:9001\n    server b 127.0.0.1:9002\n" +
		"listen tls\n    bind 127.0.0.1:8443 ssl crt tls.pem\n")
	for i, n := range names {
		fmt.Fprintf(&b, "listen %s\n    bind 127.0.0.1:%d\n", n, 8001+i)
	}
	return []byte(b.String())
}

func newLab(t *testing.T) *lab {
	t.Helper()
	runtime.LockOSThread() // and it ends with the test: it is in another namespace
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace: %v", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{T: t, dir: t.TempDir(), ended: make(chan error, 1)}
	put(t, l.dir, "haproxy.cfg", configOf())
	log, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	l.keeper = exec.Command(self, Verb, "--dir", l.dir, "--state", t.TempDir())
	l.keeper.Stdout, l.keeper.Stderr = log, log
	if err := l.keeper.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { l.ended <- l.keeper.Wait() }()
	t.Cleanup(func() {
		_ = l.keeper.Process.Signal(unix.SIGTERM)
		<-l.ended
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("%s", b)
		}
	})
	l.until("it is loaded", func() bool { return l.told("") == "Loaded" })
	return l
}

func (l *lab) until(what string, ok func() bool) {
	l.Helper()
	for end := time.Now().Add(40 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			l.Fatalf("not so: %s", what)
		}
	}
}

// told is what the keeper says.
func (l *lab) told(line string) string {
	c, err := net.Dial("unix", Socket)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	fmt.Fprintln(c, line)
	b := make([]byte, 512)
	n, _ := c.Read(b)
	return strings.TrimSpace(string(b[:n]))
}

func (l *lab) asked(command string) string {
	l.Helper()
	out, err := ask(command)
	if err != nil {
		l.Fatalf("%s: %v", command, err)
	}
	return out
}

// open reports whether somebody listens.
func (l *lab) open(port int) bool {
	c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
	if err == nil {
		c.Close()
	}
	return err == nil
}

func (l *lab) hup() {
	if err := l.keeper.Process.Signal(unix.SIGHUP); err != nil {
		l.Fatal(err)
	}
}

// TestTables: who sticks to whom outlives changes that come as fast as they can, the
// first one right after the start, and the last of them is what runs.
func TestTables(t *testing.T) {
	l := newLab(t)
	for i := range 5 {
		l.asked(fmt.Sprintf("set table app key k%d data.server_id 1", i))
	}
	var names []string
	for i := range 6 {
		names = append(names, fmt.Sprint("more", i))
		put(t, l.dir, "haproxy.cfg", configOf(names...))
		l.hup()
		if i%2 == 0 { // else while the one before is being read
			l.until("it runs", func() bool { return strings.Contains(l.asked("show stat"), fmt.Sprint("more", i)) })
		}
	}
	l.until("the last one runs", func() bool { return strings.Contains(l.asked("show stat"), "more5") && l.open(8006) })
	l.until("all of it is known", func() bool { return strings.Contains(l.asked("show table app"), "used:5") })
	if got := l.told(""); got != "Loaded" {
		t.Errorf("it says %q", got)
	}
}

// TestCertificateComesAndGoes: a balancer is open while it has a certificate, and what
// happens to others does not wait for it.
func TestCertificateComesAndGoes(t *testing.T) {
	l := newLab(t)
	if !l.open(8000) || l.open(8443) || !strings.HasPrefix(l.told("tls"), "Closed: ") || l.told("app") != "Serves" || !strings.HasPrefix(l.told("more"), "Closed: ") {
		t.Errorf("without a certificate: %v %v %q %q %q", l.open(8000), l.open(8443), l.told("tls"), l.told("app"), l.told("more"))
	}
	put(t, l.dir, "haproxy.cfg", configOf("more"))
	l.hup()
	l.until("another is open", func() bool { return l.open(8001) })
	pem := put(t, l.dir, "tls.pem", pair(t, time.Now().Add(time.Hour)))
	l.until("it is open", func() bool { return l.open(8443) && l.told("tls") == "Serves" })
	put(t, l.dir, "tls.pem", pair(t, time.Now().Add(-time.Hour)))
	l.until("it is told to have ended", func() bool { return strings.HasPrefix(l.told("tls"), "Expired: ") && l.open(8443) })
	put(t, l.dir, "tls.pem", []byte("nothing"))
	l.until("a bad one is told", func() bool { return strings.HasPrefix(l.told(""), "Error: ") })
	if !l.open(8443) || !l.open(8000) || !strings.HasPrefix(l.told("tls"), "Expired: ") {
		t.Errorf("a bad one has closed something, or it is told so: %q", l.told("tls"))
	}
	if err := os.Remove(pem); err != nil {
		t.Fatal(err)
	}
	l.until("it is closed", func() bool { return !l.open(8443) && l.told("") == "Loaded" && l.open(8000) })
}

// TestEndsTogether: HAProxy ends with its keeper, and the keeper with HAProxy.
func TestEndsTogether(t *testing.T) {
	l := newLab(t)
	if err := l.keeper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	l.until("HAProxy is gone", func() bool { return !l.open(8000) })
	l = newLab(t)
	pid := strings.TrimSpace(pidLine.FindStringSubmatch(l.asked("show info"))[1])
	if out, err := exec.Command("kill", "-9", pid).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	select {
	case err := <-l.ended:
		if err == nil {
			t.Error("it ends well")
		}
		l.ended <- err
	case <-time.After(20 * time.Second):
		t.Error("it goes on")
	}
}
