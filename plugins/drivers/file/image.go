package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"weft.dev/reconcile/resource"
)

// maxImage bounds what goes into an image: it is observed as a whole.
const maxImage = maxShown / 2

// packers are the programs that make images, all with the options of mkisofs.
// CloudStack's hosts have one of the first two. (Of the libraries in Go, iso9660 has
// no names of Joliet, and those of go-diskfs 1.9 are wrong below the first directory.)
var packers = []string{"genisoimage", "mkisofs", "xorrisofs"}

// member is a file in an image.
type member struct {
	path    string
	content []byte
}

// workshop is where an image is made, one at a time.
func (d *Driver) workshop() string { return filepath.Join(d.host.RunDir, "image.new") }

// sweep removes what an agent left that was killed while it made an image: passwords
// may lie there, and the image may never be wanted again.
func (d *Driver) sweep() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return os.RemoveAll(d.workshop())
}

// pack makes an image in ISO 9660 with the label given, with the names of Rock Ridge
// for Linux and of Joliet for Windows. The times in it are those of the call: two
// calls give two contents, so an image is known by what it was made of.
func (d *Driver) pack(ctx context.Context, label string, members []member) (content []byte, err error) {
	program, err := packer()
	if err != nil {
		return nil, err
	}
	// What goes in lies below /run for a moment, for root only.
	work := d.workshop()
	tree, image := filepath.Join(work, "tree"), filepath.Join(work, "image")
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o700), os.Mkdir(tree, 0o755)); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	size := 0
	for _, m := range members {
		if err := inImage(m.path); err != nil {
			return nil, err
		}
		if size += len(m.content); size > maxImage {
			return nil, fmt.Errorf("an image of more than %d bytes", maxImage)
		}
		at := filepath.Join(tree, filepath.FromSlash(m.path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, m.content, 0o644)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := d.host.Run(ctx, "", nil, program, "-quiet", "-J", "-joliet-long", "-r", "-V", label, "-o", image, tree); err != nil {
		return nil, err
	}
	return os.ReadFile(image)
}

func packer() (string, error) {
	for _, name := range packers {
		if _, err := exec.LookPath(name); err == nil {
			return name, nil
		}
	}
	return "", fmt.Errorf("config drives need one of %s on the host, and none is installed (Debian: apt install genisoimage)", strings.Join(packers, ", "))
}

// inImage says why a path cannot be one in an image: names in Joliet are shorter than
// elsewhere.
func inImage(p string) error {
	if path.Clean(p) != p || !filepath.IsLocal(p) || p == "." {
		return fmt.Errorf("%q is no clean path in an image", p)
	}
	for name := range strings.SplitSeq(p, "/") {
		if len(name) > 64 || strings.ContainsAny(name, "*:;?\\\x00\n\r") {
			return fmt.Errorf("%q is no name in an image", name)
		}
	}
	return nil
}

// members opens the secrets of an image.
func (d *Driver) members(f resource.File) ([]member, error) {
	var out []member
	for _, p := range f.Parts {
		if n := len(out); n == 0 || out[n-1].path != p.At {
			out = append(out, member{path: p.At})
		}
		m := &out[len(out)-1]
		value, err := d.value(p)
		if err != nil {
			return nil, err
		}
		m.content = append(m.content, value...)
	}
	return out, nil
}

// content is what f shall hold.
func (d *Driver) content(ctx context.Context, f resource.File) ([]byte, error) {
	if f.Image != "" {
		list, err := d.members(f)
		if err != nil {
			return nil, err
		}
		return d.pack(ctx, f.Image, list)
	}
	var out bytes.Buffer
	for _, p := range f.Parts {
		value, err := d.value(p)
		if err != nil {
			return nil, err
		}
		out.Write(value)
	}
	return out.Bytes(), nil
}

func (d *Driver) value(p resource.Part) ([]byte, error) {
	if p.Secret == "" {
		return []byte(p.Text), nil
	}
	return d.secretOf(p)
}
