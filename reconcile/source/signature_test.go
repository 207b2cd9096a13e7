package source

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

func TestSSHSignatures(t *testing.T) {
	f := newForge(t)
	ann, bob := f.ssh("ann", "ed25519"), f.ssh("bob", "rsa", "-b", "2048")
	eve, carl := f.ssh("eve", "ed25519"), f.ssh("carl", "ecdsa")
	list := f.keys("# who may", "", "ann@example.com,a@b "+public(t, ann), public(t, bob), `"c d" namespaces="git,file" `+public(t, carl))
	cfg := Config{Signers: list}
	for _, key := range []string{ann, bob, carl} {
		f.commit(key)
		f.judge(cfg, "")
	}
	// Only the commit that is followed need be signed.
	f.commit("")
	f.judge(cfg, "is not signed by a listed key: it has no signature")
	f.commit(ann)
	f.judge(cfg, "")
	f.commit(eve)
	f.judge(cfg, "is not listed")
	f.judge(Config{}, "")
}

func TestSSHLimits(t *testing.T) {
	f := newForge(t)
	ann := f.ssh("ann", "ed25519")
	f.commit(ann)
	for limit, want := range map[string]string{
		`namespaces="git"`:                 "",
		`namespaces="f*,g?t"`:              "",
		`namespaces="file"`:                `is listed for "file" only, not for "git"`,
		`namespaces="*,!git"`:              `is listed for "*,!git" only, not for "git"`,
		`valid-after="20200101"`:           "",
		`valid-after="29990101"`:           "is listed as valid only after 2999-01-01 00:00:00",
		`valid-before="202001010000Z"`:     "is listed as valid only before 2020-01-01 00:00:00",
		`valid-before="29990101",restrict`: `option "restrict" is not understood here: list the key without it, if it may sign commits`,
	} {
		cfg := Config{Signers: f.keys(public(t, ann))}
		r := open(t, Config{URL: f.dir, Signers: cfg.Signers})
		rev := fetch(t, r)
		// The file is read anew each time.
		if err := os.WriteFile(cfg.Signers, []byte("ann "+limit+" "+public(t, ann)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		err := r.Signed(rev)
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrUnsigned) || !strings.HasSuffix(err.Error(), want)) {
			t.Errorf("%s: got %v, want ... %s", limit, err, want)
		}
	}
	// A second line may allow what the first does not.
	f.judge(Config{Signers: f.keys(`a namespaces="file" `+public(t, ann), "b "+public(t, ann))}, "")
}

func TestSSHNamespace(t *testing.T) {
	f := newForge(t)
	ann := f.ssh("ann", "ed25519")
	f.commit(ann)
	payload, _, err := splitCommit([]byte(f.raw("commit", "HEAD")))
	if err != nil {
		t.Fatal(err)
	}
	for namespace, want := range map[string]string{"git": "", "file": `is for "file", not for "git"`} {
		file := filepath.Join(f.home, "payload-"+namespace)
		if err := os.WriteFile(file, payload, 0o600); err != nil {
			t.Fatal(err)
		}
		f.run("ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", ann, file)
		b, err := os.ReadFile(file + ".sig")
		if err != nil {
			t.Fatal(err)
		}
		sig := strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", "\n ")
		head, message, _ := bytes.Cut(payload, []byte("\n\n"))
		made := string(head) + "\ngpgsig " + sig + "\n\n" + string(message)
		if made != f.raw("commit", "HEAD") {
			f.rewrite(func(string) string { return made })
		}
		f.judge(Config{Signers: f.keys(public(t, ann))}, want)
	}
}

