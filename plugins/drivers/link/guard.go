package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// guardTable is the table of one instance. Everything in it is ours.
func (d *Driver) guardTable() string {
	if d.host.Instance == "weft" {
		return "weft"
	}
	return "weft-" + d.host.Instance
}

// The maps from links to chains, and the chains that look into them.
const (
	mapFrom   = "from"
	mapTo     = "to"
	chainFrom = "prerouting"
	chainTo   = "postrouting"
)

// guards is the table as nft tells it.
type guards struct {
	blocks map[string]string // chains and sets, by name
	// bound are the chains of links by name, per map.
	bound map[string]map[string]string
}

// readGuards reads the table; without one it is empty. What the sets of flows remember
// is not read.
func (d *Driver) readGuards(ctx context.Context) (*guards, error) {
	g := &guards{blocks: map[string]string{}, bound: map[string]map[string]string{mapFrom: {}, mapTo: {}}}
	table := d.guardTable()
	out, err := d.nft(ctx, "", "-t", "list", "table", "bridge", table)
	if err != nil || out == "" {
		return g, err
	}
	g.parse(out)
	for m := range g.bound {
		if out, err = d.nft(ctx, "", "list", "map", "bridge", table, m); err != nil {
			return nil, err
		}
		for link, chain := range elements(out) {
			g.bound[m][link] = chain
		}
	}
	return g, nil
}

// readGuards reads the table for a look. Where nobody wants one, that is done once for
// every generation of nftables: whoever was killed may have left rules and no note.
func (k *look) readGuards(ctx context.Context, wanted bool) error {
	now, ok := k.root.NftGeneration() // of a kernel without nftables there is none
	k.d.mu.Lock()
	known := k.d.guardless
	k.d.mu.Unlock()
	if !wanted && (!ok || now == known) {
		k.guards = &guards{}
		return nil
	}
	g, err := k.d.readGuards(ctx)
	if err != nil {
		return err
	}
	if k.guards = g; len(g.blocks) == 0 && ok {
		k.d.mu.Lock()
		k.d.guardless = now
		k.d.mu.Unlock()
	}
	return nil
}

// nft runs nft; what is not there prints nothing.
func (d *Driver) nft(ctx context.Context, stdin string, args ...string) (string, error) {
	out, err := d.host.Run(ctx, "", []byte(stdin), append([]string{"nft"}, args...)...)
	var failed *host.CommandError
	switch {
	case err == nil:
		return string(out), nil
	case errors.Is(err, exec.ErrNotFound) && stdin == "":
		return "", nil // nobody can have made any
	case errors.As(err, &failed) && stdin == "" && strings.Contains(failed.Log, "No such file or directory"):
		return "", nil
	}
	return "", err
}

// parse takes the text of a table apart.
func (g *guards) parse(text string) {
	name := ""
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "\t}"):
			name = ""
		case name != "":
			g.blocks[name] += line
		case strings.HasPrefix(line, "\t") && len(words) == 3 && words[2] == "{" && words[0] != "map":
			name = words[1]
			g.blocks[name] = words[0] + "\n"
		}
	}
}

// elements reads the elements of a map: `"vnet7" : jump from-acme/web-1/web`.
func elements(text string) map[string]string {
	out := map[string]string{}
	_, list, _ := strings.Cut(text, "elements = {")
	list, _, _ = strings.Cut(list, "}")
	for e := range strings.SplitSeq(list, ",") {
		link, verdict, ok := strings.Cut(strings.TrimSpace(e), " : ")
		if ok {
			out[strings.Trim(link, `"`)] = strings.TrimPrefix(strings.TrimSpace(verdict), "jump ")
		}
	}
	return out
}

// guardNames are the chains and the sets of a port.
func guardNames(id string) (chains, sets []string) {
	for _, c := range []string{fromGuest, toGuest, outward, asking, letting} {
		chains = append(chains, c+id)
	}
	for _, f := range families {
		for _, s := range []string{asked, admitted} {
			sets = append(sets, f.set(s, id, true), f.set(s, id, false))
		}
	}
	return chains, sets
}

