package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"weft.dev/plugins"
	"weft.dev/reconcile/agent"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/engine/trial"
	"weft.dev/reconcile/health"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/host/facts"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/source"
)

type agentFlags struct {
	repo, branch, tag, commit string
	poll, full                time.Duration
	listen                    string
	secrets                   string
	credentials, identity     string
	signers                   string
	hookListen, hookSecret    string
}

// defaultHook is where the webhook listens unless told otherwise.
const defaultHook = ":9465"

func (a *app) agent() *cobra.Command {
	var f agentFlags
	c := &cobra.Command{
		Use:   "agent --host NAME --repo URL [--branch B]",
		Short: "The daemon: follow a repository and keep this host as it says",
		Long: `Follow a Git repository and keep this host what it says: on every commit, on drift, and
once a minute in any case. Unreachable, rewritten or invalid: the last good intent stays in
force and the status says so. Stopping it leaves every network as it is.

With --verify-signatures only commits that are signed by a key of that file are followed; where
a tag is followed, its own signature does too. With --webhook-secret a forge may say at
http://HOST` + defaultHook + `/webhook that something was pushed; it is asked at once then.`,
		Example: `  weft agent --host kvm1 --repo https://git.example.com/network.git --branch main
  weft agent --host kvm1 --repo /srv/network.git --listen 127.0.0.1:9464
  weft agent --host kvm1 --repo https://git.example.com/network.git \
    --verify-signatures /etc/weft/signers --webhook-secret /etc/weft/webhook.secret`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runAgent(cmd.Context(), f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.repo, "repo", "", "URL or path of the repository (required)")
	fl.StringVar(&f.branch, "branch", "", "follow this branch (default: the repository's)")
	fl.StringVar(&f.tag, "tag", "", "follow this tag")
	fl.StringVar(&f.commit, "commit", "", "stay at this commit")
	fl.DurationVar(&f.poll, "poll", time.Minute, "how often to ask the repository; local ones are watched besides")
	fl.DurationVar(&f.full, "full-pass", time.Minute, "how often to look at everything on the host")
	fl.StringVar(&f.listen, "listen", "127.0.0.1:9464", "where /metrics, /healthz, /readyz and /api answer; empty for nowhere")
	fl.StringVar(&f.secrets, "secrets", "/etc/weft", "directory below which secretFile may point")
	fl.StringVar(&f.credentials, "credentials", "", "file of URLs with user and password, as git-credential-store writes it")
	fl.StringVar(&f.identity, "identity", "", "ssh key file")
	fl.StringVar(&f.signers, "verify-signatures", "", "file of GPG and SSH public keys: follow only what one of them has signed")
	fl.StringVar(&f.hookSecret, "webhook-secret", "", "file with the secret of a webhook: GitHub, GitLab, or HMAC-SHA256 in X-Weft-Signature")
	fl.StringVar(&f.hookListen, "webhook-listen", defaultHook, "where the webhook listens, given its secret")
	return c
}

func (a *app) runAgent(ctx context.Context, f agentFlags) error {
	if a.host == "" || f.repo == "" {
		return errors.New("weft agent wants --host NAME and --repo URL")
	}
	hook, err := f.hook()
	if err != nil {
		return err
	}
	log, err := a.logger()
	if err != nil {
		return err
	}
	h := a.machine()
	repo, err := openRepo(ctx, source.Config{
		URL: f.repo, Branch: f.branch, Tag: f.tag, Commit: f.commit, Poll: f.poll,
		Dir: filepath.Join(h.StateDir, "repo"), Credentials: f.credentials, Identity: f.identity,
		Signers: f.signers,
	})
	if err != nil {
		return err
	}
	defer func() { _ = repo.Close() }()
	metrics := agent.NewMetrics(version)
	cfg := agent.Config{
		Host: h, Version: version, Source: repo, Log: log, Full: f.full, Metrics: metrics, Listen: f.listen,
		Compiler: newHostCompiler(ctx, h),
		Engine:   newEngine(h, f.secrets, metrics),
		Hook:     hook,
		Asker:    health.Net{Host: h},
		Roles:    rolesOn(h),
	}
	if f.signers != "" {
		cfg.Signatures = repo
	}
	return agent.New(cfg).Run(ctx)
}

// hook is nil where none is wanted.
func (f *agentFlags) hook() (*agent.Hook, error) {
	switch {
	case f.hookSecret != "" && f.hookListen != "":
		return agent.NewHook(f.hookListen, f.hookSecret, f.branch, f.tag)
	case f.hookSecret == "" && f.hookListen == defaultHook:
		return nil, nil
	case f.hookSecret == "":
		return nil, errors.New("--webhook-listen wants --webhook-secret: a webhook without a secret is open to everybody")
	}
	return nil, errors.New("--webhook-secret wants an address to listen at: --webhook-listen")
}

// openRepo waits a little for an agent that was just killed to let go.
func openRepo(ctx context.Context, c source.Config) (*source.Repo, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		repo, err := source.Open(ctx, c)
		if !errors.Is(err, source.ErrInUse) {
			return repo, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func newEngine(h *host.Host, secrets string, m *agent.Metrics) *engine.Engine {
	s := engine.Settings{Closed: trial.Open(h).Closed}
	if m != nil {
		s.Did = m.Did
	}
	return engine.New(h, plugins.Drivers(h, secrets), s)
}

// A hostCompiler compiles trees for one host under its own facts, as they were
// when it began.
type hostCompiler struct {
	units *compiler
	host  string
	mu    sync.Mutex
	facts model.Facts // guarded by mu
}

func newHostCompiler(ctx context.Context, h *host.Host) *hostCompiler {
	return &hostCompiler{units: newCompilerOf(h.Name), host: h.Name, facts: facts.Of(ctx, h)}
}

// Compile implements agent.Compiler.
func (c *hostCompiler) Compile(_ context.Context, tree source.Tree) (*agent.Compiled, error) {
	c.mu.Lock()
	known := map[string]model.Facts{c.host: c.facts}
	c.mu.Unlock()
	t, err := c.units.compile(tree, known)
	if err != nil {
		return nil, err
	}
	if err := refused(t, tree); err != nil {
		return nil, err
	}
	return &agent.Compiled{Intent: t.Intent(c.host), Lock: digest(t.text), Diags: t.withoutNumbers(), Guru: t.Guru, Declared: t.Declared, Guests: guestsOf(t), Notes: notesOf(t, c.host)}, nil
}

// See implements agent.Seer.
func (c *hostCompiler) See(outside []string) bool {
	text := outsideText(outside)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.facts.Outside == text {
		return false
	}
	c.facts.Outside = text
	return true
}

// outsideText is model.Facts.Outside for NICs in order.
func outsideText(nics []string) string {
	var b strings.Builder
	for _, id := range nics {
		b.WriteString(id + " ")
	}
	return b.String()
}

// digest names the content of a lock file.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
