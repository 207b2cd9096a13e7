package linuxbridge

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"golang.org/x/tools/txtar"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// onWire is a guru of public legs that only says which VLAN they share.
type onWire struct{ plugintest.Silent }

func (onWire) DesignLegs(r *model.Router, out *plugin.Draft) {
	l := r.Legs[0].Range
	if l.Spec.VLAN.ID != 0 {
		need := out.Need(r.Host.Name)
		need.Wires = append(need.Wires, plugin.WireNeed{Label: l.Physical.Public, VLAN: l.Spec.VLAN.ID})
	}
}

var registry = plugin.Registry{
	Gurus: []plugin.Guru{plugintest.Plain{Switch: Switch{}}}, Public: onWire{}, Elements: []plugin.Element{plugintest.Silent{}},
	Switches: []plugin.Switch{Switch{}},
}

func TestCases(t *testing.T) { plugintest.Cases(t, registry, nil) }

// TestNames: whatever a person writes and nobody refuses, what the kernel is given
// are names that it takes, and as many links as with the usual values.
func TestNames(t *testing.T) {
	name := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`)
	iface := regexp.MustCompile(`^[a-z0-9-]{1,63}/[a-z0-9-]{1,63}/[a-z0-9-]{1,63}$`)
	must := []string{"account", "network", "vm", "nic", "interface", "label", "public-label", "uplink", "host"}
	plugintest.Hostile(t, registry, "testdata/hostile.yaml", must, func(field, value string, usual, got *resource.Intent) {
		if a, b := usual.Len(), got.Len(); a != b {
			t.Errorf("%s = %q makes %d resources of %d", field, value, b, a)
		}
		for id, e := range got.Set() {
			var names []string
			switch st := e.State.(type) {
			case resource.Link:
				names = append(names, st.Name)
				if st.VLAN != nil {
					names = append(names, st.VLAN.Dev)
				}
			case resource.BridgePort:
				names = append(names, st.Bridge)
				if st.Name != "" {
					names = append(names, st.Name)
				}
				if st.IfaceID != "" && !iface.MatchString(st.IfaceID) {
					t.Errorf("%s = %q: the interface id %q", field, value, st.IfaceID)
				}
			}
			for _, n := range names {
				if !name.MatchString(n) {
					t.Errorf("%s = %q: %s has the name %q", field, value, id, n)
				}
			}
		}
	})
}

// TestDownReachesNobody: a NIC whose link is down has a port and hears no one.
func TestDownReachesNobody(t *testing.T) {
	text, err := os.ReadFile("testdata/guards.txtar")
	if err != nil {
		t.Fatal(err)
	}
	a := txtar.Parse(text)
	res, _ := plugintest.Compile(t, registry, a.Files[:len(a.Files)-1])
	var nics []string
	for _, d := range res.Domains() {
		nics = append(nics, d.NICs...)
	}
	slices.Sort(nics)
	if want := []string{"acme/a/web", "acme/b/web", "acme/d/wire"}; !slices.Equal(nics, want) {
		t.Errorf("%v, want %v", nics, want)
	}
}

func TestCarries(t *testing.T) {
	n := func(scheme string, spec schema.Network) *model.Network {
		return &model.Network{Spec: &spec, Segments: []*model.Segment{{Scheme: scheme}}}
	}
	for _, x := range []struct {
		n    *model.Network
		want string
	}{
		{n(schema.SchemeVLAN, schema.Network{}), ""},
		{n(schema.SchemeNative, schema.Network{}), ""},
		{n(schema.SchemeVXLAN, schema.Network{}), ""},
		{n(schema.SchemeVLAN, schema.Network{AllowVLANOverlap: true}), ""},
		{n(schema.SchemeVXLAN, schema.Network{AllowVLANOverlap: true}), "a VXLAN that several networks share needs vswitch OpenVSwitch"},
		{n(schema.SchemeGRE, schema.Network{}), "Linux bridges have no gre (use VXLAN, or vswitch OpenVSwitch)"},
		{n(schema.SchemeVLAN, schema.Network{PVLAN: &schema.PVLAN{}}), "Linux bridges have no private VLANs (use vswitch OpenVSwitch)"},
		{n("l3", schema.Network{}), "Linux bridges know no broadcast domain l3"},
	} {
		if got := (Switch{}).Carries(x.n); got != x.want {
			t.Errorf("%q, want %q", got, x.want)
		}
	}
}
