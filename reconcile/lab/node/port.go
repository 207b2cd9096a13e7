package node

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// Integration is the bridge of weft's that guests are plugged into.
const Integration = "weft-int"

// Port is a port on the bridge Integration that somebody other than weft plugs, as libvirt does for a guest.
type Port struct {
	Name        string
	ExternalIDs map[string]string // of its interface
}

// plugger keeps guests' ports on the bridge Integration: as soon as the bridge is there, all that are missing in one
// transaction; again when the bridge was made anew.
type plugger struct {
	node *Node
	look chan struct{} // holds one token when there may be something to do

	mu      sync.Mutex
	wanted  []Port
	missing []string // of wanted, when last looked

	change sync.Mutex // held while the switch's configuration is read and changed
}

func newPlugger(n *Node) *plugger { return &plugger{node: n, look: make(chan struct{}, 1)} }

// waiting names the ports that wait for the bridge.
func (p *plugger) waiting() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.missing
}

func (p *plugger) poke() {
	select {
	case p.look <- struct{}{}:
	default:
	}
}

// Plug has the port plugged once the bridge exists; it does not wait for that. A port of the same name gives way.
func (n *Node) Plug(port Port, _ *Void) error {
	n.ports.mu.Lock()
	n.ports.wanted = append(slices.DeleteFunc(n.ports.wanted, named(port.Name)), port)
	n.ports.missing = append(n.ports.missing[:len(n.ports.missing):len(n.ports.missing)], port.Name)
	n.ports.mu.Unlock()
	n.ports.poke()
	n.changed()
	return nil
}

// Plugged returns once the bridge has all ports that it can have now.
func (n *Node) Plugged(_ Void, _ *Void) error { return n.ports.plug() }

// Unplug removes a port, or gives up plugging it; one that is not there is no error.
func (n *Node) Unplug(name string, _ *Void) error {
	n.ports.change.Lock()
	defer n.ports.change.Unlock()
	n.ports.mu.Lock()
	n.ports.wanted = slices.DeleteFunc(n.ports.wanted, named(name))
	n.ports.mu.Unlock()
	n.ports.poke()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := n.vsctl(ctx, "--no-wait", "--if-exists", "del-port", name)
	return err
}

func named(name string) func(Port) bool { return func(p Port) bool { return p.Name == name } }

// run plugs until the node ends.
func (p *plugger) run() {
	go p.watch()
	for range p.look {
		if err := p.plug(); err != nil {
			slog.Error("plug ports", "error", err)
			time.AfterFunc(time.Second, p.poke)
		}
	}
}

// watch calls for a look whenever a bridge came or went.
func (p *plugger) watch() {
	for {
		if err := p.follow(); err != nil {
			slog.Error("watch bridges", "error", err)
		}
		time.Sleep(time.Second) // the database is down
	}
}

func (p *plugger) follow() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	cmd := exec.Command("ovsdb-client", "--format=csv", "monitor", "unix:"+ovsSocket, "Open_vSwitch", "Bridge", "name")
	cmd.Stdout = w
	_, err = p.node.table.Start(cmd)
	_ = w.Close()
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		p.poke()
	}
	return lines.Err()
}

// plug looks once and plugs what is missing.
func (p *plugger) plug() error {
	p.change.Lock()
	defer p.change.Unlock()
	ctx := context.Background()
	p.mu.Lock()
	ports := p.wanted
	p.mu.Unlock()
	bridge, err := p.node.vsctl(ctx, "--no-wait", "--bare", "--columns=_uuid", "find", "Bridge", "name="+Integration)
	if err != nil {
		return err
	}
	var missing []string
	if strings.TrimSpace(bridge) == "" {
		for _, port := range ports {
			missing = append(missing, port.Name)
		}
	} else if err := p.add(ctx, ports); err != nil {
		return err
	}
	p.mu.Lock()
	// A port may have been asked for since; its token brings us here again.
	p.missing = missing
	p.mu.Unlock()
	p.node.changed()
	return nil
}

// add puts those of the ports on the bridge that are not on it.
func (p *plugger) add(ctx context.Context, ports []Port) error {
	out, err := p.node.vsctl(ctx, "--no-wait", "list-ports", Integration)
	if err != nil {
		return err
	}
	there := strings.Fields(out)
	args := []string{"--no-wait"}
	for _, port := range ports {
		if slices.Contains(there, port.Name) {
			continue
		}
		args = append(args, "--", "--if-exists", "del-port", port.Name,
			"--", "add-port", Integration, port.Name,
			"--", "set", "Port", port.Name, "other_config:transient=true",
			"--", "set", "Interface", port.Name)
		for _, key := range sortedKeys(port.ExternalIDs) {
			args = append(args, "external_ids:"+key+"="+quote(port.ExternalIDs[key]))
		}
	}
	if len(args) == 1 {
		return nil
	}
	_, err = p.node.vsctl(ctx, args...)
	return err
}

// quote makes an atom of ovs-vsctl's syntax of any text.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(text) + `"`
}
