package schema

import (
	"fmt"
	"reflect"
	"strings"
)

// APIVersion is the only version of the language that this program reads.
const APIVersion = "weft.dev/v1alpha1"

// apiGroup is what every apiVersion of weft starts with.
const apiGroup = "weft.dev/"

// The kinds that are supported, as written in a document.
const (
	KindZone            = "Zone"
	KindPod             = "Pod"
	KindPhysicalNetwork = "PhysicalNetwork"
	KindHost            = "Host"
	KindPublicIPRange   = "PublicIPRange"
	KindNetworkOffering = "NetworkOffering"
	KindAccount         = "Account"
	KindNetwork         = "Network"
	KindVirtualMachine  = "VirtualMachine"
	KindPublicIP        = "PublicIP"
	KindPolicy          = "Policy"
	KindSecurityGroup   = "SecurityGroup"
	KindVPCOffering     = "VPCOffering"
	KindVPC             = "VPC"
	KindNetworkACL      = "NetworkACL"
	KindPrivateGateway  = "PrivateGateway"
	KindLoadBalancer    = "LoadBalancer"
	KindSiteToSiteVPN   = "SiteToSiteVPN"
	KindRemoteAccessVPN = "RemoteAccessVPN"
	KindServiceProvider = "ServiceProvider"
)

// SystemAccount is the built-in account that owns what the operator owns of tenant kinds.
const SystemAccount = "system"

// kindOf is what the decoder knows of a kind.
type kindOf struct {
	name   string
	word   string // how identities and command lines call it
	tenant bool   // carries metadata.account
	spec   reflect.Type
}

var kinds = []kindOf{
	{KindZone, "zone", false, reflect.TypeFor[Zone]()},
	{KindPod, "pod", false, reflect.TypeFor[Pod]()},
	{KindPhysicalNetwork, "physicalnetwork", false, reflect.TypeFor[PhysicalNetwork]()},
	{KindHost, "host", false, reflect.TypeFor[Host]()},
	{KindPublicIPRange, "publiciprange", false, reflect.TypeFor[PublicIPRange]()},
	{KindNetworkOffering, "offering", false, reflect.TypeFor[NetworkOffering]()},
	{KindVPCOffering, "vpcoffering", false, reflect.TypeFor[VPCOffering]()},
	{KindAccount, "account", false, reflect.TypeFor[Account]()},
	{KindNetwork, "network", true, reflect.TypeFor[Network]()},
	{KindVPC, "vpc", true, reflect.TypeFor[VPC]()},
	{KindNetworkACL, "networkacl", true, reflect.TypeFor[NetworkACL]()},
	{KindPrivateGateway, "privategateway", true, reflect.TypeFor[PrivateGateway]()},
	{KindVirtualMachine, "vm", true, reflect.TypeFor[VirtualMachine]()},
	{KindPublicIP, "publicip", true, reflect.TypeFor[PublicIP]()},
	{KindSecurityGroup, "securitygroup", true, reflect.TypeFor[SecurityGroup]()},
	{KindLoadBalancer, "lb", true, reflect.TypeFor[LoadBalancer]()},
	{KindSiteToSiteVPN, "sitetositevpn", true, reflect.TypeFor[SiteToSiteVPN]()},
	{KindRemoteAccessVPN, "remoteaccessvpn", true, reflect.TypeFor[RemoteAccessVPN]()},
	{KindServiceProvider, "serviceprovider", false, reflect.TypeFor[ServiceProvider]()},
	{KindPolicy, "policy", false, reflect.TypeFor[Policy]()},
}

// laterKinds are words of the language that this release does not act on.
var laterKinds = []string{
	"Expectation",
}

func findKind(name string) *kindOf {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

func findWord(word string) *kindOf {
	for i := range kinds {
		if kinds[i].word == word {
			return &kinds[i]
		}
	}
	return nil
}

// Kinds lists the supported kinds in the order of the language reference.
func Kinds() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// SpecType is the Go struct of a kind's spec; nil for a kind that is not supported.
func SpecType(kind string) reflect.Type {
	k := findKind(kind)
	if k == nil {
		return nil
	}
	return k.spec
}

// IsTenant reports whether documents of that kind carry metadata.account.
func IsTenant(kind string) bool {
	k := findKind(kind)
	return k != nil && k.tenant
}

// ID identifies a document: kind as written in it ("Network"), account (tenant kinds only), name.
// It is comparable.
type ID struct {
	Kind    string
	Account string
	Name    string
}

// String is "network/acme/web", or "host/kvm1" for kinds without account; unknown kinds are
// written in lower case.
func (id ID) String() string {
	word := strings.ToLower(id.Kind)
	if k := findKind(id.Kind); k != nil {
		word = k.word
	}
	if id.Account == "" {
		return word + "/" + id.Name
	}
	return word + "/" + id.Account + "/" + id.Name
}

// ParseID reads what ID.String writes. Tenant kinds need the account, others must not have it.
func ParseID(s string) (ID, error) {
	parts := strings.Split(s, "/")
	k := findWord(parts[0])
	switch {
	case k == nil:
		return ID{}, fmt.Errorf("%q: unknown kind %q", s, parts[0])
	case k.tenant && len(parts) != 3:
		return ID{}, fmt.Errorf("%q: want %s/ACCOUNT/NAME", s, k.word)
	case !k.tenant && len(parts) != 2:
		return ID{}, fmt.Errorf("%q: want %s/NAME", s, k.word)
	}
	id := ID{Kind: k.name, Name: parts[len(parts)-1]}
	if k.tenant {
		id.Account = parts[1]
	}
	if id.Name == "" || k.tenant && id.Account == "" {
		return ID{}, fmt.Errorf("%q: empty part", s)
	}
	return id, nil
}
