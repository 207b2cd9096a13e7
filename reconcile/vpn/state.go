package vpn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/strongswan/govici/vici"

	"weft.dev/reconcile/status"
)

// A tunnel is an IKE SA of charon's.
type tunnel struct {
	connection, id, user string
	address, from        string // the user's own, and where the user is
	up                   bool
	children             map[string]bool // that carry packets
}

// tunnels lists what charon has; with an error that is not known.
func (k *keeper) tunnels() ([]tunnel, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []tunnel
	for m, err := range k.charon.CallStreaming(ctx, "list-sas", "list-sa", nil) {
		if err != nil {
			return nil, err
		}
		for _, name := range m.Keys() {
			if sa, ok := m.Get(name).(*vici.Message); ok {
				out = append(out, tunnelOf(name, sa))
			}
		}
	}
	return out, nil
}

func tunnelOf(name string, sa *vici.Message) tunnel {
	t := tunnel{connection: name, children: map[string]bool{}}
	t.id, _ = sa.Get("uniqueid").(string)
	t.user, _ = sa.Get("remote-eap-id").(string)
	t.from, _ = sa.Get("remote-host").(string)
	if vips, _ := sa.Get("remote-vips").([]string); len(vips) > 0 {
		t.address = vips[0]
	}
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

// call begins every tunnel that this end is to begin and that is not there. charon would
// by itself, but give up for good where the peer refuses it once. An error says that
// charon is not heard any more.
func (k *keeper) call() error {
	have, err := k.tunnels()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ipsec: charon does not say what tunnels there are:", err)
		if errors.Is(err, io.ErrClosedPipe) { // as the session says of itself for good
			return fmt.Errorf("charon is not heard any more: %w", err)
		}
		return nil
	}
	k.board.see(have, time.Now())
	for _, id := range slices.Sorted(maps.Keys(k.now)) {
		i := k.now[id]
		if !i.Call || i.bad != nil {
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
	return nil
}

// Daemon asks how charon itself is, and Answers is what is said of it when it is well.
// No VPN has such a name: theirs are ACCOUNT/NAME.
const (
	Daemon  = "charon"
	Answers = "charon answers"
)

// answer says how a VPN is, its state and what is behind it, or how charon is.
func (k *keeper) answer(name string) string {
	have, err := k.tunnels()
	switch {
	case err != nil:
		return status.VPNError + " charon does not answer: " + err.Error()
	case name == Daemon:
		return Answers
	}
	k.board.see(have, time.Now())
	return k.board.tell(name)
}
