package model

import (
	"cmp"
	"net/netip"
	"slices"

	"weft.dev/schema"
)

// members resolves the VMs of the network.
func (r *resolver) members() {
	count := 0
	for _, d := range r.vms {
		spec, _ := d.Spec.(*schema.VirtualMachine)
		count += len(spec.NICs)
	}
	r.room = make([]NIC, 0, count)
	r.n.NICs = make([]*NIC, 0, count)
	r.n.Demands = slices.Grow(r.n.Demands, 2*count+6)
	hostnames := make(map[string]*NIC, len(r.vms))
	for _, d := range r.vms {
		CheckVM(r.site, d, &r.diags)
		spec, _ := d.Spec.(*schema.VirtualMachine)
		first := len(r.n.NICs)
		for i := range spec.NICs {
			if refID(d, spec.NICs[i].Network) == r.n.ID {
				r.nic(d, spec, i)
			}
		}
		if len(r.n.NICs) == first {
			continue
		}
		n := r.n.NICs[first]
		if other := hostnames[n.Hostname]; other != nil {
			r.diags.Errorf(d.At("spec.hostname"), "duplicate-hostname", "two VMs of %s have the host name %s", r.n.ID, n.Hostname).
				Offending(n.Hostname).See(other.VM.At("spec.hostname"), "the other VM").Hintf("give one another hostname")
		}
		hostnames[n.Hostname] = n
	}
	slices.SortFunc(r.n.NICs, func(a, b *NIC) int { return cmp.Compare(a.ID, b.ID) })
	r.sameAddress()
	r.sameAddress6()
}

// CheckVM reports what is wrong with a VM whatever network it is looked at from.
func CheckVM(site *Site, d *schema.Document, ds *schema.Diags) {
	spec, _ := d.Spec.(*schema.VirtualMachine)
	if site.Accounts[d.Meta.Account] == nil {
		if site.Invalid[schema.ID{Kind: schema.KindAccount, Name: d.Meta.Account}] == "" {
			unknownAccount(ds, d.At("metadata.account"), d.Meta.Account, site)
		}
	}
	if spec.Zone != "" && site.Zones[spec.Zone] == nil && site.Invalid[schema.ID{Kind: schema.KindZone, Name: spec.Zone}] == "" {
		unknown(ds, d.At("spec.zone"), "zone", spec.Zone, site.ZoneNames())
	}
	checkHostRef(site, d, spec, spec.Host, ds, "spec.host")
	for i, h := range spec.Hosts {
		if h != spec.Host {
			checkHostRef(site, d, spec, h, ds, path1("spec.hosts", i))
		}
	}
}

func checkHostRef(site *Site, d *schema.Document, spec *schema.VirtualMachine, name string, ds *schema.Diags, path string) {
	if name == "" {
		return
	}
	h := site.Hosts[name]
	switch {
	case h == nil && site.Invalid[schema.ID{Kind: schema.KindHost, Name: name}] != "":
	case h == nil:
		unknown(ds, d.At(path), "host", name, keys(site.Hosts))
	case spec.Zone != "" && h.Zone != spec.Zone && site.Zones[spec.Zone] != nil:
		ds.Errorf(d.At(path), "host-zone", "host %s is in zone %s, and VM %s in zone %s", name, h.Zone, d.Meta.Name, spec.Zone).
			Offending(name).See(nameOf(h.Doc), "the host")
	}
}

