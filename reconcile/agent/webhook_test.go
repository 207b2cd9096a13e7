package agent

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/reconcile/status"
)

const secret = "correct horse battery staple"

func secretFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	must(t, os.Chmod(file, mode))
	return file
}

func newHook(t *testing.T, branch, tag string) *Hook {
	t.Helper()
	h, err := NewHook("127.0.0.1:0", secretFile(t, secret+"\n", 0o640), branch, tag)
	must(t, err)
	h.metrics = NewMetrics("test")
	return h
}

func mac(key, body string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(body))
	return hex.EncodeToString(m.Sum(nil))
}

// post sends a request and returns its status and whether it had the
// repository asked.
func (h *Hook) post(method, body string, header ...string) (code int, woke bool) {
	r := httptest.NewRequest(method, "/webhook", strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	select {
	case <-h.pushed:
		woke = true
	default:
	}
	return w.Code, woke
}

func TestWebhookProofs(t *testing.T) {
	const main, other, ping = `{"ref":"refs/heads/main"}`, `{"ref":"refs/heads/x"}`, `{"zen":"Keep it simple."}`
	const hub, lab, weft, any256 = "X-Hub-Signature-256", "X-Gitlab-Token", "X-Weft-Signature", "X-Signature-256"
	large := strings.Repeat("x", maxPush+1)
	var logged bytes.Buffer
	for _, c := range []struct {
		name, method, body string
		header             []string
		code               int
		woke               bool
		result             string
	}{
		{"github", "POST", main, []string{hub, "sha256=" + mac(secret, main)}, 202, true, hookAccepted},
		{"github ping", "POST", ping, []string{hub, "sha256=" + mac(secret, ping)}, 202, true, hookAccepted},
		{"github form", "POST", "payload=%7B%7D", []string{hub, "sha256=" + mac(secret, "payload=%7B%7D")}, 202, true, hookAccepted},
		{"github other branch", "POST", other, []string{hub, "sha256=" + mac(secret, other)}, 202, false, hookOther},
		{"github other secret", "POST", main, []string{hub, "sha256=" + mac("another secret of mine", main)}, 401, false, hookUnsigned},
		{"github other body", "POST", main, []string{hub, "sha256=" + mac(secret, other)}, 401, false, hookUnsigned},
		{"github short", "POST", main, []string{hub, "sha256=" + mac(secret, main)[:32]}, 401, false, hookUnsigned},
		{"github sha1", "POST", main, []string{"X-Hub-Signature", "sha1=" + mac(secret, main)[:40]}, 401, false, hookUnsigned},
		{"no hex", "POST", main, []string{weft, strings.Repeat("z", 64)}, 401, false, hookUnsigned},
		{"gitlab", "POST", main, []string{lab, secret}, 202, true, hookAccepted},
		{"gitlab other branch", "POST", other, []string{lab, secret}, 202, false, hookOther},
		{"gitlab wrong", "POST", main, []string{lab, secret + "x"}, 401, false, hookUnsigned},
		{"gitlab gets no MAC", "POST", main, []string{lab, mac(secret, main)}, 401, false, hookUnsigned},
		{"generic", "POST", "", []string{weft, mac(secret, "")}, 202, true, hookAccepted},
		{"generic 2", "POST", "hello", []string{any256, "sha256=" + mac(secret, "hello")}, 202, true, hookAccepted},
		{"generic gets no secret", "POST", main, []string{weft, secret}, 401, false, hookUnsigned},
		{"nothing", "POST", main, nil, 401, false, hookUnsigned},
		{"large", "POST", large, []string{weft, mac(secret, large)}, 413, false, hookLarge},
		{"get", "GET", "", []string{weft, mac(secret, "")}, 405, false, hookMethod},
		{"put", "PUT", main, []string{weft, mac(secret, main)}, 405, false, hookMethod},
	} {
		h := newHook(t, "main", "")
		h.log = slog.New(slog.NewTextHandler(&logged, nil))
		code, woke := h.post(c.method, c.body, c.header...)
		if code != c.code || woke != c.woke {
			t.Errorf("%s: %d, woke %v; want %d, %v", c.name, code, woke, c.code, c.woke)
		}
		if !counted1(t, h.metrics, c.result) {
			t.Errorf("%s: it is not counted as %s", c.name, c.result)
		}
	}
	if strings.Contains(logged.String(), secret) || !strings.Contains(logged.String(), "unauthorized") {
		t.Errorf("the log says:\n%s", logged.String())
	}
}

// counted1 reports whether exactly one request had that result.
func counted1(t *testing.T, m *Metrics, result string) bool {
	t.Helper()
	all, err := m.registry.Gather()
	must(t, err)
	for _, f := range all {
		if f.GetName() == "weft_webhook_total" {
			x := f.GetMetric()
			return len(x) == 1 && x[0].GetLabel()[0].GetValue() == result && x[0].GetCounter().GetValue() == 1
		}
	}
	return false
}

func TestWebhookChunkedBodyIsLimited(t *testing.T) {
	h := newHook(t, "", "")
	r := httptest.NewRequest("POST", "/webhook", strings.NewReader(strings.Repeat("x", maxPush+1)))
	r.ContentLength = -1
	r.Header.Set("X-Weft-Signature", mac(secret, ""))
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("answer %d", w.Code)
	}
}

