package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	aliasPrefix = "weft/"
	// aliasLimit is IFALIASZ less the NUL.
	aliasLimit = 255
)

// Alias is the mark of this instance on a link or namespace of owner.
func (h *Host) Alias(owner string) (string, error) {
	alias := aliasPrefix + h.Instance + "/" + owner
	if len(alias) > aliasLimit || strings.ContainsRune(alias, 0) {
		return "", fmt.Errorf("owner %q is too long for an alias of %d bytes", owner, aliasLimit)
	}
	return alias, nil
}

// OwnerOf reads such a mark; false if it is not this instance's.
func (h *Host) OwnerOf(alias string) (string, bool) {
	instance, owner, ok := ReadAlias(alias)
	return owner, ok && instance == h.Instance
}

// ReadAlias reads a mark as Alias makes it, whatever instance made it; false if it is none.
func ReadAlias(alias string) (instance, owner string, ok bool) {
	if alias, ok = strings.CutPrefix(alias, aliasPrefix); ok {
		instance, owner, ok = strings.Cut(alias, "/")
	}
	return instance, owner, ok
}

// MakeSpace makes the named namespace for owner, with lo up. It appears under
// its name only when it carries its mark. One that exists and is this
// instance's only gets its mark and lo.
func (h *Host) MakeSpace(name, owner string) (*Space, error) {
	alias, err := h.Alias(owner)
	if err != nil {
		return nil, err
	}
	s, err := h.Space(name)
	if err == nil {
		return h.rename(s, owner), s.dress(alias)
	}
	if !errors.Is(err, ErrNoSpace) {
		return nil, err
	}
	h.spaces.mu.Lock()
	defer h.spaces.mu.Unlock()
	if _, err := h.inode(name); err == nil {
		return nil, fmt.Errorf("namespace %s is there and not weft's", name)
	}
	if err := h.shareNetns(); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go Thread(func() { // the thread is in the new namespace and is thrown away
		s, err = h.newSpace(name, alias)
		done <- err
	})
	if err := <-done; err != nil {
		return nil, fmt.Errorf("make namespace %s: %w", name, err)
	}
	s.Owner = owner
	if s.inode, err = h.inode(name); err != nil {
		s.close()
		return nil, err
	}
	h.keep(s)
	return s, nil
}

// rename gives an open space another owner, beside those who read the old one.
func (h *Host) rename(s *Space, owner string) *Space {
	h.spaces.mu.Lock()
	defer h.spaces.mu.Unlock()
	other := *s
	other.Owner = owner
	if h.spaces.open[s.Name] == s {
		h.spaces.open[s.Name] = &other
	}
	return &other
}

// newSpace moves the calling thread into a new namespace and gives it a name.
func (h *Host) newSpace(name, alias string) (*Space, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	s, err := openSpace(name)
	if err != nil {
		return nil, err
	}
	// The first address of a subnet can then go without taking the others
	// with it. Where this cannot be set they are put back.
	_ = os.WriteFile("/proc/sys/net/ipv4/conf/all/promote_secondaries", []byte("1"), 0)
	if err = s.dress(alias); err == nil {
		err = h.bind(name)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// bind gives the namespace of the calling thread its name.
func (h *Host) bind(name string) error {
	path := filepath.Join(h.Netns, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err == nil {
		err = f.Close()
	} else if st, e := os.Stat(path); e == nil && st.Mode().IsRegular() && st.Size() == 0 {
		err = nil // left by a maker that did not come as far as the mount
	}
	if err != nil {
		return err
	}
	if err := unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, ""); err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("mount: %w", err)
	}
	return nil
}

// shareNetns makes the directory of namespaces what ip-netns(8) makes of it: a
// shared mount, so that names go with their namespaces in every mount namespace.
func (h *Host) shareNetns() error {
	if err := os.MkdirAll(h.Netns, 0o755); err != nil {
		return fmt.Errorf("directory of namespaces: %w", err)
	}
	err := unix.Mount("", h.Netns, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err = unix.Mount(h.Netns, h.Netns, "none", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", h.Netns, "none", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("share %s: %w", h.Netns, err)
	}
	return nil
}

// DropSpace removes the named namespace if it is this instance's; one that is
// not there is no error. The kernel takes it down once the last process in it
// has ended.
func (h *Host) DropSpace(name string) error {
	if _, err := h.Space(name); err != nil {
		if errors.Is(err, ErrNoSpace) {
			return nil
		}
		return err
	}
	h.spaces.mu.Lock()
	h.forget(name)
	h.spaces.mu.Unlock()
	path := filepath.Join(h.Netns, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove namespace: %w", err)
	}
	return nil
}

// Thread runs f on a thread that ends with it, where it is called by a goroutine that
// does nothing else. The first thread of a process would not end and would hold its
// namespace for ever, which passes for that of the process, so it is avoided.
func Thread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f() // never unlocked: nobody inherits what f did to the thread
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Thread(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

// dress marks lo with alias and brings it up.
func (s *Space) dress(alias string) error {
	req := s.Request(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Flags, msg.Change = loIndex, unix.IFF_UP, unix.IFF_UP
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(alias)))
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("mark lo: %w", err)
	}
	return nil
}

// loIndex is LOOPBACK_IFINDEX of include/net/net_namespace.h.
const loIndex = 1

// alias reads the alias of lo.
func (s *Space) alias() (string, error) {
	req := s.Request(unix.RTM_GETLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = loIndex
	req.AddData(msg)
	out, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return "", fmt.Errorf("read lo: %w", err)
	}
	for _, m := range out {
		for typ, v := range Attrs(m[unix.SizeofIfInfomsg:]) {
			if typ == unix.IFLA_IFALIAS {
				return strings.TrimRight(string(v), "\x00"), nil
			}
		}
	}
	return "", nil
}

// rtgenLen is struct rtgenmsg with its padding.
const rtgenLen = 4

// The attributes of RTM_GETNSID, from include/uapi/linux/net_namespace.h.
const (
	netnsaNSID = 1
	netnsaFD   = 3
)

// nsid returns the number of the namespace behind fd as s sees it, giving it
// one if needed; -1 if the kernel will not.
func (s *Space) nsid(fd int) int {
	for range 2 {
		req := s.Request(unix.RTM_GETNSID, 0)
		req.AddData(nl.NewRtGenMsg())
		req.AddData(nl.NewRtAttr(netnsaFD, nl.Uint32Attr(uint32(fd))))
		out, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNSID)
		if err != nil {
			return -1
		}
		for _, m := range out {
			for typ, v := range Attrs(m[rtgenLen:]) {
				if typ != netnsaNSID || len(v) < 4 {
					continue
				}
				if id := int32(binary.NativeEndian.Uint32(v)); id >= 0 {
					return int(id)
				}
			}
		}
		req = s.Request(unix.RTM_NEWNSID, unix.NLM_F_ACK)
		req.AddData(nl.NewRtGenMsg())
		req.AddData(nl.NewRtAttr(netnsaFD, nl.Uint32Attr(uint32(fd))))
		req.AddData(nl.NewRtAttr(netnsaNSID, nl.Uint32Attr(^uint32(0)))) // the kernel's choice
		_, _ = req.Execute(unix.NETLINK_ROUTE, 0)
	}
	return -1
}
