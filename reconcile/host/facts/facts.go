// Package facts looks at what a machine can do, as compile wants to know it.
//
// In goes a host; out come model.Facts. It belongs to the shell; cmd and the
// agent import it.
package facts

import (
	"cmp"
	"context"
	"os"
	"regexp"
	"strings"
	"time"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/model"
)

// LabVariable is set in everything that runs in a lab: there Open vSwitch is the
// userspace datapath, whatever a Host document says, unless DatapathVariable names
// the other one.
const (
	LabVariable      = "WEFT_LAB"
	DatapathVariable = "WEFT_LAB_DATAPATH" // system or netdev
)

// LabDatapath is the datapath of a lab's switches.
func LabDatapath() string { return cmp.Or(os.Getenv(DatapathVariable), "netdev") }

var digits = regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)

// Of looks at what machine h can do; what it does not look at is as in
// model.StockFacts. It runs two programs and takes milliseconds.
func Of(ctx context.Context, h *host.Host) model.Facts {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	f := model.StockFacts()
	f.Assumed = false
	f.Instance = h.Instance
	f.Rootless = rootless()
	kernel(&f)
	if os.Getenv(LabVariable) != "" {
		f.Datapath = LabDatapath()
	}
	if out, err := h.Run(ctx, "", nil, "iptables", "--version"); err == nil {
		f.IPTables = "nft"
		if !strings.Contains(string(out), "nf_tables") {
			f.IPTables = "legacy"
		}
	}
	if out, err := h.Run(ctx, "", nil, "ovs-vswitchd", "--version"); err == nil {
		f.OVSVersion = digits.FindString(string(out))
	}
	return f
}

// rootless reports whether root is root only in a user namespace: there other
// users cannot be switched to.
func rootless() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295"
}
