package model

import "weft.dev/schema"

// The built-in offerings, by CloudStack's names: those of its guest offerings
// whose guest type and provider weft has. No document can have such a name: names
// are in lower case.
const (
	OfferingSourceNat = "DefaultIsolatedNetworkOfferingWithSourceNatService"
	OfferingIsolated  = "DefaultIsolatedNetworkOffering"
	OfferingShared    = "DefaultSharedNetworkOffering"
	OfferingSharedSG  = "DefaultSharedNetworkOfferingWithSGService"
	OfferingL2        = "DefaultL2NetworkOffering"
	OfferingL2VLAN    = "DefaultL2NetworkOfferingVlan"

	OfferingL2Drive     = "DefaultL2NetworkOfferingConfigDrive"
	OfferingL2DriveVLAN = "DefaultL2NetworkOfferingConfigDriveVlan"
)

// builtins are shared by all sites, so that their pointers never change.
// CloudStack's egress default of a fresh installation varies by version; ours
// is Deny everywhere.
var builtins = func() map[string]*Offering {
	by := func() *schema.Service { return &schema.Service{Provider: providerRouter} }
	common := schema.NetworkOffering{
		GuestType: "Isolated", EgressDefaultPolicy: "Deny", NetworkRate: 200, ConserveMode: true,
		InternetProtocol: "IPv4", NetworkMode: "Natted", RoutingMode: "Static", ConcurrentConnections: 4096, State: "Enabled",
	}
	nat, plain := common, common
	nat.Services = schema.Services{
		Dhcp: by(), Dns: by(), UserData: by(), Firewall: by(), Gateway: by(), StaticNat: by(), PortForwarding: by(),
		SourceNat: &schema.SourceNatService{Provider: providerRouter, SourceNatType: "perAccount"}, Lb: &schema.LbService{Provider: providerRouter, Scheme: "Public"},
	}
	plain.Services = schema.Services{Dhcp: by(), Dns: by(), UserData: by()}
	plain.SpecifyVLAN, plain.SpecifyIPRanges = true, true
	shared, l2 := common, common
	shared.GuestType, shared.SpecifyVLAN, shared.SpecifyIPRanges = GuestShared, true, true
	shared.Services = schema.Services{Dhcp: by(), Dns: by(), UserData: by()}
	sharedSG := shared
	sharedSG.Services.SecurityGroup = &schema.Service{Provider: providerGroups}
	l2.GuestType = GuestL2
	l2VLAN := l2
	l2VLAN.SpecifyVLAN = true
	l2Drive := l2
	l2Drive.Services.UserData = &schema.Service{Provider: ProviderDrive}
	l2DriveVLAN := l2Drive
	l2DriveVLAN.SpecifyVLAN = true
	out := map[string]*Offering{
		OfferingSourceNat: {Name: OfferingSourceNat, Spec: &nat},
		OfferingIsolated:  {Name: OfferingIsolated, Spec: &plain},
		OfferingShared:    {Name: OfferingShared, Spec: &shared},
		OfferingSharedSG:  {Name: OfferingSharedSG, Spec: &sharedSG},
		OfferingL2:        {Name: OfferingL2, Spec: &l2},
		OfferingL2VLAN:    {Name: OfferingL2VLAN, Spec: &l2VLAN},

		OfferingL2Drive:     {Name: OfferingL2Drive, Spec: &l2Drive},
		OfferingL2DriveVLAN: {Name: OfferingL2DriveVLAN, Spec: &l2DriveVLAN},
	}
	addTiers(out, common)
	return out
}()

// ProviderDrive is the provider that tells guests by an image which they find as a
// drive.
const ProviderDrive = "ConfigDrive"

const (
	providerRouter = "VirtualRouter"
	providerGroups = "SecurityGroupProvider"
)

// A service is one entry of an offering's services.
type service struct {
	Name     string
	Provider string
	At       schema.Pos32
}

// services lists what o offers, in the order of the language reference. Gateway
// is implied by SourceNat.
func (o *Offering) services() []service {
	s := &o.Spec.Services
	out := make([]service, 0, 10)
	add := func(name string, v *schema.Service) {
		if v != nil {
			out = append(out, service{name, v.Provider, v.At})
		}
	}
	add("Dhcp", s.Dhcp)
	add("Dns", s.Dns)
	add("Gateway", s.Gateway)
	add("UserData", s.UserData)
	if s.SourceNat != nil {
		out = append(out, service{"SourceNat", s.SourceNat.Provider, s.SourceNat.At})
	}
	add("StaticNat", s.StaticNat)
	add("PortForwarding", s.PortForwarding)
	add("Firewall", s.Firewall)
	if s.Lb != nil {
		out = append(out, service{"Lb", s.Lb.Provider, s.Lb.At})
	}
	add("Vpn", s.Vpn)
	add("NetworkACL", s.NetworkACL)
	add("SecurityGroup", s.SecurityGroup)
	add("Connectivity", s.Connectivity)
	return out
}

// Providers lists the providers of o's services, without repeats, in the order
// of the services.
func (o *Offering) Providers() []string {
	var out []string
	for _, s := range o.services() {
		seen := false
		for _, p := range out {
			seen = seen || p == s.Provider
		}
		if !seen {
			out = append(out, s.Provider)
		}
	}
	return out
}
