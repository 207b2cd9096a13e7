package model

import "weft.dev/schema"

// implied is spec with the services that others bring along: as in CloudStack what
// leads in from public addresses comes with the Firewall of its provider, which lets
// nobody in unasked.
func implied(spec *schema.NetworkOffering) *schema.NetworkOffering {
	by := spec.Services.PortForwarding
	if by == nil {
		by = spec.Services.StaticNat
	}
	if by == nil || spec.Services.Firewall != nil || spec.ForVPC {
		return spec
	}
	out := *spec
	out.Services.Firewall = by
	return &out
}