// print is a digest of what there is of a port, and of what leads to it.
func (g *guards) print(id string) uint64 {
	chains, sets := guardNames(id)
	var parts []string
	for _, name := range slices.Concat([]string{chainFrom, chainTo}, chains, sets) {
		parts = append(parts, name, g.blocks[name])
	}
	return resource.Digest(parts...)
}

// leads reports whether the link called name, and no other, leads to the port; "" is
// none.
func (g *guards) leads(id, name string) bool {
	for m, prefix := range map[string]string{mapFrom: fromGuest, mapTo: toGuest} {
		n := 0
		for link, chain := range g.bound[m] {
			if chain == prefix+id {
				n++
				if link != name {
					return false
				}
			}
		}
		if name != "" && n != 1 {
			return false
		}
	}
	return true
}

// drift says what of a guard differs from what was written, if anything does.
func (g *guards) drift(p resource.BridgePort, link string, was map[string]uint64) []string {
	id := p.ID().Name
	_, there := g.blocks[fromGuest+id]
	switch {
	case p.Guard == nil && !there:
		return nil
	case p.Guard == nil:
		return []string{"rules of it are left"}
	case !there:
		return []string{"nothing says what may pass"}
	case g.print(id) != was[id]:
		return []string{"what may pass is not as it was written"}
	case !g.leads(id, link):
		return []string{"the rules of what may pass are not those of " + link}
	}
	return nil
}

// orphans lists the ports that rules are left of, and that nobody knows.
func (g *guards) orphans(known map[string]bool) []string {
	var out []string
	for name := range g.blocks {
		if id, ok := strings.CutPrefix(name, fromGuest); ok && !known[id] {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// putGuard makes true what may pass a port before the link called name is plugged in;
// "" is a link that is not there yet.
func (x *site) putGuard(ctx context.Context, p resource.BridgePort, name string) error {
	id := p.ID().Name
	if p.Guard == nil {
		return x.dropGuard(ctx, id)
	}
	if !nameable(name) {
		return fmt.Errorf("port %s: the link %q can not be named in a rule", id, name)
	}
	text, err := render(x.d.guardTable(), id, p.Guard)
	if err != nil {
		return err
	}
	if err := x.loadGuards(ctx); err != nil {
		return err
	}
	text = base(x.d.guardTable()) + text + x.bind(id, name)
	if err := x.writeGuards(ctx, text); err != nil {
		return fmt.Errorf("what may pass port %s: %w", id, err)
	}
	x.guarded = append(x.guarded, id)
	return nil
}

// nameable reports whether the link called name can be told to nft, and read again:
// it knows no escapes, and a list of names has commas.
func nameable(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"\\{},*", r)
	})
}

func (x *site) loadGuards(ctx context.Context) (err error) {
	if x.guards == nil {
		x.guards, err = x.d.readGuards(ctx)
	}
	return err
}

// writeGuards changes the table in one transaction.
func (x *site) writeGuards(ctx context.Context, text string) error {
	if x.writes == 0 {
		x.generation, _ = x.root.NftGeneration()
	}
	x.writes++
	_, err := x.d.nft(ctx, text, "-f", "-")
	if err != nil {
		x.guards = nil // it is not what it was thought to become
	}
	return err
}

// base is what all ports have in common.
func base(table string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "add table bridge %s\n", table)
	for _, s := range []struct{ chain, field, set, at string }{
		{chainFrom, "iifname", mapFrom, "hook prerouting priority -300"}, {chainTo, "oifname", mapTo, "hook postrouting priority 300"},
	} {
		fmt.Fprintf(&b, "add map bridge %s %s { type ifname : verdict; }\n", table, s.set)
		fmt.Fprintf(&b, "add chain bridge %s %s { type filter %s; policy accept; }\n", table, s.chain, s.at)
		fmt.Fprintf(&b, "flush chain bridge %s %s\nadd rule bridge %[1]s %[2]s %[3]s vmap @%s\n", table, s.chain, s.field, s.set)
	}
	return b.String()
}

