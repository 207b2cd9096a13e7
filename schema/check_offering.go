package schema

// combinations holds which services go together, as CloudStack does.
func (c *checker) combinations(s *NetworkOffering) {
	v := &s.Services
	if v.UserData != nil && v.UserData.Provider != "" && v.UserData.Provider != "ConfigDrive" && (v.Dhcp == nil || v.Dhcp.Provider != v.UserData.Provider) {
		d := c.errorf(at("services", "UserData"), "service-needs", "UserData of %s needs Dhcp of %s: guests learn from its leases where to ask", v.UserData.Provider, v.UserData.Provider)
		d.Hintf("add Dhcp: %s", v.UserData.Provider)
		if v.Dhcp != nil {
			d.See(c.pos("services", "Dhcp"), "Dhcp is another's")
		}
	}
	if s.RoutingMode == "Dynamic" && s.NetworkMode == "Natted" {
		c.errorf(at("routingMode"), "conflicting-fields", "routingMode Dynamic is for networkMode Routed")
	}
	if s.NetworkMode != "Routed" {
		return
	}
	if s.GuestType != "" && s.GuestType != "Isolated" {
		c.errorf(at("networkMode"), "conflicting-fields", "only Isolated networks are Routed, not %s", s.GuestType).See(c.pos("guestType"), "the guest type")
	}
	for _, x := range []struct {
		name string
		on   bool
	}{
		{"SourceNat", v.SourceNat != nil}, {"StaticNat", v.StaticNat != nil}, {"Lb", v.Lb != nil}, {"PortForwarding", v.PortForwarding != nil}, {"Vpn", v.Vpn != nil},
	} {
		if x.on {
			c.errorf(at("services", x.name), "conflicting-fields", "a Routed network has no %s: nothing is translated", x.name).See(c.pos("networkMode"), "the mode")
		}
	}
}
