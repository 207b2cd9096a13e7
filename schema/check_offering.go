package schema

import "slices"

// combinations holds which services go together, as CloudStack does.
func (c *checker) combinations(s *NetworkOffering) {
	v := &s.Services
	c.balancing(v.Lb)
	if v.UserData != nil && v.UserData.Provider != "" && v.UserData.Provider != "ConfigDrive" && (v.Dhcp == nil || v.Dhcp.Provider != v.UserData.Provider) {
		d := c.errorf(at("services", "UserData"), "service-needs", "UserData of %s needs Dhcp of %s: guests learn from its leases where to ask", v.UserData.Provider, v.UserData.Provider)
		d.Hintf("add Dhcp: %s", v.UserData.Provider)
		if v.Dhcp != nil {
			d.See(c.pos("services", "Dhcp"), "Dhcp is another's")
		}
	}
	c.narrow(v)
	if v.SourceNat != nil && v.SourceNat.SourceNatType == "perZone" {
		c.errorf(at("services", "SourceNat", "sourceNatType"), "unsupported-value", "sourceNatType perZone needs a device that the networks of all accounts share, and here each network has a router of its own").
			Hintf("leave sourceNatType out: each network has a source NAT address")
	}
	if s.NetworkMode == "Routed" && s.GuestType != "" && s.GuestType != "Isolated" {
		c.errorf(at("networkMode"), "conflicting-fields", "only Isolated networks are Routed, not %s", s.GuestType).See(c.pos("guestType"), "the guest type")
	}
	c.mode(s.NetworkMode, s.RoutingMode, v, s.ForVPC)
}

// mode holds that who translates nothing has no service that would; of VPCs and their
// tiers a balancer may be inside.
func (c *checker) mode(network, routing string, v *Services, vpc bool) {
	if routing == "Dynamic" && network == "Natted" {
		c.errorf(at("routingMode"), "conflicting-fields", "routingMode Dynamic is for networkMode Routed")
	}
	if network != "Routed" {
		return
	}
	what := "a Routed network"
	if vpc {
		what = "a Routed VPC"
	}
	for _, x := range []struct {
		name string
		on   bool
	}{
		{"SourceNat", v.SourceNat != nil}, {"StaticNat", v.StaticNat != nil}, {"PortForwarding", v.PortForwarding != nil}, {"Vpn", v.Vpn != nil},
		{"Lb", v.Lb != nil && !vpc},
	} {
		if x.on {
			c.errorf(at("services", x.name), "conflicting-fields", "%s has no %s: nothing is translated", what, x.name).See(c.pos("networkMode"), "the mode")
		}
	}
	if vpc && v.Lb != nil && v.Lb.Provider != providerInternalLb {
		c.errorf(at("services", "Lb"), "conflicting-fields", "a Routed VPC has no public address that a balancer could be at").See(c.pos("networkMode"), "the mode").
			Hintf("write Lb: {provider: %s, scheme: Internal}", providerInternalLb)
	}
}

// narrow holds that providers which have few services are asked for no others.
func (c *checker) narrow(v *Services) {
	hold := func(name, provider string) {
		if has, few := fewServices[provider]; few && !slices.Contains(has, name) {
			c.errorf(at("services", name), "not-of-provider", "provider %s has no service %s", provider, name).Offending(provider)
		}
	}
	for _, x := range []struct {
		name    string
		service *Service
	}{
		{"Dhcp", v.Dhcp}, {"Dns", v.Dns}, {"Gateway", v.Gateway}, {"UserData", v.UserData}, {"StaticNat", v.StaticNat}, {"PortForwarding", v.PortForwarding},
		{"Firewall", v.Firewall}, {"Vpn", v.Vpn}, {"NetworkACL", v.NetworkACL}, {"SecurityGroup", v.SecurityGroup}, {"Connectivity", v.Connectivity},
	} {
		if x.service != nil {
			hold(x.name, x.service.Provider)
		}
	}
}

// fewServices are those of providers that have a few only.
var fewServices = map[string][]string{
	"ConfigDrive":           {"Dhcp", "Dns", "UserData"},
	"SecurityGroupProvider": {"SecurityGroup"},
}
