package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// An Event is a netlink notification.
type Event struct {
	// NS is the namespace it is from, "" for the host's own.
	NS   string
	Type uint16
	Data []byte // valid during the call
}

// Listen calls event for each notification of groups of a netlink family in the
// host's namespace and in those that Spaces or MakeSpace opened, until ctx ends.
// Lost notifications are told as one of Type 0.
func (h *Host) Listen(ctx context.Context, family int, groups []int, event func(Event)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, family)
	if err != nil {
		return fmt.Errorf("listen to netlink: %w", err)
	}
	f := os.NewFile(uintptr(fd), "netlink")
	defer func() { _ = f.Close() }()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("listen to netlink: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) // fewer losses
	err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1)
	for _, g := range groups {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g)
		}
	}
	if err != nil {
		return fmt.Errorf("listen to netlink: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	defer stop()
	conn, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("listen to netlink: %w", err)
	}
	data, oob := make([]byte, 64<<10), make([]byte, 256)
	for {
		var n, on int
		var got error
		err := conn.Read(func(fd uintptr) bool {
			n, on, _, _, got = unix.Recvmsg(int(fd), data, oob, 0)
			return !errors.Is(got, unix.EAGAIN)
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("listen to netlink: %w", err)
		case errors.Is(got, unix.ENOBUFS):
			event(Event{})
		case errors.Is(got, unix.EINTR):
		case got != nil:
			return fmt.Errorf("listen to netlink: %w", got)
		default:
			h.tell(data[:n], oob[:on], event)
		}
	}
}

// tell splits a datagram into events, if it is from a namespace of ours.
func (h *Host) tell(data, oob []byte, event func(Event)) {
	ns, ours := h.origin(oob)
	if !ours {
		return
	}
	for len(data) >= unix.SizeofNlMsghdr {
		n := int(binary.NativeEndian.Uint32(data))
		if n < unix.SizeofNlMsghdr || n > len(data) {
			return
		}
		event(Event{NS: ns, Type: binary.NativeEndian.Uint16(data[4:]), Data: data[unix.SizeofNlMsghdr:n]})
		data = data[min((n+3)&^3, len(data)):]
	}
}

// origin reads which namespace a datagram came from.
func (h *Host) origin(oob []byte) (string, bool) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return "", false
	}
	for _, m := range msgs {
		if m.Header.Level != unix.SOL_NETLINK || m.Header.Type != unix.NETLINK_LISTEN_ALL_NSID || len(m.Data) < 4 {
			continue
		}
		nsid := int(int32(binary.NativeEndian.Uint32(m.Data)))
		h.spaces.mu.Lock()
		defer h.spaces.mu.Unlock()
		for name, s := range h.spaces.open {
			if s.NSID == nsid {
				return name, true
			}
		}
		return "", false
	}
	return "", true
}
