package vpn

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"weft.dev/reconcile/status"
)

// sessions are the users of L2TP, and who of them is in. Where to look is this thread's
// own, so that only look and end do.
type sessions struct {
	mu    sync.Mutex
	users map[string]l2tpUser
	in    []session
	vpn   status.VPN
}

// A session is a link of one user.
type session struct {
	link, user, address string
	pid                 int // of pppd, as it knows itself
	since               time.Time
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (s *sessions) put(users map[string]l2tpUser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = users
}

// look reads who is in.
func (s *sessions) look() {
	list, _ := filepath.Glob(upDir + "/ppp*")
	var in []session
	for _, path := range list {
		b, err := os.ReadFile(path)
		info, gone := os.Lstat(path)
		if err != nil || gone != nil {
			continue // it went meanwhile
		}
		x := session{link: filepath.Base(path), since: info.ModTime()}
		f := strings.Split(string(b), "\n")
		if len(f) < 3 {
			continue
		}
		x.user, x.address = f[0], f[2]
		x.pid, _ = strconv.Atoi(f[1])
		if _, err := netlink.LinkByName(x.link); err != nil {
			_ = os.Remove(path) // its pppd was killed
			continue
		}
		in = append(in, x)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in = in
}

// end ends the links of users, and those of which nobody is known yet: it may be one of
// these, by what is no password any more. pppd is below the process init, which has
// another name for it than we.
func (s *sessions) end(users map[string]bool, init int) {
	children := below(init) // before who is in is read: whoever comes later is asked for what is one now
	s.look()
	stay := map[int]bool{}
	for _, x := range s.in {
		stay[x.pid] = !users[x.user]
	}
	for pid, inner := range children {
		if !stay[inner] {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
}

// below lists the children of init, with what they are called there.
func below(init int) map[int]int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", init, init))
	if err != nil {
		return nil
	}
	out := map[int]int{}
	for _, word := range strings.Fields(string(b)) {
		text, err := os.ReadFile("/proc/" + word + "/status")
		if err != nil {
			continue
		}
		for line := range bytes.Lines(text) {
			if f := bytes.Fields(line); len(f) > 2 && string(f[0]) == "NSpid:" {
				pid, err1 := strconv.Atoi(word)
				inner, err2 := strconv.Atoi(string(f[len(f)-1]))
				if err1 == nil && err2 == nil {
					out[pid] = inner
				}
			}
		}
	}
	return out
}

// answer says how L2TP is, and each user; state and reason are those of its IPsec.
func (s *sessions) answer(state, reason string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.vpn.Ends = nil
	n := 0
	for _, name := range sorted(s.users) {
		there := false
		for _, x := range s.in {
			if x.user != name {
				continue
			}
			there = true
			e := status.VPNEnd{Name: name, Up: true, Since: x.since, Address: x.address}
			if l, err := netlink.LinkByName(x.link); err == nil && l.Attrs().Statistics != nil {
				e.In, e.Out = l.Attrs().Statistics.RxBytes, l.Attrs().Statistics.TxBytes
			}
			s.vpn.Ends = append(s.vpn.Ends, e)
		}
		if there {
			n++
		} else {
			s.vpn.Ends = append(s.vpn.Ends, status.VPNEnd{Name: name})
		}
	}
	words := fmt.Sprintf("%d of %s", n, plural(len(s.users), "user"))
	for _, name := range sorted(s.users) {
		if u := s.users[name]; u.bad != nil {
			words += fmt.Sprintf("; password of %s: %v", name, u.bad)
		}
	}
	if state == status.VPNError {
		s.vpn.Become(status.VPNError, reason, now)
	} else {
		s.vpn.Become(status.VPNConnected, words, now)
	}
	return s.vpn.Reply()
}
