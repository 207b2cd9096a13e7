package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"weft.dev/reconcile/compile/cloudgen"
	"weft.dev/reconcile/source"
)

// BenchmarkColdPlan is a pull request's check of the large cloud, 10,000 networks
// and 100,000 NICs on 500 hosts, each verb as a process that knows nothing: its
// time, what it takes of all processors, and the most memory that it has at once.
// The plan is of one changed file.
func BenchmarkColdPlan(b *testing.B) {
	dir := largeRepository(b)
	b.Run("validate", func(b *testing.B) { benchmarkVerb(b, "validate", dir) })
	b.Run("plan", func(b *testing.B) {
		changeFiles(b, dir, cloudgen.NetworkFile(cloudgen.Large, 5000))
		benchmarkVerb(b, "plan", "--base", "HEAD", dir)
	})
}

// largeRepository is the cloud as a work tree with its lock, committed.
func largeRepository(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	for name, text := range cloudgen.Files(cloudgen.Large) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	verb(b, "weft", "lock", dir)
	verb(b, "git", "init", "-q", dir)
	commitAll(b, dir)
	verb(b, "git", "-C", dir, "repack", "-q", "-a", "-d")
	return dir
}

// changeFiles lets networks open another port.
func changeFiles(b *testing.B, dir string, names ...string) {
	b.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), "ports: [80, 443]", "ports: [80, 444]", 1)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkVerb(b *testing.B, args ...string) {
	b.Helper()
	cpu, peak := 0.0, int64(0)
	for b.Loop() {
		s := verb(b, "weft", args...)
		used, _ := s.SysUsage().(*syscall.Rusage)
		cpu += (s.UserTime() + s.SystemTime()).Seconds()
		peak = max(peak, used.Maxrss>>10)
	}
	b.ReportMetric(cpu/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(peak), "peak-MB")
}

// verb runs a program to its end.
func verb(b *testing.B, name string, args ...string) *os.ProcessState {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return cmd.ProcessState
}

// BenchmarkOneFile is what a commit in the large cloud costs the agent of one host
// before it looks at the host: one file says something else, or has one more
// machine, which has numbers in the lock. live-MB is what the agent keeps.
func BenchmarkOneFile(b *testing.B) {
	dir := largeRepository(b)
	name := cloudgen.NetworkFile(cloudgen.Large, 5000)
	changeFiles(b, dir, name)
	commitAll(b, dir)
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, oneMore...), 0o644); err != nil {
		b.Fatal(err)
	}
	verb(b, "weft", "lock", dir)
	commitAll(b, dir)
	b.Run("changed", func(b *testing.B) { benchmarkCommits(b, dir, "HEAD~2", "HEAD~1") })
	b.Run("added", func(b *testing.B) { benchmarkCommits(b, dir, "HEAD~1", "HEAD") })
}

// oneMore is a machine in the network whose file is changed.
const oneMore = `---
apiVersion: weft.dev/v1alpha1
kind: VirtualMachine
metadata: {name: one-more, account: acc0}
spec: {zone: zone0, host: kvm0, nics: [{network: net5000}]}
`

func commitAll(b *testing.B, dir string) {
	b.Helper()
	verb(b, "git", "-C", dir, "add", "-A")
	verb(b, "git", "-C", dir, "-c", "user.name=Ann", "-c", "user.email=ann@example.com", "commit", "-q", "-m", "a commit")
}

// benchmarkCommits compiles two commits in turn.
func benchmarkCommits(b *testing.B, dir string, revs ...string) {
	b.Helper()
	co, err := source.Local(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = co.Close() }()
	c := newCompilerOf("kvm1")
	step := func(rev string) *compiled {
		files, err := co.TreeAt(rev)
		if err != nil {
			b.Fatal(err)
		}
		t, err := c.compile(files, nil)
		if err != nil || t.diags.HasErrors() || len(t.Holds()) > 0 {
			b.Fatal(err, t.diags, t.Holds())
		}
		return t
	}
	last := step(revs[1])
	for i := 0; b.Loop(); i++ {
		if last = step(revs[i%2]); last.Stats.Compiled != 1 {
			b.Fatal(last.Stats)
		}
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc>>20), "live-MB")
	runtime.KeepAlive(last)
	runtime.KeepAlive(c)
}