// nic resolves NIC i of a VM.
func (r *resolver) nic(d *schema.Document, spec *schema.VirtualMachine, i int) {
	s := &spec.NICs[i]
	r.room = append(r.room, NIC{
		VM: d, VMSpec: spec, Spec: s, Pos: d.PosOf(s.At), Name: s.NICName(), Hostname: spec.Hostname,
		Interface: s.Interface, Running: spec.State == "Running", Default: isDefault(spec, i), MAC: s.MAC, IP: s.IP,
	})
	n := &r.room[len(r.room)-1]
	owner := "nic/" + d.Meta.Account + "/" + d.Meta.Name + "/" + n.Name
	n.ID = owner[len("nic/"):]
	if n.Hostname == "" {
		n.Hostname = d.Meta.Name
	}
	r.n.NICs = append(r.n.NICs, n)
	r.nicAccess(n, i)
	if r.n.Zone == nil || r.n.Physical == nil {
		return
	}
	if spec.Zone != "" && spec.Zone != r.n.Zone.Name {
		r.diags.Errorf(d2(d, "spec.nics", i, "network"), "nic-zone", "VM %s is in zone %s, and network %s in zone %s", d.Meta.Name, spec.Zone, r.n.ID.Name, r.n.Zone.Name).
			Offending(s.Network.String()).See(nameOf(r.doc), "the network")
		return
	}
	pod := ""
	if r.n.Zone.Basic() {
		var ok bool
		if pod, ok = r.pod(n, spec); !ok {
			return
		}
	} else if spec.Pod != "" {
		r.diags.Errorf(d.At("spec.pod"), "pod-in-advanced-zone", "VM %s states a pod, and zone %s is not Basic", d.Meta.Name, r.n.Zone.Name).
			Offending(spec.Pod).See(nameOf(r.n.Zone.Doc), "the zone").Hintf("leave pod out")
	}
	r.nicHosts(n, spec, pod)
	r.outsiders(n)
	r.nicNumbers(n, owner, i, pod)
	if n.Running {
		r.usedN++
	}
}

// isDefault: the first NIC is default unless one says default: true.
func isDefault(spec *schema.VirtualMachine, i int) bool {
	for j := range spec.NICs {
		if spec.NICs[j].Default {
			return i == j
		}
	}
	return i == 0
}

// nicHosts decides where the NIC may appear.
func (r *resolver) nicHosts(n *NIC, spec *schema.VirtualMachine, pod string) {
	label := r.n.Physical.Guest
	n.Host = spec.Host
	switch {
	case spec.Pin && spec.Host != "", len(spec.Hosts) == 0 && spec.Host != "":
		n.Hosts = r.single(spec.Host)
	case len(spec.Hosts) > 0:
		n.Hosts = slices.Clone(spec.Hosts)
		slices.Sort(n.Hosts)
		n.Hosts = slices.Compact(n.Hosts)
	default:
		n.Hosts = r.n.Zone.anywhere(label, pod)
		if len(n.Hosts) == 0 && n.Running && r.n.Zone.Invalid == "" {
			r.diags.Errorf(n.VM.At("spec"), "no-host", "no host of zone %s offers the label %s of physical network %s", r.n.Zone.Name, label, r.n.Physical.Name).
				See(r.n.Physical.Doc.At("spec.traffic"), "the label").Hintf("add bridge %s to a host that is not Disabled", label)
		}
		return
	}
	for _, name := range n.Hosts {
		r.nicHost(n, spec, name, label)
	}
}

// single is the list of one host; NICs share it.
func (r *resolver) single(host string) []string {
	for i := range r.room {
		if h := r.room[i].Hosts; len(h) == 1 && h[0] == host {
			return h
		}
	}
	return []string{host}
}

func (r *resolver) nicHost(n *NIC, spec *schema.VirtualMachine, name, label string) {
	h := r.site.Hosts[name]
	if h == nil {
		r.blocked(schema.KindHost, name)
		return // CheckVM reports it
	}
	path := "spec.host"
	if i := slices.Index(spec.Hosts, name); i >= 0 && name != spec.Host {
		path = path1("spec.hosts", i)
	}
	switch {
	case h.Zone != r.n.Zone.Name && spec.Zone == "":
		r.diags.Errorf(n.VM.At(path), "host-zone", "host %s is in zone %s, and network %s in zone %s", name, h.Zone, r.n.ID.Name, r.n.Zone.Name).
			Offending(name).See(nameOf(h.Doc), "the host").See(nameOf(r.doc), "the network")
	case h.Zone == r.n.Zone.Name && h.Bridge(label) == nil:
		r.diags.Errorf(n.VM.At(path), "label-not-offered", "host %s has no bridge %s, the label of physical network %s that network %s is on", name, label, r.n.Physical.Name, r.n.ID.Name).
			Offending(name).See(h.Doc.At("spec.bridges"), "the host's bridges").Hintf("add the bridge, or choose another host")
	}
}

