// Package doctor says what on a host will bite weft: what is missing, who else has
// its hands in the network, what the kernel lacks or limits, and where the wires and
// bridges are not what the tree says of them.
//
// In goes a Patient: the files of a machine, ways to look up and run programs, its
// facts, and the host's share of a tree where there is one; out come Findings. It
// belongs to the shell and changes nothing; cmd imports it.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// A Level says how bad a finding is.
type Level string

// Errors are what fails for certain, Warnings what fails sooner or later or takes
// something away from weft; Notes are good to know.
const (
	Error   Level = "error"
	Warning Level = "warning"
	Note    Level = "note"
)

// rank orders levels, the worst first.
var rank = map[Level]int{Error: 0, Warning: 1, Note: 2}

// A Finding is one thing that will bite. Text and Cure are one line each, without
// anything secret; they may hold what files and device names say, unescaped.
type Finding struct {
	Check string // tools, switch, iptables, kernel, sysctl, others, wire, bridge, tree
	Level Level
	Text  string
	Cure  string     // what to do about it; may be empty
	At    schema.Pos // the line of the tree that it is about, if any
	Code  string     // of the diagnostic, in check tree
}

// A Patient is one machine as Examine sees it.
type Patient struct {
	// Root is the machine's root directory: proc, sys, etc, run, lib.
	Root fs.FS
	// Look finds a program, as exec.LookPath.
	Look func(program string) (string, error)
	// Run runs a program that changes nothing, in a named namespace ("": the host's).
	Run func(ctx context.Context, ns string, argv ...string) ([]byte, error)
	// Addresses are those of the host's devices that are more than link-local.
	Addresses map[string][]netip.Prefix
	Facts     model.Facts
	// Privileged: Facts of the kernel, packet filters and the switch could be looked at.
	Privileged bool
	OVSDB      string // where the switch's database listens
	Share      *Share // of a tree; nil: there is none
}

// A Share is what a tree says of the host.
type Share struct {
	Host  *model.Host              // nil where its document is invalid
	Wires []*model.PhysicalNetwork // of its zone
	Set   resource.Set             // what the host is to have
	Diags schema.Diags             // of the tree, under the host's own facts
}

// Examine looks at everything and returns what it found, the worst first, in an order
// that depends on the patient only. It runs a few programs and blocks until they end.
func Examine(ctx context.Context, p Patient) []Finding {
	x := &exam{Patient: p, ctx: ctx}
	if p.Share != nil {
		x.wanted()
	}
	x.processes()
	for _, check := range []func(){
		x.tree, x.tools, x.vswitch, x.iptables, x.kernel, x.sysctls, x.others, x.bridges, x.wires,
	} {
		check()
	}
	slices.SortStableFunc(x.found, func(a, b Finding) int { return cmp.Compare(rank[a.Level], rank[b.Level]) })
	return x.found
}

// An exam is one run of Examine.
type exam struct {
	Patient
	ctx    context.Context
	found  []Finding
	wants  map[string]string // what the host's share runs, and the first that wants it
	comms  map[string]bool   // names of processes
	lines  []string          // command lines of the interpreters among them
	ovs    map[string]bool   // bridges of Open vSwitch; nil: not known
	policy string            // of the host's FORWARD; "": not known
}

func (x *exam) tell(l Level, check, cure, format string, args ...any) *Finding {
	x.found = append(x.found, Finding{Check: check, Level: l, Text: fmt.Sprintf(format, args...), Cure: cure})
	return &x.found[len(x.found)-1]
}

// tree tells what is refused.
func (x *exam) tree() {
	if !x.Privileged {
		x.tell(Note, "kernel", "run weft doctor as root", "without root neither the kernel's abilities nor packet filters nor the switch can be looked at")
	}
	if x.Share == nil {
		return
	}
	for _, d := range x.Share.Diags {
		l := Error
		if d.Severity == schema.Warning {
			l = Warning
		}
		f := x.tell(l, "tree", d.Hint, "%s", d.Message)
		f.At, f.Code = d.Pos, d.Code
	}
}

// read is a file without the space around it, "" where it cannot be read.
func (x *exam) read(name string) string {
	b, err := fs.ReadFile(x.Root, strings.TrimPrefix(name, "/"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// number is a file with one number.
func (x *exam) number(name string) (int, bool) {
	n, err := strconv.Atoi(x.read(name))
	return n, err == nil
}

func (x *exam) exists(name string) bool {
	_, err := fs.Stat(x.Root, strings.TrimPrefix(name, "/"))
	return err == nil
}

// glob never fails: a pattern of this package is well formed, and what cannot be read
// is not there.
func (x *exam) glob(pattern string) []string {
	names, _ := fs.Glob(x.Root, strings.TrimPrefix(pattern, "/"))
	return names
}

// has reports whether a program is there.
func (x *exam) has(program string) bool {
	if strings.HasPrefix(program, "/") {
		return x.exists(program)
	}
	_, err := x.Look(program)
	return err == nil
}

// lastly is the last line of an error, which says it.
func lastly(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return lines[len(lines)-1]
}
