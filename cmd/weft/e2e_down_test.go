//go:build e2e

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weft.dev/reconcile/lab"
)

// TestTwoLabs runs two labs of one tree side by side, ends one after the other,
// and looks for what they left.
func TestTwoLabs(t *testing.T) {
	const tree = "../../examples/single-host"
	name := fmt.Sprintf("two%d", os.Getpid())
	before := traces(t, name)
	a, b := startLab(t, name+"a", tree), startLab(t, name+"b", tree)
	for _, c := range []*cloud{a, b} {
		c.answered("me/one", "two")
		c.answered("me/two", world)
	}
	if out, code := a.run("lab", "up", tree, "--name", a.lab.Name); code != exitError || !strings.Contains(out, "is up already") {
		t.Errorf("a lab was started twice: exit status %d\n%s", code, out)
	}
	if during := traces(t, name); !slices.Equal(during.here, before.here) {
		t.Errorf("two labs show in the machine's namespaces: %v, before %v", during.here, before.here)
	}
	// What happens in one does not in the other.
	a.in("host/box", "sh", "-c", "ovs-vsctl del-br cloudbr0; touch /run/only-here")
	if _, err := b.try("host/box", "test", "-e", "/run/only-here"); err == nil {
		t.Error("two labs share /run")
	}
	if h := len(b.history("box")); h != 1 {
		t.Errorf("%d applies in the other lab", h)
	}
	ping := b.pinging("me/one", world)
	running := processes(a.lab.Name)
	if len(running) < 8 {
		t.Errorf("only %d processes of a lab are found: %v", len(running), running)
	}
	if out, code := a.run("lab", "down", "--name", a.lab.Name); code != exitOK || out != "Lab "+a.lab.Name+" is down.\n" {
		t.Errorf("down: exit status %d\n%s", code, out)
	}
	ping.unbroken()
	if left := processes(a.lab.Name); len(left) > 0 {
		t.Errorf("processes that outlived their lab: %v", left)
	}
	if out, code := b.run("lab", "ls", "--name", b.lab.Name); code != exitOK || !strings.Contains(out, "host/box") {
		t.Errorf("the other lab: exit status %d\n%s", code, out)
	}
	if out, code := b.run("lab", "down", "--name", b.lab.Name); code != exitOK {
		t.Errorf("down: exit status %d\n%s", code, out)
	}
	if left := processes(b.lab.Name); len(left) > 0 {
		t.Errorf("processes that outlived their lab: %v", left)
	}
	after := traces(t, name)
	if !slices.Equal(after.here, before.here) {
		t.Errorf("left on the machine: %v, before %v", after.here, before.here)
	}
	if !slices.Equal(after.files, before.files) {
		t.Errorf("files left: %v, before %v", after.files, before.files)
	}
	if out, code := b.run("lab", "down", "--name", b.lab.Name); code != exitOK {
		t.Errorf("down of a lab that is down: exit status %d\n%s", code, out)
	}
	if out, code := b.run("lab", "ls", "--name", b.lab.Name); code != exitError || !strings.Contains(out, "not up") {
		t.Errorf("ls of a lab that is down: exit status %d\n%s", code, out)
	}
}

// A trace is what a lab could leave on the machine.
type trace struct {
	here  []string // links, namespaces, mounts
	files []string
}

// traces looks for what labs whose names begin so could leave.
func traces(t *testing.T, name string) trace {
	t.Helper()
	var out trace
	links, err := os.ReadDir("/sys/class/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		out.here = append(out.here, "link "+l.Name())
	}
	spaces, _ := os.ReadDir("/run/netns") // it need not exist
	for _, s := range spaces {
		out.here = append(out.here, "namespace "+s.Name())
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		out.here = append(out.here, strings.Fields(line)[4])
	}
	slices.Sort(out.here)
	for _, dir := range []string{"/run/weft*", "/run/lab*", "/var/lib/weft/labs/" + name + "*", "/run/openvswitch/*", "/etc/weft*"} {
		found, err := filepath.Glob(dir)
		if err != nil {
			t.Fatal(err)
		}
		out.files = append(out.files, found...)
	}
	return out
}

// processes are those that carry the name of a lab in their command line or
// environment.
func processes(name string) []string {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var out []string
	for _, d := range dirs {
		if d == "/proc/"+strconv.Itoa(os.Getpid()) {
			continue
		}
		args, _ := os.ReadFile(d + "/cmdline")
		env, _ := os.ReadFile(d + "/environ")
		if bytes.Contains(args, []byte("/"+name+"/")) || bytes.Contains(env, []byte(lab.NameVar+"="+name+"\x00")) {
			out = append(out, d+" "+strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return out
}
