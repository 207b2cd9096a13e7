package source

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A forge is a repository with a work tree and people who sign, made with real
// git, ssh-keygen and gpg.
type forge struct {
	t    *testing.T
	dir  string // the work tree; git and gpg know nothing outside of home
	home string
}

func newForge(t *testing.T) *forge {
	t.Helper()
	gitBinary(t)
	home, err := os.MkdirTemp("", "weft-gpg") // gpg-agent's socket has a short path
	if err != nil {
		t.Fatal(err)
	}
	f := &forge{t: t, dir: t.TempDir(), home: home}
	t.Cleanup(func() {
		if path, err := exec.LookPath("gpgconf"); err == nil {
			f.try(path, "--kill", "all")
		}
		_ = os.RemoveAll(home)
	})
	f.run("git", "init", "-q", "-b", "main")
	return f
}

func (f *forge) try(name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Dir = f.dir
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + f.home, "GNUPGHOME=" + f.home, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com",
	}
	out, err := c.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (f *forge) run(name string, args ...string) string {
	f.t.Helper()
	out, err := f.try(name, args...)
	if err != nil {
		f.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// ssh makes a key and returns its file.
func (f *forge) ssh(name, kind string, more ...string) string {
	f.t.Helper()
	file := filepath.Join(f.home, name)
	f.run("ssh-keygen", append([]string{"-q", "-t", kind, "-N", "", "-C", name, "-f", file}, more...)...)
	return file
}

// gpg makes a key and returns its id and its public part.
func (f *forge) gpg(name, expires string, more ...string) (id, public string) {
	f.t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		f.t.Skip("gpg is not installed")
	}
	user := name + "@example.com"
	args := append([]string{"--batch", "--quiet", "--passphrase", "", "--quick-gen-key"}, user, "ed25519", "sign", expires)
	f.run("gpg", append(more, args...)...)
	return user, f.run("gpg", "--batch", "--quiet", "--armor", "--export", user)
}

func public(t *testing.T, key string) string {
	t.Helper()
	b, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// commit makes a commit; key is "", the file of an SSH key, or "gpg:" and an id.
func (f *forge) commit(key string, more ...string) string {
	f.t.Helper()
	f.run("git", append(with(key), append([]string{"commit", "-q", "--allow-empty", "-m", "change"}, more...)...)...)
	return f.run("git", "rev-parse", "HEAD")
}

func with(key string) []string {
	if id, ok := strings.CutPrefix(key, "gpg:"); ok {
		return []string{"-c", "commit.gpgSign=true", "-c", "user.signingKey=" + id}
	}
	if key == "" {
		return nil
	}
	return []string{"-c", "gpg.format=ssh", "-c", "commit.gpgSign=true", "-c", "user.signingKey=" + key}
}

// rewrite stores the head commit with an edit of its raw text as the new head.
func (f *forge) rewrite(edit func(string) string) string {
	f.t.Helper()
	c := exec.Command("git", "cat-file", "commit", "HEAD")
	c.Dir = f.dir
	raw, err := c.Output()
	if err != nil {
		f.t.Fatal(err)
	}
	changed := edit(string(raw))
	if changed == string(raw) {
		f.t.Fatal("nothing was changed")
	}
	file := filepath.Join(f.home, "raw")
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		f.t.Fatal(err)
	}
	id := f.run("git", "hash-object", "-t", "commit", "-w", "--literally", file)
	f.run("git", "update-ref", "refs/heads/main", id)
	return id
}

// keys writes a file of signers.
func (f *forge) keys(lines ...string) string {
	f.t.Helper()
	file := filepath.Join(f.t.TempDir(), "signers")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		f.t.Fatal(err)
	}
	return file
}

// signed asks for the newest revision.
func (f *forge) signed(cfg Config) error {
	f.t.Helper()
	cfg.URL = f.dir
	r := open(f.t, cfg)
	return r.Signed(fetch(f.t, r))
}

// judge checks the newest revision; want is "" or the reason without its head.
func (f *forge) judge(cfg Config, want string) {
	f.t.Helper()
	err := f.signed(cfg)
	if want == "" {
		if err != nil {
			f.t.Error(err)
		}
		return
	}
	if !errors.Is(err, ErrUnsigned) || !strings.HasSuffix(err.Error(), want) {
		f.t.Errorf("got  %v\nwant ... %s", err, want)
	}
}

func (f *forge) raw(kind, name string) string {
	f.t.Helper()
	c := exec.Command("git", "cat-file", kind, name)
	c.Dir = f.dir
	b, err := c.Output()
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

// revoked returns the public part of a key with its revocation.
func (f *forge) revoked(user string) string {
	f.t.Helper()
	files, err := filepath.Glob(filepath.Join(f.home, "openpgp-revocs.d", "*.rev"))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.t.Fatal(err)
		}
		if strings.Contains(string(b), user) {
			armed := filepath.Join(f.home, "revocation")
			if err := os.WriteFile(armed, []byte(strings.ReplaceAll(string(b), ":-----BEGIN", "-----BEGIN")), 0o600); err != nil {
				f.t.Fatal(err)
			}
			f.run("gpg", "--batch", "--quiet", "--import", armed)
			return f.run("gpg", "--batch", "--quiet", "--armor", "--export", user)
		}
	}
	f.t.Fatal("gpg made no revocation")
	return ""
}
