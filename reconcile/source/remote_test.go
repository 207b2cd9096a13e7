package source

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// gitBinary returns the path of git, which the servers and the checkouts of
// these tests need and the package does not.
func gitBinary(tb testing.TB) string {
	tb.Helper()
	path, err := exec.LookPath("git")
	if err != nil {
		tb.Skip("git is not installed")
	}
	return path
}

// serve offers the repositories below root by HTTP to one user.
func serve(t *testing.T, root, user, password string) *httptest.Server {
	t.Helper()
	backend := &cgi.Handler{
		Path: gitBinary(t), Args: []string{"http-backend"},
		Env:    []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		Stderr: io.Discard,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		u, p, _ := req.BasicAuth()
		switch {
		case u == user && p == password:
			backend.ServeHTTP(w, req)
		case u == "" && p == "":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			http.Error(w, "who is "+u+" with "+p+"?", http.StatusForbidden)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestHTTP(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	root := t.TempDir()
	bare := filepath.Join(root, "net.git")
	one, two := files{"a.yaml": "1"}, files{"a.yaml": "2", "d/b.yaml": "3"}
	first := publish(t, bare, "main", one)
	s := serve(t, root, "ada", "s3cret/word")
	with := strings.Replace(s.URL, "//", "//ada:"+url.QueryEscape("s3cret/word")+"@", 1) + "/net.git"
	dir := t.TempDir()
	r := open(t, Config{URL: with, Dir: dir})
	rev := fetch(t, r)
	same(t, r, rev, first, one)
	if rev.Ref != "main" {
		t.Fatalf("the default branch is %q", rev.Ref)
	}
	if again := fetch(t, r); again != rev {
		t.Fatalf("a fetch of nothing new gave %+v", again)
	}
	second := publish(t, bare, "main", two)
	same(t, r, fetch(t, r), second, two)
	point(t, bare, "refs/heads/main", orphan(t, bare, first, "rewritten"))
	if rev := fetch(t, r); !rev.Rewritten {
		t.Fatal("a force-push is not reported")
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
		if b, _ := os.ReadFile(path); strings.Contains(string(b), "s3cret") {
			t.Errorf("%s holds the password", path)
		}
		return nil
	})
	if strings.Contains(r.String(), "s3cret") {
		t.Errorf("String is %s", r)
	}
	for _, c := range []Config{{Commit: first.Commit}, {Commit: second.Commit}} { // the second is on no branch any more
		c.URL = with
		r := open(t, c)
		rev, err := r.Fetch(t.Context())
		if err == nil && rev.Commit != c.Commit || err != nil && !errors.Is(err, ErrNoRevision) {
			t.Errorf("commit %s: %s, %v", c.Commit, rev, err)
		}
		if c.Commit == first.Commit && err != nil && !strings.Contains(err.Error(), "has no commit") {
			t.Error(err)
		}
	}
}

func TestHTTPErrors(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	root := t.TempDir()
	publish(t, filepath.Join(root, "net.git"), "main", files{"a.yaml": "1"})
	if err := makeBare(filepath.Join(root, "empty.git"), "refs/heads/main"); err != nil {
		t.Fatal(err)
	}
	s := serve(t, root, "ada", "pw")
	user := func(name, path string) string { return strings.Replace(s.URL, "//", "//"+name+"@", 1) + path }
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, c := range []struct {
		cfg  Config
		kind error
		text string
	}{
		{Config{URL: s.URL + "/net.git"}, ErrDenied, "/net.git: it asks for a user and a password or token, and none for it is accepted from ~/.git-credentials or ~/.netrc"},
		{Config{URL: user("hunter2:hunter3", "/net.git")}, ErrDenied, "/net.git: these credentials may not read it"},
		{Config{URL: user("ada:pw", "/none.git")}, ErrDenied, "/none.git: there is no such repository, or these credentials may not see it"},
		{Config{URL: user("ada:pw", "/net.git"), Branch: "prod"}, ErrNoRevision, `/net.git has no branch "prod"; its branches: main`},
		{Config{URL: user("ada:pw", "/empty.git")}, ErrNoRevision, "/empty.git is empty: it has no commit yet"},
		{Config{URL: strings.Replace(closed.URL, "//", "//hunter2@", 1) + "/net.git"}, ErrUnreachable, "/net.git: the host refuses connections at that port"},
		{Config{URL: "https://hunter2:hunter3@nowhere.invalid/net.git"}, ErrUnreachable, ""}, // what it says is the resolver's
	} {
		r := open(t, c.cfg)
		_, err := r.Fetch(t.Context())
		if !errors.Is(err, c.kind) || !strings.HasSuffix(err.Error(), c.text) {
			t.Errorf("%s:\n got %v\nwant fetch: ...%s", c.cfg.URL, err, c.text)
		}
		if err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: the error tells credentials: %v", c.cfg.URL, err)
		}
	}
	line := strings.Replace(s.URL, "//", "//ada:pw@", 1) + "\n"
	if err := os.WriteFile(filepath.Join(home, ".git-credentials"), []byte("junk\nhttps://x:y@elsewhere\n"+line), 0o600); err != nil {
		t.Fatal(err)
	}
	fetch(t, open(t, Config{URL: s.URL + "/net.git"}))
}

func TestSilentHost(t *testing.T) {
	dir := t.TempDir()
	known := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(known, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSH_KNOWN_HOSTS", known)
	t.Setenv("SSH_AUTH_SOCK", "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, scheme := range []string{"ssh://git@", "http://"} {
		r := open(t, Config{URL: scheme + l.Addr().String() + "/net.git", Timeout: 100 * time.Millisecond})
		for range 2 { // the first attempt must not hold up the second
			_, err := r.Fetch(t.Context())
			if !errors.Is(err, ErrUnreachable) || !strings.HasSuffix(err.Error(), "no answer in time") {
				t.Fatalf("%s: %v", scheme, err)
			}
		}
		select {
		case r.busy <- struct{}{}: // given up everywhere
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the fetch still runs", scheme)
		}
	}
}

func TestSSH(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("SSH_AUTH_SOCK", "")
	bare := filepath.Join(dir, "net.git")
	f := files{"a.yaml": "1"}
	first := publish(t, bare, "main", f)
	identity, public := key(t, dir, "identity")
	stranger, _ := key(t, dir, "stranger")
	addr, host := sshServer(t, public)
	known := filepath.Join(dir, "known_hosts")
	t.Setenv("SSH_KNOWN_HOSTS", known)
	if err := os.WriteFile(known, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	target := "ssh://git@" + addr + bare
	for _, c := range []struct{ identity, known, text string }{
		{identity, "", "the host's key is not in known_hosts"},
		{stranger, host, "it accepts none of the keys: tried " + stranger},
		{"", host, "there is no ssh agent and no key without a passphrase in ~/.ssh"},
	} {
		if err := os.WriteFile(known, []byte(c.known), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, Config{URL: target, Identity: c.identity}).Fetch(t.Context())
		if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("got %v\nwant %s", err, c.text)
		}
	}
	r := open(t, Config{URL: target, Identity: identity})
	same(t, r, fetch(t, r), first, f)
	second := publish(t, bare, "main", files{"b.yaml": "2"})
	same(t, r, fetch(t, r), second, files{"b.yaml": "2"})
}

// key makes an ssh key in a file.
func key(t *testing.T, dir, name string) (string, gossh.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := gossh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return path, p
}

// sshServer serves git-upload-pack to the holder of a key. It returns its
// address and its line of known_hosts.
func sshServer(t *testing.T, allowed gossh.PublicKey) (addr, line string) {
	t.Helper()
	git := gitBinary(t)
	hostKey, hostPublic := key(t, t.TempDir(), "host")
	signer, err := privateKey(hostKey)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &gossh.ServerConfig{PublicKeyCallback: func(_ gossh.ConnMetadata, k gossh.PublicKey) (*gossh.Permissions, error) {
		if string(k.Marshal()) != string(allowed.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return &gossh.Permissions{}, nil
	}}
	cfg.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveSSH(conn, cfg, git)
		}
	}()
	return l.Addr().String(), knownhosts.Line([]string{l.Addr().String()}, hostPublic) + "\n"
}

func serveSSH(conn net.Conn, cfg *gossh.ServerConfig, git string) {
	defer conn.Close()
	_, channels, requests, err := gossh.NewServerConn(conn, cfg)
	if err != nil {
		return
	}
	go gossh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		for req := range requests {
			_ = req.Reply(req.Type == "exec", nil)
			if req.Type != "exec" {
				continue
			}
			path := strings.Trim(strings.TrimPrefix(string(req.Payload[4:]), "git-upload-pack "), "'")
			cmd := exec.Command(git, "-c", "safe.directory=*", "upload-pack", path)
			cmd.Stdin, cmd.Stdout = channel, channel
			_ = cmd.Run()
			_, _ = channel.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
			_ = channel.Close()
		}
	}
}

