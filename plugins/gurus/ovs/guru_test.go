package ovs

import (
	"regexp"
	"strings"
	"testing"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// onWire is a guru of public legs that only says which broadcast domain they
// share.
type onWire struct{ plugintest.Silent }

func (onWire) DesignLegs(r *model.Router, out *plugin.Draft) {
	l := r.Legs[0]
	need := out.Need(r.Host.Name)
	need.Labels = append(need.Labels, l.Range.Physical.Public)
	need.Segments = append(need.Segments, plugin.SegmentNeed{
		Segment: plugin.Segment{Scheme: schema.SchemeVLAN, VNet: l.Range.Spec.VLAN.ID, Label: l.Range.Physical.Public, Zone: r.Zone.Name},
		Port:    resource.PortSym(l.Port), MAC: l.MAC,
	})
}

var registry = plugin.Registry{
	Gurus: []plugin.Guru{plugintest.Plain{Switch: Switch{}}}, Public: onWire{}, Elements: []plugin.Element{plugintest.Silent{}},
	Switches: []plugin.Switch{Switch{}},
}

func TestCases(t *testing.T) { plugintest.Cases(t, registry, nil) }

// TestNames: whatever a person writes and nobody refuses, what the switch is
// given are names and numbers that it takes, and as many rows as with the usual
// values.
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
			case resource.Bridge:
				names = append(names, st.Name)
			case resource.Port:
				names = append(names, st.Name, st.Bridge)
				if st.Type == "patch" {
					names = append(names, st.Peer)
				}
				if st.IfaceID != "" && !iface.MatchString(st.IfaceID) {
					t.Errorf("%s = %q: the interface id %q", field, value, st.IfaceID)
				}
			case resource.Tunnel:
				names = append(names, st.Name, st.Bridge)
			case resource.Link:
				names = append(names, st.Name)
			}
			for _, n := range names {
				if !name.MatchString(n) {
					t.Errorf("%s = %q: %s has the name %q", field, value, id, n)
				}
			}
		}
	})
}

func TestCarries(t *testing.T) {
	network := func(scheme string) *model.Network {
		return &model.Network{Physical: &model.PhysicalNetwork{Spec: &schema.PhysicalNetwork{}}, Segments: []*model.Segment{{Scheme: scheme, Hosts: []*model.Host{{Name: "kvm1"}}}}}
	}
	for scheme, why := range map[string]string{
		schema.SchemeVXLAN:   "",
		schema.SchemeNative:  "",
		schema.SchemeLSwitch: "Open vSwitch knows no broadcast domain lswitch",
		schema.SchemeSTT:     "the switch of host kvm1 has no STT",
	} {
		got := Switch{}.Carries(network(scheme))
		if (got == "") != (why == "") || !strings.HasPrefix(got, why) {
			t.Errorf("%s: %q, want %q", scheme, got, why)
		}
	}
}
