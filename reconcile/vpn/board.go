package vpn

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"weft.dev/reconcile/status"
)

// A board knows how VPNs are beyond what charon has of them.
type board struct {
	mu      sync.Mutex
	items   map[string]*item // connections, by name
	why     map[string]string
	called  map[string]time.Time
	unsound []trouble          // with what the files say
	refused map[string]trouble // by charon, by item
	vpns    map[string]*status.VPN
	up      map[string]time.Time // since when each end is there
}

// A trouble is why something of a VPN cannot be used.
type trouble struct {
	of, text string
	all      bool // and so all of the VPN cannot
}

// put takes in what is loaded.
func (b *board) put(all map[string]*item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items = map[string]*item{}
	for _, i := range all {
		if i.Connection != "" {
			b.items[i.Connection] = i
		}
	}
}

// sound notes all that is wrong with the files.
func (b *board) sound(list []trouble) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unsound = list
}

// refuse notes that charon refused an item, or did not.
func (b *board) refuse(i *item, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		delete(b.refused, i.id())
		return
	}
	if b.refused == nil {
		b.refused = map[string]trouble{}
	}
	b.refused[i.id()] = trouble{of: i.Of, text: i.word() + ": charon refuses it: " + err.Error(), all: !i.personal()}
}

// note remembers what charon says where that tells why a connection fails.
func (b *board) note(connection, text string) {
	bad := false
	for _, w := range []string{"notify error", "error notify", "giving up", "failed", "no matching", "no shared key", "no private key", "constraint check", "unable to"} {
		bad = bad || strings.Contains(text, w)
	}
	if connection == "" || !bad {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why == nil {
		b.why = map[string]string{}
	}
	b.why[connection] = text
}

func (b *board) forget(connection string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.why, connection)
	delete(b.called, connection)
}

// due reports whether a connection is to be called now, and notes that it is.
func (b *board) due(connection string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.called[connection]) < againTime {
		return false
	}
	if b.called == nil {
		b.called = map[string]time.Time{}
	}
	b.called[connection] = time.Now()
	return true
}

// see takes in what charon has now.
func (b *board) see(have []tunnel, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.vpns == nil {
		b.vpns = map[string]*status.VPN{}
	}
	of := map[string][]*item{}
	for _, c := range slices.Sorted(maps.Keys(b.items)) {
		i := b.items[c]
		of[i.Of] = append(of[i.Of], i)
	}
	up := map[string]time.Time{}
	for name, list := range of {
		state, reason, ends := b.judge(list, have)
		for j := range ends {
			key := name + " " + ends[j].Name + " " + ends[j].Address
			if ends[j].Up {
				up[key] = b.up[key]
				if up[key].IsZero() {
					up[key] = now
				}
				ends[j].Since = up[key]
			}
		}
		v := b.vpns[name]
		if v == nil {
			v = &status.VPN{}
			b.vpns[name] = v
		}
		if v.State != state {
			fmt.Fprintf(os.Stderr, "vpn %s: %s\n", name, strings.TrimSpace(state+" "+reason))
		}
		v.Become(state, reason, now)
		v.Ends = ends
	}
	maps.DeleteFunc(b.vpns, func(name string, _ *status.VPN) bool { return of[name] == nil })
	b.up = up
}

// judge says how a VPN is, which has these connections: as the worst of them.
func (b *board) judge(list []*item, have []tunnel) (state, reason string, ends []status.VPNEnd) {
	for _, i := range list {
		s, why := b.stateOf(i, have)
		if i.open() {
			in := visitors(i, have)
			s, why, ends = status.VPNConnected, plural(len(in), "user"), append(ends, in...)
		} else {
			if s == status.VPNConnected {
				delete(b.why, i.Connection)
			}
			ends = append(ends, networks(i, have)...)
		}
		if state == "" || rank[s] > rank[state] {
			state, reason = s, why
		}
	}
	for _, t := range slices.Concat(b.unsound, slices.SortedFunc(maps.Values(b.refused), func(a, b trouble) int { return strings.Compare(a.text, b.text) })) {
		switch {
		case t.of != list[0].Of:
		case t.all:
			return status.VPNError, t.text, ends
		default:
			reason = strings.TrimPrefix(reason+"; "+t.text, "; ")
		}
	}
	return state, reason, ends
}

// tell is the reply to who asks for a VPN.
func (b *board) tell(name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.vpns[name]; v != nil {
		return v.Reply()
	}
	return status.VPNError + " there is no such VPN"
}

// rank orders states: of several connections a VPN has the worst.
var rank = map[string]int{status.VPNConnected: 0, status.VPNConnecting: 1, status.VPNPending: 2, status.VPNDisconnected: 3, status.VPNError: 4}

// stateOf is how the connection of a site is.
func (b *board) stateOf(i *item, have []tunnel) (state, reason string) {
	missing := i.children()
	trying := false
	for _, t := range have {
		if t.connection == i.Connection {
			trying = true
			missing = slices.DeleteFunc(missing, func(c string) bool { return t.children[c] })
		}
	}
	why, called := b.why[i.Connection], b.called[i.Connection]
	trying = trying || !called.IsZero() && time.Since(called) < againTime
	switch {
	case len(missing) == 0:
		return status.VPNConnected, ""
	case strings.HasPrefix(why, "giving up"):
		return status.VPNDisconnected, "the peer does not answer"
	case why != "":
		return status.VPNError, why
	case trying:
		return status.VPNConnecting, ""
	case i.Call && called.IsZero():
		return status.VPNPending, ""
	case !i.Call:
		return status.VPNDisconnected, "the peer is to call"
	}
	return status.VPNDisconnected, ""
}

// networks are what a site's connection leads to.
func networks(i *item, have []tunnel) []status.VPNEnd {
	var out []status.VPNEnd
	children, _ := i.Config["children"].(map[string]any)
	for _, name := range i.children() {
		c, _ := children[name].(map[string]any)
		far, _ := c["remote_ts"].([]any)
		up := slices.ContainsFunc(have, func(t tunnel) bool { return t.connection == i.Connection && t.children[name] })
		for _, n := range far {
			text, _ := n.(string)
			out = append(out, status.VPNEnd{Name: text, Up: up})
		}
	}
	return out
}

// visitors are those who are in by a connection.
func visitors(i *item, have []tunnel) []status.VPNEnd {
	var out []status.VPNEnd
	for _, t := range have {
		if t.connection == i.Connection && t.up {
			out = append(out, status.VPNEnd{Name: t.user, Up: true, Address: t.address, From: t.from})
		}
	}
	slices.SortFunc(out, func(a, b status.VPNEnd) int { return strings.Compare(a.Name+" "+a.Address, b.Name+" "+b.Address) })
	return out
}

func plural(n int, word string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, word)
	}
	return fmt.Sprintf("%d %ss", n, word)
}
