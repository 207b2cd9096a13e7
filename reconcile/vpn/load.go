package vpn

import (
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// load brings charon from what it was told before to next. What is as before it is
// not told again, so that the tunnels of other connections do not notice.
func (k *keeper) load(next map[string]*item) {
	k.board.sound(k.settle(next))
	gone, changed := k.compare(next)
	for _, i := range gone {
		if i.Connection != "" {
			_ = k.say(i, k.command("unload-conn", map[string]any{"name": i.Connection}))
			k.end(i.Connection)
			k.board.forget(i.Connection)
		}
	}
	for _, i := range gone {
		if i.bad == nil {
			_ = k.say(i, k.unload(i))
		}
		delete(k.refused, i.id())
		k.board.refuse(i, nil)
	}
	// First what connections use.
	for _, kind := range []func(*item) bool{
		func(i *item) bool { return i.Secret != "" || i.Key != "" },
		func(i *item) bool { return i.Pool != "" },
	} {
		for _, i := range changed {
			if kind(i) {
				k.try(i)
			}
		}
	}
	// Ended before, a tunnel could come again by what is no secret any more.
	for _, i := range k.lost(next) {
		k.end(i.Connection)
		k.board.forget(i.Connection)
	}
	for _, i := range changed {
		if i.Connection != "" {
			old := k.now[i.id()]
			if old != nil {
				k.end(i.Connection)
			}
			k.board.forget(i.Connection)
			if !k.try(i) && old != nil { // else it would be called, and let in, as it was before
				_ = k.command("unload-conn", map[string]any{"name": i.Connection})
			}
		}
	}
	k.now = next
	k.board.put(next)
	_ = k.call() // that nobody is heard shows at the next tick too
}

// settle keeps of what cannot be used what was there before, and returns what is wrong.
func (k *keeper) settle(next map[string]*item) []trouble {
	var out []trouble
	for _, id := range slices.Sorted(maps.Keys(next)) {
		i := next[id]
		if i.bad == nil {
			continue
		}
		t := trouble{of: i.Of, text: i.word() + ": " + i.bad.Error(), all: !i.personal()}
		fmt.Fprintf(os.Stderr, "ipsec: %s: %v\n", id, i.bad)
		if old := k.now[id]; old != nil && old.bad == nil {
			next[id] = old
			t.text, t.all = "the one before stays: "+t.text, false
		}
		out = append(out, t)
	}
	return out
}

// A refusal is what charon did not take, and when it is told again.
type refusal struct {
	item  *item
	pause time.Duration
	due   time.Time
}

// The pauses between two tries to tell charon what it refused.
const (
	firstPause = 2 * time.Second
	lastPause  = time.Minute
)

// try tells charon of an item, and has it told again where it refuses.
func (k *keeper) try(i *item) bool {
	if i.bad != nil {
		return false
	}
	err := k.say(i, k.put(i))
	if err == nil {
		delete(k.refused, i.id())
		k.board.refuse(i, nil)
		return true
	}
	pause := firstPause
	if r := k.refused[i.id()]; r != nil && r.item == i {
		pause = min(2*r.pause, lastPause)
	}
	if k.refused == nil {
		k.refused = map[string]*refusal{}
	}
	k.refused[i.id()] = &refusal{item: i, pause: pause, due: time.Now().Add(pause)}
	k.board.refuse(i, err)
	return false
}

// again tells charon what it refused before and is to be told by now.
func (k *keeper) again() {
	for _, id := range slices.Sorted(maps.Keys(k.refused)) {
		r := k.refused[id]
		if time.Now().Before(r.due) || !k.try(r.item) {
			continue
		}
		for _, i := range k.now {
			if i.Connection != "" && i.Of == r.item.Of {
				k.board.forget(i.Connection) // what failed for want of it did so before
			}
		}
	}
}

// compare lists what is to go and what is new or another, by id.
func (k *keeper) compare(next map[string]*item) (gone, changed []*item) {
	for _, id := range slices.Sorted(maps.Keys(k.now)) {
		if next[id] == nil {
			gone = append(gone, k.now[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(next)) {
		if old := k.now[id]; old == nil || old.text != next[id].text {
			changed = append(changed, next[id])
		}
	}
	return gone, changed
}

// lost lists the connections, as before, of which a secret is gone or another: who knew
// the old one must not stay in by it.
func (k *keeper) lost(next map[string]*item) []*item {
	var out []*item
	for _, id := range slices.Sorted(maps.Keys(k.now)) {
		old := k.now[id]
		now := next[id]
		if old.Secret == "" || now != nil && now.text == old.text {
			continue
		}
		if of, user, _ := strings.Cut(old.Secret, "/"); old.personal() {
			k.endUser(of, user)
			continue
		}
		for _, c := range slices.Sorted(maps.Keys(k.now)) {
			if c := k.now[c]; c.Connection != "" && c.Of == old.Of {
				out = append(out, c)
			}
		}
	}
	return out
}

// say logs what went wrong with an item, and returns it.
func (k *keeper) say(i *item, err error) error {
	if err != nil {
		fmt.Fprintf(os.Stderr, "ipsec: %s: %v\n", i.id(), err)
	}
	return err
}

// put tells charon of an item.
func (k *keeper) put(i *item) error {
	switch {
	case i.Connection != "":
		return k.command("load-conn", map[string]any{i.Connection: i.Config})
	case i.Pool != "":
		return k.command("load-pool", map[string]any{i.Pool: i.Config})
	case i.Secret != "":
		owners := make([]any, len(i.Owners))
		for j, o := range i.Owners {
			owners[j] = o
		}
		return k.command("load-shared", map[string]any{"id": i.Secret, "type": i.Kind, "data": string(i.content), "owners": owners})
	}
	kind := "any"
	switch i.block.Type {
	case "RSA PRIVATE KEY":
		kind = "rsa"
	case "EC PRIVATE KEY":
		kind = "ecdsa"
	}
	return k.command("load-key", map[string]any{"type": kind, "data": string(pem.EncodeToMemory(i.block))})
}

// unload has charon forget an item that is no connection. Keys have no name, so that
// they go with charon, and without a certificate are of no use.
func (k *keeper) unload(i *item) error {
	switch {
	case i.Pool != "":
		return k.command("unload-pool", map[string]any{"name": i.Pool})
	case i.Secret != "":
		return k.command("unload-shared", map[string]any{"id": i.Secret})
	}
	return nil
}

// end ends what a connection has of tunnels; that it has none is no mistake.
func (k *keeper) end(connection string) {
	_ = k.command("terminate", map[string]any{"ike": connection, "force": "yes", "timeout": "-1"})
}

// endUser ends the tunnels of one user of a connection.
func (k *keeper) endUser(connection, user string) {
	have, err := k.tunnels()
	if err != nil {
		fmt.Fprintf(os.Stderr, "ipsec: %s may still be in: %v\n", user, err)
	}
	for _, s := range have {
		if s.connection == connection && s.user == user {
			_ = k.command("terminate", map[string]any{"ike-id": s.id, "force": "yes", "timeout": "-1"})
		}
	}
}
