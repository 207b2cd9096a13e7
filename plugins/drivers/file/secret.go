package file

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// maxSecret bounds a secret: the largest are certificates with their chain.
const maxSecret = 1 << 20

// Below returns an opener of the regular files below dir, and of nothing else:
// who may commit must not read /etc/shadow through a host.
func Below(dir string) func(path string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		name, err := filepath.Rel(dir, path)
		if err != nil || !filepath.IsAbs(path) || !filepath.IsLocal(name) {
			return nil, fmt.Errorf("secret %s: secrets are files below %s", path, dir)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", path, err)
		}
		defer func() { _ = root.Close() }()
		info, err := root.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", path, reason(err))
		}
		if !info.Mode().IsRegular() || info.Size() > maxSecret {
			return nil, fmt.Errorf("secret %s: no regular file of at most %d bytes", path, maxSecret)
		}
		f, err := root.Open(name)
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", path, reason(err))
		}
		defer func() { _ = f.Close() }()
		return io.ReadAll(io.LimitReader(f, maxSecret))
	}
}

// reason leaves out the path that a PathError repeats.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// openSecret opens a secret; editors end files with a line break that is no
// part of it.
func (d *Driver) openSecret(path string) ([]byte, error) {
	b, err := d.open(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		d.sources.add(path)
	}
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	return b, err
}

// secretOf opens the secret of a part, which has to be as the part says.
func (d *Driver) secretOf(p resource.Part) ([]byte, error) {
	b, err := d.openSecret(p.Secret)
	if err == nil && p.Word > 0 {
		err = word(p.Secret, b, p.Word)
	}
	if err != nil && p.Optional {
		d.sources.add(p.Secret)
		return nil, nil
	}
	if err != nil && !p.Pos.IsZero() {
		err = fmt.Errorf("%s: %w", p.Pos, err)
	}
	return b, err
}

// word refuses a secret that is not one word; what is in it is not told.
func word(path string, b []byte, most int) error {
	what := ""
	switch {
	case len(b) == 0:
		what = "is empty"
	case len(b) > most:
		what = fmt.Sprintf("has %d bytes", len(b))
	}
	for _, c := range b {
		switch {
		case what != "":
		case c == '\n' || c == '\r':
			what = "has a line break"
		case c == ' ' || c == '\t':
			what = "has a blank"
		case c < ' ' || c == 0x7f:
			what = "has a control character"
		}
	}
	if what != "" {
		return fmt.Errorf("secret %s %s: it has to be 1 to %d characters without blanks, in one line", path, what, most)
	}
	return nil
}

// fill returns parts with the digest of every secret and hidden text.
func (d *Driver) fill(parts []resource.Part) ([]resource.Part, error) {
	out := slices.Clone(parts)
	for i := range out {
		value, err := []byte(out[i].Text), error(nil)
		switch {
		case out[i].Secret != "":
			value, err = d.secretOf(out[i])
		case !out[i].Hidden:
			continue
		}
		if err == nil {
			out[i].Digest, err = d.secret.sum(value)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Digest returns in with the keyed digest of every secret part filled in, as
// Diff needs it, and the processes that read such a file changed with it (see
// resource.Fragment.Keyed). An owner whose secret cannot be read is held, unless the
// file has a test: then the file alone stays as it is. in itself stays as it is.
func (d *Driver) Digest(in *resource.Intent) *resource.Intent {
	fragments, holds := slices.Clone(in.Fragments), slices.Clone(in.Holds)
	changed := false
	for i, f := range fragments {
		filled, err := d.digest(f)
		if err != nil {
			if _, held := in.Held(f.Owner); !held {
				holds = append(holds, resource.Hold{Owner: f.Owner, Cause: resource.HoldInvalid, Reason: err.Error()})
			}
			fragments[i], changed = nil, true
			continue
		}
		if filled != f {
			fragments[i], changed = filled, true
		}
	}
	if !changed {
		return in
	}
	fragments = slices.DeleteFunc(fragments, func(f *resource.Fragment) bool { return f == nil })
	out := resource.NewIntent(in.Host, fragments, holds)
	out.Frozen, out.Terms = in.Frozen, in.Terms
	return out
}

func (d *Driver) digest(f *resource.Fragment) (*resource.Fragment, error) {
	return f.Keyed(func(file resource.File) ([]resource.Part, error) {
		parts, err := d.fill(file.Parts)
		if err != nil && len(file.Test) > 0 {
			return file.Parts, nil // writing it will fail, and nothing else
		}
		return parts, err
	})
}

// keys holds the key of the digests: made once per host, so that a digest says
// nothing to who has a list of likely secrets.
type keys struct {
	path string
	mu   sync.Mutex
	key  []byte
}

func (k *keys) sum(content []byte) (string, error) {
	key, err := k.load()
	if err != nil {
		return "", fmt.Errorf("key of the digests: %w", err)
	}
	h := hmac.New(sha256.New, key)
	_, _ = h.Write(content)
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func (k *keys) load() ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key != nil {
		return k.key, nil
	}
	key, err := os.ReadFile(k.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(key) != sha256.Size {
		key = make([]byte, sha256.Size)
		_, _ = rand.Read(key) // never fails
		if err := host.WriteFile(k.path, key, 0o600); err != nil {
			return nil, err
		}
	}
	k.key = key
	return key, nil
}