func TestTamperedCommits(t *testing.T) {
	f := newForge(t)
	ann := f.ssh("ann", "ed25519")
	cfg := Config{Signers: f.keys(public(t, ann))}
	f.commit("")
	if err := os.WriteFile(filepath.Join(f.dir, "a.yaml"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.run("git", "add", ".")
	good := f.commit(ann)
	signedTree, other := f.run("git", "rev-parse", "HEAD^{tree}"), f.run("git", "rev-parse", "HEAD~1^{tree}")
	parent := f.run("git", "rev-parse", "HEAD~1")
	swap := func(from, to string) func(string) string {
		return func(raw string) string { return strings.Replace(raw, from, to, 1) }
	}
	const malformed = "it is no commit as git writes them"
	for name, c := range map[string]struct {
		edit func(string) string
		want string
	}{
		"tree":          {swap(signedTree, other), "is not one of this content"},
		"parent":        {swap("parent "+parent+"\n", ""), "is not one of this content"},
		"author":        {swap("author Ann", "author Eve"), "is not one of this content"},
		"message":       {swap("change", "another"), "is not one of this content"},
		"second tree":   {swap("\ngpgsig", "\ntree "+other+"\ngpgsig"), malformed},
		"first tree":    {func(raw string) string { return "gpgsig-sha256 x\n tree " + other + "\n" + raw }, ""},
		"early sig":     {swap("parent ", "gpgsig x\nparent "), malformed},
		"second sig":    {swap("\ngpgsig", "\ngpgsig x\ngpgsig"), "it has two signatures"},
		"hidden parent": {swap("\nauthor", "\nx y\nparent "+parent+"\nauthor"), "is not one of this content"},
		"late parent":   {swap("\ngpgsig", "\nparent "+parent+"\ngpgsig"), malformed},
		"torn":          {swap("-----END SSH SIGNATURE-----", ""), "cannot be read: it is torn"},
		"not base64":    {swap("-----BEGIN SSH SIGNATURE-----\n U", "-----BEGIN SSH SIGNATURE-----\n *"), "cannot be read: it is not base64"},
		"no magic":      {swap("-----BEGIN SSH SIGNATURE-----\n U", "-----BEGIN SSH SIGNATURE-----\n V"), "cannot be read: it is no SSHSIG"},
		"x509":          {swap("BEGIN SSH SIGNATURE", "BEGIN SIGNED MESSAGE"), "is neither of GPG nor of SSH"},
	} {
		f.run("git", "update-ref", "refs/heads/main", good)
		f.judge(cfg, "")
		if c.want == "" { // not even git reads it
			if _, _, err := splitCommit([]byte(c.edit(f.raw("commit", "HEAD")))); err == nil {
				t.Errorf("%s is accepted", name)
			}
			continue
		}
		f.rewrite(c.edit)
		t.Log(name)
		f.judge(cfg, c.want)
	}
	// A signature of the SHA-256 twin is no part of what is signed.
	f.run("git", "update-ref", "refs/heads/main", good)
	f.rewrite(swap("\ngpgsig", "\ngpgsig-sha256 x\n y\ngpgsig"))
	f.judge(cfg, "")
}

func TestGPGSignatures(t *testing.T) {
	f := newForge(t)
	ann, annKey := f.gpg("ann", "never")
	eve, _ := f.gpg("eve", "never")
	old, oldKey := f.gpg("old", "20200201T000000", "--faked-system-time", "20200101T000000!")
	ssh := f.ssh("bob", "ed25519")
	cfg := Config{Signers: f.keys(annKey, public(t, ssh), oldKey)}
	f.commit("gpg:" + ann)
	f.judge(cfg, "")
	good := f.run("git", "rev-parse", "HEAD")
	f.rewrite(func(raw string) string { return strings.Replace(raw, "change", "another", 1) })
	f.judge(cfg, "its GPG signature is not one of this content")
	f.run("git", "update-ref", "refs/heads/main", good)
	f.commit(ssh)
	f.judge(cfg, "")
	f.commit("gpg:" + eve)
	f.judge(cfg, "its GPG key is not listed, or may not sign")

	// Whoever has an expired key may write any date.
	wrap := filepath.Join(f.home, "gpg-then")
	if err := os.WriteFile(wrap, []byte("#!/bin/sh\nexec gpg --faked-system-time 20200115T000000! \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.run("git", "-c", "gpg.program="+wrap, "-c", "user.signingKey="+old, "commit", "-q", "-S", "--allow-empty", "-m", "old", "--date", "2020-01-15T00:00:00Z")
	if err := f.signed(cfg); !errors.Is(err, ErrUnsigned) || !strings.Contains(err.Error(), "the GPG key ") || !strings.HasSuffix(err.Error(), " has expired") {
		t.Errorf("expired key: %v", err)
	}

	f.commit("gpg:" + ann)
	f.run("git", "tag", "x") // something to leave behind
	rev := f.revoked(ann)
	f.judge(cfg, "")
	cfg.Signers = f.keys(rev)
	if err := f.signed(cfg); !errors.Is(err, ErrUnsigned) || !strings.HasSuffix(err.Error(), " is revoked") {
		t.Errorf("revoked key: %v", err)
	}
}

func TestSignedTags(t *testing.T) {
	f := newForge(t)
	ann, eve := f.ssh("ann", "ed25519"), f.ssh("eve", "ed25519")
	list := f.keys(public(t, ann))
	tag := func(key, name string, more ...string) {
		t.Helper()
		f.run("git", append(append(with(key), "tag", "-f", "-s", "-m", "release", name), more...)...)
	}
	f.commit("")
	f.run("git", "tag", "prod")
	const unsigned = "is not signed by a listed key: it has no signature"
	cfg := Config{Signers: list, Tag: "prod"}
	f.judge(cfg, unsigned)

	// The same commit, first under a plain tag, then a signed one.
	r := open(t, Config{URL: f.dir, Signers: list, Tag: "prod"})
	if err := r.Signed(fetch(t, r)); !errors.Is(err, ErrUnsigned) {
		t.Fatalf("plain tag: %v", err)
	}
	tag(ann, "prod")
	rev := fetch(t, r)
	if err := r.Signed(rev); err != nil || rev.Rewritten {
		t.Fatalf("signed tag: %v, %+v", err, rev)
	}
	f.judge(Config{Signers: list, Branch: "main"}, unsigned)
	tag(eve, "prod")
	if err := r.Signed(fetch(t, r)); !errors.Is(err, ErrUnsigned) || !strings.HasSuffix(err.Error(), "is not listed") {
		t.Fatalf("tag of a stranger: %v", err)
	}

	// A good tag under another name.
	tag(ann, "staging")
	f.run("git", "update-ref", "refs/tags/prod", f.run("git", "rev-parse", "refs/tags/staging"))
	if err := r.Signed(fetch(t, r)); !errors.Is(err, ErrUnsigned) || !strings.Contains(err.Error(), `it does not name this commit "prod"`) {
		t.Fatalf("renamed tag: %v", err)
	}
	// A plain tag again: what was signed before counts no longer.
	f.run("git", "tag", "-f", "prod", "main")
	if err := r.Signed(fetch(t, r)); !errors.Is(err, ErrUnsigned) {
		t.Fatalf("plain tag again: %v", err)
	}
	f.commit(ann)
	f.run("git", "tag", "-f", "prod")
	f.judge(cfg, "")

	// A tag of GPG, and one with its name changed.
	id, key := f.gpg("carl", "never")
	f.commit("")
	f.run("git", "-c", "user.signingKey="+id, "tag", "-f", "-s", "-m", "release", "prod")
	cfg.Signers = f.keys(key)
	f.judge(cfg, "")
	raw := strings.Replace(f.raw("tag", "prod"), "release", "another", 1)
	file := filepath.Join(f.home, "tag")
	if err := os.WriteFile(file, []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	f.run("git", "update-ref", "refs/tags/prod", f.run("git", "hash-object", "-t", "tag", "-w", file))
	f.judge(cfg, "its tag: its GPG signature is not one of this content")
}

func TestSignedTagsByHTTP(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	f := newForge(t)
	ann := f.ssh("ann", "ed25519")
	f.commit("")
	f.run("git", "tag", "prod")
	s := serve(t, filepath.Dir(f.dir), "ada", "word")
	at := strings.Replace(s.URL, "//", "//ada:word@", 1) + "/" + filepath.Base(f.dir) + "/.git"
	r := open(t, Config{URL: at, Tag: "prod", Signers: f.keys(public(t, ann))})
	first := fetch(t, r)
	if err := r.Signed(first); !errors.Is(err, ErrUnsigned) {
		t.Fatalf("plain tag: %v", err)
	}
	f.run("git", append(with(ann), "tag", "-f", "-s", "-m", "release", "prod")...)
	rev := fetch(t, r)
	if err := r.Signed(rev); err != nil || rev != first {
		t.Fatalf("signed tag of the same commit: %v, %+v", err, rev)
	}
	if again := fetch(t, r); again != rev || r.Signed(again) != nil {
		t.Fatalf("once more: %+v", again)
	}
	// Another process finds all of it in the clone.
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := r.cfg
	s.Close()
	r = open(t, cfg)
	if last, ok := r.Last(); !ok || r.Signed(last) != nil {
		t.Fatalf("after a restart: %+v, %v", last, r.Signed(last))
	}
}

func TestDescends(t *testing.T) {
	f := newForge(t)
	first := f.commit("")
	second := f.commit("")
	r := open(t, Config{URL: f.dir})
	rev := fetch(t, r)
	for from, want := range map[string]bool{first: true, second: true, strings.Repeat("1", 40): false} {
		if got, err := r.Descends(t.Context(), rev, from); got != want || err != nil {
			t.Errorf("from %s: %v, %v", from, got, err)
		}
	}
	if ok, err := r.Descends(t.Context(), Revision{Commit: first}, second); ok || err != nil {
		t.Errorf("the parent descends from its child: %v, %v", ok, err)
	}
	f.run("git", "checkout", "-q", "--orphan", "other")
	f.commit("")
	f.run("git", "update-ref", "refs/heads/main", "other")
	if ok, err := r.Descends(t.Context(), fetch(t, r), second); ok || err != nil {
		t.Errorf("an orphan: %v, %v", ok, err)
	}
}

func TestSignersFile(t *testing.T) {
	f := newForge(t)
	ann, weak := public(t, f.ssh("ann", "ed25519")), public(t, f.ssh("weak", "rsa", "-b", "1024"))
	kind, blob, _ := strings.Cut(ann, " ")
	for text, want := range map[string]string{
		"# nobody":                              "lists no key",
		"ann@example.com":                       ":1: this is neither a GPG public key nor a line of authorized_keys or allowed_signers with a key of Ed25519, ECDSA or RSA",
		"x\n" + ann:                             ":1: this is neither",
		"\n" + kind + " AAAA":                   ":2: the SSH key is damaged",
		"ssh-rsa " + blob:                       ":1: the SSH key is damaged",
		weak:                                    ":1: the RSA key has 1024 bits only",
		"cert-authority " + ann:                 `:1: option "cert-authority" is not understood here`,
		"restrict,no-pty " + ann:                `:1: option "restrict" is not understood here`,
		`command="a b" ` + ann:                  `:1: option "command" is not understood here`,
		`a cert-authority ` + ann:               `:1: option "cert-authority" is not understood here`,
		`a valid-before="soon" ` + ann:          `:1: "soon" is no time`,
		`a namespaces="" ` + ann:                ":1: namespaces are empty",
		`a namespaces="g[i]t" ` + ann:           `:1: "g[i]t" is no pattern of namespaces`,
		`a namespaces="git ` + ann:              `:1: a quote is not closed`,
		"-----BEGIN OPENSSH PRIVATE KEY-----":   ":1: this is a private key: list public ones",
		"-----BEGIN PGP PRIVATE KEY BLOCK-----": ":1: this is a private key: list public ones",
		ann + "\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n":                                 ":2: the GPG key has no end",
		"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----": ":1: the GPG key cannot be read",
	} {
		_, err := Open(t.Context(), Config{URL: f.dir, Dir: t.TempDir(), Signers: f.keys(text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
	good := f.keys(ann)
	if _, err := Open(t.Context(), Config{URL: t.TempDir(), Dir: t.TempDir(), Signers: good}); !errors.Is(err, ErrNotRepository) || !strings.HasSuffix(err.Error(), "is a directory without Git: it has no signatures to verify") {
		t.Errorf("a plain directory: %v", err)
	}
	if err := os.Chmod(good, 0o664); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{URL: f.dir, Dir: t.TempDir(), Signers: good}); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a file others may write: %v", err)
	}
	if _, err := Open(t.Context(), Config{URL: f.dir, Dir: t.TempDir(), Signers: good + "x"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// FuzzSignature feeds what anybody may push to the decoders.
func FuzzSignature(f *testing.F) {
	f.Add([]byte("tree " + plumbing.ZeroHash.String() + "\nauthor a <b> 1 +0000\ncommitter a <b> 1 +0000\ngpgsig " + armorSSH + "\n U1NIU0lH\n -----END SSH SIGNATURE-----\n\nx\n"))
	f.Add([]byte("tree " + plumbing.ZeroHash.String() + "\nauthor a <b> 1 +0000\ncommitter a <b> 1 +0000\ngpgsig " + armorPGP + "\n \n wsBcBAABCAAQBQJ\n =AAAA\n -----END PGP SIGNATURE-----\n\nx\n"))
	s := &signers{}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, split := range []func([]byte) ([]byte, string, error){splitCommit, splitTag} {
			payload, signature, err := split(raw)
			if err == nil && s.verify(payload, signature, epoch) == nil {
				t.Error("nobody is listed, and it is accepted")
			}
		}
	})
}

var epoch = time.Unix(1_700_000_000, 0)
