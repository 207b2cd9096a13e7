package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/lab/link"
	"weft.dev/reconcile/lab/node"
	"weft.dev/reconcile/lab/proc"
)

// Files of the supervisor, as descriptors that Up leaves to it.
const (
	lockFile      = 3 + iota // held for as long as it lives
	readyFile                // told "ok" once it listens, or what is wrong
	dashboardFile            // a TCP listener in the network namespace of the user
)

// supervisor is PID 1 of a lab: its death is the death of all nodes.
type supervisor struct {
	name   string
	dir    string
	table  *proc.Table
	client []string // DHCP client's command

	ops sync.Mutex // held during a verb that changes something

	mu        sync.Mutex // guards what follows
	version   int
	wake      chan struct{}
	state     State
	err       error
	dashboard string
	spec      Spec
	members   map[string]*member
	wires     map[string]string // link name of a wire by its name
	links     int               // numbers given to links here
	vnets     int               // numbers given to guests' ports
}

// Supervisor runs a lab whose state is in the directory args[0] until it is told to go down. Up starts it, detached and in
// namespaces of its own. Its result is an exit status.
func Supervisor(ctx context.Context, args []string) int {
	ready := os.NewFile(readyFile, "ready")
	s, err := newSupervisor(args)
	if err == nil {
		err = s.listen()
	}
	if err != nil {
		fmt.Fprintf(ready, "%v", err)
		slog.Error("start", "error", err)
		return 1
	}
	fmt.Fprint(ready, "ok")
	_ = ready.Close()
	s.ops.Lock()
	err = s.build()
	s.mu.Lock()
	s.state, s.err = Up, err
	if err != nil {
		s.state = Failed
		slog.Error("build", "error", err)
	}
	s.mu.Unlock()
	s.ops.Unlock()
	s.changed()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-ctx.Done():
	case <-term:
	}
	s.shutdown()
	return 0
}

func newSupervisor(args []string) (*supervisor, error) {
	if len(args) != 1 {
		return nil, errors.New("the supervisor takes the directory of its lab")
	}
	for fd := lockFile; fd <= dashboardFile; fd++ {
		syscall.CloseOnExec(fd)
	}
	s := &supervisor{name: filepath.Base(args[0]), dir: args[0], table: proc.NewTable(), client: node.Client(), state: Starting,
		wake: make(chan struct{}), members: map[string]*member{}, wires: map[string]string{}}
	text, err := os.ReadFile(filepath.Join(s.dir, "spec.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &s.spec); err != nil {
		return nil, fmt.Errorf("spec of lab %s: %w", s.name, err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	forgetNamespaces()
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return nil, fmt.Errorf("mount /proc (a container that hides parts of it forbids this): %w", err)
	}
	// What passes a wire is no business of a firewall here, should the kernel have one for bridges.
	for _, family := range []string{"iptables", "ip6tables", "arptables"} {
		_ = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+family, []byte("0"), 0)
	}
	return s, nil
}

// forgetNamespaces unmounts the named network namespaces of the machine, which a copy of the mount would keep from ending.
// In a user namespace that is not allowed; there the copy follows the original where the machine's mounts are shared.
func forgetNamespaces() {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.Contains(line, " - nsfs ") {
			_ = unix.Unmount(fields[4], unix.MNT_DETACH)
		}
	}
}

// changed tells whoever watches that the status is another.
func (s *supervisor) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	close(s.wake)
	s.wake = make(chan struct{})
}

// build starts everything that the Spec names, all at once.
func (s *supervisor) build() error {
	if err := s.addWires(s.spec.Wires); err != nil {
		return err
	}
	if err := s.spawn(s.internetMember()); err != nil {
		return err
	}
	for _, h := range s.spec.Hosts {
		if err := s.spawn(s.hostMember(h)); err != nil {
			return err
		}
	}
	for _, v := range s.spec.VMs {
		if err := s.spawn(s.vmMember(v)); err != nil {
			return err
		}
	}
	var work group
	for _, m := range s.all() {
		work.do(func() error { return s.furnish(m) })
	}
	return work.wait()
}

// group runs functions at once and joins their errors.
type group struct {
	sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (g *group) do(f func() error) {
	g.Go(func() {
		if err := f(); err != nil {
			g.mu.Lock()
			g.errs = append(g.errs, err)
			g.mu.Unlock()
		}
	})
}

func (g *group) wait() error {
	g.Wait()
	return errors.Join(g.errs...)
}

// addWires makes the bridges of wires that are not there yet.
func (s *supervisor) addWires(wires []Wire) error {
	for _, w := range wires {
		if _, ok := s.wires[w.Name]; ok {
			continue
		}
		name := s.linkName("wire")
		if err := link.AddWire(name, w.Name, w.mtu()); err != nil {
			return err
		}
		s.mu.Lock()
		s.wires[w.Name] = name
		s.mu.Unlock()
	}
	return nil
}

// linkName returns a name that no link here has or had: the kernel removes the cables of a dead node when it likes.
func (s *supervisor) linkName(prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links++
	return fmt.Sprintf("%s%d", prefix, s.links)
}

// cable plugs a node into a wire.
func (s *supervisor) cable(m *member, wire, name string) error {
	s.mu.Lock()
	bridge := s.wires[wire]
	s.mu.Unlock()
	port := s.linkName("port")
	if err := link.AddCable(link.Cable{Wire: bridge, Port: port, NS: m.netns(), Name: name, MTU: s.mtu(wire)}); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	s.mu.Lock()
	m.cables[name] = port
	s.mu.Unlock()
	return nil
}

// mtu is the largest packet on a wire.
func (s *supervisor) mtu(wire string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.spec.Wires {
		if w.Name == wire {
			return w.mtu()
		}
	}
	return Wire{}.mtu()
}

// all returns the members: internet, hosts, guests, each by name.
func (s *supervisor) all() []*member {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*member
	for _, m := range s.members {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *member) int { return compareMembers(a, b) })
	return all
}

func (s *supervisor) member(name string) (*member, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.members[name]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("there is no %s in lab %s", name, s.name)
}

// listen opens the control socket.
func (s *supervisor) listen() error {
	path, done, err := socketPath(s.dir)
	if err != nil {
		return err
	}
	defer done()
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	go serve(listener, &Control{s})
	dashboard, err := net.FileListener(os.NewFile(dashboardFile, "dashboard"))
	if err != nil {
		return fmt.Errorf("dashboard: %w", err)
	}
	s.dashboard = "http://" + dashboard.Addr().String() + "/"
	go s.serveDashboard(dashboard)
	return nil
}

// shutdown ends all nodes; the state directory is for whoever asked for it.
func (s *supervisor) shutdown() {
	for _, m := range s.all() {
		m.cut("the lab goes down")
	}
}
