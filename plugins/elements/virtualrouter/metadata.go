package virtualrouter

import (
	"encoding/json"
	"iter"
	"net/netip"
	"path"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// The ports of CloudStack's virtual router for metadata and for passwords.
const (
	metadataPort = 80
	passwordPort = 8080
)

// metadataServer is the process of each host that serves them.
const metadataServer = "metadata"

// dataServer is the name by which guests find metadata; cloud-init asks for it
// first, and else takes the DHCP server for it.
const dataServer = model.DataServer

// DesignHost implements plugin.HostElement: one server of user data, meta-data, SSH
// keys and passwords for all routers of a host, which reads what the routers' sides
// ask for (two processes for each router took half as long to start as all the rest
// of it). It is weft itself (reconcile/metadata): a server of Debian's would serve the
// files by source address, but not speak the password protocol, which changes what it
// serves. It is there wherever a router is.
func (Element) DesignHost(h *model.Host, needs *plugin.Needs, out *plugin.Draft) {
	if !needs.Routers {
		return
	}
	p := resource.Process{Name: metadataServer, Argv: []string{"{weft}", "metadata-serve", "--dir", "{run}/metadata", "--state", "{state}"}}
	if h.Facts.Rootless {
		p.Argv = append(p.Argv, "--same-user")
	}
	out.Ask(h.Name, p)
}

// metadata asks for what the host's server tells the guests of a side: those with
// IPv4, for cloud-init's datasource CloudStack knows no other way.
func (r *side) metadata() {
	if !r.provides(r.services().UserData) {
		return
	}
	dir := "metadata/" + r.name()
	server := new(config)
	server.line("%s", jsonOf(r.server()))
	r.file(dir+"/server", server)
	r.file(dir+"/guests", r.guests())
	for _, nic := range r.on.NICs {
		for field, f := range secretsOf(dir, nic) {
			r.ask(f, nic.VM.At("spec."+field))
		}
	}
}

// server is where the host's server shall listen for the side.
func (r *side) server() any {
	out := struct {
		NS        string           `json:"ns"`
		MetaData  []netip.AddrPort `json:"metaData"`
		Passwords []netip.AddrPort `json:"passwords"`
	}{NS: r.r.NS}
	for _, s := range r.on.Subnets {
		out.MetaData = append(out.MetaData, netip.AddrPortFrom(s.RouterIP, metadataPort))
		out.Passwords = append(out.Passwords, netip.AddrPortFrom(s.RouterIP, passwordPort))
	}
	return out
}

func jsonOf(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("virtualrouter: strings and addresses do not become JSON: " + err.Error())
	}
	return b
}

// fileOf is the name of the files about a NIC. Accounts and VMs have no dots in theirs.
func fileOf(nic *model.NIC) string { return strings.ReplaceAll(nic.ID, "/", ".") }

// secretsOf are the files of what no output shows. The password is for the VM, not
// for each of its networks, so the router of its default one has it (reference 5.4).
// The field that each follows from comes with it, in a fixed order.
func secretsOf(dir string, nic *model.NIC) iter.Seq2[string, resource.File] {
	file := func(kind string, part resource.Part) resource.File {
		return resource.File{Path: dir + "/" + kind + "/" + fileOf(nic), Mode: 0o600, Parts: []resource.Part{part}, Nic: nic.ID}
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

// guests is the file of what anybody may see: a line of JSON for each guest, written
// by hand because a cloud has many.
func (r *side) guests() *config {
	c := &config{authors: make([]resource.Lines, 0, len(r.on.NICs))}
	c.Grow(512 * len(r.on.NICs))
	var line []byte
	for _, nic := range r.on.NICs {
		ip, _ := nic.IP.MarshalText() // never fails; nothing for a guest without IPv4
		line = append(line[:0], `{"ip":`...)
		line = appendJSON(line, string(ip))
		line = append(line, `,"id":`...)
		line = appendJSON(line, plugin.InstanceID(nic))
		line = append(line, `,"nic":`...)
		line = appendJSON(line, fileOf(nic))
		line = append(line, `,"keys":{`...)
		for i, d := range plugin.MetaData(r.n, r.r, nic) {
			line = appendJSON(comma(line, i), d.Key)
			line = appendJSON(append(line, ':'), d.Value)
		}
		line = append(line, '}')
		has := 0
		for _, f := range secretsOf("", nic) {
			if has == 0 {
				line = append(line, `,"has":[`...)
			}
			line = appendJSON(comma(line, has), path.Base(path.Dir(f.Path)))
			has++
		}
		if has > 0 {
			line = append(line, ']')
		}
		c.textOf(nic, append(line, '}'))
	}
	return c
}

// comma goes before all but the first of a list.
func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

// appendJSON adds a string, which is quick where nothing in it must be escaped.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, c) >= 0 {
			return append(b, jsonOf(s)...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// metadataRules lets guests ask, by the addresses that they are known by.
func (r *side) metadataRules() []resource.Rule {
	if !r.provides(r.services().UserData) {
		return nil
	}
	ports := []schema.PortRange{{From: metadataPort, To: metadataPort}, {From: passwordPort, To: passwordPort}}
	var out []resource.Rule
	for _, s := range r.on.Subnets {
		out = append(out, rule("metadata", match{In: r.side.Link, Proto: "tcp", Src: s.CIDR, Dst: host(s.RouterIP), DstPorts: ports}, "ACCEPT"))
	}
	return out
}
