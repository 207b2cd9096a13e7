package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/source"
)

// Socket is where the agent of h answers the command line.
func Socket(h *host.Host) string { return filepath.Join(h.RunDir, "agent.sock") }

// listen serves the socket and, if wanted, metrics and health.
func (a *Agent) listen() (closeAll func(), err error) {
	l, err := listenUnix(Socket(a.Host))
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	servers := []*http.Server{serve(l, a.verbs())}
	if a.Listen != "" {
		// The networks of the host do not depend on a free port.
		if l, err := net.Listen("tcp", a.Listen); err != nil {
			a.Log.Error("no metrics and no health", "error", err)
		} else {
			servers = append(servers, serve(l, a.health()))
		}
	}
	if a.Hook != nil {
		if s, err := a.Hook.serve(a); err != nil {
			a.Log.Error("no webhook; the repository is polled", "error", err)
		} else {
			servers = append(servers, s)
		}
	}
	return func() {
		for _, s := range servers {
			_ = s.Close()
		}
		_ = os.Remove(Socket(a.Host))
	}, nil
}

func serve(l net.Listener, h http.Handler) *http.Server {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	go func() { _ = s.Serve(l) }() // it ends with Close
	return s
}

// listenUnix listens at path so that only the owner may connect, at no moment
// anybody else. A socket that a dead agent left is replaced.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".socket-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	err = os.Chmod(filepath.Join(dir, "s"), 0o600)
	if err == nil {
		err = os.Rename(filepath.Join(dir, "s"), path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// health serves what needs no privilege.
func (a *Agent) health() http.Handler {
	mux := http.NewServeMux()
	if a.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(a.Metrics.registry, promhttp.HandlerOpts{}))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		quiet := time.Since(time.Unix(a.beat.Load(), 0))
		if quiet > a.Limit+a.Full+time.Minute {
			http.Error(w, fmt.Sprintf("the loop has not moved for %s", quiet.Round(time.Second)), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-a.ready:
			_, _ = w.Write([]byte("ok\n"))
		default:
			http.Error(w, "the host was not looked at yet", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.Status(), nil) })
	return mux
}

// Bodies of requests.
type (
	ownerRequest struct {
		Owner  string `json:"owner"`
		Reason string `json:"reason,omitempty"`
	}
	revisionRequest struct {
		Revision string `json:"revision"`
	}
)

// ReconcileOptions are what a person may consent to with a pass.
type ReconcileOptions struct {
	// AllowRemoval removes more than the guard allows, once.
	AllowRemoval bool `json:"allowRemoval,omitempty"`
	// AcceptRewrite follows a history that was rewritten.
	AcceptRewrite bool `json:"acceptRewrite,omitempty"`
}

// verbs serves the command line.
func (a *Agent) verbs() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.Status(), nil) })
	mux.HandleFunc("GET /api/v1/drift", func(w http.ResponseWriter, r *http.Request) {
		var failed error
		err := a.do(r.Context(), func() { failed = a.look(context.WithoutCancel(r.Context())) })
		answer(w, a.Status(), errors.Join(err, failed))
	})
	mux.HandleFunc("GET /api/v1/history", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		if err != nil || n <= 0 {
			n = 20
		}
		answer(w, append([]engine.Record{}, a.Engine.History(n)...), nil)
	})
	mux.HandleFunc("POST /api/v1/suspend", func(w http.ResponseWriter, r *http.Request) {
		var q ownerRequest
		a.change(w, r, &q, func() error { return a.suspend(q.Owner, q.Reason) })
	})
	mux.HandleFunc("POST /api/v1/resume", func(w http.ResponseWriter, r *http.Request) {
		var q ownerRequest
		a.change(w, r, &q, func() error { return a.resume(q.Owner) })
	})
	mux.HandleFunc("POST /api/v1/reconcile", func(w http.ResponseWriter, r *http.Request) {
		var q ReconcileOptions
		a.change(w, r, &q, func() error {
			a.consent = q.AllowRemoval
			if q.AcceptRewrite {
				return a.saved.change(func(s *state) { s.Followed, s.Refused = "", "" })
			}
			return nil
		})
	})
	mux.HandleFunc("POST /api/v1/rollback", func(w http.ResponseWriter, r *http.Request) {
		var q revisionRequest
		a.change(w, r, &q, func() error { return a.rollback(q.Revision) })
	})
	return mux
}

