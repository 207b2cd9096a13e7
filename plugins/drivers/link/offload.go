package link

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
)

// txOff reports whether transmit checksum offload of a link is off.
func txOff(s *host.Space, name string) (bool, error) {
	v, err := ethtool(s, name, unix.ETHTOOL_GTXCSUM, 0)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return true, nil // nothing to offload to
	}
	return v == 0, err
}

// setTxOff is `ethtool -K NAME tx off` (or on).
func setTxOff(s *host.Space, name string, off bool) error {
	v := uint32(1)
	if off {
		v = 0
	}
	_, err := ethtool(s, name, unix.ETHTOOL_STXCSUM, v)
	if off && errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

// ethtool asks through the netlink socket of s: SIOCETHTOOL is taken by sockets
// of every family, in the namespace of the socket.
func ethtool(s *host.Space, name string, cmd, value uint32) (uint32, error) {
	// struct ethtool_value and struct ifreq of include/uapi/linux.
	v := struct{ cmd, value uint32 }{cmd, value}
	var req struct {
		name [unix.IFNAMSIZ]byte
		ptr  unsafe.Pointer
		_    [16]byte
	}
	if len(name) >= len(req.name) {
		return 0, fmt.Errorf("link name %q is too long", name)
	}
	copy(req.name[:], name)
	req.ptr = unsafe.Pointer(&v)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.Fd(unix.NETLINK_ROUTE)), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return 0, fmt.Errorf("checksum offload of %s: %w", name, errno)
	}
	return v.value, nil
}
