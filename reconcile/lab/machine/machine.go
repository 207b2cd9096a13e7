// Package machine boots a kernel with all its modules under QEMU, on the files of this machine, so that what the kernel of
// this one lacks can be run: every program that is here is there, what is written stays in its memory, it has no card but its
// own loopback. Commands go in; their output and status come out. Only its own command inside and tests import it.
package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"weft.dev/reconcile/lab/initrd"
)

// Variable is set in the environment of what the command inside runs.
const Variable = "WEFT_MACHINE"

const (
	program = "qemu-system-x86_64"
	cpus    = "2"
	memory  = "2048" // MiB
)

// A Machine is one that runs until Close, or until the process that booted it ends.
type Machine struct {
	conn  net.Conn
	dir   string // of its files on this side
	ended chan struct{}
	stop  context.CancelFunc
}

// Missing says what this machine lacks to boot one; nil when nothing is.
func Missing() error {
	_, err := initrd.FindFull(exec.LookPath)
	if _, no := exec.LookPath(program); no != nil {
		err = errors.Join(err, fmt.Errorf("%s is not installed (make deps-kernel)", program))
	}
	if os.Geteuid() != 0 {
		err = errors.Join(err, errors.New("not root"))
	}
	return err
}

// Fast reports whether this processor runs machines; they are emulated otherwise, some twenty times slower.
func Fast() bool {
	flags, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || !regexp.MustCompile(`(?m)^flags\s*:.*\b(vmx|svm)\b`).Match(flags) {
		return false // there may be a /dev/kvm that takes other kernels only
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

// Boot starts a machine; it returns at once, and Run waits until it is up. The machine ends with ctx.
func Boot(ctx context.Context) (*Machine, error) {
	image, err := initrd.FindFull(exec.LookPath)
	if err != nil {
		return nil, err
	}
	archive, err := image.Share(func(argv ...string) (string, error) {
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
		return string(out), err
	})
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "weft-machine-")
	if err != nil {
		return nil, err
	}
	m := &Machine{dir: dir, ended: make(chan struct{})}
	if err := m.boot(ctx, image.Kernel, archive); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return m, nil
}

func (m *Machine) boot(ctx context.Context, kernel string, archive []byte) error {
	if err := os.WriteFile(m.file("initrd"), archive, 0o600); err != nil {
		return err
	}
	listener, err := net.Listen("unix", m.file("exec"))
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	ctx, m.stop = context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, program, m.arguments(kernel)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the signal comes when the thread ends that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			_ = listener.Close()
		}
		close(m.ended)
	}()
	if err := <-started; err != nil {
		m.stop()
		return err
	}
	if m.conn, err = listener.Accept(); err != nil {
		m.stop()
		<-m.ended
		return fmt.Errorf("%s: %s", program, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

func (m *Machine) file(name string) string { return filepath.Join(m.dir, name) }

// arguments are those of the program: a machine without a card, a disk or a screen.
func (m *Machine) arguments(kernel string) []string {
	how := []string{"-accel", "tcg,thread=multi", "-cpu", "max,la57=off"}
	if Fast() {
		how = []string{"-accel", "kvm", "-cpu", "host"}
	}
	return append(how,
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "q35", "-smp", cpus, "-m", memory,
		"-kernel", kernel, "-initrd", m.file("initrd"), "-append", initrd.Command+" mitigations=off",
		"-serial", "file:"+m.file("console"),
		"-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=host,mount_tag="+initrd.Tag,
		"-device", "virtio-serial-pci", "-chardev", "socket,id=exec,path="+m.file("exec"),
		"-device", "virtserialport,chardev=exec,name="+initrd.Exec)
}

// Run runs a command to its end, without standard input, and writes its output to out as it comes; the status is as a shell
// says it. One command runs at a time.
func (m *Machine) Run(argv []string, out io.Writer) (status int, err error) {
	status, err = initrd.Call(m.conn, argv, out)
	if err != nil {
		console, _ := os.ReadFile(m.file("console")) // what there is of it
		const last = 4000
		err = fmt.Errorf("the machine: %w; its console ends so:\n%s", err, console[max(0, len(console)-last):])
	}
	return status, err
}

// Close switches the machine off.
func (m *Machine) Close() error {
	m.stop()
	_ = m.conn.Close()
	select {
	case <-m.ended:
	case <-time.After(10 * time.Second):
		return fmt.Errorf("%s does not end", program)
	}
	return os.RemoveAll(m.dir)
}
