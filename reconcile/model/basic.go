package model

import (
	"slices"

	"weft.dev/schema"
)

// zoneRules holds what a zone asks of the networks in it.
func (r *resolver) zoneRules() bool {
	known := len(r.diags)
	z, o := r.n.Zone, r.n.Offering
	switch {
	case z.Basic():
		r.basicRules()
	case z.Spec.SecurityGroups && o.Spec.GuestType == GuestIsolated:
		r.offeringDiag("offering-zone-type", "zone %s has security groups, and only Shared and L2 networks; offering %s is %s", z.Name, o.Name, o.Spec.GuestType)
	}
	if !z.Basic() {
		for i := range r.spec.Subnets {
			if pod := r.spec.Subnets[i].Pod; pod != "" {
				r.diags.Errorf(d2(r.doc, "spec.subnets", i, "pod"), "pod-in-advanced-zone", "a subnet is for pod %s, and zone %s is not Basic", pod, z.Name).
					Offending(pod).See(nameOf(z.Doc), "the zone").Hintf("leave pod out")
			}
		}
	}
	return known == len(r.diags)
}

// basicRules: the one network of a Basic zone is Shared, untagged, of the domain
// root, and has a subnet or more for each pod.
func (r *resolver) basicRules() {
	z, o := r.n.Zone, r.n.Offering
	if o.Spec.GuestType != GuestShared {
		r.offeringDiag("offering-zone-type", "zone %s is Basic and has one Shared network; offering %s is %s", z.Name, o.Name, o.Spec.GuestType)
		return
	}
	if d := r.n.Account.Spec.Domain; d != "root" {
		r.diags.Errorf(r.doc.At("metadata.account"), "basic-domain", "the network of Basic zone %s belongs to an account of the domain root, and %s is of %s", z.Name, r.n.Account.Name, d).
			Offending(r.n.Account.Name).Hintf("use account %s with sharedWith: [\"*\"]", schema.SystemAccount)
	}
	tagged := func(u schema.BroadcastURI, path string) {
		if !u.IsZero() && u.Scheme != schema.SchemeNative {
			r.diags.Errorf(r.doc.At(path), "basic-vlan", "the network of Basic zone %s is untagged", z.Name).Offending(u.String()).Hintf("leave vlan out")
		}
	}
	tagged(r.spec.VLAN, "spec.vlan")
	if len(r.spec.Subnets) == 0 {
		r.diags.Errorf(r.doc.At("spec"), "subnet-without-pod", "the network of Basic zone %s has a subnet for each pod", z.Name).
			Hintf("write subnets: [{name: ..., pod: ..., cidr: ...}]")
	}
	for i := range r.spec.Subnets {
		s := &r.spec.Subnets[i]
		tagged(s.VLAN, path1("spec.subnets", i)+".vlan")
		switch {
		case s.Pod == "":
			r.diags.Errorf(d2(r.doc, "spec.subnets", i, "name"), "subnet-without-pod", "subnet %s is for no pod, and zone %s is Basic", s.Name, z.Name).
				Offending(s.Name).Hintf("add pod: %s", list(podNames(z)))
		case !slices.Contains(podNames(z), s.Pod):
			if r.site.Invalid[schema.ID{Kind: schema.KindPod, Name: s.Pod}] == "" {
				unknown(&r.diags, d2(r.doc, "spec.subnets", i, "pod"), "pod", s.Pod, podNames(z))
			}
		}
	}
}

func podNames(z *Zone) []string {
	out := make([]string, len(z.Pods))
	for i, d := range z.Pods {
		out[i] = d.Meta.Name
	}
	return out
}

// untagged asks for what only one network of a Basic zone has: the wire itself.
func (r *resolver) untagged(s *Segment) {
	z := r.n.Zone
	s.Scheme = schema.SchemeNative
	if r.publicVLAN(0, schema.SchemeNative, "spec") {
		return
	}
	describe := "the guest network of Basic zone " + z.Name
	s.VNet = 0
	r.demand(Demand{
		Owner: r.owner, Field: FieldVNet, Fixed: "0", Pos: nameOf(r.doc),
		Pool: &vnetPool{space: describe, describe: describe, spans: spans{{0, 0}}},
	})
}

// pod is that of a VM in a Basic zone: of its hosts, or as written. ok is false
// where that is not known, which is reported.
func (r *resolver) pod(n *NIC, spec *schema.VirtualMachine) (pod string, ok bool) {
	z := r.n.Zone
	at := func(path string) schema.Pos { return n.VM.At(path) }
	pod = spec.Pod
	if pod != "" && !slices.Contains(podNames(z), pod) {
		if r.site.Invalid[schema.ID{Kind: schema.KindPod, Name: pod}] == "" {
			unknown(&r.diags, at("spec.pod"), "pod", pod, podNames(z))
		}
		return "", false
	}
	hosts := append([]string{spec.Host}, spec.Hosts...)
	for i, name := range hosts {
		h := r.site.Hosts[name]
		if h == nil || h.Zone != z.Name {
			continue // reported elsewhere, or no host at all
		}
		path := "spec.host"
		if i > 0 {
			path = path1("spec.hosts", i-1)
		}
		switch {
		case h.Spec.Pod == "":
			r.diags.Errorf(at(path), "host-without-pod", "host %s is in no pod, and zone %s is Basic", name, z.Name).
				Offending(name).See(nameOf(h.Doc), "the host").Hintf("add pod to the host")
			return "", false
		case pod != "" && pod != h.Spec.Pod:
			r.diags.Errorf(at(path), "pod-mismatch", "host %s is in pod %s, and VM %s in pod %s", name, h.Spec.Pod, n.VM.Meta.Name, pod).
				Offending(name).See(h.Doc.At("spec.pod"), "the host's pod")
			return "", false
		}
		pod = h.Spec.Pod
	}
	if pod == "" {
		r.diags.Errorf(nameOf(n.VM), "no-pod", "which pod is VM %s in? Zone %s is Basic and has %s", n.VM.Meta.Name, z.Name, list(podNames(z))).
			Hintf("add host or pod")
		return "", false
	}
	if !slices.ContainsFunc(r.n.Subnets, func(s *Subnet) bool { return s.Pod == pod }) {
		r.diags.Errorf(nameOf(n.VM), "no-subnet-of-pod", "network %s has no subnet for pod %s, which VM %s is in", r.n.ID.Name, pod, n.VM.Meta.Name).
			See(r.doc.At("spec.subnets"), "the subnets")
		return "", false
	}
	return pod, true
}
