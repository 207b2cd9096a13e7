// Package node is PID 1 of a lab's node: a host, a virtual machine or the internet, in mount, pid, net, uts and ipc
// namespaces of its own. Orders come in from the supervisor over one socket (net/rpc on file descriptor 3); its Status
// goes out. It makes the paths of production private to the node, reaps, keeps the node's daemons running and sets up the
// links that the supervisor put into its network namespace. Nothing of it outlives the process. Only reconcile/lab imports
// it.
package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/rpc"
	"os"
	"sync"
	"syscall"
	"time"

	"weft.dev/reconcile/lab/proc"
)

// Dir is the lab's own directory inside a node, on its private /run.
const Dir = "/run/lab"

// Config is what a node is told once, when it starts.
type Config struct {
	Name     string // host/kvm1, acme/web-1, internet
	Hostname string
	State    string    // the node's own directory in the state of the lab; it outlives the node
	Binary   string    // this program
	DHCP     []string  // command of the DHCP client
	DHCP6    []string  // command of the DHCPv6 client, nil where there is none
	Host     *Host     // set for a host
	Internet *Internet // set for the internet
}

// Host is what makes a node a host: a switch of its own, bridges that exist beforehand, an agent.
type Host struct {
	Repo    string // bare repository, found at Dir/repo.git in the node; empty: none
	Shared  string // directory of all hosts, found at Shared in the node; empty: none
	Secrets string // directory found at /etc/weft in the node; empty: none
	Bridges []Bridge
	Agent   []string // command line, empty: no agent
	Env     []string // for the agent, beside the node's own
}

// Bridge is a bridge that the operator made before weft came, or an uplink that carries the address which weft shall take
// over.
type Bridge struct {
	Name     string
	Takeover bool
	Linux    bool // of the kernel's, else of the switch's
	Uplinks  []string
	MTU      int
	Address  netip.Prefix // may be invalid: none
	Gateway  netip.Addr   // may be invalid: none
	Routes   []Route
}

// Route is a static route.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Internet is what makes a node the internet.
type Internet struct {
	Gateways []Gateway
	World    []netip.Addr            // its addresses beside the gateways
	Resolver []netip.Addr            // those of World that answer DNS
	Hosts    map[string][]netip.Addr // the names that it knows
}

// Gateway is the owner of the gateway addresses of a public range.
type Gateway struct {
	Uplink    string // the cable
	Link      string // to be made
	Alias     string
	VLAN      int // 0: untagged
	MTU       int
	Addresses []netip.Prefix
	Prefixes  []Prefix // that it advertises
}

// Status is what the supervisor is told of a node.
type Status struct {
	Version   int // grows with every change
	Services  []proc.ServiceState
	NICs      []NICStatus
	Unplugged []string // ports that wait for their bridge
	Guests    []GuestStatus
}

// Node is the receiver of the orders. Its exported methods are net/rpc methods.
type Node struct {
	table  *proc.Table
	config Config
	booted chan struct{} // closed when Boot has done its work

	mu       sync.Mutex
	version  int
	wake     chan struct{} // closed at the next change
	services []*proc.Service
	nics     []*nic
	domains  []*domain
	ports    *plugger

	libvirt sync.Mutex // held while libvirtd is started
}

// Void is the argument or reply of an order without any.
type Void struct{}

// Run serves the supervisor until it is gone, which ends the node. Its result is an exit status.
func Run(name string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", name)
	conn, err := net.FileConn(os.NewFile(3, "supervisor"))
	if err != nil {
		log.Error("no supervisor", "error", err)
		return 1
	}
	syscall.CloseOnExec(3)
	slog.SetDefault(log)
	n := &Node{table: proc.NewTable(), wake: make(chan struct{}), booted: make(chan struct{})}
	n.ports = newPlugger(n)
	server := rpc.NewServer()
	if err := server.Register(n); err != nil {
		panic(err) // the method set is fixed
	}
	server.ServeConn(conn)
	return 0
}

// changed tells whoever watches that the status is another.
func (n *Node) changed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.version++
	close(n.wake)
	n.wake = make(chan struct{})
}

// Watch returns the status once its version is not seen any more.
func (n *Node) Watch(seen int, out *Status) error {
	for {
		n.mu.Lock()
		version, wake := n.version, n.wake
		services, nics, domains := n.services, n.nics, n.domains
		n.mu.Unlock()
		if version == seen {
			<-wake
			continue
		}
		*out = Status{Version: version, Unplugged: n.ports.waiting()}
		for _, s := range services {
			out.Services = append(out.Services, s.State())
		}
		for _, c := range nics {
			out.NICs = append(out.NICs, c.state())
		}
		for _, d := range domains {
			out.Guests = append(out.Guests, d.state())
		}
		return nil
	}
}

// Boot makes the node what the configuration says. It is called once.
func (n *Node) Boot(c Config, _ *Void) error {
	n.config = c
	if err := enterRoot(c); err != nil {
		return fmt.Errorf("boot %s: %w", c.Name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := loopback(); err != nil {
		return fmt.Errorf("boot %s: %w", c.Name, err)
	}
	var err error
	switch {
	case c.Host != nil:
		err = n.bootHost(ctx, *c.Host)
	case c.Internet != nil:
		err = n.bootInternet(ctx, *c.Internet)
	}
	if err != nil {
		return fmt.Errorf("boot %s: %w", c.Name, err)
	}
	close(n.booted)
	n.changed()
	return nil
}

// keep starts a service and watches it from now on.
func (n *Node) keep(name string, argv, env []string) (*proc.Service, error) {
	s := n.table.NewService(name, argv, env, Dir+"/state/log/"+name+".log", n.changed)
	if err := s.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	n.mu.Lock()
	n.services = append(n.services[:len(n.services):len(n.services)], s)
	n.mu.Unlock()
	n.changed()
	return s, nil
}

// Order starts or stops a service.
type Order struct {
	Service string
	Run     bool
}

// Service starts or kills a service of this node; killed, it stays down until it is started.
func (n *Node) Service(o Order, _ *Void) error {
	n.mu.Lock()
	services := n.services
	n.mu.Unlock()
	for _, s := range services {
		if s.State().Name != o.Service {
			continue
		}
		if o.Run {
			return s.Start()
		}
		s.Stop(syscall.SIGKILL, time.Second)
		return nil
	}
	return fmt.Errorf("%s has no service %q", n.config.Name, o.Service)
}
