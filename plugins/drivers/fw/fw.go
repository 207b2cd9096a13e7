// Package fw drives fw.chain and fw.set: iptables chains and ipsets inside
// namespaces of weft's.
//
// In go steps of a plan and a host; out come what the kernel has, and errors.
// reconcile/driver has the contract; cmd and tests import it.
//
// Chains are written by iptables-restore, all that changes in one namespace and
// family in one run, in an order that at no moment opens what is neither to be open
// nor was (package course), and recognised by text: beside what was asked for, a note keeps
// what iptables-save said right after the write. While it says the same, the
// chain is what was asked for; no rule text is parsed. A lost note is drift. Sets
// are written by ipset, as a new set that takes the place of the old one, and
// read from the kernel. Inside a namespace of weft's everything is weft's.
package fw

import (
	"context"
	"sync"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// workers is how many namespaces are written at a time. The nft variant waits
// in the kernel, not on a processor: 50 namespaces of 52 rules take 1.9 s one by
// one and 0.2 s with 16 workers.
const workers = 16

// readers is how many namespaces are read at a time; reading is processor time.
const readers = 4

// Driver implements driver.Driver.
type Driver struct {
	host    *host.Host
	marks   *host.Marks
	variant Variant

	mu     sync.Mutex
	tools  *tools // nil until found
	spaces map[string]*memory
}

// memory is what one process remembers of a namespace to save work; nothing in
// it matters.
type memory struct {
	busy sync.Mutex // held while the namespace is written

	mu     sync.Mutex
	note   *note
	stamp  uint64 // of the file the note is from
	cookie uint64 // of the namespace that kernel is of
	print  uint64 // kernel is what there was in this state of the rules
	known  bool
	kernel tables
}

// An Option changes how a Driver works.
type Option func(*Driver)

// WithVariant makes the driver use a variant of iptables other than the host's.
func WithVariant(v Variant) Option { return func(d *Driver) { d.variant = v } }

// New returns the driver of h.
func New(h *host.Host, options ...Option) *Driver {
	d := &Driver{host: h, marks: h.Marks("fw"), spaces: map[string]*memory{}}
	for _, o := range options {
		o(d)
	}
	return d
}

// Kinds implements driver.Driver.
func (*Driver) Kinds() []resource.Kind { return []resource.Kind{resource.KindChain, resource.KindSet} }

// Epoch implements driver.Driver: where nothing changed a look costs as little
// as a number would.
func (*Driver) Epoch(context.Context, driver.Scope) (uint64, bool) { return 0, false }

func (d *Driver) memory(ns string) *memory {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.spaces[ns]
	if m == nil {
		m = &memory{}
		d.spaces[ns] = m
	}
	return m
}