func TestWebhookRefs(t *testing.T) {
	for _, c := range []struct {
		branch, tag, ref string
		woke             bool
	}{
		{"", "", "refs/heads/x", true}, // the default branch has an unknown name
		{"main", "", "main", true},     // an event that names no full ref
		{"main", "", "refs/tags/main", false},
		{"", "v1", "refs/tags/v1", true},
		{"", "v1", "refs/heads/v1", false},
	} {
		if _, woke := newHook(t, c.branch, c.tag).post("POST", `{"ref":"`+c.ref+`"}`, "X-Gitlab-Token", secret); woke != c.woke {
			t.Errorf("%+v: woke %v", c, woke)
		}
	}
}

func TestWebhookFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHook(t, "", "")
		codes := map[int]int{}
		for range 100 {
			code, _ := h.post("POST", "", "X-Weft-Signature", mac("a wrong secret, this one", ""))
			codes[code]++
		}
		if codes[401] != pushBurst || codes[429] != 100-pushBurst {
			t.Errorf("answers %v", codes)
		}
		time.Sleep(time.Second) // the bubble's clock
		if code, woke := h.post("POST", "", "X-Weft-Signature", mac(secret, "")); code != 202 || !woke {
			t.Errorf("after the flood: %d, %v", code, woke)
		}
	})
}

func TestWebhookGathersPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a := &Agent{Config: Config{Hook: newHook(t, "", "")}, refetch: make(chan struct{}, 1)}
		done := make(chan struct{})
		go func() { defer close(done); a.wake(ctx) }()
		push := func() {
			select {
			case a.Hook.pushed <- struct{}{}:
			default:
			}
		}
		began := time.Now()
		push()
		<-a.refetch
		if took := time.Since(began); took != 0 {
			t.Errorf("the first push waits %s", took)
		}
		for range 50 {
			push()
		}
		<-a.refetch // the last push is not lost
		if took := time.Since(began); took != betweenPushes {
			t.Errorf("those after it wait %s", took)
		}
		time.Sleep(time.Minute)
		select {
		case <-a.refetch:
			t.Error("50 pushes are asked for more than once")
		default:
		}
		cancel()
		<-done
	})
}

func TestWebhookSecret(t *testing.T) {
	for want, file := range map[string]string{
		"everybody may read":          secretFile(t, secret, 0o644),
		"has less than 16 characters": secretFile(t, "short\n", 0o600),
		"has more than one line":      secretFile(t, secret+"\n"+secret+"\n", 0o600),
		"is not a regular file":       t.TempDir(),
		"no such file":                "/nowhere/secret",
	} {
		if _, err := NewHook(":0", file, "", ""); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestWebhookIsFollowed has a real request fetch a commit that no poll and no
// watch tells of.
func TestWebhookIsFollowed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	must(t, l.Close())
	w := newWorld(t)
	w.config.Hook, err = NewHook(addr, secretFile(t, secret, 0o600), "main", "")
	must(t, err)
	w.push(1, "a")
	w.repo.wakes = nil
	w.start()
	w.applied(1)
	w.push(2, "b")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/webhook", strings.NewReader(`{"ref":"refs/heads/main"}`))
	must(t, err)
	r.Header.Set("X-Gitlab-Token", secret)
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	must(t, answer.Body.Close())
	if answer.StatusCode != http.StatusAccepted {
		t.Errorf("answer %s", answer.Status)
	}
	w.applied(2)
	for path, want := range map[string]int{"/": 404, "/metrics": 404, "/webhook": 405} {
		answer, err := http.Get("http://" + addr + path)
		must(t, err)
		must(t, answer.Body.Close())
		if answer.StatusCode != want {
			t.Errorf("%s answers %s", path, answer.Status)
		}
	}
	if s := w.agent.Status(); !s.Condition(status.Ready).True {
		t.Errorf("%+v", s.Conditions)
	}
}
