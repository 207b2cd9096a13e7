package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weft.dev/reconcile/agent"
	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// fakeAgent answers at a socket as an agent does: with one status before it is asked to
// reconcile and with another after it.
type fakeAgent struct {
	before, after status.Status
	history       []engine.Record // Began is set when it is asked, but for those of before
	old           int             // records of before
	asked         agent.ReconcileOptions
}

func (f *fakeAgent) serve(t *testing.T) *agent.Client {
	t.Helper()
	h := host.New("kvm1", "weft")
	h.RunDir = t.TempDir()
	t.Cleanup(func() { h.Close() })
	l, err := net.Listen("unix", agent.Socket(h))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { say(w, f.before) })
	mux.HandleFunc("POST /api/v1/reconcile", func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&f.asked); err != nil {
			t.Error(err)
		}
		for i := range f.history[:len(f.history)-f.old] {
			f.history[i].Began = time.Now()
		}
		say(w, f.after)
	})
	mux.HandleFunc("GET /api/v1/history", func(w http.ResponseWriter, _ *http.Request) { say(w, f.history) })
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }() // it ends with Close
	t.Cleanup(func() { _ = s.Close() })
	return agent.NewClient(h)
}

func stands(c ...status.Condition) status.Status {
	return status.Status{Repository: "/srv/net.git", LastAttemptedRevision: "main@sha1:0e6c9de433030e6c9de433030e6c9de433030e6c", Intent: "1", Conditions: c}
}

func exitOf(err error) int {
	var e exit
	switch {
	case errors.As(err, &e):
		return e.code
	case err != nil:
		return exitError
	}
	return exitOK
}

// What an apply beside an agent says, and its exit status, are those of an apply.
func TestApplyBesideAgent(t *testing.T) {
	ready := status.Condition{Type: status.Ready, True: true}
	failed := engine.Record{Outcome: engine.Failed, Failures: []engine.Failure{{
		ID: resource.ID{Kind: resource.KindLink, Name: "a/eth0"}, Owner: "network/acme/a", Error: "no\nspace",
	}}}
	applied := engine.Record{Outcome: engine.Applied, Took: 35 * time.Millisecond}
	other := stands(ready)
	other.Intent = "2"
	for name, c := range map[string]struct {
		agent    fakeAgent
		code     int
		out, say string
	}{
		"applied": {fakeAgent{after: stands(ready), history: []engine.Record{applied, failed}, old: 1}, exitOK, "Applied and verified by the agent in 35 ms.\n", ""},
		"failed": {fakeAgent{after: stands(status.Condition{Type: status.Ready}), history: []engine.Record{failed}}, exitError,
			"", "network/acme/a: net.link a/eth0: no space"},
		"was made so meanwhile": {fakeAgent{after: stands(ready), history: []engine.Record{failed}, old: 1}, exitOK, "Applied and verified by the agent in ", ""},
		"refused":               {fakeAgent{after: stands(status.Condition{Type: status.Ready, Message: "removes 9 of 10"})}, exitError, "", "removes 9 of 10"},
		"somebody else is at it": {fakeAgent{after: stands(ready, status.Condition{Type: status.Reconciling, True: true, Reason: status.ReconcilingWaits, Message: "held by 7"})},
			exitStale, "", "held by 7"},
		"another tree by now": {fakeAgent{after: other}, exitStale, "", "follows another tree by now, /srv/net.git at main@0e6c9de43303: plan again"},
	} {
		t.Run(name, func(t *testing.T) {
			c.agent.before = stands(ready)
			client := c.agent.serve(t)
			var out, words bytes.Buffer
			a := &app{out: &out, err: &words}
			before, err := a.beside(t.Context(), client, applyFlags{})
			if err != nil || before == nil {
				t.Fatal(before, err)
			}
			if err = a.askAgent(t.Context(), client, before, applyFlags{removal: true}); err != nil {
				words.WriteString(err.Error())
			}
			if exitOf(err) != c.code || !strings.HasPrefix(out.String(), c.out) || !strings.Contains(words.String(), c.say) {
				t.Errorf("exit status %d, %q, %q", exitOf(err), out.String(), words.String())
			}
			if !c.agent.asked.AllowRemoval {
				t.Error("it was not told of the consent to remove")
			}
		})
	}
}

// What an agent cannot do is refused beside it, and done where it is suspended or none runs.
func TestApplyRefusedBesideAgent(t *testing.T) {
	f := &fakeAgent{before: stands()}
	client := f.serve(t)
	a := &app{}
	for _, flags := range []applyFlags{{intent: "x.json"}, {confirm: time.Minute}, {planFlags: planFlags{target: []string{"network/acme/a"}}}} {
		if _, err := a.beside(t.Context(), client, flags); exitOf(err) != exitStale || !strings.Contains(err.Error(), "weft suspend first for --") {
			t.Errorf("%+v: %v", flags, err)
		}
	}
	f.before = stands(status.Condition{Type: status.Suspended, True: true, Reason: status.HostSuspended})
	if s, err := a.beside(t.Context(), client, applyFlags{confirm: time.Minute}); s != nil || err != nil {
		t.Errorf("suspended: %v, %v", s, err)
	}
	h := host.New("kvm2", "weft")
	h.RunDir = t.TempDir()
	defer h.Close()
	if s, err := a.beside(t.Context(), agent.NewClient(h), applyFlags{confirm: time.Minute}); s != nil || err != nil {
		t.Errorf("none runs: %v, %v", s, err)
	}
}
