package node

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// LibvirtSocket is where libvirtd listens.
const LibvirtSocket = "/run/libvirt/libvirt-sock"

// libvirtConf is for a machine without systemd, in namespaces that are the machine's own already: guests run as libvirtd
// does, nothing is asked of cgroups, and what they print is a file.
var libvirtConf = map[string]string{
	"/etc/libvirt/qemu.conf": `user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
`,
	"/etc/libvirt/libvirtd.conf": `auth_unix_ro = "none"
auth_unix_rw = "none"
log_level = 3
`,
}

// bootLibvirt starts libvirtd on this host, once, with state of its own, and returns when it answers.
func (n *Node) bootLibvirt(ctx context.Context) error {
	n.libvirt.Lock()
	defer n.libvirt.Unlock()
	if _, err := os.Stat(LibvirtSocket); err == nil {
		return nil
	}
	for _, dir := range []string{"/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt"} {
		if err := ensure(dir, true); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("private %s: %w", dir, err)
		}
	}
	for file, text := range libvirtConf {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := libvirtNames(); err != nil {
		return err
	}
	if _, err := n.keep("libvirtd", []string{"libvirtd"}, nil); err != nil {
		return err
	}
	if err := dialable(ctx, LibvirtSocket); err != nil {
		return fmt.Errorf("libvirtd: %w", err)
	}
	if _, err := n.virsh(ctx, "uri"); err != nil { // it listens before it knows whether it can work
		return fmt.Errorf("libvirtd does not work: %s", lastError(Dir+"/state/log/libvirtd.log"))
	}
	return nil
}

// libvirtNames makes known the users that libvirt looks up before it reads that it needs none of them. They come with a
// package that only starts services.
func libvirtNames() error {
	for _, file := range []struct{ path, line string }{
		{"/etc/passwd", "libvirt-qemu:x:64055:0::/nonexistent:/usr/sbin/nologin\n"},
		{"/etc/group", "libvirt-qemu:x:64055:\n"},
		{"/etc/group", "kvm:x:64056:\n"},
	} {
		text, err := os.ReadFile(file.path)
		if err != nil {
			return err
		}
		name := file.line[:strings.IndexByte(file.line, ':')+1]
		if strings.Contains("\n"+string(text), "\n"+name) {
			continue
		}
		if err := ownFile(file.path, strings.TrimSuffix(string(text), "\n")+"\n"+file.line); err != nil {
			return err
		}
	}
	return nil
}

// lastError is the last line of libvirt's log that tells of one.
func lastError(log string) string {
	text, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	for _, line := range slices.Backward(strings.Split(string(text), "\n")) {
		if _, what, ok := strings.Cut(line, " error : "); ok {
			return what
		}
	}
	return "see " + log
}

func (n *Node) virsh(ctx context.Context, args ...string) (string, error) {
	return n.table.Run(ctx, append([]string{"virsh", "--quiet", "--connect", "qemu:///system?socket=" + LibvirtSocket}, args...)...)
}
