package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"weft.dev/reconcile/lab/initrd"
	"weft.dev/reconcile/lab/node"
)

// needs are the programs that a lab runs, with the Debian package of each. Those of routers are the agents' concern.
var needs = []struct{ program, pkg string }{
	{"ovs-vswitchd", "openvswitch-switch"},
	{"ovsdb-server", "openvswitch-switch"},
	{"ovsdb-tool", "openvswitch-common"},
	{"ovs-vsctl", "openvswitch-switch"},
	{"ovsdb-client", "openvswitch-common"},
	{"dnsmasq", "dnsmasq-base"},
	{"ip", "iproute2"},
	{"nsenter", "util-linux"},
}

// Missing says what this machine lacks for a lab of this user, all of it at once, or nil.
func Missing() error {
	var errs []error
	for _, n := range needs {
		if _, err := node.Look(n.program); err != nil {
			errs = append(errs, fmt.Errorf("%s is not installed (apt install %s)", n.program, n.pkg))
		}
	}
	if node.Client() == nil {
		errs = append(errs, errors.New("there is no DHCP client for the guests (apt install udhcpc)"))
	}
	errs = append(errs, tunUsable())
	if os.Geteuid() != 0 {
		errs = append(errs, userNamespaces())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("a lab cannot run here:\n%w", err)
	}
	return nil
}

// Missing says what this machine lacks for the guests of the Spec that run as real machines, or nil.
func (s Spec) Missing() error { return s.missing(node.Look) }

func (s Spec) missing(look func(program string) (string, error)) error {
	if slices.ContainsFunc(s.VMs, func(v VM) bool {
		return slices.ContainsFunc(v.NICs, func(n NIC) bool { return n.IP6 == node.DHCPv6 })
	}) {
		if _, err := look("dhclient"); err != nil {
			return errors.New("a guest asks for its address by DHCPv6, and dhclient is not installed (apt install isc-dhcp-client)")
		}
	}
	i := slices.IndexFunc(s.VMs, func(v VM) bool { return v.Runtime == Qemu })
	if i < 0 {
		return nil
	}
	const packages = "apt install --no-install-recommends qemu-system-x86 libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients"
	var errs []error
	lacks := func(what string) {
		errs = append(errs, fmt.Errorf("VM %s wants the qemu runtime; %s", s.VMs[i].Name, what))
	}
	for _, program := range []string{"qemu-system-x86_64", "libvirtd", "virsh"} {
		if _, err := look(program); err != nil {
			lacks(program + " is not installed (" + packages + ")")
		}
	}
	if _, err := initrd.Find(look); err != nil {
		for line := range strings.Lines(err.Error()) {
			lacks(strings.TrimSpace(line))
		}
	}
	return errors.Join(errs...)
}

// tunUsable says why the userspace switch could not make taps. It would not say so itself: its bridges just stay dead.
func tunUsable() error {
	const path = "/dev/net/tun"
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be opened by this user, and Open vSwitch needs it for its bridges (as root: chmod 0666 %s)", path, path)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV):
		return fmt.Errorf("%s does not work: %w (as root: modprobe tun)", path, err)
	}
	return fmt.Errorf("open %s: %w", path, err)
}

// userNamespaces says why this user may not make a user namespace, as far as the kernel tells beforehand.
func userNamespaces() error {
	for _, s := range []struct{ file, bad, hint string }{
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		text, err := os.ReadFile(s.file)
		if err == nil && strings.TrimSpace(string(text)) == s.bad {
			return fmt.Errorf("user namespaces are closed to this user: %s is %s (as root: %s; or run the lab as root)", s.file, s.bad, s.hint)
		}
	}
	return nil
}

// whyNoNamespace explains an error of starting a process in new namespaces.
func whyNoNamespace(err error) string {
	switch {
	case errors.Is(err, syscall.EPERM) && os.Geteuid() == 0:
		return ": this root may not make namespaces (a container without CAP_SYS_ADMIN?)"
	case errors.Is(err, syscall.EPERM):
		return ": this kernel gives ordinary users no user namespace; run the lab as root"
	case errors.Is(err, syscall.ENOSPC):
		return ": too many namespaces (see /proc/sys/user)"
	}
	return ""
}
