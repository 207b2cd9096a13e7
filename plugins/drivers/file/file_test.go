package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"
)

const owner = resource.Owner("network/acme/web")

// world is a host with a directory of secrets.
type world struct {
	t       *testing.T
	host    *host.Host
	secrets string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	h := host.New("kvm1", "")
	h.RunDir, h.StateDir = filepath.Join(dir, "run"), filepath.Join(dir, "state")
	w := &world{t: t, host: h, secrets: filepath.Join(dir, "etc")}
	if err := os.Mkdir(w.secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	return w
}

// driver is a new one each time: nothing may be remembered but on the host.
func (w *world) driver() *Driver { return New(w.host, Below(w.secrets)) }

func (w *world) secret(name, value string) string {
	w.t.Helper()
	path := filepath.Join(w.secrets, name)
	if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) path(name string) string { return filepath.Join(Dir(w.host), name) }

func (w *world) make(f resource.File) error {
	a := &plan.Action{ID: f.ID(), Verb: plan.Create, After: &resource.Entry{State: f, Owner: owner}}
	return w.driver().Do(context.Background(), []*plan.Step{{Action: a}})[0]
}

func (w *world) drop(f resource.File) error {
	a := &plan.Action{ID: f.ID(), Verb: plan.Delete, Before: &resource.Entry{State: f, Owner: owner}}
	return w.driver().Do(context.Background(), []*plan.Step{{Action: a, Drop: true}})[0]
}

func (w *world) observe(want ...resource.File) resource.Set {
	w.t.Helper()
	scope := driver.Scope{Desired: resource.Set{}}
	for _, f := range want {
		scope.Desired.Put(resource.Entry{State: f, Owner: owner})
	}
	got, err := w.driver().Observe(context.Background(), scope)
	if err != nil {
		w.t.Fatal(err)
	}
	return got.Set
}

// equal says whether f is seen as it is wanted.
func (w *world) equal(f resource.File) bool {
	w.t.Helper()
	e, ok := w.observe(f)[f.ID()]
	return ok && e.State.Fingerprint() == f.Fingerprint() && e.Owner == owner
}

func text(path, content string) resource.File {
	return resource.File{Path: path, Mode: 0o644, Parts: []resource.Part{{Text: content}}}
}

func content(st resource.State) string {
	for _, f := range st.Fields() {
		if f.Name == "content" {
			return f.Value
		}
	}
	return ""
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMakeObserveDrop(t *testing.T) {
	w := newWorld(t)
	f := resource.File{Path: "routers/a/dnsmasq.conf", Mode: 0o640, Nic: "acme/web-1/eth0",
		Parts: []resource.Part{{Text: "one\n"}, {Text: "two\n"}}}
	for range 2 {
		must(t, w.make(f))
		if !w.equal(f) {
			t.Fatalf("seen as %v", w.observe(f))
		}
	}
	if got := resource.NICOf(w.observe()[f.ID()].State); got != f.Nic {
		t.Errorf("NIC %q is lost", got)
	}
	f.Parts = []resource.Part{{Text: "three\n"}}
	if w.equal(f) {
		t.Fatal("another content is seen as equal")
	}
	must(t, w.make(f))
	f.Mode = 0o600
	if w.equal(f) {
		t.Fatal("another mode is seen as equal")
	}
	must(t, w.make(f))
	if !w.equal(f) {
		t.Fatalf("seen as %v", w.observe(f))
	}
	for range 2 {
		must(t, w.drop(f))
	}
	if got := w.observe(); len(got) != 0 {
		t.Errorf("after drop: %v", got)
	}
	if _, err := os.Stat(w.path("routers")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty directories stay: %v", err)
	}
	if keys := w.host.Marks("file").Keys(); len(keys) != 0 {
		t.Errorf("marks stay: %v", keys)
	}
}

func TestModeOnlyKeepsTheFile(t *testing.T) {
	w := newWorld(t)
	f := text("a", "x\n")
	must(t, w.make(f))
	before, err := os.Stat(w.path("a"))
	must(t, err)
	f.Mode = 0o600
	must(t, w.make(f))
	after, err := os.Stat(w.path("a"))
	must(t, err)
	if !os.SameFile(before, after) || after.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, same file %v", after.Mode(), os.SameFile(before, after))
	}
}

func TestUmask(t *testing.T) {
	w := newWorld(t)
	defer syscall.Umask(syscall.Umask(0o077))
	f := text("d/e/f", "x")
	must(t, w.make(f))
	if !w.equal(f) {
		t.Errorf("seen: %v", w.observe(f))
	}
	for _, dir := range []string{"../../run", ".", "d", "d/e"} {
		info, err := os.Stat(w.path(dir))
		must(t, err)
		if info.Mode().Perm() != 0o755 {
			t.Errorf("%s has mode %v: daemons that gave up root cannot read it", dir, info.Mode())
		}
	}
}

func TestHostilePaths(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{
		"", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "a/", ".new", "a/.hidden", "a\nb", "a\x00b", "./a",
	} {
		if err := w.make(text(path, "x")); err == nil {
			t.Errorf("%q is accepted", path)
		}
	}
	if got := w.observe(); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	w := newWorld(t)
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	must(t, os.WriteFile(victim, []byte("precious"), 0o644))
	must(t, os.MkdirAll(Dir(w.host), 0o755))
	must(t, os.Symlink(outside, w.path("dir")))
	must(t, os.Symlink(victim, w.path("file")))
	f, inDir := text("file", "x"), text("dir/victim", "x")
	seen := w.observe(f, inDir)
	if len(seen) != 2 || strings.Contains(fmt.Sprint(seen), "precious") {
		t.Fatalf("seen: %v", seen)
	}
	must(t, w.make(f))
	must(t, w.make(inDir))
	if !w.equal(f) || !w.equal(inDir) {
		t.Errorf("seen: %v", w.observe(f, inDir))
	}
	must(t, w.drop(f))
	must(t, w.drop(inDir))
	if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
		t.Errorf("what a link points to was touched: %q, %v", b, err)
	}
}

