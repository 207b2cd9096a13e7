package ovs

import (
	"strings"
	"testing"

	"weft.dev/reconcile/resource"
)

func ptr[T any](v T) *T { return &v }

// Columns as another hand may leave them: what has a field shows there, all else
// as drift that no desired state has.
func TestStatesOfRows(t *testing.T) {
	d := &Driver{host: hostOf("weft")}
	br := &bridge{bridgeRow: &bridgeRow{Name: "weft-int"}}
	row := func(kind resource.Kind, p portRow, l interfaceRow) *port {
		p.Name, l.Name = "x", "x"
		if p.ExternalIDs == nil {
			p.ExternalIDs, _ = d.marks("o", kind, false, needs{})
		}
		if l.OFPort == nil && l.Error == nil {
			l.OFPort = ptr(1)
		}
		return &port{portRow: &p, bridge: br, link: &l}
	}
	options := func(more ...string) map[string]string {
		m := map[string]string{"key": "flow", "local_ip": "10.0.0.1", "remote_ip": "10.0.0.2", "dst_port": "4789"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	good := vxlan("x", "10.0.0.1", "10.0.0.2")
	plain := resource.Port{Bridge: "weft-int", Name: "x"}
	v := &view{ports: map[string]*port{}}
	for _, c := range []struct {
		name  string
		port  *port
		want  resource.State
		drift string // "" = equal to want
	}{
		{"tunnel", row(resource.KindTunnel, portRow{}, interfaceRow{Type: "vxlan", Options: options()}), good, ""},
		{"key", row(resource.KindTunnel, portRow{}, interfaceRow{Type: "vxlan", Options: options("key", "7")}), good, `key is "7"`},
		{"address", row(resource.KindTunnel, portRow{}, interfaceRow{Type: "vxlan", Options: options("remote_ip", "flow")}), good, `remote_ip is "flow"`},
		{"dst_port", row(resource.KindTunnel, portRow{}, interfaceRow{Type: "vxlan", Options: options("dst_port", "x")}), good, "dst_port"},
		{"option", row(resource.KindTunnel, portRow{}, interfaceRow{Type: "vxlan", Options: options("tos", "1")}), good, "tos=1"},
		{"fault", row(resource.KindTunnel, portRow{}, interfaceRow{Type: "vxlan", Options: options(), Error: ptr("File exists")}), good, "File exists"},
		{"guest", row(resource.KindPort, portRow{}, interfaceRow{}), plain, ""},
		{"system", row(resource.KindPort, portRow{}, interfaceRow{Type: "system"}), plain, ""},
		{"guest away", row(resource.KindPort, portRow{}, interfaceRow{Error: ptr("could not open network device x (No such device)"), OFPort: ptr(-1)}), plain, ""},
		{"guest broken", row(resource.KindPort, portRow{}, interfaceRow{Error: ptr("Device or resource busy"), OFPort: ptr(-1)}), plain, "busy"},
		{"tag", row(resource.KindPort, portRow{Tag: ptr(0)}, interfaceRow{}), plain, "tag 0"},
		{"trunks", row(resource.KindPort, portRow{Trunks: []int{1}}, interfaceRow{}), plain, "trunks"},
		{"needs of another hand", row(resource.KindPort, portRow{ExternalIDs: map[string]string{markInstance: "weft", markKind: "ovs.port", markNeeds: "{"}}, interfaceRow{}), plain, ""},
	} {
		got := portState(v, c.port)
		if got.ID() != c.want.ID() {
			t.Errorf("%s: observed as %s", c.name, got.ID())
		}
		if equal := got.Fingerprint() == c.want.Fingerprint(); equal != (c.drift == "") {
			t.Errorf("%s: equal is %v: %+v", c.name, equal, got)
		}
		if seen, ok := got.(resource.Seen); c.drift != "" && (!ok || !strings.Contains(seen.Drift, c.drift)) {
			t.Errorf("%s: %+v has no drift %q", c.name, got, c.drift)
		}
	}
}

func TestForeignWords(t *testing.T) {
	if got := foreign("bridge a", nil); got != "bridge a was not made by weft" {
		t.Error(got)
	}
	if got := foreign("bridge a", map[string]string{markInstance: "lab"}); !strings.Contains(got, "lab, another instance") {
		t.Error(got)
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]bool{"": true, "acme/vm/ä": true, `"],[]`: true, "a\x00": false, "a\nb": false, "\xff": false, "a\u0085": false} {
		if printable(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
