package lab

import (
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"weft.dev/reconcile/lab/node"
)

// Control is what the supervisor answers on its socket: JSON-RPC 1.0, `{"method": "Lab.Kill", "params": ["host/kvm1"],
// "id": 1}`. Its exported methods are net/rpc methods; use a Client.
type Control struct{ s *supervisor }

// Void is the argument or reply of a verb without any.
type Void struct{}

// Move is the argument of the verb Move.
type Move struct {
	VM   string `json:"vm"`
	Host string `json:"host"`
}

// Place is where a command is to run.
type Place struct {
	Pid   int    `json:"pid"`   // of the node's first process, in the supervisor's pid namespace
	Netns string `json:"netns"` // named network namespace in the node; empty: the node's own
	Guest string `json:"guest"` // of the real guest that the node runs; empty: the node itself
}

// Find is the argument of the verb Find.
type Find struct {
	Name string `json:"name"`
	Host string `json:"host,omitempty"` // picks one of several routers
}

func serve(listener net.Listener, c *Control) {
	server := rpc.NewServer()
	if err := server.RegisterName("Lab", c); err != nil {
		panic(err) // the method set is fixed
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go server.ServeCodec(jsonrpc.NewServerCodec(conn))
	}
}

// Watch returns the status once its version is not seen any more; seen 0 returns at once.
func (c *Control) Watch(seen int, out *Status) error {
	for {
		c.s.mu.Lock()
		version, wake := c.s.version, c.s.wake
		c.s.mu.Unlock()
		if seen != 0 && version == seen {
			<-wake
			continue
		}
		*out = c.s.status()
		return nil
	}
}

// Spec returns what the lab is built from; guests are where they are now.
func (c *Control) Spec(_ Void, out *Spec) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	*out = c.s.spec
	out.VMs = slices.Clone(out.VMs) // the originals change when guests move
	return nil
}

// verb runs one change at a time, once the lab is built.
func (c *Control) verb(do func() error) error {
	c.s.ops.Lock()
	defer c.s.ops.Unlock()
	return do()
}

// Kill cuts the power of host/NAME, internet or a guest, or ends agent/HOST.
func (c *Control) Kill(name string, _ *Void) error {
	return c.verb(func() error { return c.s.kill(name) })
}

// Start starts what Kill stopped.
func (c *Control) Start(name string, _ *Void) error {
	return c.verb(func() error { return c.s.start(name) })
}

// Move brings a guest to another host.
func (c *Control) Move(m Move, _ *Void) error {
	return c.verb(func() error {
		guest, err := c.s.member(m.VM)
		if err != nil {
			return err
		}
		if guest.kind != KindVM {
			return fmt.Errorf("%s is no vm", m.VM)
		}
		return c.s.move(guest, m.Host)
	})
}

// Update turns the lab into another Spec.
func (c *Control) Update(next Spec, _ *Void) error {
	return c.verb(func() error { return c.s.update(next) })
}

// Renew has all guests, or the one of that name, ask for their DHCP leases again.
func (c *Control) Renew(name string, _ *Void) error {
	var errs []error
	for _, m := range c.s.all() {
		if m.kind == KindVM && m.alive() && (name == "" || name == m.name) {
			if m.real() {
				errs = append(errs, c.s.renewReal(m))
				continue
			}
			errs = append(errs, m.call("Renew", node.Void{}))
		}
	}
	return errors.Join(errs...)
}

// Find says where commands for a node or router run.
func (c *Control) Find(f Find, out *Place) error {
	name, ok := strings.CutPrefix(f.Name, "router/")
	if ok {
		m, netns, err := c.s.findRouter(name, f.Host)
		if err != nil {
			return err
		}
		return c.place(m, netns, out)
	}
	m, err := c.s.member(f.Name)
	if err != nil {
		return err
	}
	if m.real() {
		return c.placeReal(m, out)
	}
	return c.place(m, "", out)
}

func (c *Control) place(m *member, netns string, out *Place) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if m.process == nil || m.state == Starting {
		return fmt.Errorf("%s does not run", m.name)
	}
	*out = Place{Pid: m.process.Pid, Netns: netns}
	return nil
}

// Down ends the lab; the connection breaks when that is done.
func (c *Control) Down(_ Void, _ *Void) error {
	// The supervisor's own signal path; PID 1 gets it because it has a handler.
	time.AfterFunc(10*time.Millisecond, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGTERM) })
	return nil
}

// find returns what a name means to kill and start.
func (s *supervisor) find(name string) (*member, string, error) {
	if host, ok := strings.CutPrefix(name, "agent/"); ok {
		m, err := s.member("host/" + host)
		return m, "agent", err
	}
	m, err := s.member(name)
	return m, "", err
}

// findRouter returns the host and the named network namespace of the active router of ACCOUNT/NETWORK-OR-VPC.
func (s *supervisor) findRouter(name, host string) (*member, string, error) {
	var stopped []string
	var standby *member
	var behind string
	for _, m := range s.all() {
		if m.kind != KindHost || (host != "" && m.name != "host/"+host) {
			continue
		}
		s.mu.Lock()
		client := m.client
		s.mu.Unlock()
		if client == nil {
			stopped = append(stopped, m.name)
			continue
		}
		var found node.Router
		if err := client.Call("Node.Router", name, &found); err != nil {
			return nil, "", fmt.Errorf("%s: %w", m.name, err)
		}
		switch {
		case found.Netns == "":
		case !found.Standby:
			return m, found.Netns, nil
		default:
			standby, behind = m, found.Netns
		}
	}
	if standby != nil {
		return standby, behind, nil
	}
	if len(stopped) > 0 {
		return nil, "", fmt.Errorf("there is no router %s on a host that runs (%s does not)", name, strings.Join(stopped, ", "))
	}
	return nil, "", fmt.Errorf("there is no router %s", name)
}

// status is what runs now.
func (s *supervisor) status() Status {
	all := s.all()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Status{Name: s.name, Version: s.version, State: s.state, Dashboard: s.dashboard}
	if s.err != nil {
		out.Error = s.err.Error()
	}
	for _, m := range all {
		n := NodeStatus{Name: m.name, Kind: m.kind, State: m.state, Reason: m.reason, Since: m.since, Services: m.status.Services}
		if m.vm != nil {
			n.Host = m.vm.Host
			n.NICs = s.cards(m)
		}
		out.Nodes = append(out.Nodes, n)
	}
	return out
}

// cards is the state of a guest's NICs; s.mu is held.
func (s *supervisor) cards(m *member) []NICStatus {
	if m.vm.Runtime == Qemu {
		return s.realCards(m)
	}
	var unplugged []string
	if host := s.members["host/"+m.vm.Host]; host != nil {
		unplugged = host.status.Unplugged
	}
	var cards []NICStatus
	for i, n := range m.vm.NICs {
		c := NICStatus{Name: n.Name, Link: nicLink(i), Port: m.ports[n.Name], MAC: n.MAC}
		c.Plugged = n.byLab() && m.process != nil && !slices.Contains(unplugged, c.Port)
		for _, seen := range m.status.NICs {
			if seen.Link == c.Link {
				c.Addresses, c.MTU, c.DNS, c.Since = seen.Addresses, seen.MTU, seen.DNS, seen.Since
				c.Ready = (seen.Lease || !n.DHCP) && (seen.IP6 || n.IP6 == "") || n.Down
			}
		}
		cards = append(cards, c)
	}
	return cards
}
