package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A Space is a network namespace held open by netlink sockets: one of this
// instance's named ones, or the host's own (Name ""). Its sockets keep a
// namespace alive that somebody else removes, until Spaces, Forget or DropSpace
// notices.
type Space struct {
	Name string
	// Owner is what the alias of lo says.
	Owner string
	// Cookie is the kernel's number of the namespace, never used twice
	// between two boots; 0 where the kernel (before 5.14) has none.
	Cookie uint64
	// NSID is the number by which the host's namespace knows this one; -1 if
	// it does not.
	NSID int

	inode   uint64
	sockets map[int]*nl.SocketHandle
}

// ErrNoSpace means a namespace that is not there, or not this instance's.
var ErrNoSpace = errors.New("no such namespace")

// Request starts a netlink request of type typ in s. It is executed with the
// family (NETLINK_ROUTE or NETLINK_NETFILTER) it belongs to.
func (s *Space) Request(typ, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(typ, flags)
	req.Sockets = s.sockets
	return req
}

// Dump asks for everything of type typ and returns the answers. A dump that
// other changes interrupted is asked for again.
func (s *Space) Dump(family, typ int, answer uint16, parts ...nl.NetlinkRequestData) ([][]byte, error) {
	for try := 0; ; try++ {
		req := s.Request(typ, unix.NLM_F_DUMP)
		for _, p := range parts {
			req.AddData(p)
		}
		out, err := req.Execute(family, answer)
		if err == nil || !errors.Is(err, nl.ErrDumpInterrupted) || try == 9 {
			return out, err
		}
	}
}

// Fd is the descriptor of the socket of family, for ioctls; -1 if there is
// none. It is valid until the space is closed.
func (s *Space) Fd(family int) int {
	if h := s.sockets[family]; h != nil {
		return h.Socket.GetFd()
	}
	return -1
}

func (s *Space) close() {
	for _, h := range s.sockets {
		h.Close()
	}
}

