//go:build netns

package ovs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

const insideEnv = "WEFT_OVS_TEST_INSIDE"

// TestMain runs the tests as a child in namespaces of its own: what they make
// ends with it.
func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) != "" {
		os.Exit(m.Run())
	}
	script := `mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/netns && mount -t sysfs sysfs /sys && ip link set lo up && exec "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-ec", script, "sh", os.Args[0]}, os.Args[1:]...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"=1", "PATH=/usr/sbin:/sbin:"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// As PID 1's namespace ends, so does every daemon.
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL,
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "namespaces for the tests:", err)
		os.Exit(1)
	}
}

// A vswitch is an Open vSwitch of the test's own; ns "" is the namespace of the
// tests.
type vswitch struct {
	t   testing.TB
	ns  string
	dir string
	db  *exec.Cmd
	sw  *exec.Cmd
}

func startSwitch(t testing.TB, ns string) *vswitch {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "ovs")
	if err != nil {
		t.Fatal(err)
	}
	s := &vswitch{t: t, ns: ns, dir: dir}
	if ns != "" {
		sh(t, "ip netns add "+ns+" && ip -n "+ns+" link set lo up")
		t.Cleanup(func() { sh(t, "ip netns del "+ns) })
	}
	sh(t, "ovsdb-tool create "+dir+"/conf.db /usr/share/openvswitch/vswitch.ovsschema")
	s.startDB()
	s.vsctl("--no-wait", "init")
	s.startVswitchd()
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "vswitchd.log"))
			lines := strings.Split(string(log), "\n")
			t.Log(strings.Join(lines[max(0, len(lines)-25):], "\n"))
		}
		stop(s.sw)
		stop(s.db)
	})
	return s
}

func (s *vswitch) start(argv ...string) *exec.Cmd {
	s.t.Helper()
	if s.ns != "" {
		argv = append([]string{"ip", "netns", "exec", s.ns}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+s.dir, "OVS_LOGDIR="+s.dir, "OVS_DBDIR="+s.dir)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return cmd
}

func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func (s *vswitch) startDB() {
	s.t.Helper()
	s.db = s.start("ovsdb-server", s.dir+"/conf.db", "--remote=punix:"+s.dir+"/db.sock", "--unixctl="+s.dir+"/ovsdb.ctl", "-vconsole:off")
	eventually(s.t, "database server", func() bool {
		return exec.Command("ovsdb-client", "list-dbs", "unix:"+s.dir+"/db.sock").Run() == nil
	})
}

func (s *vswitch) startVswitchd() {
	s.t.Helper()
	s.sw = s.start("ovs-vswitchd", "unix:"+s.dir+"/db.sock", "--unixctl="+s.dir+"/vswitchd.ctl", "--log-file="+s.dir+"/vswitchd.log", "-vconsole:off")
	eventually(s.t, "switch", func() bool { return s.tryVsctl("-t", "1", "get", "Open_vSwitch", ".", "cur_cfg") == nil })
}

func (s *vswitch) tryVsctl(args ...string) error {
	return exec.Command("ovs-vsctl", append([]string{"--db=unix:" + s.dir + "/db.sock"}, args...)...).Run()
}

func (s *vswitch) vsctl(args ...string) string {
	s.t.Helper()
	return command(s.t, append([]string{"ovs-vsctl", "--db=unix:" + s.dir + "/db.sock", "--timeout=10"}, args...)...)
}

func (s *vswitch) ofctl(verb, bridge string, args ...string) string {
	s.t.Helper()
	return command(s.t, append([]string{"ovs-ofctl", verb, "-OOpenFlow14", "unix:" + s.dir + "/" + bridge + ".mgmt"}, args...)...)
}

func command(t testing.TB, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

func sh(t testing.TB, script string) string {
	t.Helper()
	return command(t, "/bin/sh", "-ec", script)
}

// eventually waits for a state; the pause only bounds how often it asks.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after 15 s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// driver returns a driver with no memory of another.
func (s *vswitch) driver(instance string) *Driver {
	s.t.Helper()
	h := host.New("test", instance)
	h.OVSDB = "unix:" + s.dir + "/db.sock"
	h.RunDir = filepath.Join(s.dir, "run-"+h.Instance)
	d := New(h)
	s.t.Cleanup(d.Close)
	return d
}

const shared = resource.Owner("host/test")

func entry(owner resource.Owner, st resource.State) resource.Entry {
	return resource.Entry{State: st, Owner: owner}
}

// steps makes each of after true, from what is observed.
func steps(observed *resource.Observed, entries ...resource.Entry) []*plan.Step {
	var out []*plan.Step
	for i, e := range entries {
		a := &plan.Action{ID: e.State.ID(), Verb: plan.Create, After: &e}
		if observed != nil {
			if before, ok := observed.Set[a.ID]; ok {
				a.Verb, a.Before = plan.Update, &before
			}
		}
		out = append(out, &plan.Step{Index: i, Action: a})
	}
	return out
}

func dropStep(index int, e resource.Entry) *plan.Step {
	return &plan.Step{Index: index, Drop: true, Action: &plan.Action{ID: e.State.ID(), Verb: plan.Delete, Before: &e}}
}

// after orders steps of flows behind those of rows, as a plan does.
func after(list []*plan.Step) []*plan.Step {
	for _, s := range list {
		for _, o := range list {
			if s.ID().Kind == resource.KindFlows && o.ID().Kind != resource.KindFlows {
				s.After = append(s.After, o.Index)
			}
		}
	}
	return list
}

func mustDo(t testing.TB, d *Driver, list []*plan.Step) {
	t.Helper()
	for i, err := range d.Do(t.Context(), list) {
		if err != nil {
			t.Fatalf("%s: %v", list[i].ID(), err)
		}
	}
}

func mustObserve(t testing.TB, d *Driver, desired ...resource.Entry) *resource.Observed {
	t.Helper()
	set := resource.Set{}
	for _, e := range desired {
		set.Put(e)
	}
	o, err := d.Observe(context.Background(), driver.Scope{Desired: set})
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Unread) > 0 {
		t.Fatalf("unread: %+v", o.Unread)
	}
	return o
}

// differing lists what is not observed as wanted, with words.
func differing(o *resource.Observed, want ...resource.Entry) []string {
	var out []string
	seen := map[resource.ID]bool{}
	for _, e := range want {
		id := e.State.ID()
		seen[id] = true
		got, ok := o.Set[id]
		switch {
		case !ok:
			out = append(out, id.String()+" is missing")
		case got.State.Fingerprint() != e.State.Fingerprint():
			out = append(out, fmt.Sprintf("%s is %+v", id, got.State.Fields()))
		case got.Owner != e.Owner:
			out = append(out, fmt.Sprintf("%s belongs to %s", id, got.Owner))
		}
	}
	for id := range o.Set {
		if !seen[id] {
			out = append(out, id.String()+" is unwanted")
		}
	}
	return out
}

// mustBe fails unless a driver without memory observes exactly want.
func (s *vswitch) mustBe(instance string, want ...resource.Entry) {
	s.t.Helper()
	if diff := differing(mustObserve(s.t, s.driver(instance), want...), want...); len(diff) > 0 {
		s.t.Fatalf("observed:\n%s", strings.Join(diff, "\n"))
	}
}

func scopeOf(want ...resource.Entry) driver.Scope {
	set := resource.Set{}
	for _, e := range want {
		set.Put(e)
	}
	return driver.Scope{Desired: set}
}
