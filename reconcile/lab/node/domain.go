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
	stop  context.CancelFunc
	over  chan struct{} // closed when nothing works on it any more

	mu     sync.Mutex
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
	ctx, cancel := context.WithCancel(context.Background())
	d := &domain{node: n, guest: g, stop: cancel, over: make(chan struct{}), status: GuestStatus{Name: g.Name}}
	for _, c := range g.NICs {
		d.status.NICs = append(d.status.NICs, NICStatus{Link: c.Link, Addresses: c.Addresses, Since: time.Now()})
	}
	if err := n.Destroy(g.Name, nil); err != nil { // what an earlier life left
		cancel()
		return err
	}
	n.mu.Lock()
	n.domains = append(n.domains[:len(n.domains):len(n.domains)], d)
	n.mu.Unlock()
	go func() {
		defer close(d.over)
		if err := d.run(ctx); err != nil && ctx.Err() == nil {
			slog.Error("guest", "name", g.Name, "error", err)
			d.change(func(s *GuestStatus) { s.Error = err.Error() })
		}
	}()
	return nil
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
	<-d.over
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := n.virsh(ctx, "destroy", d.domainName())
	if !d.state().Runs {
		err = nil // most likely there was nothing yet, or nothing any more
	}
	n.changed()
	return errors.Join(err, os.RemoveAll(guestDir(name)))
}

// domainName is libvirt's name of the guest.
func (d *domain) domainName() string { return strings.ReplaceAll(d.guest.Name, "/", ".") }

// run starts the guest and listens to it until it ends.
func (d *domain) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-d.node.booted:
	}
	if err := d.node.bootLibvirt(ctx); err != nil {
		return err
	}
	file, err := d.prepare(ctx)
	if err != nil {
		return err
	}
	if err := d.bridges(ctx); err != nil {
		return err
	}
	if _, err := d.node.virsh(ctx, "create", "--validate", file); err != nil {
		return err
	}
	ports, err := d.ports(ctx)
	if err != nil {
		return err
	}
	d.change(func(s *GuestStatus) { s.Runs, s.Ports = true, ports })
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(guestDir(d.guest.Name), "events"))
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	d.listen(bufio.NewReader(conn))
	if ctx.Err() == nil {
		d.change(func(s *GuestStatus) { s.Runs, s.Ended = false, true })
	}
	return nil
}

// prepare writes what the guest boots and returns the file of its definition.
func (d *domain) prepare(ctx context.Context) (string, error) {
	image, err := initrd.Find(Look)
	if err != nil {
		return "", err
	}
	told := initrd.Guest{Hostname: d.guest.Hostname}
	dir := guestDir(d.guest.Name)
	made := libvirt.Domain{Name: d.domainName(), Title: d.guest.Name, Memory: 256, Kernel: image.Kernel, Initrd: filepath.Join(dir, "initrd"),
		Command: initrd.Command, Console: Dir + "/state/log/console-" + d.domainName() + ".log", Spare: 3,
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
	out, err := d.node.virsh(ctx, "domiflist", d.domainName())
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
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", ExecSocket(name))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_, err = initrd.Call(conn, []string{"killall", "-USR1", "udhcpc"}, new(strings.Builder))
	return err
}
