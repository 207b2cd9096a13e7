package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/kevinburke/ssh_config"
	sshagent "github.com/xanzy/ssh-agent"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/net/proxy"
)

// auth returns what this repository is to be asked with, nil for nothing. It
// is looked up at every call: agents restart and tokens are renewed.
func (r *remote) auth() (transport.AuthMethod, error) {
	if r.ssh {
		return r.keys()
	}
	user, password := r.user, r.password
	if user == "" && password == "" {
		var err error
		if user, password, err = r.stored(); err != nil {
			return nil, err
		}
	}
	if user == "" && password == "" {
		return nil, nil // no credentials: a public repository
	}
	// Whatever a server echoes must not come out again.
	r.secrets = []string{password, url.QueryEscape(password), url.PathEscape(password)}
	return &http.BasicAuth{Username: user, Password: password}, nil
}

// offered says, for a message, what was tried.
func (r *remote) offered() string {
	switch {
	case r.ssh && r.identity != "":
		return "tried " + r.identity
	case r.ssh:
		return "tried the ssh agent and the keys in ~/.ssh"
	case r.user != "" || r.password != "":
		return "those in the URL are not accepted"
	case r.credentials != "":
		return "none for it is accepted from " + r.credentials
	}
	return "none for it is accepted from ~/.git-credentials or ~/.netrc"
}

// stored looks into the files where git and curl find credentials.
func (r *remote) stored() (user, password string, err error) {
	if r.credentials != "" {
		user, password, err = gitCredentials(r.credentials, r.url)
		if err != nil {
			return "", "", fmt.Errorf("credentials: %w", err)
		}
		return user, password, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", "", nil //nolint:nilerr // a daemon without a home has no such files
	}
	user, password, err = gitCredentials(filepath.Join(home, ".git-credentials"), r.url)
	if user == "" && (err == nil || errors.Is(err, fs.ErrNotExist)) {
		user, password, err = netrc(filepath.Join(home, ".netrc"), r.host)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return user, password, err
}

// gitCredentials finds the first line that fits, as git-credential-store(1)
// writes them: URLs with user and password, path optional.
func gitCredentials(file, repository string) (user, password string, err error) {
	want, err := url.Parse(repository)
	if err != nil {
		return "", "", err
	}
	f, err := os.Open(file)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		u, err := url.Parse(strings.TrimSpace(lines.Text()))
		if err != nil || u.User == nil || u.Scheme != want.Scheme || !strings.EqualFold(u.Host, want.Host) {
			continue
		}
		if path := strings.Trim(u.Path, "/"); path != "" && path != strings.Trim(want.Path, "/") {
			continue
		}
		password, _ = u.User.Password()
		return u.User.Username(), password, nil
	}
	return "", "", lines.Err()
}

// netrc finds a machine's login and password as curl, and so git, does.
func netrc(file, host string) (user, password string, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", "", err
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	words := strings.Fields(string(b))
	found := false
	for i := 0; i+1 < len(words); i++ {
		switch words[i] {
		case "machine":
			if found {
				return user, password, nil
			}
			found = strings.EqualFold(words[i+1], host)
			i++
		case "default":
			if found {
				return user, password, nil
			}
			found = true
		case "login":
			if i++; found {
				user = words[i]
			}
		case "password":
			if i++; found {
				password = words[i]
			}
		}
	}
	return user, password, nil
}

// keys offers what ssh would: the identity that was given, else the agent's
// keys, then IdentityFile of ~/.ssh/config and the usual files. Host keys are
// checked against known_hosts, always.
func (r *remote) keys() (transport.AuthMethod, error) {
	user := r.user
	if user == "" {
		user = ssh_config.Get(r.host, "User")
	}
	if user == "" {
		user = ssh.DefaultUsername
	}
	if r.identity != "" {
		signer, err := privateKey(r.identity)
		if err != nil {
			return nil, fmt.Errorf("ssh key %s: %w", r.identity, err)
		}
		return &ssh.PublicKeys{User: user, Signer: signer}, nil
	}
	return &ssh.PublicKeysCallback{User: user, Callback: func() ([]gossh.Signer, error) {
		var signers []gossh.Signer
		if agent, _, err := sshagent.New(); err == nil {
			signers, _ = agent.Signers() // an agent that went away has no keys
		}
		for _, file := range identityFiles(r.host) {
			if s, err := privateKey(file); err == nil {
				signers = append(signers, s)
			}
		}
		if len(signers) == 0 {
			return nil, &problem{ErrDenied, r.url + ": there is no ssh agent and no key without a passphrase in ~/.ssh"}
		}
		return signers, nil
	}}, nil
}

func identityFiles(host string) []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	files := ssh_config.GetAll(host, "IdentityFile")
	for i, f := range files {
		if rest, ok := strings.CutPrefix(f, "~/"); ok {
			files[i] = filepath.Join(home, rest)
		}
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		files = append(files, filepath.Join(home, ".ssh", name))
	}
	return files
}

func privateKey(file string) (gossh.Signer, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s, err := gossh.ParsePrivateKey(b)
	var locked *gossh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, errors.New("it has a passphrase; add it to an ssh agent")
	}
	return s, err
}

// deadlineScheme names, in a proxy URL, a dialer that gives its connections a
// deadline. go-git's ssh transport takes neither a context nor a timeout for
// the handshake, so a host that accepts and says nothing would hold it for
// ever; a proxy's dialer is the only thing of it that can be replaced.
const deadlineScheme = "weft-deadline"

var registerDeadline = sync.OnceFunc(func() {
	proxy.RegisterDialerType(deadlineScheme, func(u *url.URL, _ proxy.Dialer) (proxy.Dialer, error) {
		at, err := strconv.ParseInt(u.Hostname(), 10, 64)
		if err != nil {
			return nil, err
		}
		return deadlineDialer(time.Unix(0, at)), nil
	})
})

func deadlineProxy(ctx context.Context) transport.ProxyOptions {
	at, ok := ctx.Deadline()
	if !ok {
		return transport.ProxyOptions{}
	}
	registerDeadline()
	return transport.ProxyOptions{URL: fmt.Sprintf("%s://%d", deadlineScheme, at.UnixNano())}
}

// deadlineDialer dials as go-git does by itself (ALL_PROXY, NO_PROXY).
type deadlineDialer time.Time

// Dial implements proxy.Dialer.
func (d deadlineDialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// DialContext implements proxy.ContextDialer.
func (d deadlineDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(ctx, time.Time(d))
	defer cancel()
	conn, err := proxy.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Time(d)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}
