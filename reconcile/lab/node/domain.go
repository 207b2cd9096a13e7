package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"weft.dev/reconcile/lab/initrd"
	"weft.dev/reconcile/lab/libvirt"
)

// Guest is a virtual machine that this host runs as a real one, under libvirt.
type Guest struct {
	Name     string // ACCOUNT/NAME
	Hostname string
	NICs     []Card
}

// Card is a NIC of such a guest: how the guest sets it up, and how libvirt plugs it.
type Card struct {
	NIC
	MAC       string
	Interface libvirt.Interface
}

// GuestStatus is what a host knows of a guest.
type GuestStatus struct {
	Name  string
	Runs  bool   // the machine is switched on
	Ended bool   // it was, and went off by itself
	Error string // why it could not be started
	NICs  []NICStatus
	Ports map[string]string // name on the host by NIC MAC, once it runs
}

// domain is a guest at work.
type domain struct {
	node  *Node
	guest Guest
	alive context.Context // until it is destroyed
	stop  context.CancelFunc
	work  sync.WaitGroup
	// answers is closed once the guest has run a command: one whose channels it is still setting up must not move.
	answers chan struct{}

	mu     sync.Mutex
	leaves bool // for another host
	status GuestStatus
}

// guestDir holds what belongs to a guest on its host.
func guestDir(name string) string {
	return filepath.Join(Dir, "guests", strings.ReplaceAll(name, "/", "."))
}

// ExecSocket is where the host finds a guest's channel for commands.
func ExecSocket(name string) string { return filepath.Join(guestDir(name), "exec") }

func (d *domain) state() GuestStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.status
	s.NICs = slices.Clone(s.NICs)
	return s
}

func (d *domain) change(f func(*GuestStatus)) {
	d.mu.Lock()
	f(&d.status)
	d.mu.Unlock()
	d.node.changed()
}

// Create has the host start a guest as soon as it has booted and the bridges are there that the guest is plugged into; it
// does not wait for that.
func (n *Node) Create(g Guest, _ *Void) error {
	d, err := n.newDomain(g)
	if err != nil {
		return err
	}
	for _, c := range g.NICs {
		d.status.NICs = append(d.status.NICs, NICStatus{Link: c.Link, Addresses: c.Addresses, Since: time.Now()})
	}
	n.join(d)
	d.work.Go(func() {
		conn, err := d.boot(d.alive)
		if err == nil {
			d.work.Go(d.greet)
			d.attend(conn)
		} else if d.alive.Err() == nil {
			slog.Error("guest", "name", g.Name, "error", err)
			d.change(func(s *GuestStatus) { s.Error = err.Error() })
		}
	})
	return nil
}

// newDomain is a guest that nobody sees before join; what an earlier life left is gone.
func (n *Node) newDomain(g Guest) (*domain, error) {
	if err := n.Destroy(g.Name, nil); err != nil {
		return nil, err
	}
	d := &domain{node: n, guest: g, answers: make(chan struct{}), status: GuestStatus{Name: g.Name}}
	d.alive, d.stop = context.WithCancel(context.Background())
	return d, nil
}

func (n *Node) join(d *domain) {
	n.mu.Lock()
	n.domains = append(n.domains[:len(n.domains):len(n.domains)], d)
	n.mu.Unlock()
	n.changed()
}

// Destroy switches a guest off at once; one that is not there is no error.
func (n *Node) Destroy(name string, _ *Void) error {
	n.mu.Lock()
	i := slices.IndexFunc(n.domains, func(d *domain) bool { return d.guest.Name == name })
	if i < 0 {
		n.mu.Unlock()
		return nil
	}
	d := n.domains[i]
	n.domains = slices.Concat(n.domains[:i], n.domains[i+1:])
	n.mu.Unlock()
	d.stop()
	d.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := n.virsh(ctx, "destroy", DomainName(name))
	d.mu.Lock()
	if !d.status.Runs || d.leaves {
		err = nil // most likely there was nothing yet, or nothing any more
	}
	d.mu.Unlock()
	n.changed()
	return errors.Join(err, os.RemoveAll(guestDir(name)))
}

// DomainName is libvirt's name of a guest.
func DomainName(guest string) string { return strings.ReplaceAll(guest, "/", ".") }

// boot starts the guest and returns the stream of its events.
func (d *domain) boot(ctx context.Context) (net.Conn, error) {
	file, err := d.prepare(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := d.node.virsh(ctx, "create", "--validate", file); err != nil {
		return nil, err
	}
	return d.meet(ctx)
}

// meet takes up a guest that runs: its ports and the stream of its events.
func (d *domain) meet(ctx context.Context) (net.Conn, error) {
	ports, err := d.ports(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(guestDir(d.guest.Name), "events"))
	if err != nil {
		return nil, err
	}
	d.change(func(s *GuestStatus) { s.Runs, s.Ports = true, ports })
	return conn, nil
}

// greet waits for the first answer of a guest that boots.
func (d *domain) greet() {
	if _, err := call(d.alive, d.guest.Name, "true"); err == nil {
		close(d.answers)
	}
}

// attend listens to the guest until it ends.
func (d *domain) attend(conn net.Conn) {
	defer context.AfterFunc(d.alive, func() { _ = conn.Close() })()
	d.listen(bufio.NewReader(conn))
	_ = conn.Close()
	if d.alive.Err() == nil {
		d.change(func(s *GuestStatus) { s.Runs, s.Ended = false, !d.leaves })
	}
}

// prepare makes the host ready for the guest, and waits for its bridges. It writes what the guest boots and returns the file
// of its definition.
func (d *domain) prepare(ctx context.Context) (string, error) {
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-d.node.booted:
	}
	if err := d.node.bootLibvirt(ctx); err != nil {
		return "", err
	}
	file, err := d.write(ctx)
	if err != nil {
		return "", err
	}
	return file, d.bridges(ctx)
}