// nicNumbers checks what the NIC states and asks for the rest.
func (r *resolver) nicNumbers(n *NIC, owner string, i int, pod string) {
	s := n.Spec
	before := r.nicFormerly(n)
	r.nicAddress(n, Demand{Owner: owner, Field: FieldIP, Pos: n.Pos, Formerly: before}, i, pod)
	mac := Demand{Owner: owner, Field: FieldMAC, Pool: macs, Pos: n.Pos, Fixed: s.MAC.String(), Formerly: before}
	if v := r.demand(mac); v != "" && mac.Fixed == "" {
		n.MAC, _ = parseMAC(v)
	}
	r.secondary(n, owner, before, i, pod)
	if r.n.IP6 != nil || s.IP6.IsValid() {
		r.nicIP6(n, Demand{Owner: owner, Field: FieldIP6, Pos: n.Pos, Formerly: before}, i, pod)
	}
}

// nicFormerly is the owner of the NIC's numbers before its VM, or the network
// that it is named after, got another name.
func (r *resolver) nicFormerly(n *NIC) string {
	vm, name := n.VM.Meta.Formerly(), n.Name
	if old := r.doc.Meta.Formerly(); old != "" && n.Spec.Name == "" {
		name = old
	} else if vm == "" {
		return ""
	}
	if vm == "" {
		vm = n.VM.Meta.Name
	}
	return "nic/" + n.VM.Meta.Account + "/" + vm + "/" + name
}

// nicAddress checks the address that the NIC states, or asks for one.
func (r *resolver) nicAddress(n *NIC, d Demand, i int, pod string) {
	pool, stated := r.poolOf(pod), n.Spec.IP
	switch {
	case r.n.Type() == GuestL2 && stated.IsValid():
		r.diags.Errorf(d2(n.VM, "spec.nics", i, "ip"), "no-addresses", "network %s is L2, which has no addresses", r.n.ID.Name).
			Offending(stated.String()).See(r.doc.At("spec.offering"), "its offering").Hintf("leave ip out")
		return
	case pool == nil:
		return
	case stated.IsValid():
		if !r.stated(stated, d2(n.VM, "spec.nics", i, "ip"), pod) {
			return
		}
		d.Fixed = stated.String()
	}
	d.Pool = pool
	if v := r.demand(d); v != "" && d.Fixed == "" {
		n.IP = addrOf(v)
	}
	if len(r.n.Subnets) == 1 {
		n.Subnet = r.n.Subnets[0]
	} else if n.IP.IsValid() {
		n.Subnet = r.n.subnetOf(n.IP)
	}
}

// stated reports whether a NIC may have the address that its document states.
func (r *resolver) stated(ip netip.Addr, where schema.Pos, pod string) bool {
	s := r.n.subnetOf(ip)
	var why string
	code, at := "outside-cidr", "spec.cidr"
	see, what := schema.Pos{}, "the network"
	if r.spec.Subnets != nil {
		at = "spec.subnets"
	}
	switch {
	case s == nil && len(r.n.Subnets) == 1:
		why = "is outside " + r.n.CIDR.String() + " of network " + r.n.ID.Name
	case s == nil:
		why = "is in none of the subnets of network " + r.n.ID.Name
	case s.Pod != pod:
		why = "is in subnet " + s.Name + " of pod " + s.Pod + ", and the VM in pod " + pod
	case ip == s.CIDR.Addr():
		why = "is the address of the network " + s.CIDR.String() + " itself"
	case ip == lastAddr(s.CIDR):
		why = "is the broadcast address of " + s.CIDR.String()
	case ip == s.Gateway:
		why, code = "is the gateway of network "+r.n.ID.Name, "ip-taken"
	default:
		var whose string
		if whose, see = r.ofHosts(s, ip); whose == "" {
			return true
		}
		why, code, what = "is "+whose, "ip-taken", "there"
	}
	if see.IsZero() {
		see = r.doc.At(at)
	}
	r.diags.Errorf(where, code, "%s %s", ip, why).Offending(ip.String()).See(see, "%s", what)
	return false
}

// sameAddress reports addresses and MACs that two NICs of the network state.
func (r *resolver) sameAddress() {
	var ips map[netip.Addr]*NIC
	for _, n := range r.n.NICs {
		n.addresses(func(ip netip.Addr) {
			if o := ips[ip]; o != nil && o != n {
				r.diags.Errorf(n.Pos, "ip-taken", "%s is used twice in %s: by %s and %s", ip, r.n.ID, o.ID, n.ID).
					Offending(ip.String()).See(o.Pos, "used by %s", o.ID)
				return
			}
			if ips == nil {
				ips = map[netip.Addr]*NIC{}
			}
			ips[ip] = n
		})
	}
}
