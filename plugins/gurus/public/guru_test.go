package public

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
)

// listing is a switch that makes a file of what hosts need.
type listing struct{ plugin.Switch }

func (listing) Name() string { return "OpenVSwitch" }

func (listing) DesignHost(h *model.Host, needs *plugin.Needs, out *plugin.Draft) {
	var b strings.Builder
	for _, l := range needs.Labels {
		fmt.Fprintf(&b, "label %s\n", l)
	}
	for _, s := range needs.Segments {
		fmt.Fprintf(&b, "segment %s %d on %s in %s: %s %s\n", s.Segment.Scheme, s.Segment.VNet, s.Segment.Label, s.Segment.Zone, s.Port, s.MAC)
	}
	for _, w := range needs.Wires {
		fmt.Fprintf(&b, "wire %d on %s\n", w.VLAN, w.Label)
	}
	out.Ask(h.Name, resource.File{Path: "needs", Parts: []resource.Part{{Text: b.String()}}})
}

var registry = plugin.Registry{
	Gurus: []plugin.Guru{plugintest.Silent{}}, Public: Guru{}, Elements: []plugin.Element{plugintest.Silent{}, plugintest.SilentVPC{}},
	Switches: []plugin.Switch{listing{}},
}

func TestCases(t *testing.T) { plugintest.Cases(t, registry, nil) }

// The public leg of a router carries nothing before its filters stand.
func TestGuards(t *testing.T) {
	set := plugintest.Intent(t, registry, "tagged").Set()
	checked := 0
	for _, e := range set {
		p, ok := e.State.(resource.Port)
		if !ok {
			continue
		}
		checked++
		for _, name := range []string{"4/filter/INPUT", "4/filter/FORWARD", "4/mangle/PREROUTING"} {
			if !slices.ContainsFunc(p.Needs(), func(id resource.ID) bool {
				return id.Kind == resource.KindChain && strings.HasSuffix(id.Name, name)
			}) {
				t.Errorf("%s does not wait for %s", p.ID(), name)
			}
		}
	}
	if checked == 0 {
		t.Error("no port")
	}
}
