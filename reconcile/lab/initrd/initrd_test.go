package initrd

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// image is one of this machine's busybox and of modules that need nothing: the kernel is not looked at.
func image(t *testing.T) Image {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("busybox is not installed")
	}
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "kernel"), 0o755),
		os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte("kernel/virtio_pci.ko\nkernel/virtio_net.ko\nkernel/virtio_console.ko\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return Image{Kernel: "none", Modules: dir, Busybox: busybox}
}

func run(argv ...string) (string, error) {
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	return string(out), err
}

// TestArchive unpacks an archive with another program and runs its busybox by its own libraries.
func TestArchive(t *testing.T) {
	m := image(t)
	text, err := m.Archive(Guest{Hostname: "web-1", NICs: []NIC{
		{MAC: "02:00:4C:00:00:0b", DHCP: true, MTU: 9000},
		{MAC: "02:00:4c:00:00:0c", Metric: 101, Addresses: []netip.Prefix{netip.MustParsePrefix("10.2.0.5/24")}, Gateway: netip.MustParseAddr("10.2.0.1"),
			DNS: []netip.Addr{netip.MustParseAddr("10.2.0.1"), netip.MustParseAddr("9.9.9.9")}, Domain: "x|y\nz"},
	}}, run)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(m.Busybox, "cpio", "-idm")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	for name, want := range map[string]string{
		"etc/hostname":      "web-1\n",
		"etc/nics":          "02:00:4c:00:00:0b|yes|0000|9000||||\n02:00:4c:00:00:0c|no|0101||10.2.0.5/24|10.2.0.1|10.2.0.1 9.9.9.9|x_y_z\n",
		"lib/modules/order": "",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, want %q (%v)", name, got, want, err)
		}
	}
	if to, err := os.Readlink(filepath.Join(dir, "bin/udhcpc")); err != nil || to != "/bin/busybox" {
		t.Errorf("bin/udhcpc is %q (%v)", to, err)
	}
	for _, script := range []string{"init", "lib/guest/run", "lib/guest/nic", "lib/guest/hotplug", "lib/guest/dhcp", "lib/guest/exec"} {
		if out, err := exec.Command(m.Busybox, "sh", "-n", filepath.Join(dir, script)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
	if os.Geteuid() == 0 {
		if out, err := exec.Command("chroot", dir, "/bin/echo", "hello").CombinedOutput(); err != nil || string(out) != "hello\n" {
			t.Errorf("busybox in the archive says %q: %v", out, err)
		}
	}
}

// TestShare: what boots on its host's files is told where its modules are, and its scripts are some.
func TestShare(t *testing.T) {
	m := image(t)
	builtin := []byte("kernel/virtio_pci.ko\nkernel/virtio_console.ko\nkernel/9pnet_virtio.ko\nkernel/9p.ko\nkernel/overlay.ko\n")
	if err := os.WriteFile(filepath.Join(m.Modules, "modules.builtin"), builtin, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := m.Share(run)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(m.Busybox, "cpio", "-idm")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "etc/modules")); err != nil || string(got) != filepath.Dir(m.Modules)+"\n" {
		t.Errorf("etc/modules: %q, %v", got, err)
	}
	for _, script := range []string{"init", "lib/guest/run", "lib/guest/exec", "lib/guest/shared"} {
		if out, err := exec.Command(m.Busybox, "sh", "-n", filepath.Join(dir, script)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}

// TestModulesInOrder loads none, but reads those of a kernel that this machine has for guests.
func TestModulesInOrder(t *testing.T) {
	m, err := Find(exec.LookPath)
	if err != nil {
		t.Skip(err)
	}
	files, err := m.modules(cards)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, f := range files {
		at[moduleName(f)] = i + 1
	}
	for _, f := range files {
		depends, err := dependencies(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range depends {
			if at[d] > at[moduleName(f)] {
				t.Errorf("%s is loaded before %s, which it needs", f, d)
			}
		}
	}
}

func TestMissing(t *testing.T) {
	_, err := Find(func(string) (string, error) { return "", exec.ErrNotFound })
	if err == nil || !strings.Contains(err.Error(), "busybox is not installed") {
		t.Errorf("without busybox: %v", err)
	}
}

// guest answers one call as the script run does, after what an earlier command left in the channel.
func guest(t *testing.T, busybox string) net.Conn {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "run"), runScript, 0o600); err != nil {
		t.Fatal(err)
	}
	here, there := net.Pipe()
	go func() {
		defer there.Close()
		var line []byte
		for one := make([]byte, 1); !bytes.HasSuffix(line, []byte("\n")); line = append(line, one[0]) {
			if _, err := there.Read(one); err != nil {
				return
			}
		}
		id, script, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		_, _ = io.WriteString(there, "old output\nabc end 0\n")
		cmd := exec.Command(busybox, "sh", filepath.Join(dir, "run"), id, script)
		cmd.Stdout, cmd.Stderr = there, there
		_ = cmd.Run()
	}()
	return here
}

func TestCall(t *testing.T) {
	busybox := image(t).Busybox
	for _, c := range []struct {
		argv   []string
		out    string
		status int
	}{
		{[]string{"echo", "a  b", "it's", "$HOME", "\n end 3"}, "a  b it's $HOME \n end 3\n", 0},
		{[]string{"sh", "-c", "printf one; echo two >&2; exit 42"}, "onetwo\n", 42},
		{[]string{"sh", "-c", `printf '\000\n\377'`}, "\x00\n\xff", 0},
		{[]string{"true"}, "", 0},
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader,
		} {
			conn := guest(t, busybox)
			var out bytes.Buffer
			status, err := Call(struct {
				io.Reader
				io.Writer
			}{wrap(conn), conn}, c.argv, &out)
			if err != nil || status != c.status || out.String() != c.out {
				t.Errorf("%s %q: %q, status %d, %v; want %q, %d", name, c.argv, out.String(), status, err, c.out, c.status)
			}
			_ = conn.Close()
		}
	}
	conn := guest(t, busybox)
	defer conn.Close()
	if status, err := Call(conn, []string{"/no/such"}, io.Discard); err != nil || status != 127 {
		t.Errorf("a program that is not there: status %d, %v", status, err)
	}
}
