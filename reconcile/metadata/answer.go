package metadata

import (
	"bytes"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// A board is what can be told at the moment at one side of a router. Its methods are
// for any number of requests at a time.
type board struct {
	mu     sync.Mutex
	guests map[netip.Addr]*Guest
	taken  func(g Guest) // called when a guest says that it has its password
}

// put replaces all there is to tell.
func (b *board) put(list []*Guest) {
	guests := make(map[netip.Addr]*Guest, len(list))
	for _, g := range list {
		guests[g.IP] = g
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.guests = guests
}

// asker is the guest that a request is from. What came through a proxy is from
// nobody: a guest that relays requests for others must not give itself away.
func (b *board) asker(w http.ResponseWriter, r *http.Request) (Guest, bool) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return Guest{}, false
	}
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "Via"} {
		if r.Header.Get(name) != "" {
			http.Error(w, "not through a proxy", http.StatusForbidden)
			return Guest{}, false
		}
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.guests[from.Addr().Unmap()]; err == nil && g != nil {
		return *g, true
	}
	http.Error(w, "no guest is known by this address", http.StatusNotFound)
	return Guest{}, false
}

// metadata answers /VERSION/user-data and /VERSION/meta-data/KEY. What it says of a
// key has no line break behind it: clients take one for the mark of a list.
func (b *board) metadata(w http.ResponseWriter, r *http.Request) {
	g, ok := b.asker(w, r)
	if !ok {
		return
	}
	say := func(text string) { _, _ = w.Write([]byte(text)) }
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	version := path[0] == "latest" || path[0] == "1.0"
	switch {
	case len(path) == 1 && path[0] == "":
		say("1.0\nlatest")
		return
	case version && len(path) == 1:
		say("meta-data/\nuser-data")
		return
	case version && len(path) == 2 && path[1] == "user-data" && g.UserData != nil:
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(g.UserData)
		return
	case version && len(path) == 2 && path[1] == "meta-data":
		say(strings.Join(slices.Sorted(maps.Keys(g.Keys)), "\n"))
		return
	case version && len(path) == 3 && path[1] == "meta-data":
		if value, ok := g.Keys[path[2]]; ok {
			say(value)
			return
		}
	}
	http.Error(w, "there is no such thing", http.StatusNotFound)
}

// password speaks CloudStack's protocol: the header says what is asked, the path
// nothing. A password is told until the guest says that it has it.
func (b *board) password(w http.ResponseWriter, r *http.Request) {
	g, ok := b.asker(w, r)
	if !ok {
		return
	}
	answer := []byte("bad_request")
	switch r.Header.Get("DomU_Request") {
	case "send_my_password":
		if answer = g.Password; len(answer) == 0 {
			answer = []byte("saved_password")
		}
	case "saved_password":
		answer = []byte("saved_password")
		if len(g.Password) > 0 && b.forget(g) {
			b.taken(g)
		}
	}
	_, _ = w.Write(answer)
}

// forget drops a guest's password; false if it was dropped before, or is another by now.
func (b *board) forget(g Guest) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.guests[g.IP]
	if now == nil || now.ID != g.ID || !bytes.Equal(now.Password, g.Password) {
		return false
	}
	without := *now
	without.Password = nil
	b.guests[g.IP] = &without
	return true
}
