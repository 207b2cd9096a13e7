package vpn

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strongswan/govici/vici"
)

// A tunnel is an IKE SA of charon's.
type tunnel struct {
	connection, id, user string
	up                   bool
	children             map[string]bool // that carry packets
}

// tunnels lists what charon has.
func (k *keeper) tunnels() []tunnel {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []tunnel
	for m, err := range k.charon.CallStreaming(ctx, "list-sas", "list-sa", nil) {
		if err != nil {
			return out
		}
		for _, name := range m.Keys() {
			if sa, ok := m.Get(name).(*vici.Message); ok {
				out = append(out, tunnelOf(name, sa))
			}
		}
	}
	return out
}

func tunnelOf(name string, sa *vici.Message) tunnel {
	t := tunnel{connection: name, children: map[string]bool{}}
	t.id, _ = sa.Get("uniqueid").(string)
	t.user, _ = sa.Get("remote-eap-id").(string)
	state, _ := sa.Get("state").(string)
	t.up = state == "ESTABLISHED"
	children, ok := sa.Get("child-sas").(*vici.Message)
	if !ok {
		return t
	}
	for _, key := range children.Keys() {
		if c, ok := children.Get(key).(*vici.Message); ok {
			name, _ := c.Get("name").(string)
			switch state, _ := c.Get("state").(string); state {
			case "INSTALLED", "REKEYING", "REKEYED", "UPDATING":
				t.children[name] = true
			}
		}
	}
	return t
}

// A board knows how connections are beyond what charon has of them.
type board struct {
	mu     sync.Mutex
	items  map[string]*item // connections, by name
	why    map[string]string
	called map[string]time.Time
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

func (b *board) refuse(connection string, err error) {
	if err != nil {
		b.note(connection, "charon failed to load it: "+err.Error())
	}
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

// call begins every tunnel that this end is to begin and that is not there. charon would
// by itself, but give up for good where the peer refuses it once.
func (k *keeper) call() {
	have := k.tunnels()
	for _, id := range slices.Sorted(maps.Keys(k.now)) {
		i := k.now[id]
		if !i.Call {
			continue
		}
		missing := i.children()
		trying := false
		for _, t := range have {
			if t.connection == i.Connection {
				trying = trying || !t.up
				missing = slices.DeleteFunc(missing, func(c string) bool { return t.children[c] })
			}
		}
		if len(missing) == 0 || trying || !k.board.due(i.Connection) {
			continue
		}
		for _, c := range missing {
			if err := k.command("initiate", map[string]any{"ike": i.Connection, "child": c, "timeout": "-1"}); err != nil {
				k.board.note(i.Connection, "the call failed: "+err.Error())
			}
		}
	}
}

// answer says how a VPN is: its state, and what is behind it.
func (k *keeper) answer(name string) string {
	have := k.tunnels()
	k.board.mu.Lock()
	defer k.board.mu.Unlock()
	best, why := State(""), ""
	users := 0
	for _, c := range slices.Sorted(maps.Keys(k.board.items)) {
		i := k.board.items[c]
		if i.Of != name {
			continue
		}
		if i.Config["pools"] != nil {
			for _, t := range have {
				if t.connection == c && t.up {
					users++
				}
			}
			best, why = Connected, plural(users, "user")
			if k.board.why[c] != "" && users == 0 && strings.HasPrefix(k.board.why[c], "charon failed") {
				best, why = Failed, k.board.why[c]
			}
			continue
		}
		state, reason := stateOf(i, have, k.board.why[c])
		if state == Connected {
			delete(k.board.why, c)
		}
		if best == "" || rank[state] > rank[best] {
			best, why = state, reason
		}
	}
	if best == "" {
		return string(Failed) + " there is no such VPN"
	}
	return strings.TrimSpace(string(best) + " " + why)
}

// rank orders states: of several connections a VPN has the worst.
var rank = map[State]int{Connected: 0, Connecting: 1, Disconnected: 2, Failed: 3}

func stateOf(i *item, have []tunnel, why string) (State, string) {
	missing := i.children()
	trying := false
	for _, t := range have {
		if t.connection == i.Connection {
			trying = true
			missing = slices.DeleteFunc(missing, func(c string) bool { return t.children[c] })
		}
	}
	switch {
	case len(missing) == 0:
		return Connected, ""
	case strings.HasPrefix(why, "giving up"):
		return Disconnected, "the peer does not answer"
	case why != "":
		return Failed, why
	case trying:
		return Connecting, ""
	}
	return Disconnected, ""
}

func plural(n int, word string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, word)
	}
	return fmt.Sprintf("%d %ss", n, word)
}
