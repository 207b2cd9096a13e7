package agent

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"weft.dev/reconcile/host"
)

const (
	// A push of some hundred commits says so in less than maxPush; what is
	// larger is found by the poll.
	maxPush = 1 << 20
	// maxCallers bounds connections, and with maxPush the memory.
	maxCallers = 32
	// Requests that look as if they were signed are read at this pace at most,
	// so that nobody can have this host hash more than 5 MiB a second.
	pushRate, pushBurst = 5, 20
	// minSecret is the length below which a secret could be guessed from one
	// recorded request.
	minSecret = 16
	// betweenPushes is how long the repository is left alone after a hook had
	// it asked.
	betweenPushes = 2 * time.Second
)

// A Hook is where a forge says that something was pushed. All it does is to
// have the repository asked at once: what a request says is believed in one
// point, that it is about another branch.
type Hook struct {
	listen string
	ref    string // what is followed, in full; "" where it is not known
	secret []byte

	pushed   chan struct{}
	requests bucket
	warnings bucket
	metrics  *Metrics
	log      *slog.Logger
}

// NewHook prepares a hook at an address. The secret is in a file that nobody
// else may read. Branch or tag is what is followed; both empty: not known.
func NewHook(listen, secretFile, branch, tag string) (*Hook, error) {
	secret, err := readSecret(secretFile)
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	h := &Hook{
		listen: listen, secret: secret, pushed: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler),
		requests: bucket{rate: pushRate, size: pushBurst}, warnings: bucket{rate: 1. / 60, size: 1},
	}
	switch {
	case branch != "":
		h.ref = "refs/heads/" + branch
	case tag != "":
		h.ref = "refs/tags/" + tag
	}
	return h, nil
}

func readSecret(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("secret: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("secret: %s is not a regular file", file)
	case info.Mode().Perm()&0o007 != 0:
		return nil, fmt.Errorf("secret: everybody may read %s: chmod o-rwx", file)
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	b = bytes.TrimRight(b, "\r\n")
	switch {
	case len(b) < minSecret:
		return nil, fmt.Errorf("secret: %s has less than %d characters: openssl rand -hex 32", file, minSecret)
	case bytes.ContainsAny(b, "\r\n"):
		return nil, fmt.Errorf("secret: %s has more than one line", file)
	}
	return b, nil
}

// serve answers at the hook's address until the server is closed.
func (h *Hook) serve(a *Agent) (*http.Server, error) {
	l, err := net.Listen("tcp", h.listen)
	if err != nil {
		return nil, err
	}
	h.metrics, h.log = a.Metrics, a.Log
	mux := http.NewServeMux()
	mux.Handle("/webhook", h)
	s := &http.Server{
		Handler: mux, MaxHeaderBytes: 16 << 10,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug), // strangers write it
	}
	go func() { _ = s.Serve(netutil.LimitListener(l, maxCallers)) }() // it ends with Close
	a.Log.Info("webhook", "listen", l.Addr().String())
	return s, nil
}

// ServeHTTP implements http.Handler: 202 for a request that is signed, 401 for
// another, 405 unless it is a POST, 413 where it is too large, 429 where there
// are too many.
func (h *Hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	result, code := h.take(w, r)
	h.metrics.hooked(result)
	if code == http.StatusAccepted {
		w.WriteHeader(code)
		return
	}
	if h.warnings.take(time.Now()) {
		h.log.Warn("a request to the webhook was refused", "from", r.RemoteAddr, "reason", result)
	}
	w.Header().Set("Connection", "close") // the rest of it is not read
	if code == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	http.Error(w, http.StatusText(code), code)
}

func (h *Hook) take(w http.ResponseWriter, r *http.Request) (result string, code int) {
	if r.Method != http.MethodPost {
		return hookMethod, http.StatusMethodNotAllowed
	}
	proof, ok := proofOf(r.Header)
	switch {
	case !ok:
		return hookUnsigned, http.StatusUnauthorized
	case r.ContentLength > maxPush:
		return hookLarge, http.StatusRequestEntityTooLarge
	case !h.requests.take(time.Now()):
		return hookMany, http.StatusTooManyRequests
	case proof.mac == nil && !proof.holds(h.secret, nil):
		return hookUnsigned, http.StatusUnauthorized
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPush))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return hookLarge, http.StatusRequestEntityTooLarge
	case err != nil:
		return hookTorn, http.StatusBadRequest
	case !proof.holds(h.secret, body):
		return hookUnsigned, http.StatusUnauthorized
	case h.elsewhere(body):
		return hookOther, http.StatusAccepted
	}
	select {
	case h.pushed <- struct{}{}:
	default: // the repository is to be asked anyway
	}
	return hookAccepted, http.StatusAccepted
}

// A proof is what a request shows for knowing the secret: a MAC of its body,
// or else the secret itself.
type proof struct {
	mac   []byte
	token string
}

// proofOf reads the headers of GitHub (Gitea and Forgejo send the same), of
// GitLab, and of anybody else, in this order.
func proofOf(header http.Header) (proof, bool) {
	for _, name := range []string{"X-Hub-Signature-256", "X-Gitlab-Token", "X-Weft-Signature", "X-Signature-256"} {
		value := header.Get(name)
		if value == "" {
			continue
		}
		if name == "X-Gitlab-Token" {
			return proof{token: value}, true
		}
		mac, err := hex.DecodeString(strings.TrimPrefix(value, "sha256="))
		return proof{mac: mac}, err == nil && len(mac) == sha256.Size
	}
	return proof{}, false
}

// holds takes the same time for every wrong proof.
func (p proof) holds(secret, body []byte) bool {
	if p.mac != nil {
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		return hmac.Equal(mac.Sum(nil), p.mac)
	}
	want, is := sha256.Sum256(secret), sha256.Sum256([]byte(p.token))
	return subtle.ConstantTimeCompare(want[:], is[:]) == 1
}

// elsewhere reports whether a request says that another branch or tag was
// pushed. GitHub and GitLab name it the same.
func (h *Hook) elsewhere(body []byte) bool {
	var push struct {
		Ref string `json:"ref"`
	}
	if h.ref == "" || json.Unmarshal(body, &push) != nil {
		return false
	}
	return strings.HasPrefix(push.Ref, "refs/") && push.Ref != h.ref
}

// wake has the repository asked when the hook says so. What comes while it is
// left alone is done once, afterwards.
func (a *Agent) wake(ctx context.Context) {
	if a.Hook == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.Hook.pushed:
		}
		select {
		case a.refetch <- struct{}{}:
		default: // it is on its way
		}
		if !host.Sleep(ctx, betweenPushes) {
			return
		}
	}
}

// A bucket lets through size at once and rate in a second. Its zero value lets
// nothing through.
type bucket struct {
	rate, size float64

	mu   sync.Mutex
	used float64
	last time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used = max(0, b.used-b.rate*now.Sub(b.last).Seconds())
	b.last = now
	if b.used+1 > b.size {
		return false
	}
	b.used++
	return true
}