// Any world becomes any other in one round, files where directories were
// included.
func TestFileAndDirectoryChangePlaces(t *testing.T) {
	w := newWorld(t)
	must(t, w.make(text("a", "x")))
	must(t, w.make(text("a/b", "x")))
	must(t, w.drop(text("a/b", "")))
	must(t, w.make(text("a/b/c", "x")))
	must(t, w.make(text("a", "y")))
	if !w.equal(text("a", "y")) || len(w.observe()) != 1 {
		t.Errorf("seen: %v", w.observe())
	}
}

func TestUnknownFilesAreOurs(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(w.path("x"), 0o755))
	must(t, os.WriteFile(w.path("x/.left"), []byte("password"), 0o600))
	f := resource.File{Path: "x/.left"}
	e, ok := w.observe()[f.ID()]
	if !ok || e.Owner != "" || strings.Contains(content(e.State), "password") {
		t.Fatalf("seen as %v", e)
	}
	must(t, w.drop(f))
	if len(w.observe()) != 0 {
		t.Error("it cannot be removed")
	}
}

func TestHandEditIsSeen(t *testing.T) {
	w := newWorld(t)
	f := text("hosts", "10.0.0.1 a\n10.0.0.2 b\n")
	must(t, w.make(f))
	must(t, os.WriteFile(w.path("hosts"), []byte("10.0.0.1 a\n10.0.0.9 evil\n"), 0o644))
	e := w.observe(f)[f.ID()]
	if e.Owner != owner || content(e.State) != "10.0.0.1 a\n10.0.0.9 evil" {
		t.Errorf("seen as %q of %s", content(e.State), e.Owner)
	}
}

// Daemons that gave up root cannot enter a directory that somebody shut: what lies
// below is not as it is wanted, and becomes so again.
func TestShutDirectory(t *testing.T) {
	for _, dir := range []string{".", "a", "a/b"} {
		w := newWorld(t)
		f, beside := text("a/b/hosts", "x\n"), text("c/hosts", "x\n")
		must(t, w.make(f))
		must(t, w.make(beside))
		must(t, os.Chmod(w.path(dir), 0o700))
		e := w.observe(f)[f.ID()]
		if e.State.Fingerprint() == f.Fingerprint() || !strings.Contains(content(e.State), "mode 0700") {
			t.Errorf("%s is shut, the file is seen as %q", dir, content(e.State))
		}
		if w.equal(beside) != (dir != ".") {
			t.Errorf("%s is shut, the file beside is seen as %v", dir, w.observe(beside))
		}
		must(t, w.make(f))
		if !w.equal(f) || !w.equal(beside) {
			t.Errorf("%s is still shut: %v", dir, w.observe(f, beside))
		}
	}
}

// Without its mark a file is still recognised by its content; only its owner
// is not known.
func TestLostMark(t *testing.T) {
	w := newWorld(t)
	f := text("hosts", "x\n")
	must(t, w.make(f))
	must(t, os.RemoveAll(filepath.Join(w.host.RunDir, "marks")))
	if e := w.observe(f)[f.ID()]; e.State.Fingerprint() != f.Fingerprint() || e.Owner != "host/kvm1" {
		t.Errorf("seen as %v", e)
	}
}