// openSpace makes the sockets of the namespace of the calling thread.
func openSpace(name string) (*Space, error) {
	s := &Space{Name: name, NSID: -1, sockets: map[int]*nl.SocketHandle{}}
	for _, family := range []int{unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER} {
		sock, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), family)
		if errors.Is(err, unix.EPROTONOSUPPORT) && family == unix.NETLINK_NETFILTER {
			continue
		}
		if err != nil {
			s.close()
			return nil, fmt.Errorf("netlink socket in namespace %s: %w", name, err)
		}
		s.sockets[family] = &nl.SocketHandle{Socket: sock}
		// Both are old enough (4.20) to be there; without them errors are
		// only less clear and dumps longer.
		_ = sock.SetExtAck(true)
		_ = unix.SetsockoptInt(sock.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
		_ = unix.SetsockoptInt(sock.GetFd(), unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
	}
	s.Cookie, _ = unix.GetsockoptUint64(s.Fd(unix.NETLINK_ROUTE), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return s, nil
}

// spaces is what a Host holds open.
type spaces struct {
	mu   sync.Mutex
	root *Space
	open map[string]*Space
}

// Root is the host's own namespace: that of the process. It must not be called
// first from within In.
func (h *Host) Root() (*Space, error) {
	h.spaces.mu.Lock()
	defer h.spaces.mu.Unlock()
	return h.root()
}

func (h *Host) root() (*Space, error) {
	if h.spaces.root == nil {
		s, err := openSpace("")
		if err != nil {
			return nil, err
		}
		h.spaces.root = s
	}
	return h.spaces.root, nil
}

// Spaces returns this instance's namespaces by name: those with its prefix, or
// named in also, whose lo carries its alias. What cannot be opened is in the
// second map; what is gone is closed.
func (h *Host) Spaces(also ...string) (map[string]*Space, map[string]error, error) {
	h.spaces.mu.Lock()
	defer h.spaces.mu.Unlock()
	if _, err := h.root(); err != nil {
		return nil, nil, err
	}
	names, err := h.spaceNames(also)
	if err != nil {
		return nil, nil, err
	}
	found, broken := map[string]*Space{}, map[string]error{}
	for _, name := range names {
		switch s, err := h.reopen(name); {
		case err == nil:
			found[name] = s
		case !errors.Is(err, ErrNoSpace):
			broken[name] = err
		}
	}
	for name, open := range h.spaces.open {
		if inode, err := h.inode(name); err != nil || inode != open.inode {
			h.forget(name)
		}
	}
	return found, broken, nil
}

func (h *Host) spaceNames(also []string) ([]string, error) {
	entries, err := os.ReadDir(h.Netns)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), h.Instance+"-") || slices.Contains(also, e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Space returns one namespace of this instance; ErrNoSpace if it is not there
// or not this instance's.
func (h *Host) Space(name string) (*Space, error) {
	if name == "" {
		return h.Root()
	}
	h.spaces.mu.Lock()
	defer h.spaces.mu.Unlock()
	if _, err := h.root(); err != nil {
		return nil, err
	}
	return h.reopen(name)
}

// Close lets go of all namespaces. They are opened again when they are needed.
func (h *Host) Close() {
	h.spaces.mu.Lock()
	defer h.spaces.mu.Unlock()
	for name := range h.spaces.open {
		h.forget(name)
	}
	if h.spaces.root != nil {
		h.spaces.root.close()
		h.spaces.root = nil
	}
}

// Forget closes what is held open of a namespace that somebody removed. One that bears
// the name by now stays open: the news may be older than it.
func (h *Host) Forget(name string) {
	h.spaces.mu.Lock()
	defer h.spaces.mu.Unlock()
	if s := h.spaces.open[name]; s != nil {
		if inode, err := h.inode(name); err == nil && inode == s.inode {
			return
		}
	}
	h.forget(name)
}

func (h *Host) forget(name string) {
	if s := h.spaces.open[name]; s != nil {
		s.close()
		delete(h.spaces.open, name)
	}
}

// reopen returns the space of that name: the open one if it is still what the
// name means.
func (h *Host) reopen(name string) (*Space, error) {
	inode, err := h.inode(name)
	if err != nil {
		h.forget(name)
		return nil, err
	}
	if s := h.spaces.open[name]; s != nil {
		if s.inode == inode {
			return s, nil
		}
		h.forget(name)
	}
	var s *Space
	err = h.In(name, func() (err error) {
		s, err = openSpace(name)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("namespace %s: %w", name, ErrNoSpace)
	}
	if err != nil {
		return nil, err
	}
	alias, err := s.alias()
	owner, ours := h.OwnerOf(alias)
	if err != nil || !ours {
		s.close()
		if err != nil {
			return nil, fmt.Errorf("namespace %s: %w", name, err)
		}
		return nil, fmt.Errorf("namespace %s: %w", name, ErrNoSpace)
	}
	s.inode, s.Owner = inode, owner
	h.keep(s)
	return s, nil
}

// keep registers s and gives it a number in the host's namespace, without which
// its events do not reach us.
func (h *Host) keep(s *Space) {
	if h.spaces.open == nil {
		h.spaces.open = map[string]*Space{}
	}
	h.spaces.open[s.Name] = s
	fd, err := netns.GetFromPath(filepath.Join(h.Netns, s.Name))
	if err != nil {
		return
	}
	defer func() { _ = fd.Close() }()
	s.NSID = h.spaces.root.nsid(int(fd))
}

// inode identifies the namespace that name stands for at this moment; something
// that is no namespace is ErrNoSpace.
func (h *Host) inode(name string) (uint64, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return 0, fmt.Errorf("namespace name %q is not a file name", name)
	}
	path := filepath.Join(h.Netns, name)
	var st unix.Stat_t
	var sf unix.Statfs_t
	err := unix.Stat(path, &st)
	if err == nil {
		err = unix.Statfs(path, &sf)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("namespace %s: %w", name, ErrNoSpace)
	case err != nil:
		return 0, fmt.Errorf("namespace %s: %w", name, err)
	case sf.Type != unix.NSFS_MAGIC:
		return 0, fmt.Errorf("%s is no namespace: %w", path, ErrNoSpace)
	}
	return st.Ino, nil
}

// HasSpace reports whether there is a namespace of that name, whoever's it is.
func (h *Host) HasSpace(name string) bool {
	_, err := h.inode(name)
	return err == nil
}
