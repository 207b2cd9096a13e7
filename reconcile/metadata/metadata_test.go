package metadata

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const twoGuests = `{"ip":"10.1.1.11","id":"web-1.acme","nic":"acme.web-1.eth0","keys":{"instance-id":"web-1.acme","public-keys":"one\ntwo"},"has":["userdata","passwords"]}
{"ip":"10.1.1.12","id":"web-2.acme","nic":"acme.web-2.eth0","keys":{"instance-id":"web-2.acme"}}
`

const server = `{"ns":"weft-acme-web","metaData":["10.1.1.1:80"],"passwords":["10.1.1.1:8080"]}`

// files writes what a keeper reads, and returns the directory.
func files(t *testing.T, guests string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range map[string]string{
		"server": server, "guests": guests,
		"userdata/acme.web-1.eth0": "#cloud-config\x00\xff\n", "passwords/acme.web-1.eth0": "correct \"horse\xff", "userdata/acme.web-2.eth0": "left over",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadRefuses(t *testing.T) {
	for guests, want := range map[string]string{
		"{":                   "line 1",
		"{}\n":                "without address",
		`{"ip":"10.1.1.11"}`:  "without address, id or NIC",
		`{"ip":"x","id":"a"}`: "line 1",
		twoGuests + twoGuests: "twice",
		`{"ip":"10.1.1.12","id":"a","nic":"../x"}`:                  "without address, id or NIC",
		`{"ip":"10.1.1.12","id":"a","nic":"n","has":["passwords"]}`: "no such file",
	} {
		if _, list, err := Read(files(t, guests)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want %s", guests, list, err, want)
		}
	}
	if _, _, err := Read(t.TempDir()); err == nil {
		t.Error("nothing was read, and that is right")
	}
	for _, text := range []string{"{", "{}", `{"ns":"a"}`, `{"ns":"a","metaData":["10.1.1.1"]}`} {
		dir := files(t, twoGuests)
		if err := os.WriteFile(filepath.Join(dir, "server"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "server") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// ask is what a guest at from is answered.
func ask(t *testing.T, answer http.HandlerFunc, from, method, path string, header ...string) (code int, body string) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = from + ":40000"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	answer(w, r)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(b)
}

func TestMetadata(t *testing.T) {
	_, list, err := Read(files(t, twoGuests))
	if err != nil {
		t.Fatal(err)
	}
	var b board
	b.put(list)
	for _, c := range []struct {
		from, path string
		code       int
		want       string
	}{
		{"10.1.1.11", "/", 200, "1.0\nlatest"},
		{"10.1.1.11", "/latest/", 200, "meta-data/\nuser-data"},
		{"10.1.1.11", "/latest/meta-data/", 200, "instance-id\npublic-keys"},
		{"10.1.1.11", "/1.0/meta-data/public-keys", 200, "one\ntwo"},
		{"10.1.1.11", "/latest/user-data", 200, "#cloud-config\x00\xff\n"},
		{"10.1.1.12", "/latest/meta-data/instance-id", 200, "web-2.acme"},
		{"10.1.1.12", "/latest/user-data", 404, ""},
		{"10.1.1.12", "/latest/meta-data/public-keys", 404, ""},
		{"10.1.1.13", "/latest/meta-data/instance-id", 404, ""},
		{"10.1.1.12", "/latest/meta-data/../../../passwords/10.1.1.11", 404, ""},
		{"10.1.1.12", "/latest/user-data/10.1.1.11", 404, ""},
		{"10.1.1.12", "/2009-04-04/meta-data/", 404, ""},
	} {
		code, body := ask(t, b.metadata, c.from, "GET", c.path)
		if code != c.code || code == 200 && body != c.want {
			t.Errorf("%s asks for %s: %d %q", c.from, c.path, code, body)
		}
	}
	for _, header := range []string{"X-Forwarded-For", "Forwarded", "Via"} {
		if code, body := ask(t, b.metadata, "10.1.1.11", "GET", "/latest/user-data", header, "10.1.1.12"); code != http.StatusForbidden {
			t.Errorf("through a proxy (%s): %d %q", header, code, body)
		}
	}
	if code, _ := ask(t, b.metadata, "10.1.1.11", "PUT", "/latest/user-data"); code != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d", code)
	}
}

func TestPassword(t *testing.T) {
	_, list, err := Read(files(t, twoGuests))
	if err != nil {
		t.Fatal(err)
	}
	var taken []string
	b := board{taken: func(g Guest) { taken = append(taken, g.ID) }}
	b.put(list)
	const password = "correct \"horse\xff"
	for _, c := range []struct{ from, request, want string }{
		{"10.1.1.12", "send_my_password", "saved_password"},
		{"10.1.1.12", "saved_password", "saved_password"},
		{"10.1.1.11", "send_my_password", password},
		{"10.1.1.11", "send_my_password", password},
		{"10.1.1.11", "", "bad_request"},
		{"10.1.1.11", "saved_password", "saved_password"},
		{"10.1.1.11", "saved_password", "saved_password"},
		{"10.1.1.11", "send_my_password", "saved_password"},
	} {
		if code, body := ask(t, b.password, c.from, "GET", "/", "DomU_Request", c.request); code != 200 || body != c.want {
			t.Errorf("%s, %q: %d %q", c.from, c.request, code, body)
		}
	}
	if len(taken) != 1 || taken[0] != "web-1.acme" {
		t.Errorf("taken: %q", taken)
	}
	if code, body := ask(t, b.password, "10.1.1.99", "GET", "/", "DomU_Request", "send_my_password"); code != 404 {
		t.Errorf("a stranger: %d %q", code, body)
	}
}

func TestSaved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kept", "web")
	s := readSaved(path)
	if s.has("web", "a", nil) || s.has("web", "a", []byte("x")) {
		t.Error("nothing was saved, and it is there")
	}
	s.put("web", "a", markOf([]byte("hunter2")))
	if err := s.write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), "hunter2") {
		t.Errorf("%s, %v", text, err)
	}
	s = readSaved(path)
	if !s.has("web", "a", []byte("hunter2")) || s.has("web", "a", []byte("hunter3")) || s.has("web", "b", []byte("hunter2")) || s.has("db", "a", []byte("hunter2")) {
		t.Error("it is not what was saved")
	}
	for _, text := range []string{"null", `{"web":null}`, `{"web":{"marks":null}}`, `{"a":"b"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s = readSaved(path); s == nil || s.has("web", "a", []byte("hunter2")) {
			t.Errorf("%s is not nothing", text)
		}
		s.put("web", "a", markOf([]byte("hunter2")))
	}
}

// A VM that is no more is forgotten, a router that went for some weeks is not.
func TestForgotten(t *testing.T) {
	here, now := func(side string) bool { return side == "web" }, time.Now()
	s := saved{}
	for _, side := range []string{"web", "gone"} {
		s.put(side, "a", markOf([]byte("x")))
	}
	if s.prune("web", []*Guest{{ID: "a"}}) || !s.has("web", "a", []byte("x")) {
		t.Error("a VM that is there is forgotten")
	}
	if !s.leave(here, now) || s.leave(here, now.Add(keptFor-time.Hour)) || !s.has("gone", "a", []byte("x")) {
		t.Error("a router that went is forgotten at once")
	}
	if !s.prune("gone", []*Guest{{ID: "a"}}) || !s["gone"].Gone.IsZero() || !s.has("gone", "a", []byte("x")) {
		t.Error("a router that came back is still gone")
	}
	s.leave(here, now)
	if !s.leave(here, now.Add(keptFor+time.Hour)) || s["gone"] != nil {
		t.Error("a router that went is never forgotten")
	}
	if !s.prune("web", []*Guest{{ID: "b"}}) || len(s) != 0 {
		t.Errorf("a VM that went is not forgotten: %v", s)
	}
}

func TestShare(t *testing.T) {
	f := fair{of: map[netip.Addr]int{}, open: new(atomic.Int64)}
	one, two := netip.MustParseAddr("10.1.1.11"), netip.MustParseAddr("10.1.1.12")
	for range maxOfOne {
		if !f.enter(one) {
			t.Fatal("less than its share")
		}
	}
	if f.enter(one) || !f.enter(two) {
		t.Error("one guest takes another's share")
	}
	if f.leave(one); !f.enter(one) {
		t.Error("a share does not come back")
	}
	for range maxOfOne {
		f.leave(one)
	}
	if f.leave(two); len(f.of) != 0 || f.all != 0 || f.open.Load() != 0 {
		t.Errorf("something stays: %v, %d", f.of, f.all)
	}
}

// Guests together fill a port, but for the router itself.
func TestShareOfTheRouter(t *testing.T) {
	own := netip.MustParseAddr("10.1.0.1")
	f := fair{own: own, of: map[netip.Addr]int{}, open: new(atomic.Int64)}
	guest := own
	for range maxOfAll {
		if guest = guest.Next(); !f.enter(guest) {
			t.Fatal("less than all may have")
		}
	}
	if f.enter(guest.Next()) || !f.enter(own) {
		t.Error("the port takes one more guest, or keeps the router out")
	}
}

// A guest that takes a password as another one comes has not taken that one.
func TestTakenIsThePasswordThatWas(t *testing.T) {
	ip := netip.MustParseAddr("10.1.1.11")
	old, next := Guest{IP: ip, ID: "a", Password: []byte("first")}, Guest{IP: ip, ID: "a", Password: []byte("second")}
	var b board
	b.put([]*Guest{&next})
	if b.forget(old) || !b.forget(next) || b.forget(next) {
		t.Error("the worker forgets another password, or one twice")
	}
	k := keeper{
		sides: map[string]*side{"web": {guests: []*Guest{&next}}}, saved: saved{}, state: filepath.Join(t.TempDir(), "taken"), tell: json.NewEncoder(io.Discard),
	}
	take := func(x taken) {
		t.Helper()
		if err := k.take(x); err != nil {
			t.Fatal(err)
		}
	}
	if take(taken{"web", "a", markOf(old.Password)}); len(k.saved) != 0 {
		t.Errorf("the keeper remembers %v", k.saved)
	}
	if take(taken{"web", "a", markOf(next.Password)}); !k.saved.has("web", "a", next.Password) || !readSaved(k.state).has("web", "a", next.Password) {
		t.Error("the keeper does not remember what was taken")
	}
	for _, x := range []taken{{"web", "b", markOf(next.Password)}, {"db", "a", markOf(next.Password)}, {}} {
		if take(x); len(k.saved) != 1 || !k.saved.has("web", "a", next.Password) {
			t.Errorf("the keeper remembers %v of a VM that is not there", k.saved)
		}
	}
}
