package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/engine/trial"
	"weft.dev/reconcile/host"
)

// An agent that ends while it is asked is told apart from none, in words about it.
func TestClientOfAnAgentThatEnds(t *testing.T) {
	h := host.New("kvm1", "weft")
	h.RunDir = t.TempDir()
	defer h.Close()
	l, err := net.Listen("unix", Socket(h))
	must(t, err)
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "drift") {
			_, _ = w.Write([]byte("{"))
			return
		}
		panic(http.ErrAbortHandler)
	})}
	go func() { _ = s.Serve(l) }() // it ends with Close
	defer func() { _ = s.Close() }()
	_, err = NewClient(h).Status(context.Background())
	if err == nil || errors.Is(err, ErrNotRunning) || !strings.HasPrefix(err.Error(), "the agent did not answer: ") || strings.Contains(err.Error(), "http:") {
		t.Errorf("got %v", err)
	}
	_, err = NewClient(h).Drift(context.Background())
	if err == nil || err.Error() != "answer of the agent: unexpected EOF" {
		t.Errorf("got %v", err)
	}
}

// A pass that waits for a person's word is none that failed.
func TestPendingIsNoError(t *testing.T) {
	m := NewMetrics("test")
	m.passed(nil, &trial.PendingError{}, 0)
	rec := newRecorder()
	r, err := http.NewRequest(http.MethodGet, "/metrics", nil)
	must(t, err)
	(&Agent{Config: Config{Metrics: m}}).health().ServeHTTP(rec, r)
	if !strings.Contains(rec.String(), "weft_reconcile_total{result=\"locked\"} 1\n") {
		t.Errorf("%s", rec)
	}
}