func TestSecrets(t *testing.T) {
	w := newWorld(t)
	path := w.secret("psk", "hunter2\n")
	f := resource.File{Path: "ipsec.secrets", Mode: 0o600, Parts: []resource.Part{{Text: "PSK "}, {Secret: path}, {Text: "\n"}}}
	p := resource.Process{Name: "charon", Argv: []string{"charon"}, After: []resource.ID{f.ID()}, Reload: "HUP", Load: 7, Start: 8}
	intent := func() *resource.Intent {
		fr := resource.NewFragment(owner, []resource.Entry{{State: f, Owner: owner}, {State: p, Owner: owner}})
		return w.driver().Digest(resource.NewIntent("kvm1", []*resource.Fragment{fr}, nil))
	}
	first := intent()
	want := first.Set()[f.ID()].State.(resource.File)
	if want.Parts[1].Digest == "" || f.Parts[1].Digest != "" {
		t.Fatalf("digests: %v, given %v", want.Parts, f.Parts)
	}
	must(t, w.make(want))
	if b, err := os.ReadFile(w.path(f.Path)); err != nil || string(b) != "PSK hunter2\n" {
		t.Fatalf("written: %q, %v", b, err)
	}
	if !w.equal(want) {
		t.Fatalf("seen as %v", w.observe(want))
	}
	if again := intent(); again.Fingerprint() != first.Fingerprint() {
		t.Error("the digest differs from one process to the next")
	}

	w.secret("psk", "correct horse")
	second := intent()
	want = second.Set()[f.ID()].State.(resource.File)
	if w.equal(want) {
		t.Error("a changed secret is seen as equal")
	}
	was, is := first.Set()[p.ID()].State.(resource.Process), second.Set()[p.ID()].State.(resource.Process)
	if was.Load == is.Load || was.Start != is.Start {
		t.Error("who reads the secret is not reloaded")
	}
	must(t, w.make(want))

	must(t, os.WriteFile(w.path(f.Path), []byte("PSK correct horse\nPSK other\n"), 0o600))
	if e := w.observe(want)[f.ID()]; e.State.Fingerprint() == want.Fingerprint() || strings.Contains(content(e.State), "horse") {
		t.Errorf("a hand edit is seen as %q", content(e.State))
	}
	for _, dir := range []string{w.host.RunDir + "/marks", w.host.StateDir} {
		must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if strings.Contains(string(b), "horse") {
				t.Errorf("%s holds the secret", path)
			}
			return err
		}))
	}

	must(t, os.Remove(path))
	gone := intent()
	if h, held := gone.Held(owner); !held || !strings.Contains(h.Reason, path) || gone.Fragment(owner) != nil {
		t.Errorf("an unreadable secret gives %v, held %v", gone.Fragments, gone.Holds)
	}
	if err := w.make(want); err == nil {
		t.Error("a file is written without its secret")
	}
}

// A crash between mark and file must show neither the old nor the new secret.
func TestSecretCrash(t *testing.T) {
	w := newWorld(t)
	path := w.secret("psk", "hunter2")
	secret := resource.File{Path: "f", Mode: 0o600, Parts: []resource.Part{{Secret: path}}}
	must(t, w.make(secret))
	plain := text("f", "plain\n")
	// The file of the next intent was written, its mark was not.
	must(t, os.WriteFile(w.path("f"), []byte("plain\n"), 0o644))
	if w.equal(plain) {
		t.Error("what was not marked is taken for finished")
	}
	must(t, w.make(plain))
	if !w.equal(plain) {
		t.Errorf("seen as %v", w.observe(plain))
	}
}

func TestSecretsLieBelowTheirDirectory(t *testing.T) {
	w := newWorld(t)
	outside := filepath.Join(t.TempDir(), "shadow")
	must(t, os.WriteFile(outside, []byte("root"), 0o600))
	must(t, os.Symlink(outside, filepath.Join(w.secrets, "link")))
	must(t, os.Mkdir(filepath.Join(w.secrets, "dir"), 0o700))
	for _, path := range []string{
		outside, w.secrets + "/../x", w.secrets + "/link", w.secrets + "/dir", w.secrets, "psk", "", w.secrets + "/none",
	} {
		if b, err := Below(w.secrets)(path); err == nil {
			t.Errorf("%q gives %q", path, b)
		}
	}
}

func TestStepsAfterAFailedOneAreSkipped(t *testing.T) {
	w := newWorld(t)
	step := func(i int, path string, after ...int) *plan.Step {
		f := text(path, "x")
		return &plan.Step{Index: i, After: after, Action: &plan.Action{ID: f.ID(), After: &resource.Entry{State: f, Owner: owner}}}
	}
	errs := w.driver().Do(context.Background(), []*plan.Step{step(3, "../x"), step(4, "a", 3), step(5, "b", 4), step(6, "c")})
	if errs[0] == nil || !errors.Is(errs[1], plan.ErrSkipped) || !errors.Is(errs[2], plan.ErrSkipped) || errs[3] != nil {
		t.Errorf("got %v", errs)
	}
}

