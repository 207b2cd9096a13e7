package initrd

import (
	_ "embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Names of the guest's channels to its host.
const (
	Events = "weft.events" // events of its DHCP client: lines of key=value, then an empty one
	Exec   = "weft.exec"   // see Call
)

// Command is the kernel's command line of a guest.
const Command = "console=ttyS0 quiet panic=-1 net.ifnames=0"

// Guest is what one guest is told.
type Guest struct {
	Hostname string
	NICs     []NIC
}

// NIC is how a guest sets up a card.
type NIC struct {
	MAC       string
	DHCP      bool
	Metric    int
	MTU       int // 0: as plugged
	Addresses []netip.Prefix
	Gateway   netip.Addr
	DNS       []netip.Addr
	Domain    string
}

//go:embed init.sh
var initScript []byte

//go:embed exec.sh
var execScript []byte

//go:embed run.sh
var runScript []byte

//go:embed nic.sh
var nicScript []byte

//go:embed hotplug.sh
var hotplugScript []byte

//go:embed dhcp.sh
var dhcpScript []byte

// Run runs a command to its end and returns its standard output.
type Run func(argv ...string) (string, error)

// Archive returns the initial file system of a guest. It asks busybox for its applets by run.
func (m Image) Archive(g Guest, run Run) ([]byte, error) {
	a := newArchive()
	for _, dir := range []string{"proc", "sys", "dev", "run", "tmp", "etc", "bin"} {
		a.dir(dir)
	}
	a.add("init", modeProgram, initScript)
	for name, script := range map[string][]byte{"run": runScript, "nic": nicScript, "hotplug": hotplugScript, "dhcp": dhcpScript, "exec": execScript} {
		a.add("lib/guest/"+name, modeProgram, script)
	}
	a.add("etc/hostname", modeFile, []byte(word(g.Hostname)+"\n"))
	a.add("etc/hosts", modeFile, []byte("127.0.0.1 localhost\n127.0.1.1 "+word(g.Hostname)+"\n"))
	a.add("etc/nics", modeFile, []byte(g.cards()))
	if err := m.addPrograms(a, run); err != nil {
		return nil, err
	}
	if err := m.addModules(a, cards); err != nil {
		return nil, err
	}
	return a.bytes(), nil
}

func (m Image) addPrograms(a *archive, run Run) error {
	if err := addFile(a, "bin/busybox", m.Busybox, modeProgram); err != nil {
		return err
	}
	names, err := applets(m.Busybox, run)
	if err != nil {
		return err
	}
	for _, name := range names {
		a.add("bin/"+word(name), modeLink, []byte("/bin/busybox"))
	}
	needed, err := libraries(m.Busybox)
	if err != nil {
		return err
	}
	for name, file := range needed {
		if err := addFile(a, strings.TrimPrefix(name, "/"), file, modeProgram); err != nil {
			return err
		}
	}
	return nil
}

func (m Image) addModules(a *archive, wanted []string) error {
	files, err := m.modules(wanted)
	if err != nil {
		return err
	}
	var order strings.Builder
	for _, file := range files {
		if err := addFile(a, "lib/modules/"+filepath.Base(file), file, modeFile); err != nil {
			return err
		}
		fmt.Fprintln(&order, filepath.Base(file))
	}
	a.add("lib/modules/order", modeFile, []byte(order.String()))
	return nil
}

func addFile(a *archive, name, file string, mode int) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	a.add(name, mode, content)
	return nil
}

// cards are the lines of /etc/nics.
func (g Guest) cards() string {
	var b strings.Builder
	for _, n := range g.NICs {
		dhcp, mtu, gateway := "no", "", ""
		if n.DHCP {
			dhcp = "yes"
		}
		if n.MTU != 0 {
			mtu = fmt.Sprint(n.MTU)
		}
		if n.Gateway.IsValid() {
			gateway = n.Gateway.String()
		}
		fmt.Fprintf(&b, "%s|%s|%04d|%s|%s|%s|%s|%s\n", word(strings.ToLower(n.MAC)), dhcp, n.Metric, mtu, list(n.Addresses), gateway, list(n.DNS), word(n.Domain))
	}
	return b.String()
}

func list[T fmt.Stringer](values []T) string {
	var out []string
	for _, v := range values {
		out = append(out, v.String())
	}
	return strings.Join(out, " ")
}

// word is text without what would end a field of a line that the guest's scripts read.
func word(text string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == '|' || r == '/' || r == 0x7f {
			return '_'
		}
		return r
	}, text)
}
