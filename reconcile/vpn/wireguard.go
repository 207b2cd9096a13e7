package vpn

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/status"
)

// WireGuardSocket is where a WireGuard tells how it is: an abstract socket of the
// namespace, with the link's name behind it.
const WireGuardSocket = "@weft-wireguard-"

// aliveTime is how long WireGuard takes a peer for there after a handshake: it makes
// one every two minutes while there is traffic (REJECT_AFTER_TIME).
const aliveTime = 180 * time.Second

// A user is one line of the file "users".
type user struct {
	Name string       `json:"user"`
	Key  string       `json:"publicKey"` // base64
	IPs  []netip.Addr `json:"ips"`
}

// A wg is WireGuard, in the kernel or not.
type wg interface {
	// set makes the users those of next; others' tunnels do not notice.
	set(now, next map[string]*user) error
	// peers lists what it knows of users, by key in base64.
	peers() (map[string]peer, error)
	// ended is closed when it serves no more.
	ended() <-chan struct{}
	// remove ends it for good.
	remove()
}

// A peer is what WireGuard knows of a user.
type peer struct {
	handshake time.Time // the last one
	from      string
	in, out   uint64 // bytes
}

type wgConfig struct {
	dir, link    string
	port, mtu    int
	routes       []netip.Prefix
	kernel, same bool
	test         bool
	key          []byte // 32 bytes
}

func serveWireGuard(args []string) error {
	var c wgConfig
	f := flag.NewFlagSet(WireGuardVerb, flag.ContinueOnError)
	f.StringVar(&c.dir, "dir", "", "directory of key and users")
	f.StringVar(&c.link, "link", "", "name of the link")
	f.IntVar(&c.port, "port", 51820, "UDP port")
	f.IntVar(&c.mtu, "mtu", 1420, "MTU of the link")
	f.BoolVar(&c.kernel, "kernel", false, "the kernel's WireGuard")
	f.BoolVar(&c.same, "same-user", false, "give up no privileges")
	f.BoolVar(&c.test, "test", false, "read the files, and end")
	f.Func("route", "CIDR that users' addresses are of, may be repeated", func(s string) error {
		p, err := netip.ParsePrefix(s)
		c.routes = append(c.routes, p)
		return err
	})
	if err := f.Parse(args); err != nil {
		return err
	}
	all, err := users(c.dir)
	if err != nil {
		return err
	}
	if c.key, err = privateKey(c.dir); err != nil || c.test {
		return err
	}
	return c.run(all)
}

func (c *wgConfig) run(first map[string]*user) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	begin := userspace
	if c.kernel {
		begin = kernel
	}
	w, err := begin(c)
	if err != nil {
		return err
	}
	if err := errors.Join(w.set(nil, first), c.up()); err != nil {
		return err
	}
	written := c.keyWritten()
	all := &roll{w: w, users: first}
	if err := host.Tell(WireGuardSocket+c.link, func(string) string { return all.answer(time.Now()) }); err != nil {
		return err
	}
	if !c.same && !c.kernel {
		if err := becomeNobody(); err != nil {
			return err
		}
	}
	now := first
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				w.remove()
				return nil
			}
			if c.keyWritten() != written {
				// Who has given up root cannot read it, and all tunnels are new with it.
				return errors.New("the private key is another: started anew")
			}
			next, err := users(c.dir)
			if err == nil {
				err = w.set(now, next)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "wireguard: what was read before stays:", err)
				continue
			}
			now = next
			all.put(next)
		case <-w.ended():
			return errors.New("the link is gone")
		}
	}
}

// nobody is the user that talks to the world.
const nobody = 65534

// becomeNobody gives up root once everything is open that root is needed for. Who ends
// with the one that started it does so still: the kernel forgets that with the user.
func becomeNobody() error {
	var signal int32
	if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0); err != nil {
		return fmt.Errorf("ask who to end with: %w", err)
	}
	parent := os.Getppid()
	if err := errors.Join(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
		syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody),
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)); err != nil {
		return fmt.Errorf("give up root: %w", err)
	}
	if signal == 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(signal), 0, 0, 0); err != nil {
		return fmt.Errorf("end with who started this: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("who started this has ended")
	}
	return nil
}