func TestNetrc(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".netrc")
	text := "machine a.example login ada password one\nmachine b.example\n  login bob\n  password two\ndefault login any password three\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"a.example": "ada:one", "B.example:8443": "bob:two", "c.example": "any:three"} {
		user, password, err := netrc(file, host)
		if got := user + ":" + password; err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", host, got, err, want)
		}
	}
}

func TestScrub(t *testing.T) {
	if _, name, _, err := dial("https://tok3n:pass/word@host/x#frag", "", ""); err == nil {
		t.Fatalf("an unescaped slash is accepted: %s", name)
	}
	up, name, _, err := dial("https://tok3n:p%40ss@host/x#frag", "", "")
	if err != nil || name != "https://host/x" {
		t.Fatalf("name is %q, %v", name, err)
	}
	r, ok := up.(*remote)
	if !ok {
		t.Fatalf("dialled %T", up)
	}
	if _, err := r.auth(); err != nil {
		t.Fatal(err)
	}
	got := r.explain(context.Background(), fmt.Errorf("proxy said: tok3n p@ss p%%40ss\nsecond\x1b[2J line"))
	if want := "https://host/x: proxy said: *** *** *** second [2J line"; got.Error() != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestChooseHostileHEAD(t *testing.T) {
	r := &remote{url: "x"}
	refs := []*plumbing.Reference{
		plumbing.NewSymbolicReference(plumbing.HEAD, "refs/heads/a\x1b[2J"),
		plumbing.NewHashReference("refs/heads/a\x1b[2J", plumbing.NewHash(strings.Repeat("1", 40))),
	}
	if got, err := r.choose(want{}, refs); err == nil || strings.ContainsRune(err.Error(), '\x1b') {
		t.Errorf("a branch with control characters: %+v, %v", got, err)
	}
	loop := []*plumbing.Reference{plumbing.NewSymbolicReference(plumbing.HEAD, plumbing.HEAD)}
	if _, err := r.choose(want{}, loop); err == nil {
		t.Error("a HEAD that names itself is accepted")
	}
}
