package virtualrouter

import (
	"encoding/json"
	"iter"
	"net/netip"
	"path"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// The ports of CloudStack's virtual router for metadata and for passwords.
const (
	metadataPort = 80
	passwordPort = 8080
)

// dataServer is the name by which guests find metadata; cloud-init asks for it
// first, and else takes the DHCP server for it.
const dataServer = model.DataServer

// metadata asks for the server of user data, meta-data, SSH keys and passwords,
// for guests with IPv4: cloud-init's datasource CloudStack knows no other way. It is
// weft itself (reconcile/metadata): a server of Debian's would serve the files by
// source address, but not speak the password protocol, which changes what it serves.
func (r *router) metadata() {
	if !provides(r.services.UserData) {
		return
	}
	dir := "routers/" + r.r.NS + "/metadata"
	guests := r.file(dir+"/guests", r.guests())
	p := resource.Process{
		Name: r.r.NS + "/metadata", NS: r.r.NS,
		Argv: []string{"{weft}", "metadata-serve", "--dir", "{run}/" + dir, "--state", "{state}"},
		Load: guests.Content(), Reload: "HUP",
		Test:  []string{"{weft}", "metadata-serve", "--dir", "{run}/" + dir, "--test"},
		After: []resource.ID{guests.ID(), resource.LinkID(r.r.NS, model.GuestLink)},
	}
	if r.r.Host.Facts.Rootless {
		p.Argv = append(p.Argv, "--same-user")
	}
	for _, s := range r.on.Subnets {
		p.Argv = append(p.Argv,
			"--listen", netip.AddrPortFrom(s.RouterIP, metadataPort).String(),
			"--passwords", netip.AddrPortFrom(s.RouterIP, passwordPort).String())
		p.After = append(p.After, resource.AddrID(r.r.NS, model.GuestLink, leg(s)))
	}
	for _, nic := range r.on.NICs {
		for field, f := range secretsOf(dir, nic) {
			r.ask(f, nic.VM.At("spec."+field))
			p.After = append(p.After, f.ID())
		}
	}
	r.ask(p)
}

// secretsOf are the files of what no output shows. The password is for the VM, not
// for each of its networks, so the router of its default one has it (reference 5.4).
// The field that each follows from comes with it, in a fixed order.
func secretsOf(dir string, nic *model.NIC) iter.Seq2[string, resource.File] {
	file := func(kind string, part resource.Part) resource.File {
		return resource.File{Path: dir + "/" + kind + "/" + nic.IP.String(), Mode: 0o600, Parts: []resource.Part{part}, Nic: nic.ID}
	}
	return func(yield func(string, resource.File) bool) {
		if text := nic.VMSpec.UserData; text != "" && !yield("userData", file("userdata", resource.Part{Text: text, Hidden: true})) {
			return
		}
		if p := nic.VMSpec.Password; p != nil && nic.Default {
			yield("password", file("passwords", resource.Part{Secret: p.SecretFile}))
		}
	}
}

// guests is the file of what anybody may see: a line of JSON for each guest.
func (r *router) guests() *config {
	c := &config{authors: make([]resource.Lines, 0, len(r.on.NICs))}
	for _, nic := range r.on.NICs {
		id := nic.VM.Meta.Name + "." + nic.VM.Meta.Account
		keys := map[string]string{
			"availability-zone": r.n.Zone.Name,
			"cloud-identifier":  "CloudStack-{" + r.n.Zone.Name + "}",
			"instance-id":       id,
			"local-hostname":    nic.Hostname,
			"local-ipv4":        nic.IP.String(),
			"public-hostname":   nic.Hostname,
			"public-ipv4":       r.seenAs(nic).String(),
			"vm-id":             id,
		}
		if list := nic.VMSpec.SSHKeys; len(list) > 0 {
			keys["public-keys"] = strings.Join(list, "\n")
		}
		var has []string
		for _, f := range secretsOf("", nic) {
			has = append(has, path.Base(path.Dir(f.Path)))
		}
		line, err := json.Marshal(struct {
			IP   netip.Addr        `json:"ip"`
			ID   string            `json:"id"`
			Keys map[string]string `json:"keys"`
			Has  []string          `json:"has,omitempty"`
		}{nic.IP, id, keys, has})
		if err != nil {
			panic("virtualrouter: strings and an address do not become JSON: " + err.Error())
		}
		c.lineOf(nic, "%s", line)
	}
	return c
}

// seenAs is the address that the world sees a guest by: its own public one, else
// that of source NAT, else its own.
func (r *router) seenAs(nic *model.NIC) netip.Addr {
	for _, ip := range r.n.IPs {
		if ip.StaticNAT == nic && ip.StaticTo == nic.IP {
			return ip.Addr
		}
	}
	if r.r.SourceNAT.IsValid() {
		return r.r.SourceNAT
	}
	return nic.IP
}

// metadataRules lets guests ask, by the addresses that they are known by.
func (r *router) metadataRules() []resource.Rule {
	if !provides(r.services.UserData) {
		return nil
	}
	ports := []schema.PortRange{{From: metadataPort, To: metadataPort}, {From: passwordPort, To: passwordPort}}
	var out []resource.Rule
	for _, s := range r.on.Subnets {
		out = append(out, rule("metadata", match{In: model.GuestLink, Proto: "tcp", Src: s.CIDR, Dst: host(s.RouterIP), DstPorts: ports}, "ACCEPT"))
	}
	return out
}