// write writes what the guest boots and returns the file of its definition.
func (d *domain) write(ctx context.Context) (string, error) {
	image, err := initrd.Find(Look)
	if err != nil {
		return "", err
	}
	told := initrd.Guest{Hostname: d.guest.Hostname}
	dir := guestDir(d.guest.Name)
	made := libvirt.Domain{Name: DomainName(d.guest.Name), Title: d.guest.Name, Memory: 256, Kernel: image.Kernel, Initrd: filepath.Join(dir, "initrd"),
		Command: initrd.Command, Console: Dir + "/state/log/console-" + DomainName(d.guest.Name) + ".log", Spare: 3,
		Channels: []libvirt.Channel{{Name: initrd.Events, Socket: filepath.Join(dir, "events")}, {Name: initrd.Exec, Socket: ExecSocket(d.guest.Name)}}}
	for _, c := range d.guest.NICs {
		told.NICs = append(told.NICs, initrd.NIC{MAC: c.MAC, DHCP: c.DHCP, Metric: c.Metric, MTU: c.MTU, Addresses: c.Addresses, Gateway: c.Gateway,
			DNS: c.DNS, Domain: c.Domain})
		made.Interfaces = append(made.Interfaces, c.Interface)
	}
	archive, err := image.Archive(told, func(argv ...string) (string, error) { return d.node.table.Run(ctx, argv...) })
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "domain.xml")
	return file, errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(made.Initrd, archive, 0o600), os.WriteFile(file, []byte(made.String()+"\n"), 0o600))
}

// bridges returns once all bridges are there that libvirt plugs the guest into.
func (d *domain) bridges(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for _, c := range d.guest.NICs {
		for c.Interface.Bridge != "" {
			if _, err := net.InterfaceByName(c.Interface.Bridge); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	}
	return nil
}

// ports are the names on the host by the MAC of the NIC, as libvirt lists them.
func (d *domain) ports(ctx context.Context) (map[string]string, error) {
	out, err := d.node.virsh(ctx, "domiflist", DomainName(d.guest.Name))
	if err != nil {
		return nil, err
	}
	ports := map[string]string{}
	for line := range strings.Lines(out) { // vnet0 bridge weft-int virtio 02:00:4c:00:00:0b
		if f := strings.Fields(line); len(f) == 5 {
			ports[strings.ToLower(f[4])] = f[0]
		}
	}
	return ports, nil
}

// listen takes what the guest tells until it ends.
func (d *domain) listen(in *bufio.Reader) {
	event := map[string]string{}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			key, value, _ := strings.Cut(line, "=")
			event[key] = value
			continue
		}
		d.take(event)
		if event["event"] == "bound" { // perhaps of a card that was plugged by hand, under another name than the one before it
			if ports, err := d.ports(d.alive); err == nil {
				d.change(func(s *GuestStatus) { s.Ports = ports })
			}
		}
		event = map[string]string{}
	}
}

// take records one event of the guest's DHCP client.
func (d *domain) take(event map[string]string) {
	var l lease
	if event["event"] != "deconfig" {
		var err error
		if l, err = parseLease(event); err != nil {
			slog.Error("dhcp lease", "guest", d.guest.Name, "error", err)
			return
		}
	}
	i := slices.IndexFunc(d.guest.NICs, func(c Card) bool { return strings.EqualFold(c.MAC, event["mac"]) })
	if i < 0 {
		return // plugged by hand
	}
	d.change(func(s *GuestStatus) {
		c, n := d.guest.NICs[i], &s.NICs[i]
		n.Addresses, n.Lease, n.MTU, n.Since = slices.Clone(c.Addresses), l.address.IsValid(), c.MTU, time.Now()
		if l.address.IsValid() {
			n.Addresses = append([]netip.Prefix{l.address}, n.Addresses...)
		}
		if l.mtu != 0 {
			n.MTU = l.mtu
		}
		n.DNS = slices.Concat(c.DNS, l.dns)
	})
}

// RenewGuest has the DHCP clients of a guest ask again now.
func (n *Node) RenewGuest(name string, _ *Void) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := call(ctx, name, "killall", "-USR1", "udhcpc")
	return err
}

// call runs a command in a guest and returns its exit status.
func call(ctx context.Context, guest string, argv ...string) (int, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", ExecSocket(guest))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", guest, err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	return initrd.Call(conn, argv, new(strings.Builder))
}
