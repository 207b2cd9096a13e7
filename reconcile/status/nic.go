package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weft.dev/reconcile/resource"
)

// The states of a NIC on a host, as far as CloudStack has them with its words.
const (
	NICAllocated = "Allocated" // it has its numbers, and no port here
	NICReserved  = "Reserved"  // its port is here and carries its network
	NICMoved     = "Moved"     // likewise, but another host was expected
	NICOutside   = "Outside"   // its port is here, which is none of its VM's hosts
	NICTwoPorts  = "TwoPorts"  // several ports say that they are this NIC
)

// A NIC is how one NIC fares on this host.
type NIC struct {
	ID      string         `json:"id"` // account/vm/nic
	Network resource.Owner `json:"network"`
	State   string         `json:"state"`
	// Ports are those on this host that are the NIC's; the first is the one that
	// carries it.
	Ports []string `json:"ports,omitempty"`
	// Host is where the tree expects it, "" for anywhere.
	Host string `json:"host,omitempty"`
	// Message says what else there is to know.
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since"` // of State
}

// VM is the account/vm of the NIC.
func (n NIC) VM() string { return n.ID[:max(0, strings.LastIndexByte(n.ID, '/'))] }

// wrong reports whether somebody should know.
func (n NIC) wrong() bool { return n.State != NICAllocated && n.State != NICReserved }

// nics shows the NICs that are not where they were expected, or all.
func (p *printer) nics(s *Status) {
	count := map[string]int{}
	var rows [][]string
	for _, n := range s.NICs {
		count[n.State]++
		if !n.wrong() && !p.style.All {
			continue
		}
		at := "expected anywhere"
		switch n.Host {
		case "":
		case s.Host:
			at = "expected here"
		default:
			at = "expected on " + clean(n.Host)
		}
		port := strings.Join(n.Ports, ", ")
		if port == "" {
			port = "no port"
		}
		rows = append(rows, []string{"nic/" + clean(n.ID), p.nicState(n), Age(p.now.Sub(n.Since)), clean(port), at, clean(n.Message)})
	}
	var parts []string
	for _, st := range []string{NICReserved, NICAllocated, NICMoved, NICOutside, NICTwoPorts} {
		if n := count[st]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, nicWords[st]))
		}
	}
	if len(parts) > 0 {
		p.line("")
		p.line("  NICs        %s", strings.Join(parts, ", "))
	}
	p.table(rows)
}

var nicWords = map[string]string{
	NICReserved: "reserved", NICAllocated: "allocated", NICMoved: "moved here", NICOutside: "outside their hosts", NICTwoPorts: "with two ports",
}

func (p *printer) nicState(n NIC) string {
	switch {
	case n.State == NICReserved:
		return p.paint(green, n.State)
	case n.State == NICTwoPorts:
		return p.paint(red, n.State)
	}
	return p.paint(yellow, n.State)
}

// Outside lists the IDs of the NICs that are outside their hosts, in their order.
func Outside(nics []NIC) []string {
	var out []string
	for _, n := range nics {
		if n.State == NICOutside {
			out = append(out, n.ID)
		}
	}
	return out
}

// OfVM keeps the NICs of one VM, account/vm, or of one NIC, account/vm/nic.
func (s *Status) OfVM(name string) []NIC {
	return slices.DeleteFunc(slices.Clone(s.NICs), func(n NIC) bool { return n.VM() != name && n.ID != name })
}
