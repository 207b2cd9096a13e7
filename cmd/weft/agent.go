package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"weft.dev/plugins"
	"weft.dev/reconcile/agent"
	"weft.dev/reconcile/engine"
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
}

func (a *app) agent() *cobra.Command {
	var f agentFlags
	c := &cobra.Command{
		Use:   "agent --host NAME --repo URL [--branch B]",
		Short: "The daemon: follow a repository and keep this host as it says",
		Long: `Follow a Git repository and keep this host what it says: on every commit, on drift, and
once a minute in any case. Unreachable, rewritten or invalid: the last good intent stays in
force and the status says so. Stopping it leaves every network as it is.`,
		Example: `  weft agent --host kvm1 --repo https://git.example.com/network.git --branch main
  weft agent --host kvm1 --repo /srv/network.git --listen 127.0.0.1:9464`,
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
	return c
}

func (a *app) runAgent(ctx context.Context, f agentFlags) error {
	if a.host == "" || f.repo == "" {
		return errors.New("weft agent wants --host NAME and --repo URL")
	}
	log, err := a.logger()
	if err != nil {
		return err
	}
	h := a.machine()
	repo, err := openRepo(ctx, source.Config{
		URL: f.repo, Branch: f.branch, Tag: f.tag, Commit: f.commit, Poll: f.poll,
		Dir: filepath.Join(h.StateDir, "repo"), Credentials: f.credentials, Identity: f.identity,
	})
	if err != nil {
		return err
	}
	defer func() { _ = repo.Close() }()
	metrics := agent.NewMetrics(version)
	d := agent.New(agent.Config{
		Host: h, Version: version, Source: repo, Log: log, Full: f.full, Metrics: metrics, Listen: f.listen,
		Compiler: newHostCompiler(ctx, h),
		Engine:   newEngine(h, f.secrets, metrics),
	})
	return d.Run(ctx)
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
	s := engine.Settings{}
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
	facts map[string]model.Facts
}

func newHostCompiler(ctx context.Context, h *host.Host) *hostCompiler {
	return &hostCompiler{newCompilerOf(h.Name), h.Name, map[string]model.Facts{h.Name: facts.Of(ctx, h)}}
}

// Compile implements agent.Compiler.
func (c *hostCompiler) Compile(_ context.Context, tree source.Tree) (*agent.Compiled, error) {
	t, err := c.units.compile(tree, c.facts)
	if err != nil {
		return nil, err
	}
	return &agent.Compiled{Intent: t.Intent(c.host), Lock: digest(t.text), Diags: t.withoutNumbers()}, nil
}

// digest names the content of a lock file.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
