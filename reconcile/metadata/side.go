package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// A side is one side of a router as it is served.
type side struct {
	server *Server
	guests []*Guest
	space  uint64          // the namespace that the ports are in
	ports  map[port]uint64 // by what the worker knows them by
}

// A port is where a side listens.
type port struct {
	at   netip.AddrPort
	kind string // kindMetaData or kindPasswords
}

const (
	kindMetaData  = "metaData"
	kindPasswords = "passwords"
)

// told is what the worker is told of a side: all that there is now.
type told struct {
	Side   string   `json:"side"`
	Guests []*Guest `json:"guests"`
	Gone   bool     `json:"gone,omitempty"`
}

// all has everything be looked at.
func (k *keeper) all() error {
	if err := os.MkdirAll(k.dir, 0o755); err != nil {
		return err
	}
	if err := k.watch.Add(k.dir); err != nil {
		return fmt.Errorf("watch %s: %w", k.dir, err)
	}
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		k.dirty[e.Name()] = true
	}
	for name := range k.sides {
		k.dirty[nsOf(name)] = true
	}
	return k.catchUp()
}

// nsOf is the namespace of a side: the first directory of its name.
func nsOf(name string) string {
	ns, _, _ := strings.Cut(name, string(filepath.Separator))
	return ns
}

// noted reports whether an event is about something that is served.
func (k *keeper) noted(e fsnotify.Event) bool {
	for _, root := range []string{k.dir, k.host.Netns} {
		rel, err := filepath.Rel(root, e.Name)
		if err != nil || !filepath.IsLocal(rel) || rel == "." {
			continue
		}
		ns := nsOf(rel)
		if root == k.host.Netns && !k.serves(ns) {
			return false
		}
		k.dirty[ns] = true
		return true
	}
	return false
}

func (k *keeper) serves(ns string) bool {
	for name := range k.sides {
		if nsOf(name) == ns {
			return true
		}
	}
	return k.dirty[ns]
}

// catchUp looks at what is dirty; what is not complete stays so.
func (k *keeper) catchUp() error {
	_ = k.watch.Add(k.host.Netns) // which the first namespace makes
	changed := false
	for ns := range k.dirty {
		found, whole, err := k.find(ns)
		if err != nil {
			return err
		}
		for name, s := range k.sides {
			if nsOf(name) == ns && !found[name] {
				if err := k.drop(name, s); err != nil {
					return err
				}
			}
		}
		for name := range found {
			done, err := k.refresh(name)
			if err != nil {
				return err
			}
			whole = whole && done
			if s := k.sides[name]; s != nil && done {
				changed = k.saved.prune(name, s.guests) || changed
			}
		}
		if whole {
			delete(k.dirty, ns)
		}
	}
	there := func(name string) bool { return k.sides[name] != nil || k.dirty[nsOf(name)] }
	if k.saved.leave(there, time.Now()) || changed {
		k.save()
	}
	return nil
}

// find lists the sides of a namespace, and watches their directories. It is not whole
// where something went meanwhile.
func (k *keeper) find(ns string) (found map[string]bool, whole bool, err error) {
	found, whole = map[string]bool{}, true
	err = filepath.WalkDir(filepath.Join(k.dir, ns), func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case e.IsDir():
			if err := k.watch.Add(path); err != nil { // it went, or there is no room for more: it is looked at again and again
				k.mention(ns, fmt.Errorf("watch %s: %w", path, err))
				whole = false
			}
		case e.Name() == "server":
			rel, err := filepath.Rel(k.dir, filepath.Dir(path))
			if err != nil {
				return err
			}
			found[rel] = true
		}
		return nil
	})
	return found, whole, err
}

// refresh makes a side what its files say; false where they or its namespace are not
// complete: then what was served before is.
func (k *keeper) refresh(name string) (bool, error) {
	server, guests, err := Read(filepath.Join(k.dir, name))
	if err != nil {
		k.mention(name, err)
		return false, nil
	}
	s := k.sides[name]
	if s == nil {
		s = &side{ports: map[port]uint64{}}
		k.sides[name] = s
	}
	if s.server == nil || !reflect.DeepEqual(s.guests, guests) {
		s.guests = guests
		if err := k.retell(name, s); err != nil {
			return false, err
		}
	}
	s.server = server
	if err := k.listen(name, s); err != nil {
		k.mention(name, err)
		return false, nil
	}
	delete(k.said, name)
	return true, nil
}

// mention says once what keeps a side from being served, if it does for a while.
func (k *keeper) mention(name string, err error) {
	if text := err.Error(); k.pause > time.Second/2 && k.said[name] != text {
		k.said[name] = text
		fmt.Fprintf(os.Stderr, "metadata: %s: what was before stays: %v\n", name, err)
	}
}

// drop ends the service of a side.
func (k *keeper) drop(name string, s *side) error {
	delete(k.sides, name)
	if err := k.closePorts(s); err != nil {
		return err
	}
	return k.told(told{Side: name, Gone: true})
}

func (k *keeper) closePorts(s *side) error {
	for p, id := range s.ports {
		delete(s.ports, p)
		if err := k.pass(handed{ID: id, Close: true}, nil); err != nil {
			return err
		}
	}
	return nil
}

// listen opens the ports of a side in its namespace, which may be another than it was,
// and has the others closed.
func (k *keeper) listen(name string, s *side) error {
	var at unix.Stat_t
	if err := unix.Stat(filepath.Join(k.host.Netns, s.server.NS), &at); err != nil {
		return errors.Join(fmt.Errorf("namespace %s: %w", s.server.NS, err), k.closePorts(s))
	}
	if s.space != at.Ino {
		if err := k.closePorts(s); err != nil {
			return err
		}
	}
	want := map[port]bool{}
	for _, a := range s.server.MetaData {
		want[port{a, kindMetaData}] = true
	}
	for _, a := range s.server.Passwords {
		want[port{a, kindPasswords}] = true
	}
	for p, id := range s.ports {
		if !want[p] {
			delete(s.ports, p)
			if err := k.pass(handed{ID: id, Close: true}, nil); err != nil {
				return err
			}
		}
	}
	for p := range want {
		if _, open := s.ports[p]; open {
			continue
		}
		f, err := k.open(s.server.NS, p.at)
		if err != nil {
			return fmt.Errorf("listen in %s: %w", s.server.NS, err)
		}
		k.listens++
		id := uint64(k.listens)
		err = k.pass(handed{ID: id, Side: name, Kind: p.kind}, f)
		_ = f.Close()
		if err != nil {
			return err
		}
		s.ports[p], s.space = id, at.Ino
	}
	return nil
}

// freeBind lets a port be opened at an address that is not there: that of a redundant
// router is at the other host.
var freeBind = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) }), err)
}}

func (k *keeper) open(ns string, at netip.AddrPort) (f *os.File, err error) {
	err = k.host.In(ns, func() error {
		l, err := freeBind.Listen(context.Background(), "tcp4", at.String())
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		f, err = l.(*net.TCPListener).File()
		return err
	})
	return f, err
}

// handed goes with a port to the worker, or says that one is to be closed.
type handed struct {
	ID    uint64 `json:"id"`
	Side  string `json:"side,omitempty"`
	Kind  string `json:"kind,omitempty"`
	Close bool   `json:"close,omitempty"`
}

func (k *keeper) pass(h handed, f *os.File) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	var rights []byte
	if f != nil {
		rights = unix.UnixRights(int(f.Fd()))
	}
	if err := unix.Sendmsg(int(k.hand.Fd()), b, rights, nil, 0); err != nil {
		return fmt.Errorf("hand a port to the worker: %w", err)
	}
	return nil
}
