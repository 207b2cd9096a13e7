package process

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weft.dev/reconcile/resource"
)

// The marks in a process' environment. They come first in it.
const (
	envInstance = "WEFT"
	envOwner    = "WEFT_OWNER"
	envID       = "WEFT_ID"
	envStart    = "WEFT_START"
)

// A found process carries our mark.
type found struct {
	pid    int
	parent int
	since  uint64 // clock ticks from boot to its start
	id     string
	start  string // fingerprint it was started with
	owner  resource.Owner
	ns     place
}

// A place identifies a namespace as long as it exists.
type place struct{ dev, inode uint64 }

// environ renders the marks and the rest of a process' environment.
func (d *Driver) environ(p resource.Process, owner resource.Owner) []string {
	return []string{
		envInstance + "=" + d.host.Instance,
		envOwner + "=" + string(owner),
		envID + "=" + p.Name,
		envStart + "=" + startPrint(p),
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C.UTF-8",
	}
}

func startPrint(p resource.Process) string { return fmt.Sprintf("%016x", p.StartPrint()) }

// scan finds the processes of this instance by name, the oldest first. A
// process of another pid namespace is another machine's: a lab or a container
// may run a weft of the same name.
func (d *Driver) scan(ctx context.Context) (map[string][]found, error) {
	self, err := placeOf("/proc/self/ns/pid")
	if err != nil {
		return nil, err
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	out := map[string][]found{}
	buf := make([]byte, 4096)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, ok := d.look(pid, buf)
		if !ok {
			continue
		}
		if at, err := placeOf(fmt.Sprintf("/proc/%d/ns/pid", pid)); err == nil && at == self {
			out[p.id] = append(out[p.id], p)
		}
	}
	others := map[int]bool{}
	for id, list := range out {
		list = d.withParents(list, others, buf)
		out[id] = list
		slices.SortFunc(list, func(a, b found) int {
			if a.since != b.since {
				return int(int64(a.since) - int64(b.since))
			}
			return a.pid - b.pid
		})
	}
	return out, nil
}

// withParents adds those that had no environment to be seen at that moment: who
// replaces itself by its program, as HAProxy does to read its files again, has none
// for an instant. Its children would pass for processes of their own then, and all
// but one be ended. others are parents that are known to be none of ours.
func (d *Driver) withParents(list []found, others map[int]bool, buf []byte) []found {
	for i := 0; i < len(list); i++ {
		parent, id := list[i].parent, list[i].id
		if others[parent] || slices.ContainsFunc(list, func(p found) bool { return p.pid == parent }) {
			continue
		}
		others[parent] = true
		for tries, quiet := 0, 0; tries < 100 && quiet < 2; tries++ { // twice, as it may be over since the first look
			p, ok := d.look(parent, buf)
			if ok {
				delete(others, parent)
				if p.id == id {
					list = append(list, p)
				}
				break
			}
			if !replacing(parent) {
				quiet++
				continue
			}
			time.Sleep(time.Millisecond)
		}
	}
	return list
}

// replacing says whether a process that lives has no environment.
func replacing(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	s, ok := statOf(pid)
	return err == nil && len(b) == 0 && ok && !s.dead
}

// look reads the marks of one process; false if it is none of ours, or gone.
func (d *Driver) look(pid int, buf []byte) (found, bool) {
	p := found{pid: pid}
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return p, false
	}
	n, _ := io.ReadFull(f, buf)
	_ = f.Close()
	instance := ""
	for entry := range bytes.SplitSeq(buf[:n], []byte{0}) {
		key, value, _ := bytes.Cut(entry, []byte{'='})
		switch string(key) {
		case envInstance:
			instance = string(value)
		case envOwner:
			p.owner = resource.Owner(value)
		case envID:
			p.id = string(value)
		case envStart:
			p.start = string(value)
		}
	}
	if instance != d.host.Instance || p.id == "" {
		return p, false
	}
	if p.ns, err = placeOf(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil {
		return p, false
	}
	s, ok := statOf(pid)
	p.parent, p.since = s.parent, s.since
	return p, ok && !s.dead
}

// stat is what we read of /proc/PID/stat.
type stat struct {
	parent   int
	since    uint64
	sleeping bool
	dead     bool
}

func statOf(pid int) (stat, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	// The name in brackets may hold anything, brackets included.
	_, rest, ok := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
	fields := strings.Fields(rest)
	if err != nil || !ok || len(fields) < 20 {
		return stat{}, false
	}
	s := stat{sleeping: fields[0] == "S", dead: fields[0] == "Z" || fields[0] == "X"}
	s.parent, _ = strconv.Atoi(fields[1])
	s.since, _ = strconv.ParseUint(fields[19], 10, 64)
	return s, true
}

func placeOf(path string) (place, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return place{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return place{st.Dev, st.Ino}, nil
}

// tops are the processes of list that no other of list started: what they
// forked is theirs to end.
func tops(list []found) []found {
	return slices.DeleteFunc(slices.Clone(list), func(p found) bool {
		return slices.ContainsFunc(list, func(q found) bool { return q.pid == p.parent })
	})
}

// namespaces are the named namespaces of one moment; "" is the host's own.
type namespaces map[string]place

func (d *Driver) namespaces() namespaces {
	out := namespaces{}
	entries, err := os.ReadDir(d.host.Netns)
	if err != nil {
		entries = nil // no named namespace was ever made
	}
	for _, e := range entries {
		if at, err := placeOf(filepath.Join(d.host.Netns, e.Name())); err == nil {
			out[e.Name()] = at
		}
	}
	if at, err := placeOf("/proc/self/ns/net"); err == nil {
		out[""] = at
	}
	return out
}

// is says whether at is the namespace that a state calls name.
func (n namespaces) is(at place, name string) bool {
	known, ok := n[name]
	return ok && known == at
}

// name is how a state calls a namespace.
func (n namespaces) name(at place) string {
	for _, name := range slices.Sorted(maps.Keys(n)) {
		if n[name] == at {
			return name
		}
	}
	return "(a namespace without a name)"
}