// bind leads from the link called name to the chains of a port, and from no other.
func (x *site) bind(id, name string) string {
	var b strings.Builder
	for _, s := range []struct{ set, chain string }{{mapFrom, fromGuest + id}, {mapTo, toGuest + id}} {
		bound := x.guards.bound[s.set]
		for _, link := range slices.Sorted(maps.Keys(bound)) {
			if link != name && bound[link] == s.chain || link == name && bound[link] != s.chain {
				fmt.Fprintf(&b, "delete element bridge %s %s { %q }\n", x.d.guardTable(), s.set, link)
				delete(bound, link)
			}
		}
		if name != "" {
			fmt.Fprintf(&b, "add element bridge %s %s { %q : jump %s }\n", x.d.guardTable(), s.set, name, s.chain)
			bound[name] = s.chain
		}
	}
	return b.String()
}

// dropGuard removes the rules of a port, and the table with the last ones.
func (x *site) dropGuard(ctx context.Context, id string) error {
	if err := x.loadGuards(ctx); err != nil {
		return err
	}
	if _, there := x.guards.blocks[fromGuest+id]; !there {
		return nil
	}
	table := x.d.guardTable()
	text := x.bind(id, "")
	chains, sets := guardNames(id)
	chains = slices.DeleteFunc(chains, x.noBlock)
	for _, c := range chains {
		text += fmt.Sprintf("flush chain bridge %s %s\n", table, c)
	}
	for _, c := range chains {
		text += fmt.Sprintf("delete chain bridge %s %s\n", table, c)
		delete(x.guards.blocks, c)
	}
	for _, s := range slices.DeleteFunc(sets, x.noBlock) {
		text += fmt.Sprintf("delete set bridge %s %s\n", table, s)
		delete(x.guards.blocks, s)
	}
	if len(x.guards.orphans(nil)) == 0 && len(x.guarded) == 0 {
		text = fmt.Sprintf("delete table bridge %s\n", table)
		x.guards = nil
	}
	if err := x.writeGuards(ctx, text); err != nil {
		return fmt.Errorf("remove what may pass port %s: %w", id, err)
	}
	return nil
}

// dropPortsIn forgets the ports that went with a bridge, and removes their rules; those
// of one that is still there stay.
func (x *site) dropPortsIn(ctx context.Context, l resource.Link) error {
	if l.Bridge == nil {
		return nil
	}
	_, there, err := linkNamed(x.root, l.Name)
	if err != nil || there {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(x.note.Ports)) {
		p := x.note.Ports[name].State
		if p.Bridge != l.Name {
			continue
		}
		if p.Guard != nil { // the rules are written before they are noted
			if failed := x.dropGuard(ctx, name); failed != nil {
				err = errors.Join(err, failed)
				continue
			}
		}
		x.note.drop(resource.BridgePortID(name))
	}
	return err
}

func (x *site) noBlock(name string) bool {
	_, ok := x.guards.blocks[name]
	return !ok
}

// printGuards notes the kernel's own text of what was written.
func (x *site) printGuards(ctx context.Context) error {
	if len(x.guarded) == 0 {
		return nil
	}
	g, err := x.d.readGuards(ctx)
	if err != nil {
		return err
	}
	// Where somebody else wrote meanwhile, it may be his text: ours is written again.
	now, ok := x.root.NftGeneration()
	alone := ok && now == x.generation+uint32(x.writes)
	for _, id := range x.guarded {
		if delete(x.note.Guards, id); alone {
			x.note.Guards[id] = g.print(id)
		}
	}
	return nil
}