// What a test refuses is not written, and leaves what was there as it was.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	path := w.secret("key", "good\n")
	f := resource.File{Path: "d/x.pem", Mode: 0o600, Parts: []resource.Part{{Text: "cert\n"}, {Secret: path}}, Test: []string{"sh", "-c", `grep -q good {file} || { echo "no good" >&2; exit 1; }`}}
	must(t, w.make(f))
	var err error
	f.Parts, err = w.driver().fill(f.Parts)
	must(t, err)
	if !w.equal(f) {
		t.Fatal("it is seen as another")
	}
	w.secret("key", "bad\n")
	if err := w.make(f); err == nil || !strings.Contains(err.Error(), "what was there before stays: no good") {
		t.Errorf("got %v", err)
	}
	if !w.equal(f) {
		t.Error("what was there before did not stay")
	}
	if left, _ := filepath.Glob(w.path(".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	must(t, w.drop(f))
	if err := w.make(f); err == nil || len(w.observe()) > 0 {
		t.Errorf("a first one is written: %v, %v", err, w.observe())
	}
}

// A secret that cannot be read holds its owner, but where the file has a test.
func TestUnreadableSecret(t *testing.T) {
	w := newWorld(t)
	f := resource.File{Path: "d/x.pem", Mode: 0o600, Parts: []resource.Part{{Secret: filepath.Join(w.secrets, "none")}}}
	digested := func() *resource.Intent {
		in := resource.NewIntent("kvm1", []*resource.Fragment{resource.NewFragment(owner, []resource.Entry{{State: f, Owner: owner}, {State: text("other", "x"), Owner: owner}})}, nil)
		return w.driver().Digest(in)
	}
	if _, held := digested().Held(owner); !held {
		t.Error("the owner is not held")
	}
	f.Test = []string{"true"}
	if got := digested(); got.Fragment(owner) == nil || len(got.Holds) > 0 {
		t.Errorf("all that the owner has is held: %v", got.Holds)
	}
	if err := w.make(f); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

// One that who reads the file can do without is empty while it is not there.
func TestOptionalSecret(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.secrets, "none")
	f := resource.File{Path: "d/psk", Mode: 0o600, Parts: []resource.Part{{Secret: path, Optional: true}}}
	in := resource.NewIntent("kvm1", []*resource.Fragment{resource.NewFragment(owner, []resource.Entry{{State: f, Owner: owner}})}, nil)
	without := w.driver().Digest(in)
	if len(without.Holds) > 0 || without.Fragment(owner) == nil {
		t.Fatalf("it holds its owner: %v", without.Holds)
	}
	must(t, w.make(f))
	if b, err := os.ReadFile(w.path("d/psk")); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	w.secret("none", "now\n")
	if with := w.driver().Digest(in); with.Fingerprint() == without.Fingerprint() {
		t.Error("that it came is not seen")
	}
	must(t, w.make(f))
	if b, err := os.ReadFile(w.path("d/psk")); err != nil || string(b) != "now" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestWatch(t *testing.T) {
	w := newWorld(t)
	must(t, w.make(text("d/a", "x")))
	left := filepath.Join(w.host.RunDir, "image.new") // of an agent that was killed
	must(t, os.MkdirAll(filepath.Join(left, "tree"), 0o700))
	ctx, cancel := context.WithCancel(context.Background())
	wakes, done := make(chan struct{}, 100), make(chan error)
	d := w.driver()
	go func() { done <- d.Watch(ctx, func(driver.Scope) { wakes <- struct{}{} }) }()
	// The watch may not be there yet: write until it is heard.
	for heard := false; !heard; {
		must(t, os.WriteFile(w.path("d/a"), []byte("y"), 0o644))
		select {
		case <-wakes:
			heard = true
		default:
		}
	}
	must(t, os.MkdirAll(w.path("e"), 0o755))
	<-wakes
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", left, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A secret that changed is noticed, also where another file took its place.
func TestWatchSecrets(t *testing.T) {
	w := newWorld(t)
	path := w.secret("psk", "hunter2")
	d := w.driver()
	ctx, cancel := context.WithCancel(context.Background())
	wakes, done := make(chan struct{}, 100), make(chan error)
	go func() { done <- d.Watch(ctx, func(driver.Scope) { wakes <- struct{}{} }) }()
	if _, err := d.fill([]resource.Part{{Secret: path}}); err != nil {
		t.Fatal(err)
	}
	// The watch may not be there yet: write until it is heard.
	for heard := false; !heard; {
		w.secret(".psk", "correct horse")
		must(t, os.Rename(filepath.Join(w.secrets, ".psk"), path))
		select {
		case <-wakes:
			heard = true
		default:
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
