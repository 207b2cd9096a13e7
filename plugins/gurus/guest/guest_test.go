package guest

import (
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/schema"
)

// ground is a switch that carries everything but STT, and remembers what it was
// asked for.
type ground struct {
	plugin.Switch
	asked *[]string
}

func (ground) Name() string { return "OpenVSwitch" }

func (ground) Carries(n *model.Network) string {
	if n.Segments[0].Scheme == schema.SchemeSTT {
		return "it has no STT"
	}
	return ""
}

func (g ground) DesignSegment(_ *model.Network, s *model.Segment, _ *plugin.Draft) {
	*g.asked = append(*g.asked, s.Name)
}

func network(zone, guestType, vswitch string, schemes ...string) *model.Network {
	n := &model.Network{
		Zone:     &model.Zone{Name: "z", Spec: &schema.Zone{NetworkType: zone}},
		Physical: &model.PhysicalNetwork{Name: "fabric", Spec: &schema.PhysicalNetwork{VSwitch: vswitch}},
		Offering: &model.Offering{Spec: &schema.NetworkOffering{GuestType: guestType}},
	}
	for i, s := range schemes {
		n.Segments = append(n.Segments, &model.Segment{Name: "abc"[i : i+1], Scheme: s})
	}
	return n
}

// TestOneClaims: of every kind of network one guru is the designer, or each says why
// it is not.
func TestOneClaims(t *testing.T) {
	all := []string{
		schema.SchemeVLAN, schema.SchemeNative, schema.SchemeVXLAN, schema.SchemeGRE, schema.SchemeGENEVE, schema.SchemeSTT, schema.SchemeLSwitch,
	}
	want := map[string]string{
		schema.SchemeVLAN: "ExternalGuestNetworkGuru", schema.SchemeNative: "ExternalGuestNetworkGuru", schema.SchemeVXLAN: "VxlanGuestNetworkGuru",
		schema.SchemeGRE: "OvsGuestNetworkGuru", schema.SchemeGENEVE: "OvsGuestNetworkGuru",
	}
	for _, zone := range []string{"Advanced", "Basic"} {
		for _, guestType := range []string{"Isolated", "L2", "Shared"} {
			for _, scheme := range all {
				var claims, whys []string
				for _, g := range Gurus(ground{}) {
					if why := g.CanHandle(network(zone, guestType, "OpenVSwitch", scheme)); why == "" {
						claims = append(claims, g.Name())
					} else {
						whys = append(whys, why)
					}
				}
				one := want[scheme]
				switch {
				case zone == "Basic" && scheme != schema.SchemeSTT:
					one = "DirectPodBasedNetworkGuru"
				case guestType == "Shared" && scheme != schema.SchemeSTT:
					one = "DirectNetworkGuru"
				}
				if got := strings.Join(claims, " "); got != one {
					t.Errorf("%s %s %s: claimed by %q, want %q", zone, guestType, scheme, got, one)
				}
				if len(claims)+len(whys) != 5 {
					t.Errorf("%s %s %s: %v declines without a word", zone, guestType, scheme, whys)
				}
			}
		}
	}
}

func TestNoSwitch(t *testing.T) {
	for _, g := range Gurus(ground{}) {
		if why := g.CanHandle(network("Advanced", "Isolated", "LinuxBridge", schema.SchemeVLAN)); why == "" {
			t.Errorf("%s designs for a switch that nobody knows", g.Name())
		}
	}
}

// TestDesign asks the switch for every broadcast domain.
func TestDesign(t *testing.T) {
	var asked []string
	g := Gurus(ground{asked: &asked})[3]
	g.Design(network("Advanced", "Shared", "OpenVSwitch", schema.SchemeVLAN, schema.SchemeVLAN), nil)
	if !slices.Equal(asked, []string{"a", "b"}) {
		t.Errorf("%s asks for %v", g.Name(), asked)
	}
}
