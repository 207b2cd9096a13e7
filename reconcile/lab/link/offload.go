package link

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ChecksumsOn makes the kernel compute the checksums of what is sent on a link of the namespace ns (ethtool -K NAME tx off).
func ChecksumsOn(ns, name string) error {
	return Within(ns, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		defer func() { _ = unix.Close(fd) }()
		request, err := unix.NewIfreq(name)
		if err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		value := struct{ command, data uint32 }{unix.ETHTOOL_STXCSUM, 0}
		frame := struct {
			name  [unix.IFNAMSIZ]byte
			value unsafe.Pointer
			_     [16]byte // the rest of struct ifreq
		}{value: unsafe.Pointer(&value)}
		copy(frame.name[:], request.Name())
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&frame)))
		if errno != 0 {
			return fmt.Errorf("checksum offload of %s: %w", name, errno)
		}
		return nil
	})
}

// Within calls do on a thread that is in the namespace of the file ns. Goroutines that do starts are not.
func Within(ns string, do func() error) error {
	file, err := netns.GetFromPath(ns)
	if err != nil {
		return fmt.Errorf("open %s: %w", ns, err)
	}
	defer func() { _ = file.Close() }()
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the runtime discards the thread, which is in a namespace of another.
		runtime.LockOSThread()
		if err := netns.Set(file); err != nil {
			result <- fmt.Errorf("enter %s: %w", ns, err)
			return
		}
		result <- do()
	}()
	return <-result
}
