package model

import (
	"cmp"

	"weft.dev/schema"
)

// The built-in offerings of VPCs and their tiers, by CloudStack's names.
const (
	OfferingVPC          = "Default VPC offering"
	OfferingVPCPair      = "Redundant VPC offering"
	OfferingTier         = "DefaultIsolatedNetworkOfferingForVpcNetworks"
	OfferingTierNoLB     = "DefaultIsolatedNetworkOfferingForVpcNetworksNoLB"
	OfferingTierInternal = "DefaultIsolatedNetworkOfferingForVpcNetworksWithInternalLB"
)

// The providers that serve VPCs only.
const (
	ProviderVPC        = "VpcVirtualRouter"
	ProviderInternalLB = "InternalLbVm"
)

// addTiers adds the built-in offerings of tiers, common but for their services.
func addTiers(to map[string]*Offering, common schema.NetworkOffering) {
	common.ForVPC = true
	common.Services = vpcServices()
	for name, lb := range map[string]*schema.LbService{
		OfferingTier:         {Provider: ProviderVPC, Scheme: "Public"},
		OfferingTierNoLB:     nil,
		OfferingTierInternal: {Provider: ProviderInternalLB, Scheme: "Internal"},
	} {
		spec := common
		spec.Services.Lb = lb
		to[name] = &Offering{Name: name, Spec: &spec}
	}
}

func vpcServices() schema.Services {
	by := func() *schema.Service { return &schema.Service{Provider: ProviderVPC} }
	return schema.Services{
		Dhcp: by(), Dns: by(), UserData: by(), Gateway: by(), StaticNat: by(), PortForwarding: by(), Vpn: by(), NetworkACL: by(),
		SourceNat: &schema.SourceNatService{Provider: ProviderVPC, SourceNatType: "perAccount"},
	}
}

var builtinVPCs = func() map[string]*Offering {
	s := &schema.VPCOffering{Services: vpcServices(), ConserveMode: true, State: stateEnabled}
	s.Services.Lb = &schema.LbService{Provider: ProviderVPC, Scheme: "Public"}
	pair := *s
	pair.RedundantRouter = true
	return map[string]*Offering{OfferingVPC: vpcOffering(OfferingVPC, nil, s), OfferingVPCPair: vpcOffering(OfferingVPCPair, nil, &pair)}
}()

// vpcOffering says what a VPC is offered in the words of a network's offering. The
// service Firewall, on the addresses that state one, comes with every VPC router.
func vpcOffering(name string, doc *schema.Document, s *schema.VPCOffering) *Offering {
	out := &Offering{Name: name, Doc: doc, Pairs: s.RedundantRouter, Spec: &schema.NetworkOffering{
		GuestType: GuestIsolated, Services: s.Services, ConserveMode: s.ConserveMode, ForVPC: true,
		Zones: s.Zones, Accounts: s.Accounts, State: s.State,
		EgressDefaultPolicy: "Deny", InternetProtocol: "IPv4", NetworkMode: cmp.Or(s.NetworkMode, "Natted"), RoutingMode: cmp.Or(s.RoutingMode, "Static"), ConcurrentConnections: 4096,
	}}
	if out.Spec.Services.Firewall == nil {
		out.Spec.Services.Firewall = &schema.Service{Provider: ProviderVPC}
	}
	return out
}
