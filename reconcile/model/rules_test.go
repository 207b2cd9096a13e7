package model_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

var update = flag.Bool("update", false, "write what is there as what is wanted")

// TestRules reads trees from testdata/*.txtar and compares what the model says
// of them with their last file. A tree without weft.lock gets one first, as weft
// lock would make it.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { rule(t, name) })
	}
}

func rule(t *testing.T, name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	a := txtar.Parse(text)
	last := &a.Files[len(a.Files)-1]
	if last.Name != "diagnostics" {
		t.Fatal("the last file is not called diagnostics")
	}
	files := fstest.MapFS{}
	var lock *alloc.Lock
	for _, f := range a.Files[:len(a.Files)-1] {
		if f.Name == alloc.FileName {
			lock, _ = alloc.Parse(f.Name, f.Data, nil)
			continue
		}
		files[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	tree, parsed := schema.Parse(files, nil)
	if lock == nil {
		_, demands := judge(tree, alloc.Empty())
		lock, _, _ = alloc.Allocate(demands, nil, alloc.Options{})
	}
	ds, _ := judge(tree, lock)
	ds = append(ds, parsed...)
	ds.Sort()
	var got bytes.Buffer
	if err := ds.Render(&got, tree.Source, false); err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		if d.Pos.IsZero() || d.Code == "" {
			t.Errorf("no place or no code: %+v", d)
		}
	}
	if *update {
		last.Data = got.Bytes()
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got.Bytes(), last.Data) {
		t.Errorf("got:\n%s\nwant:\n%s", got.Bytes(), last.Data)
	}
}

// TestModel reads trees from testdata/model/*.txtar and compares the networks
// that they resolve to with their last file.
func TestModel(t *testing.T) {
	files, err := filepath.Glob("testdata/model/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { units(t, name) })
	}
}

func units(t *testing.T, name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	a := txtar.Parse(text)
	last := &a.Files[len(a.Files)-1]
	files := fstest.MapFS{}
	lock := alloc.Empty()
	for _, f := range a.Files[:len(a.Files)-1] {
		if f.Name == alloc.FileName {
			lock, _ = alloc.Parse(f.Name, f.Data, nil)
			continue
		}
		files[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	tree, ds := schema.Parse(files, nil)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	site, _ := model.BuildSite(tree, nil, nil)
	var index model.Index
	for _, d := range tree.Documents {
		index.Add(d)
	}
	var got bytes.Buffer
	for _, d := range index.Networks() {
		n, ds := model.Resolve(site, &index, d, lock)
		dump(&got, n)
		for _, d := range ds {
			fmt.Fprintf(&got, "  %s\n", d.String())
		}
	}
	for _, d := range tree.Documents {
		if d.Kind == schema.KindVPC {
			v, ds := model.ResolveVPC(site, &index, d, lock)
			dumpVPC(&got, v)
			for _, d := range ds {
				fmt.Fprintf(&got, "  %s\n", d.String())
			}
		}
	}
	if *update {
		last.Data = got.Bytes()
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got.Bytes(), last.Data) {
		t.Errorf("got:\n%s\nwant:\n%s", got.Bytes(), last.Data)
	}
}

// legOf is the public leg of a router, that of nothing without one.
func legOf(r *model.Router) *model.Leg {
	if !r.Public() {
		return &model.Leg{Port: resource.Short(15, "wp", r.ID.Account, r.ID.Name, r.Host.Facts.Instance)}
	}
	return r.Legs[0]
}

func dump(w *bytes.Buffer, n *model.Network) {
	fmt.Fprintf(w, "%s %s on %s: %s %d, %s gateway %s, mtu %d, domain %s, dns %v\n",
		n.ID, n.State, n.Physical.Name, n.Scheme, n.VNet, n.CIDR, n.Gateway, n.MTU, n.Domain, n.DNS)
	for _, h := range n.Hosts {
		fmt.Fprintf(w, "  host %s tunnel %s\n", h.Name, h.TunnelIP)
	}
	for _, x := range n.NICs {
		fmt.Fprintf(w, "  nic %s %s %s %s running=%t default=%t host=%q hosts=%v\n", x.ID, x.Hostname, x.IP, x.MAC, x.Running, x.Default, x.Host, x.Hosts)
	}
	for _, p := range n.IPs {
		fmt.Fprintf(w, "  ip %s %s of %s sourcenat=%t", p.ID, p.Addr, p.Range.Name, p.SourceNAT)
		if p.StaticNAT != nil {
			fmt.Fprintf(w, " static=%s", p.StaticNAT.ID)
		}
		for _, f := range p.Forwards {
			fmt.Fprintf(w, " %s->%s", f.Spec.Name, f.NIC.ID)
		}
		fmt.Fprintln(w)
	}
	if r := n.Router; r != nil {
		side, leg := r.Sides[0], legOf(r)
		fmt.Fprintf(w, "  router on %s %s %s %s guest %s %s public %s %s mtu %d\n", r.Host.Name, r.NS, side.Port, leg.Port, side.IP, side.MAC, r.SourceNAT, leg.MAC, leg.MTU)
	}
	if x := n.IP6; x != nil {
		fmt.Fprintf(w, "  ip6 %s gateway %s %s", x.CIDR, x.Gateway, x.Mode)
		if r := n.Router; r != nil && r.Public() {
			fmt.Fprintf(w, ", public %s by %s", r.Legs[0].IP6, r.Legs[0].Gateway6)
		}
		for _, nic := range n.NICs {
			fmt.Fprintf(w, ", %s %s", nic.ID, nic.IP6)
		}
		fmt.Fprintln(w)
	}
	for _, s := range n.Segments {
		if x := s.IP6; x != nil && x.Foreign {
			fmt.Fprintf(w, "  segment %q ip6 %s gateway %s router %s\n", s.Name, x.CIDR, x.Gateway, x.Router)
		}
	}
	for _, d := range n.Demands {
		fmt.Fprintf(w, "  needs %s %s: %s", d.Owner, d.Field, d.Pool.Describe())
		if d.Fixed != "" {
			fmt.Fprintf(w, " = %s", d.Fixed)
		}
		if d.Formerly != "" {
			fmt.Fprintf(w, ", formerly %s", d.Formerly)
		}
		fmt.Fprintln(w)
	}
	for _, d := range n.Missing {
		fmt.Fprintf(w, "  missing %s %s\n", d.Owner, d.Field)
	}
	if n.CTZone != 0 {
		fmt.Fprintf(w, "  ct-zone %d\n", n.CTZone)
	}
	for _, nic := range n.NICs {
		if g := nic.Groups; g != nil {
			fmt.Fprintf(w, "  %s groups %q, open %v\n", nic.ID, g.Key, g.Open)
			for _, list := range [][]model.GroupRule{g.Ingress, g.Egress} {
				for _, r := range list {
					fmt.Fprintf(w, "    %s %d %v %d/%d %v\n", r.Name, r.Proto, r.Ports, r.ICMPType, r.ICMPCode, r.Peers)
				}
			}
		}
	}
	for _, why := range []string{n.Blocked, n.Suspended} {
		if why != "" {
			fmt.Fprintf(w, "  %s\n", why)
		}
	}
}

// judge resolves every network and public address of tree.
func judge(tree *schema.Tree, lock *alloc.Lock) (schema.Diags, []model.Demand) {
	var demands []model.Demand
	site, ds := model.BuildSite(tree, nil, nil)
	var index model.Index
	index.SetUnread(tree.Invalid)
	for _, d := range tree.Documents {
		index.Add(d)
	}
	for _, d := range index.Networks() {
		n, more := model.Resolve(site, &index, d, lock)
		ds = append(ds, more...)
		demands = append(demands, n.Demands...)
	}
	for _, d := range index.Reserved() {
		demand, ok, more := model.ResolveReserved(site, d)
		ds = append(ds, more...)
		model.CheckAttached(&index, d.ID(), &ds)
		if ok {
			demands = append(demands, demand)
		}
	}
	index.Lost(&ds)
	for _, id := range index.Dangling() {
		model.Refer(site, &index, id, &ds)
	}
	for _, d := range tree.Documents {
		switch d.Kind {
		case schema.KindSecurityGroup:
			ds = append(ds, model.CheckGroup(site, &index, d)...)
		case schema.KindVPC:
			v, more := model.ResolveVPC(site, &index, d, lock)
			ds = append(ds, more...)
			demands = append(demands, v.Demands...)
		}
	}
	return ds, demands
}
