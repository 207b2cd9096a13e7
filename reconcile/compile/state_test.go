package compile

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/compile/cloudgen"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plan"
	"weft.dev/schema"
)

// routersOn counts the networks whose router the lock has on host.
func routersOn(l *alloc.Lock, host string) (n int) {
	for _, e := range l.Entries() {
		if e.Field == model.FieldHost && e.Value == host {
			n++
		}
	}
	return n
}

func changed(t *testing.T, before, after *Result, host string) bool {
	t.Helper()
	p, err := plan.Between(before.Intent(host), after.Intent(host), plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return !p.Empty()
}

// TestMaintenance: the routers of a host in Maintenance stay until the lock moves
// them, all of them and no others; its guests stay; new routers go elsewhere; and
// nothing comes back by itself.
func TestMaintenance(t *testing.T) {
	size := cloudgen.Size{Networks: 16, Hosts: 4, NICs: 3, Spread: 2}
	enabled := cloudgen.Files(size)
	lock := lockFor(t, parse(enabled, nil), nil)
	before := New(fakes()).Update(parse(enabled, nil), lock, nil)
	if routersOn(lock, "kvm1") == 0 {
		t.Fatal("kvm1 has no router to move")
	}
	files := maps.Clone(enabled)
	files["infra/hosts/kvm1.yaml"] = strings.Replace(files["infra/hosts/kvm1.yaml"], "spec:\n", "spec:\n  state: Maintenance\n", 1)
	waiting := New(fakes()).Update(parse(files, nil), lock, nil)
	for _, h := range before.Hosts() {
		if changed(t, before, waiting, h) || waiting.Intent(h).Frozen != "" {
			t.Errorf("%s changes before the lock does", h)
		}
	}
	if n := len(waiting.CheckLock()); n != routersOn(lock, "kvm1") {
		t.Errorf("the lock is judged in %d places, not for each router:\n%s", n, showDiags(waiting.CheckLock()))
	}
	moved := lockFor(t, parse(files, nil), lock)
	for _, e := range lock.Entries() {
		now := moved.Number(e.Owner, e.Field)
		if leaves := e.Field == model.FieldHost && e.Value == "kvm1"; (now != e.Value) != leaves {
			t.Errorf("%s %s was %s, is %s", e.Owner, e.Field, e.Value, now)
		}
	}
	after := New(fakes()).Update(parse(files, nil), moved, nil)
	if len(after.CheckLock()) > 0 || after.Diags.HasErrors() {
		t.Error("mistakes are left:", showDiags(after.CheckLock()), showDiags(after.Diags))
	}
	for _, n := range after.Networks() {
		for _, nic := range n.NICs {
			if was := before.Network(n.ID); nic.Host == "kvm1" && !slices.ContainsFunc(was.Hosts, func(h *model.Host) bool { return h.Name == "kvm1" }) {
				t.Errorf("%s was not on kvm1", nic.ID)
			}
			if nic.Host == "kvm1" && !slices.ContainsFunc(n.Hosts, func(h *model.Host) bool { return h.Name == "kvm1" }) {
				t.Errorf("%s lost its network on kvm1", nic.ID)
			}
		}
	}
	files["tenants/new.yaml"] = cloudgen.Network(size, 98) + "---\n" + cloudgen.Network(size, 99)
	if grown := lockFor(t, parse(files, nil), moved); routersOn(grown, "kvm1") != 0 {
		t.Error("a new router is on kvm1")
	}
	delete(files, "tenants/new.yaml")
	if back := lockFor(t, parse(enabled, nil), moved); string(back.Marshal()) != string(moved.Marshal()) {
		t.Error("routers come back by themselves")
	}
}

// TestDisabled: on a host, or on all of a zone, that is Disabled nothing changes
// whatever the tree says: nothing goes away and nothing new comes. The others go on.
func TestDisabled(t *testing.T) {
	size := cloudgen.Size{Zones: 2, Networks: 16, Hosts: 6, NICs: 3, Spread: 3}
	enabled := cloudgen.Files(size)
	lock := lockFor(t, parse(enabled, nil), nil)
	before := New(fakes()).Update(parse(enabled, nil), lock, nil)
	for _, c := range []struct {
		what, file, old, new string
		frozen               []string
	}{
		{"host", "infra/hosts/kvm1.yaml", "spec:\n", "spec:\n  state: Disabled\n", []string{"kvm1"}},
		{"zone", "infra/zone1.yaml", "networkType", "state: Disabled, networkType", []string{"kvm1", "kvm3", "kvm5"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			files := maps.Clone(enabled)
			files[c.file] = strings.Replace(files[c.file], c.old, c.new, 1)
			still := New(fakes()).Update(parse(files, nil), lock, nil)
			if still.Diags.HasErrors() || len(still.CheckLock()) > 0 || len(still.Holds()) > 0 {
				t.Error("there are mistakes:", showDiags(still.Diags), showDiags(still.CheckLock()))
			}
			for _, h := range before.Hosts() {
				if changed(t, before, still, h) {
					t.Errorf("%s changes", h)
				}
			}
			// Networks go, others come, machines stop.
			for n := range 6 {
				delete(files, cloudgen.NetworkFile(size, n))
			}
			for name, text := range files {
				files[name] = strings.Replace(text, "  host: kvm", "  state: Stopped\n  host: kvm", 1)
			}
			files["tenants/new.yaml"] = cloudgen.Network(size, 98) + "---\n" + cloudgen.Network(size, 99)
			next, _, _ := alloc.Allocate(New(fakes()).Update(parse(files, nil), lock, nil).Demands(), lock, alloc.Options{})
			after := New(fakes()).Update(parse(files, nil), next, nil)
			for _, h := range before.Hosts() {
				frozen := slices.Contains(c.frozen, h)
				if (after.Intent(h).Frozen != "") != frozen {
					t.Errorf("%s: frozen %q", h, after.Intent(h).Frozen)
				}
				if changed(t, before, after, h) == frozen {
					t.Errorf("%s: changes %t", h, !frozen)
				}
			}
			news := []string{"network/acc0/net98", "network/acc1/net99"} // in zone0 and zone1
			for i, owner := range news {
				refused := slices.ContainsFunc(after.Diags, func(d schema.Diag) bool { return d.Code == "zone-disabled" && strings.Contains(d.Pos.File, "new.yaml") })
				host := next.Number(owner, model.FieldHost)
				switch {
				case slices.Contains(c.frozen, host):
					t.Errorf("the router of %s is on %s", owner, host)
				case c.what == "zone" && i == 1 && (host != "" || !refused):
					t.Errorf("a new network came to the zone, with its router on %q", host)
				case (c.what == "host" || i == 0) && host == "":
					t.Errorf("%s has no router", owner)
				}
			}
		})
	}
}
