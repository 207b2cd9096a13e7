package fw

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/coreos/go-iptables/iptables"
)

// A Variant is one of the two ways iptables keeps its rules. A packet passes
// both, and each shows only its own, so they are never mixed.
type Variant string

// The variants.
const (
	NFT    Variant = "nft"
	Legacy Variant = "legacy"
)

// tools are the programs of the variant in use.
type tools struct {
	variant  Variant
	families map[int]family
}

// family is one protocol family's programs.
type family struct {
	tables        *iptables.IPTables
	restore, save string
}

// find looks for the variant that `iptables` on this host is, or for the one
// asked for, and for the programs of that variant. IPv6 may be missing.
func (d *Driver) find(ctx context.Context) (*tools, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tools != nil {
		return d.tools, nil
	}
	v := d.variant
	if v == "" {
		out, err := d.host.Run(ctx, "", nil, "iptables", "--version")
		if err != nil {
			return nil, err
		}
		v = Legacy // before 1.8 there was no other, and no word for it
		if strings.Contains(string(out), "nf_tables") {
			v = NFT
		}
	}
	t := &tools{variant: v, families: map[int]family{}}
	for number, program := range map[int]string{4: "iptables", 6: "ip6tables"} {
		f, err := programs(program, v, number)
		if err == nil {
			t.families[number] = f
		} else if number == 4 {
			return nil, err
		}
	}
	d.tools = t
	return t, nil
}

// programs finds NAME-VARIANT-restore and its kin, else those without variant.
func programs(name string, v Variant, number int) (family, error) {
	stem := name + "-" + string(v)
	if _, err := exec.LookPath(stem + "-restore"); err != nil {
		stem = name
	}
	proto := iptables.ProtocolIPv4
	if number == 6 {
		proto = iptables.ProtocolIPv6
	}
	t, err := iptables.New(iptables.IPFamily(proto), iptables.Path(stem), iptables.Timeout(lockWait))
	if err != nil {
		return family{}, fmt.Errorf("find %s: %w", stem, err)
	}
	// 1.8 maps ranges of ports one to one and waits for the lock in a restore.
	if major, minor, patch := t.GetIptablesVersion(); major < 1 || major == 1 && minor < 8 {
		return family{}, fmt.Errorf("%s is version %d.%d.%d, at least 1.8 is needed", stem, major, minor, patch)
	}
	return family{tables: t, restore: stem + "-restore", save: stem + "-save"}, nil
}

// lockWait is how many seconds the legacy variant may wait for its lock, one for
// the whole host.
const lockWait = 30
