package file

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weft.dev/reconcile/resource"
)

func drive(secret string) resource.File {
	return resource.File{Path: "drives/acme/web-1.iso", Mode: 0o600, Image: "config-2", Parts: []resource.Part{
		{At: "openstack/latest/meta_data.json", Text: `{"name":`}, {At: "openstack/latest/meta_data.json", Text: `"web-1"}`},
		{At: "openstack/latest/user_data", Text: "#cloud-config\n", Hidden: true},
		{At: "cloudstack/password/vm_password.txt", Secret: secret},
	}}
}

// An image is written, seen as it was asked for, and written again where it changed.
func TestImage(t *testing.T) {
	needsPacker(t)
	w := newWorld(t)
	path := w.secret("web-1.pw", "correct horse\n")
	filled := func() resource.File {
		f := drive(path)
		var err error
		f.Parts, err = w.driver().fill(f.Parts)
		must(t, err)
		return f
	}
	f := filled()
	must(t, w.make(f))
	if !w.equal(f) {
		t.Fatalf("seen as %v", w.observe(f))
	}
	inode := func() os.FileInfo {
		info, err := os.Stat(w.path(f.Path))
		must(t, err)
		return info
	}
	before := inode()
	if before.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", before.Mode())
	}
	for path, want := range map[string]string{
		"openstack/latest/meta_data.json": `{"name":"web-1"}`, "openstack/latest/user_data": "#cloud-config\n", "cloudstack/password/vm_password.txt": "correct horse",
	} {
		if got := read(t, w.path(f.Path), path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}

	w.secret("web-1.pw", "battery staple")
	if f = filled(); w.equal(f) {
		t.Error("an image with another secret is seen as equal")
	}
	must(t, w.make(f))
	if !w.equal(f) || os.SameFile(before, inode()) {
		t.Errorf("it was not replaced: %v", w.observe(f))
	}
	if got := read(t, w.path(f.Path), "cloudstack/password/vm_password.txt"); got != "battery staple" {
		t.Errorf("it holds %q", got)
	}

	// Another hand, and another kind of file.
	b, err := os.ReadFile(w.path(f.Path))
	must(t, err)
	must(t, os.WriteFile(w.path(f.Path), append(b, 0), 0o600))
	if got := content(w.observe(f)[f.ID()].State); w.equal(f) || strings.Contains(got, "staple") {
		t.Errorf("a changed image is seen as %q", got)
	}
	plain := text(f.Path, "x\n")
	must(t, w.make(plain))
	if !w.equal(plain) {
		t.Errorf("seen as %v", w.observe(plain))
	}
	must(t, w.make(f))
	must(t, w.drop(f))
	left, err := filepath.Glob(filepath.Join(w.host.RunDir, "*"))
	must(t, err)
	for _, dir := range left {
		if base := filepath.Base(dir); base != "files" && base != "marks" {
			t.Errorf("left behind: %s", dir)
		}
	}
}

// read gets a file out of an image, by the names of Rock Ridge.
func read(t *testing.T, image, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "bsdtar", "-xOf", image, path).Output()
	must(t, err)
	return string(out)
}

func needsPacker(t *testing.T) {
	t.Helper()
	_, err := packer()
	if _, none := exec.LookPath("bsdtar"); err != nil || none != nil {
		t.Skip("needs genisoimage and bsdtar")
	}
}

// Others read it too: the names in it are those that were asked for.
func TestImageForOthers(t *testing.T) {
	needsPacker(t)
	w := newWorld(t)
	f := drive(w.secret("web-1.pw", "correct horse\n"))
	must(t, w.make(f))
	for _, x := range []struct {
		argv []string
		want string
	}{
		{[]string{"bsdtar", "-xOf", w.path(f.Path), "openstack/latest/user_data"}, "#cloud-config\n"},
		{[]string{"bsdtar", "--options", "iso9660:!rockridge", "-xOf", w.path(f.Path), "cloudstack/password/vm_password.txt"}, "correct horse"},
		{[]string{"bsdtar", "--options", "iso9660:!joliet", "-xOf", w.path(f.Path), "openstack/latest/meta_data.json"}, `{"name":"web-1"}`},
		{[]string{"/sbin/blkid", "-p", "-o", "value", "-s", "LABEL", w.path(f.Path)}, "config-2\n"},
	} {
		if _, err := exec.LookPath(x.argv[0]); err != nil {
			t.Log(err)
			continue
		}
		out, err := exec.CommandContext(t.Context(), x.argv[0], x.argv[1:]...).CombinedOutput()
		if err != nil || string(out) != x.want {
			t.Errorf("%q: %v\n%s", x.argv, err, out)
		}
	}
}

func TestHostileImages(t *testing.T) {
	needsPacker(t)
	w := newWorld(t)
	for _, path := range []string{"", ".", "..", "../x", "/x", "a//b", "a/../../x", strings.Repeat("a", 65), "a*b", "a\nb", "a;1"} {
		f := resource.File{Path: "i", Mode: 0o600, Image: "config-2", Parts: []resource.Part{{At: path, Text: "x"}}}
		if err := w.make(f); err == nil {
			t.Errorf("%q is accepted", path)
		}
	}
	f := resource.File{Path: "i", Image: "config-2", Parts: []resource.Part{{At: "a", Text: strings.Repeat("x", maxImage+1)}}}
	if err := w.make(f); err == nil {
		t.Error("any size is accepted")
	}
	if got := w.observe(); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}