// up gives the link its routes.
func (c *wgConfig) up() error {
	l, err := netlink.LinkByName(c.link)
	if err != nil {
		return fmt.Errorf("link %s: %w", c.link, err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("link %s: %w", c.link, err)
	}
	had, err := netlink.RouteList(l, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("routes of %s: %w", c.link, err)
	}
	for _, r := range had {
		if r.Dst == nil || !slices.ContainsFunc(c.routes, func(p netip.Prefix) bool { return p.String() == r.Dst.String() }) {
			_ = netlink.RouteDel(&r)
		}
	}
	for _, p := range c.routes {
		if err := netlink.RouteReplace(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: netipNet(p), Scope: netlink.SCOPE_LINK}); err != nil {
			return fmt.Errorf("route to %s: %w", p, err)
		}
	}
	return nil
}

// keyWritten tells a key from one that took its place; nobody may look, not read.
func (c *wgConfig) keyWritten() string {
	info, err := os.Lstat(filepath.Join(c.dir, "key"))
	if err != nil {
		return err.Error()
	}
	inode := uint64(0)
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	return strconv.FormatUint(inode, 10) + " " + info.ModTime().String()
}

// A roll is who the users are, and since when each is there.
type roll struct {
	mu    sync.Mutex
	w     wg
	users map[string]*user
	vpn   status.VPN
	up    map[string]time.Time
}

func (r *roll) put(users map[string]*user) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users = users
}

// answer says how a WireGuard is, and each user.
func (r *roll) answer(now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	peers, err := r.w.peers()
	if err != nil {
		r.vpn.Become(status.VPNError, err.Error(), now)
		return r.vpn.Reply()
	}
	r.vpn.Ends = nil
	up, n := map[string]time.Time{}, 0
	for key, u := range r.users {
		p := peers[key]
		e := status.VPNEnd{Name: u.Name, Handshake: p.handshake, From: p.from, In: p.in, Out: p.out, Up: now.Sub(p.handshake) < aliveTime}
		if len(u.IPs) > 0 {
			e.Address = u.IPs[0].String()
		}
		if e.Up {
			if up[key] = r.up[key]; up[key].IsZero() {
				up[key] = p.handshake
			}
			e.Since = up[key]
			n++
		}
		r.vpn.Ends = append(r.vpn.Ends, e)
	}
	r.up = up
	slices.SortFunc(r.vpn.Ends, func(a, b status.VPNEnd) int { return strings.Compare(a.Name, b.Name) })
	r.vpn.Become(status.VPNConnected, fmt.Sprintf("%d of %s", n, plural(len(r.users), "user")), now)
	return r.vpn.Reply()
}

// users reads the file "users" below dir, by key.
func users(dir string) (map[string]*user, error) {
	b, err := read(dir, "users")
	if err != nil {
		return nil, err
	}
	out := map[string]*user{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		u := new(user)
		if err := json.Unmarshal(lines.Bytes(), u); err != nil {
			return nil, fmt.Errorf("users, line %d: %w", n, err)
		}
		if _, err := keyOf([]byte(u.Key)); err != nil {
			return nil, fmt.Errorf("users, line %d: %w", n, err)
		}
		if out[u.Key] != nil {
			return nil, fmt.Errorf("users, line %d: the key is there twice", n)
		}
		out[u.Key] = u
	}
	return out, lines.Err()
}

func privateKey(dir string) ([]byte, error) {
	b, err := read(dir, "key")
	if err != nil {
		return nil, err
	}
	key, err := keyOf(bytes.TrimSpace(b))
	if err != nil {
		return nil, errors.New("the private key is none: it takes what wg genkey prints")
	}
	return key, nil
}

func keyOf(text []byte) ([]byte, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if err != nil || len(key) != 32 {
		return nil, errors.New("no key of 32 bytes in base64")
	}
	return key, nil
}

// uapi is what makes the users of now those of next, in WireGuard's own protocol.
func uapi(now, next map[string]*user) string {
	var b strings.Builder
	hexKey := func(u *user) string {
		key, _ := keyOf([]byte(u.Key)) // users has seen to that
		return hex.EncodeToString(key)
	}
	for _, k := range slices.Sorted(maps.Keys(now)) {
		if next[k] == nil {
			fmt.Fprintf(&b, "public_key=%s\nremove=true\n", hexKey(now[k]))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(next)) {
		u := next[k]
		if old := now[k]; old != nil && slices.Equal(old.IPs, u.IPs) {
			continue
		}
		fmt.Fprintf(&b, "public_key=%s\nreplace_allowed_ips=true\n", hexKey(u))
		for _, ip := range u.IPs {
			fmt.Fprintf(&b, "allowed_ip=%s\n", netip.PrefixFrom(ip, ip.BitLen()))
		}
	}
	return b.String()
}
