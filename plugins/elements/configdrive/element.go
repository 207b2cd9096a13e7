// Package configdrive is the ConfigDrive provider: it tells guests who they are by an
// image that is attached to them as a drive, in networks that have no router to ask or
// leave it out of this.
//
// In goes a resolved network; out comes one file for each of its VMs that run, on each
// of their hosts: an image with the layouts of OpenStack and CloudStack (reference
// 5.4). It is pure; plugins registers it.
package configdrive

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// label is how guests find the drive.
const label = "config-2"

// Element implements plugin.Element.
type Element struct{}

// Name implements plugin.Element.
func (Element) Name() string { return model.ProviderDrive }

// Services implements plugin.Element. Dhcp and Dns mean that the drive says what
// DHCP would.
func (Element) Services() []string { return []string{"Dhcp", "Dns", "UserData"} }

// Implement implements plugin.Element. A VM has a drive if the network of its default
// NIC has UserData of this provider: one drive, whatever its other networks are.
func (e Element) Implement(n *model.Network, out *plugin.Draft) {
	if s := n.Offering.Spec.Services.UserData; s == nil || s.Provider != e.Name() {
		return
	}
	for _, nic := range n.NICs {
		if !nic.Default || !nic.Running {
			continue
		}
		f := resource.File{Path: Path(nic.VM.Meta.Account, nic.VM.Meta.Name), Mode: 0o600, Nic: nic.ID, Image: label, Parts: parts(n, nic)}
		for _, host := range nic.Hosts {
			out.Ask(host, f, nic.VM.Pos)
		}
	}
}

// Path is that of the drive of a VM.
func Path(account, vm string) string { return "configdrive/" + account + "/" + vm + ".iso" }

// parts are the files of a drive. What no output shows has parts of its own.
func parts(n *model.Network, nic *model.NIC) []resource.Part {
	var r *model.Router
	if s := n.Segments[0].Side; s != nil {
		r = s.Router
	}
	data := plugin.MetaData(n, r, nic)
	var out []resource.Part
	add := func(at string, p resource.Part) {
		p.At = at
		out = append(out, p)
	}
	for _, d := range data {
		add("cloudstack/metadata/"+d.Key+".txt", resource.Part{Text: d.Value})
	}
	if p := nic.VMSpec.Password; p != nil {
		add("cloudstack/password/vm_password.txt", resource.Part{Secret: p.SecretFile})
	}
	user := resource.Part{Text: nic.VMSpec.UserData, Hidden: true}
	if user.Text != "" {
		add("cloudstack/userdata/user_data.txt", user)
	}
	add("openstack/latest/meta_data.json", resource.Part{Text: text(metaData(data, n, nic))})
	if net := networkData(n, nic); net != nil {
		add("openstack/latest/network_data.json", resource.Part{Text: text(net)})
	}
	if user.Text != "" {
		add("openstack/latest/user_data", user)
	}
	add("openstack/latest/vendor_data.json", resource.Part{Text: "{}\n"})
	return out
}

// metaData has CloudStack's keys and those that readers of OpenStack's layout look for.
func metaData(data []plugin.Datum, n *model.Network, nic *model.NIC) map[string]any {
	out := map[string]any{
		"availability_zone": n.Zone.Name,
		"hostname":          nic.Hostname,
		"name":              nic.VM.Meta.Name,
		"uuid":              plugin.InstanceID(nic),
	}
	for _, d := range data {
		if d.Key != "public-keys" {
			out[d.Key] = d.Value
		}
	}
	if list := nic.VMSpec.SSHKeys; len(list) > 0 {
		named := map[string]string{}
		for i, key := range list {
			named[fmt.Sprintf("key-%03d", i+1)] = key
		}
		out["public_keys"] = named
	}
	return out
}

// A link, network and service are those of OpenStack's network_data.json.
type (
	link struct {
		ID   string `json:"id"`
		Type string `json:"type"`
		MAC  string `json:"ethernet_mac_address"`
		MTU  int    `json:"mtu"`
	}
	network struct {
		ID      string  `json:"id"`
		Link    string  `json:"link"`
		Type    string  `json:"type"`
		Address string  `json:"ip_address,omitempty"`
		Netmask string  `json:"netmask,omitempty"`
		Routes  []route `json:"routes,omitempty"`
	}
	route struct {
		Network string `json:"network"`
		Netmask string `json:"netmask"`
		Gateway string `json:"gateway"`
	}
	service struct {
		Type    string `json:"type"`
		Address string `json:"address"`
	}
	netData struct {
		Links    []link    `json:"links"`
		Networks []network `json:"networks"`
		Services []service `json:"services,omitempty"`
	}
)

// networkData is what DHCP says where there is a server; nil where weft knows no
// address: then guests are left to find one, for with an empty list they would not. It
// is about the NIC in this network only: no document of another one is read here.
func networkData(n *model.Network, nic *model.NIC) *netData {
	services := &n.Offering.Spec.Services
	if services.Dhcp == nil || nic.Subnet == nil {
		return nil
	}
	const id = "eth0"
	subnet := nic.Subnet
	out := &netData{Links: []link{{ID: id, Type: "phy", MAC: nic.MAC.String(), MTU: n.MTU}}}
	out.Networks = append(out.Networks, network{
		ID: id + "-4", Link: id, Type: "ipv4", Address: nic.IP.String(), Netmask: mask(subnet.CIDR),
		Routes: routes(n, subnet),
	})
	if nic.IP6.IsValid() {
		kind := "ipv6_slaac"
		if n.IP6 != nil && n.IP6.Mode == "DHCPv6" {
			kind = "ipv6_dhcpv6-stateful"
		}
		out.Networks = append(out.Networks, network{ID: id + "-6", Link: id, Type: kind})
	}
	if services.Dns != nil {
		for _, a := range resolvers(n, services, subnet) {
			out.Services = append(out.Services, service{"dns", a.String()})
		}
	}
	return out
}

// routes are the default one and the network's own in the subnet.
func routes(n *model.Network, s *model.Subnet) []route {
	out := []route{{"0.0.0.0", "0.0.0.0", s.Gateway.String()}}
	for _, x := range n.Spec.Routes {
		if x.CIDR.Addr().Is4() && s.CIDR.Contains(x.Via) {
			out = append(out, route{x.CIDR.Masked().Addr().String(), mask(x.CIDR), x.Via.String()})
		}
	}
	return out
}

// resolvers is what guests are told to ask, as DHCP tells it.
func resolvers(n *model.Network, services *schema.Services, s *model.Subnet) []netip.Addr {
	switch {
	case len(n.Spec.GuestDNS) > 0:
		return n.Spec.GuestDNS
	case services.Dns.Provider != model.ProviderDrive:
		return []netip.Addr{s.RouterIP}
	}
	return n.DNS
}

func mask(p netip.Prefix) string {
	bits := uint32(0xffffffff) << (32 - p.Bits())
	return netip.AddrFrom4([4]byte{byte(bits >> 24), byte(bits >> 16), byte(bits >> 8), byte(bits)}).String()
}

// text is JSON for machines and people; its keys are in order.
func text(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("configdrive: strings and numbers do not become JSON: " + err.Error())
	}
	return string(b) + "\n"
}