// failure is an error as JSON.
type failure struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, value any, err error) {
	w.Header().Set("Content-Type", "application/json")
	var mistake userError
	switch {
	case errors.As(err, &mistake):
		w.WriteHeader(http.StatusBadRequest)
	case err != nil:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if err != nil {
		value = failure{err.Error()}
	}
	_ = json.NewEncoder(w).Encode(value) // who asked may be gone
}

// userError is a mistake of whoever asked.
type userError string

// Error implements error.
func (e userError) Error() string { return string(e) }

// change reads a request, has the loop do f, fetch and make a pass, and answers
// with the status after that.
func (a *Agent) change(w http.ResponseWriter, r *http.Request, request any, f func() error) {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(request); err != nil {
		answer(w, nil, userError("request: "+err.Error()))
		return
	}
	done := make(chan struct{})
	var failed error
	err := a.do(r.Context(), func() {
		if failed = f(); failed != nil {
			return
		}
		a.force = true
		a.waiters = append(a.waiters, waiter{a.fetches.Load(), done})
		select {
		case a.refetch <- struct{}{}:
		default: // it is on its way
		}
	})
	if err = errors.Join(err, failed); err == nil {
		select {
		case <-done:
		case <-r.Context().Done():
			err = r.Context().Err()
		}
	}
	answer(w, a.Status(), err)
}

// do has the loop call f and waits for it.
func (a *Agent) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case a.commands <- func() { defer close(done); f() }:
	case <-ctx.Done():
		return ctx.Err()
	}
	<-done
	return nil
}

// look finds drift and repairs nothing; the loop does that right after. An error
// says that nobody knows whether there is any.
func (a *Agent) look(ctx context.Context) error {
	if a.compiled == nil {
		return errors.New("there is no revision yet that the host could differ from")
	}
	ctx, cancel := context.WithTimeout(ctx, a.Limit)
	defer cancel()
	err := a.recovering(func() error {
		r, err := a.Engine.Reconcile(ctx, a.desired(), engine.Options{Revision: a.revision.String(), Lock: a.compiled.Lock, Declared: a.compiled.Declared, Dry: true})
		if err == nil {
			a.drift.take(r, time.Now())
			a.stir(nil, false)
		}
		return err
	})
	if isBug(err) {
		a.trouble.bug = err
	}
	a.report()
	return err
}

// rollback pins an earlier revision: a commit, the start of one that was
// applied, or "" for the one that was applied before this one.
func (a *Agent) rollback(name string) error {
	over, ok := a.Source.Last()
	if !ok {
		return userError("there is no repository to take a revision from")
	}
	commit, err := a.commit(name)
	if err != nil {
		return err
	}
	if _, err := a.Source.Tree(source.Revision{Commit: commit}); err != nil {
		return userError(err.Error())
	}
	if err := a.signed(source.Revision{Commit: commit}); err != nil {
		return userError(err.Error())
	}
	return a.saved.change(func(s *state) { s.Pin, s.Over = commit, over.Commit })
}

func (a *Agent) commit(name string) (string, error) {
	name = strings.TrimPrefix(name[strings.LastIndexByte(name, '@')+1:], "sha1:")
	if name != "" && (len(name) < 4 || strings.Trim(name, "0123456789abcdef") != "") {
		return "", userError(fmt.Sprintf("%q is no commit: 4 to 40 hex digits", name))
	}
	if len(name) == 40 {
		return name, nil
	}
	var found []string
	for _, r := range a.Engine.History(1000) {
		c := parseRevision(r.Revision).Commit
		if c == "" || slices.Contains(found, c) || name == "" && (c == a.revision.Commit || r.Outcome != engine.Applied) {
			continue
		}
		if strings.HasPrefix(c, name) {
			found = append(found, c)
		}
	}
	switch {
	case len(found) == 0 && name == "":
		return "", userError("no other revision was applied on this host before")
	case len(found) == 0:
		return "", userError(fmt.Sprintf("no revision %s was applied on this host; give all 40 digits of another one", name))
	case len(found) > 1 && name != "":
		return "", userError(fmt.Sprintf("%s may be %s", name, strings.Join(found, " or ")))
	}
	return found[0], nil
}
