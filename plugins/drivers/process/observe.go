package process

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
)

// Observe implements driver.Driver.
func (d *Driver) Observe(ctx context.Context, scope driver.Scope) (*resource.Observed, error) {
	all, err := d.scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("observe processes: %w", err)
	}
	out := resource.NewObserved()
	spaces := d.namespaces()
	for name, list := range all {
		list = tops(list)
		for _, p := range list {
			d.begun(p.pid)
		}
		want, _ := scope.Desired[resource.ID{Kind: resource.KindProcess, Name: name}].State.(resource.Process)
		m, marked := d.mark(name)
		owner := list[0].owner
		if marked {
			owner = m.Owner
		}
		st := resource.State(d.seen(list[0], m, want, spaces))
		switch {
		case len(list) > 1:
			st = several(name, list, spaces)
		case spaces.is(list[0].ns, want.NS) && d.deaf(m, want):
			st = left(want)
		}
		out.Set.Put(resource.Entry{State: st, Owner: owner})
	}
	return out, nil
}

// seen is the state of a running process: what it was started as, if that is
// known and it is where it should be, else what can be read of it.
func (d *Driver) seen(p found, m mark, want resource.Process, spaces namespaces) resource.Process {
	if m.Process.Name == p.id && startPrint(m.Process) == p.start && spaces.is(p.ns, m.Process.NS) {
		if d.stale(&m) {
			m.Process.Load = 0
		}
		return m.Process
	}
	if want.Name == p.id && startPrint(want) == p.start && spaces.is(p.ns, want.NS) {
		// What it loaded nobody knows any more.
		want.Load = 0
		return want
	}
	return resource.Process{Name: p.id, NS: spaces.name(p.ns), Argv: commandLine(p.pid)}
}

// left is the state of a process whose device is there no more.
func left(p resource.Process) resource.Seen {
	s := resource.Seen{Ident: p.ID(), Needed: []resource.ID{{Kind: resource.KindNS, Name: p.NS}}, Drift: "it serves a device that was " + p.Device}
	s.Print = resource.Digest(s.Drift)
	return s
}

// several is the state of more than one process under one name.
func several(name string, list []found, spaces namespaces) resource.Seen {
	s := resource.Seen{Ident: resource.ID{Kind: resource.KindProcess, Name: name}}
	var b strings.Builder
	for _, p := range list {
		ns := spaces.name(p.ns)
		if ns != "" {
			s.Needed = append(s.Needed, resource.ID{Kind: resource.KindNS, Name: ns})
		}
		fmt.Fprintf(&b, "pid %d in %q: %s\n", p.pid, ns, strings.Join(commandLine(p.pid), " "))
	}
	s.Drift = fmt.Sprintf("%d processes instead of one:\n%s", len(list), b.String())
	s.Print = resource.Digest(s.Drift)
	return s
}

func commandLine(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(string(bytes.TrimRight(b, "\x00")), "\x00")
}
