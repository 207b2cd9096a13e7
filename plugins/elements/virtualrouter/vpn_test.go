package virtualrouter

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
	"testing"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// TestHostileVPNs: whatever a person writes and nobody refuses, charon is told the same
// sort of things as with the usual value, by processes that are called the same way.
func TestHostileVPNs(t *testing.T) {
	hostileVPNs(t, func(string) {})
}

// hostileVPNs shows each line of the file "connections" that nobody refuses.
func hostileVPNs(t *testing.T, show func(line string)) {
	t.Helper()
	must := []string{"account", "network", "public-ip", "site", "psk", "private-key", "wireguard", "wireguard-user", "laptops", "user", "password", "road", "road-psk", "road-user", "road-password"}
	plugintest.Hostile(t, registry, "testdata/hostile-vpn.yaml", must, func(field, value string, usual, got *resource.Intent) {
		if d := differ(vpnForm(t, usual, func(string) {}), vpnForm(t, got, show)); d != "" {
			t.Errorf("%s = %q changes the form: %s", field, value, d)
		}
	})
}

// vpnForm is what VPNs look like without the values in them.
func vpnForm(t *testing.T, in *resource.Intent, show func(line string)) []string {
	var out []string
	for _, h := range in.Holds {
		out = append(out, "hold "+h.Cause)
	}
	for _, e := range in.Set() {
		switch st := e.State.(type) {
		case resource.File:
			switch path.Base(st.Path) {
			case "connections", "users":
				for line := range strings.Lines(st.Parts[0].Text) {
					var item map[string]any
					if err := json.Unmarshal([]byte(line), &item); err != nil {
						t.Errorf("%q: %v", line, err)
					}
					out = append(out, "line "+strings.Join(slices.Sorted(maps.Keys(item)), " "))
					if path.Base(st.Path) == "connections" {
						show(line)
					}
				}
			case "strongswan.conf", "xl2tpd.conf", "options":
				_, text, _ := strings.Cut(st.Parts[0].Text, "\n") // the first line says whose
				out = append(out, text)
			default:
				if !strings.Contains(st.Path, "/ipsec/") && !strings.Contains(st.Path, "/wireguard/") && !strings.Contains(st.Path, "/l2tp/") {
					continue
				}
				out = append(out, fmt.Sprint("file ", strings.Count(st.Path, "/"), len(st.Parts), st.Parts[0].Secret != "", st.Mode))
			}
		case resource.Process:
			out = append(out, fmt.Sprint("process ", len(st.Argv), st.Argv[:2], len(st.Test), len(st.Probes)))
		case resource.Chain:
			out = append(out, fmt.Sprint("chain ", st.Table, st.Policy, len(st.Rules)))
		}
	}
	slices.Sort(out)
	return out
}

// TestTrouble: no secret that somebody forgot makes a router anew: of VPNs with IPsec only
// their servers are the router's to heal.
func TestTrouble(t *testing.T) {
	remote := &schema.RemoteAccessVPN{Protocol: "L2TP", Ranges: []schema.IPRange{{From: netip.MustParseAddr("10.254.2.1"), To: netip.MustParseAddr("10.254.2.9")}}, PSK: &schema.Secret{}}
	v := &model.VPN{
		ID: schema.ID{Kind: schema.KindRemoteAccessVPN, Account: "acme", Name: "staff"}, Doc: &schema.Document{}, Remote: remote,
		Link: model.L2TPLinks, Own: netip.MustParseAddr("10.254.2.1"), IP: &model.PublicIP{Addr: netip.MustParseAddr("192.0.2.1")},
	}
	r := &router{
		r:   &model.Router{Host: &model.Host{Name: "kvm1", Facts: model.Facts{ESP: true, PPP: true}}, Legs: []*model.Leg{{Link: "eth1", MTU: 1500}}, VPNs: []*model.VPN{v}},
		out: plugin.NewDraft("network/acme/web", schema.Pos{}),
	}
	r.vpn()
	var own []string
	for _, e := range r.out.Hosts["kvm1"] {
		if p, ok := e.State.(resource.Process); ok {
			for _, x := range p.Probes {
				if !x.Outside {
					own = append(own, x.Service)
				}
			}
		}
	}
	if !slices.Equal(own, []string{"ipsec", "l2tp"}) {
		t.Errorf("the router heals %v", own)
	}
}
