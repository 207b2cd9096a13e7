package lab

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/lab/link"
	"weft.dev/reconcile/lab/node"
	"weft.dev/reconcile/lab/proc"
)

// member is a node as the supervisor knows it, alive or not.
type member struct {
	s    *supervisor
	name string
	kind Kind
	dir  string // in the state of the lab

	// What it is made of: one or, for the internet, none. Guarded by s.mu, changed under s.ops only.
	host *Host
	vm   *VM

	declared string // host that the Spec last gave a guest; under s.ops

	// Its present life, guarded by s.mu.
	state   State
	reason  string
	since   time.Time
	process *proc.Process
	power   bool // of a real guest, which is a process of its host
	client  *rpc.Client
	gone    chan struct{} // closed when the present life is over and recorded
	status  node.Status
	cables  map[string]string // ends here by the link in the node
	ports   map[string]string // ends on the host by the NIC of a guest; they stay when the guest moves
}

// newMember describes a node that nobody sees before join.
func (s *supervisor) newMember(name string, kind Kind) *member {
	m := &member{s: s, name: name, kind: kind, state: Stopped, since: time.Now(), cables: map[string]string{}, ports: map[string]string{}}
	m.dir = filepath.Join(s.dir, "nodes", strings.ToLower(string(kind)), filepath.FromSlash(name))
	return m
}

// join makes a complete member part of the lab.
func (s *supervisor) join(m *member) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members[m.name] = m
	return m
}

func compareMembers(a, b *member) int {
	rank := map[Kind]int{KindInternet: 0, KindHost: 1, KindVM: 2}
	return cmp.Or(cmp.Compare(rank[a.kind], rank[b.kind]), strings.Compare(a.name, b.name))
}

// netns is the file of the node's network namespace.
func (m *member) netns() string {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	return fmt.Sprintf("/proc/%d/ns/net", m.process.Pid)
}

// alive says whether the node runs.
func (m *member) alive() bool {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	return m.process != nil || m.power
}

func (m *member) set(state State, reason string) {
	m.s.mu.Lock()
	m.state, m.reason, m.since = state, reason, time.Now()
	m.s.mu.Unlock()
	m.s.changed()
}

// order starts or kills a service of the node.
func (m *member) order(service string, run bool) error {
	return m.call("Service", node.Order{Service: service, Run: run})
}

// call gives the node an order.
func (m *member) call(order string, args any) error {
	m.s.mu.Lock()
	client := m.client
	m.s.mu.Unlock()
	if client == nil {
		return fmt.Errorf("%s does not run", m.name)
	}
	if err := client.Call("Node."+order, args, &node.Void{}); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

// spawn begins a life of the node: a process in namespaces of its own that waits for orders.
func (s *supervisor) spawn(m *member) error {
	if m.kind != KindHost {
		if err := os.RemoveAll(m.dir); err != nil { // only a host has a disk
			return err
		}
	}
	if m.real() {
		m.switchOn()
		return nil
	}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	output, err := os.OpenFile(filepath.Join(m.dir, "node.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("socket for %s: %w", m.name, err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), m.name), os.NewFile(uintptr(pair[1]), m.name)
	defer func() { _ = theirs.Close() }()
	cmd := exec.Command(binary(s.dir), nodeVerb, m.name)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = output, output, []*os.File{theirs}
	cmd.Env = append(os.Environ(), NameVar+"="+s.name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true,
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC}
	process, err := s.table.Start(cmd)
	if err != nil {
		_ = ours.Close()
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	gone := make(chan struct{})
	s.mu.Lock()
	m.process, m.client, m.gone, m.status = process, rpc.NewClient(ours), gone, node.Status{}
	m.state, m.reason, m.since, m.cables = Starting, "", time.Now(), map[string]string{}
	client := m.client
	s.mu.Unlock()
	go m.follow(client)
	go m.bury(process, client, gone)
	s.changed()
	return nil
}

// follow keeps the status of one life.
func (m *member) follow(client *rpc.Client) {
	seen := 0
	for {
		var status node.Status
		if err := client.Call("Node.Watch", seen, &status); err != nil {
			return
		}
		seen = status.Version
		m.s.mu.Lock()
		if m.client == client {
			m.status = status
		}
		m.s.mu.Unlock()
		m.noteGuests(status)
		m.s.changed()
	}
}

// bury records the end of one life, which is a power cut: a host takes its guests along.
func (m *member) bury(process *proc.Process, client *rpc.Client, gone chan struct{}) {
	err := process.Wait()
	_ = client.Close()
	m.s.mu.Lock()
	m.process, m.client, m.status = nil, nil, node.Status{}
	m.state, m.since = Stopped, time.Now()
	if m.reason == "" && err != nil {
		m.reason = "died: " + err.Error()
	}
	cables := m.cables
	m.cables = map[string]string{}
	m.s.mu.Unlock()
	for _, port := range cables {
		if err := link.Delete(link.Here, port); err != nil {
			slog.Error("remove cable", "node", m.name, "error", err)
		}
	}
	if m.kind == KindHost {
		for _, guest := range m.s.guests(m.name) {
			guest.cut("its host stopped")
		}
	}
	close(gone)
	m.s.changed()
}

// cut kills the node, if it runs, and returns when it is gone.
func (m *member) cut(reason string) {
	if m.real() {
		m.switchOff(reason)
		return
	}
	m.s.mu.Lock()
	process, gone := m.process, m.gone
	if process != nil {
		m.reason = reason
	}
	m.s.mu.Unlock()
	if process == nil {
		return
	}
	process.Kill()
	<-gone
}

// guests returns the guests that are on a host, running or not.
func (s *supervisor) guests(host string) []*member {
	var guests []*member
	for _, m := range s.all() {
		s.mu.Lock()
		on := m.vm != nil && "host/"+m.vm.Host == host
		s.mu.Unlock()
		if on {
			guests = append(guests, m)
		}
	}
	return guests
}

// furnish turns a spawned node into what it plays: cables, boot, and for a guest its cards.
func (s *supervisor) furnish(m *member) error {
	var err error
	switch m.kind {
	case KindHost:
		err = s.furnishHost(m)
	case KindInternet:
		err = s.furnishInternet(m)
	case KindVM:
		err = s.furnishVM(m)
	}
	if err != nil {
		if m.alive() {
			m.set(Failed, err.Error())
		}
		return err
	}
	m.set(Up, "")
	return nil
}

// config is what is common to the configurations of all nodes.
func (m *member) config(hostname string) node.Config {
	return node.Config{Name: m.name, Hostname: hostname, State: m.dir, Binary: binary(m.s.dir), DHCP: m.s.client, DHCP6: node.Client6()}
}

func (s *supervisor) hostMember(h Host) *member {
	m := s.newMember("host/"+h.Name, KindHost)
	m.host = &h
	return s.join(m)
}

func (s *supervisor) furnishHost(m *member) error {
	h := *m.host
	boot := &node.Host{Shared: shared(s.dir), Secrets: s.spec.Secrets, Agent: h.Agent, Env: h.Env}
	if err := os.MkdirAll(boot.Shared, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(repo(s.dir)); err == nil {
		boot.Repo = repo(s.dir)
	}
	for _, b := range h.Bridges {
		for _, uplink := range b.Uplinks {
			if err := s.cable(m, b.Wire, uplink); err != nil {
				return err
			}
		}
		if b.Manage != Use && b.Manage != Takeover {
			continue
		}
		made := node.Bridge{Name: b.Name, Takeover: b.Manage == Takeover, Linux: b.Linux, Uplinks: b.Uplinks, MTU: s.mtu(b.Wire), Address: b.Address, Gateway: b.Gateway}
		for _, r := range b.Routes {
			made.Routes = append(made.Routes, node.Route(r))
		}
		boot.Bridges = append(boot.Bridges, made)
	}
	c := m.config(h.Name)
	c.Host = boot
	return m.call("Boot", c)
}

func (s *supervisor) internetMember() *member {
	return s.join(s.newMember("internet", KindInternet))
}

func (s *supervisor) furnishInternet(m *member) error {
	world, resolvers := s.spec.world()
	boot := &node.Internet{World: world, Resolver: resolvers}
	boot.Hosts = worldNames(world)
	uplinks := map[string]string{}
	type segment struct {
		wire string
		vlan int
	}
	made := map[segment]int{}
	for _, r := range s.spec.Ranges {
		if uplinks[r.Wire] == "" {
			uplinks[r.Wire] = "uplink" + strconv.Itoa(len(uplinks))
			if err := s.cable(m, r.Wire, uplinks[r.Wire]); err != nil {
				return err
			}
		}
		i, ok := made[segment{r.Wire, r.VLAN}]
		if !ok {
			i = len(boot.Gateways)
			made[segment{r.Wire, r.VLAN}] = i
			boot.Gateways = append(boot.Gateways, node.Gateway{Uplink: uplinks[r.Wire], Link: "range" + strconv.Itoa(i), VLAN: r.VLAN,
				MTU: s.mtu(r.Wire)})
		}
		g := &boot.Gateways[i]
		g.Alias = strings.TrimSpace(g.Alias + " " + r.Name)
		g.Addresses = append(g.Addresses, r.Gateways...)
		for _, p := range r.Prefixes {
			g.Prefixes = append(g.Prefixes, node.Prefix(p))
		}
	}
	c := m.config("internet")
	c.Internet = boot
	if err := m.call("Boot", c); err != nil || len(s.spec.Routes) == 0 {
		return err
	}
	return m.call("Routes", routes(s.spec.Routes))
}

func routes(list []Route) []node.Route {
	var out []node.Route
	for _, r := range list {
		out = append(out, node.Route(r))
	}
	return out
}
