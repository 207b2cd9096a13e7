package virtualrouter

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// ipsecLink is the device that charon makes where the kernel has no ESP: what comes
// out of it was in a tunnel, what goes into it goes into one. It is the one name that
// strongSwan's kernel-libipsec gives.
const ipsecLink = "ipsec0"

// wireGuardOverhead is what WireGuard takes of the MTU over IPv4 or IPv6, as wg-quick
// reckons.
const wireGuardOverhead = 80

// vpn asks for the servers of the router's VPNs: charon for all of IPsec, and for each
// WireGuard one of its own. weft keeps charon (reconcile/vpn): it tells it what is new
// and nothing else, so that a change of one connection leaves the others alone.
func (r *router) vpn() {
	r.vpnOutput()
	if slices.ContainsFunc(r.r.VPNs, (*model.VPN).IKE) {
		r.ipsec()
	}
	for _, v := range r.r.VPNs {
		switch {
		case v.L2TP():
			r.l2tp(v)
		case v.Link != "":
			r.wireguard(v)
		}
	}
}

// vpnAt is the public address that v ends at.
func (r *router) vpnAt(v *model.VPN) netip.Addr {
	if v.IP != nil {
		return v.IP.Addr
	}
	return r.r.SourceNAT
}

// vpnName is what charon knows a VPN by; names have no dots.
func vpnName(v *model.VPN) string {
	if v.Site != nil {
		return "site." + v.ID.Name
	}
	return "users." + v.ID.Name
}

func (r *router) vpnAddrs() []resource.ID {
	var out []resource.ID
	for _, v := range r.r.VPNs {
		for _, l := range r.r.Legs {
			if a := r.vpnAt(v); l.Range != nil && l.Range.Spec.CIDR.Contains(a) {
				out = append(out, resource.AddrID(r.r.NS, l.Link, netip.PrefixFrom(a, l.Range.Spec.CIDR.Bits())))
			}
		}
	}
	slices.SortFunc(out, resource.ID.Compare)
	return slices.Compact(out)
}

func (r *router) ipsec() {
	ns := r.r.NS
	dir := "routers/" + ns + "/ipsec"
	conf := r.file(dir+"/strongswan.conf", r.strongswan())
	list := &config{}
	p := resource.Process{
		Name: ns + "/ipsec", NS: ns,
		Argv:  []string{"{weft}", "ipsec-serve", "--dir", "{run}/" + dir, "--state", "{state}"},
		Start: conf.Content(), Reload: "HUP",
		Test:   []string{"{weft}", "ipsec-serve", "--dir", "{run}/" + dir, "--test"},
		Probes: r.ipsecProbes(),
	}
	if r.r.Host.Facts.Rootless {
		p.Argv = append(p.Argv, "--same-user")
	}
	secret := func(v *model.VPN, s *schema.Secret, name, field string) string {
		f := resource.File{Path: dir + "/" + name, Mode: 0o600, Parts: []resource.Part{{Secret: s.SecretFile, Optional: true}}}
		r.ask(f, v.Doc.At("spec."+field))
		p.After = append(p.After, f.ID())
		return name
	}
	for _, v := range r.r.VPNs {
		if v.L2TP() {
			r.l2tpTransport(v, list)
			list.item(map[string]any{
				"secret": vpnName(v), "of": v.Name(), "kind": "IKE", "owners": []string{r.vpnAt(v).String()}, "file": secret(v, v.Remote.PSK, "users/"+v.ID.Name, "psk"),
			})
		}
		if !v.IPsec() {
			continue
		}
		if v.Site != nil {
			r.site(v, list)
			list.item(map[string]any{
				"secret": vpnName(v), "of": v.Name(), "kind": "IKE", "owners": []string{r.vpnAt(v).String(), v.Site.Peer.Gateway.String()},
				"file": secret(v, v.Site.PSK, "psk/"+v.ID.Name, "psk"),
			})
			continue
		}
		r.remote(v, list)
		list.item(map[string]any{"key": vpnName(v), "of": v.Name(), "file": secret(v, v.Remote.Key, "keys/"+v.ID.Name, "key")})
		for i, u := range v.Users {
			// A user's name is no name of a file: "." may be in it.
			path := fmt.Sprintf("passwords/%s/%s", v.ID.Name, resource.Short(60, "user", u.Spec.Name))
			list.item(map[string]any{
				"secret": vpnName(v) + "/" + u.Spec.Name, "of": v.Name(), "kind": "EAP", "owners": []string{u.Spec.Name},
				"file": secret(v, u.Spec.Password, path, fmt.Sprintf("users[%d].password", i)),
			})
		}
	}
	connections := r.file(dir+"/connections", list)
	p.Load = connections.Content()
	p.After = append(p.After, conf.ID(), connections.ID())
	p.After = append(p.After, r.vpnAddrs()...)
	p.Argv = r.primary(p.Argv)
	r.ask(p)
}

// ipsecProbes ask charon, which has to answer whoever is at the other end, and how each
// VPN is.
func (r *router) ipsecProbes() []resource.Probe {
	var out []resource.Probe
	probe := func(p resource.Probe) {
		p.Path = "@weft-ipsec"
		out = append(out, p)
	}
	for _, v := range r.r.VPNs {
		at := r.vpnAt(v).String()
		if len(out) == 0 && (v.IPsec() || v.L2TP()) {
			probe(resource.Probe{Service: "ipsec", Kind: resource.ProbeUnix, At: at, Ask: "charon\n", Want: "charon answers"})
		}
		if v.IPsec() {
			probe(resource.Probe{Service: "vpn/" + v.Name(), Kind: resource.ProbeVPN, At: at, Ask: v.Name() + "\n", Want: "Connected", Outside: true})
		}
	}
	return out
}

// strongswan is charon's own configuration; what it is to do the keeper tells it.
// Where the kernel has ESP, kernel-libipsec is not loaded: loaded before
// kernel-netlink, it is what carries packets. Without what has an exclamation mark
// charon ends at once, instead of being of no use.
func (r *router) strongswan() *config {
	c := &config{}
	esp := "kernel-libipsec! "
	if r.r.Host.Facts.ESP {
		esp = ""
	}
	c.line("# of %s, made by weft: edits are undone", r.out.Owner)
	c.line("charon-systemd {")
	c.line("  load = random nonce openssl! pem pkcs1 pkcs8 x509 pubkey revocation constraints kdf hmac gcm %skernel-netlink socket-default vici eap-identity eap-mschapv2", esp)
	// Who does not answer is called again every 15 s or so, not after minutes.
	c.line("  retransmit_timeout = 2.0")
	c.line("  retransmit_base = 1.5")
	c.line("  retransmit_tries = 5")
	c.line("  plugins {")
	c.line("    vici {")
	c.line("      socket = unix://charon.vici") // in the keeper's directory
	c.line("    }")
	c.line("  }")
	c.line("  filelog {")
	c.line("    stderr {")
	c.line("      default = 1")
	c.line("      enc = 0")
	c.line("      net = 0")
	c.line("    }")
	c.line("  }")
	c.line("}")
	return c
}

// section is a part of a connection as charon takes it, in swanctl.conf's words.
type section = map[string]any

// item adds a line of the file "connections".
func (c *config) item(i section) {
	line, err := json.Marshal(i)
	if err != nil {
		panic("virtualrouter: text does not become JSON: " + err.Error())
	}
	c.line("%s", line)
}

// proposals proposes what strongSwan would by itself where nothing is written.
func proposals(list []string) []string {
	if len(list) == 0 {
		return []string{"aes256-sha256-modp2048", "default"}
	}
	return list
}

// site adds the connections of a site-to-site VPN: one, or with splitConnections one
// for each network of the peer. IKEv1 takes one network in a tunnel.
func (r *router) site(v *model.VPN, list *config) {
	s := v.Site
	far := v.Far()
	if !s.SplitConnections {
		children := section{}
		if s.IKE.Version == 2 {
			children["net"] = child(v, far)
		} else {
			for _, p := range far {
				children["net-"+dashes(p)] = child(v, []netip.Prefix{p})
			}
		}
		r.connection(v, vpnName(v), children, list)
		return
	}
	for _, p := range far {
		r.connection(v, vpnName(v)+"."+dashes(p), section{"net": child(v, []netip.Prefix{p})}, list)
	}
}

// dashes writes a CIDR as part of a name.
func dashes(p netip.Prefix) string { return strings.ReplaceAll(p.String(), "/", "-") }

func texts(list []netip.Prefix) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.String()
	}
	return out
}

func child(v *model.VPN, far []netip.Prefix) section {
	c := section{
		"local_ts": texts(v.Guests), "remote_ts": texts(far),
		"esp_proposals": proposals(v.Site.ESP.Proposals), "rekey_time": wholeSeconds(v.Site.ESP.Lifetime.Seconds() * 0.9), "life_time": wholeSeconds(v.Site.ESP.Lifetime.Seconds()),
		"rand_time": wholeSeconds(v.Site.ESP.Lifetime.Seconds() * 0.05),
	}
	if v.Site.DPD {
		c["dpd_action"] = "restart"
	}
	return c
}

func wholeSeconds(s float64) string { return fmt.Sprintf("%ds", int(s)) }

func (r *router) connection(v *model.VPN, name string, children section, list *config) {
	s := v.Site
	// With unique, two ends that call each other at once end each other's call, and the
	// connections of a split VPN one another. What a peer that crashed leaves DPD ends.
	here, there := r.vpnAt(v).String(), s.Peer.Gateway.String()
	c := section{
		"version": fmt.Sprint(s.IKE.Version), "local_addrs": []string{here}, "remote_addrs": []string{there},
		"proposals": proposals(s.IKE.Proposals), "unique": "never", "keyingtries": "1", "mobike": "no",
		"local": section{"auth": "psk", "id": here}, "remote": section{"auth": "psk", "id": there}, "children": children,
	}
	// A new key comes by a new IKE SA in IKEv1, and by a new exchange in IKEv2.
	life := s.IKE.Lifetime.Seconds()
	if s.IKE.Version == 1 {
		c["reauth_time"] = wholeSeconds(life * 0.9)
	} else {
		c["rekey_time"] = wholeSeconds(life * 0.9)
	}
	c["over_time"], c["rand_time"] = wholeSeconds(life*0.1), wholeSeconds(life*0.05)
	if s.DPD {
		c["dpd_delay"], c["dpd_timeout"] = "30s", "120s" // CloudStack's
	}
	if s.ForceEncap {
		c["encap"] = "yes"
	}
	list.item(section{"connection": name, "of": v.Name(), "call": !s.Passive, "config": c})
}

// remote adds the connection by which users of IKEv2 come in, and the addresses that
// they get.
func (r *router) remote(v *model.VPN, list *config) {
	var pools []string
	dns := r.vpnDNS()
	for _, x := range v.Remote.Ranges {
		name := vpnName(v) + "." + x.From.String()
		pools = append(pools, name)
		c := section{"addrs": x.From.String() + "-" + x.To.String()}
		if len(dns) > 0 {
			c["dns"] = dns
		}
		list.item(section{"pool": name, "of": v.Name(), "config": c})
	}
	list.item(section{"connection": vpnName(v), "of": v.Name(), "config": section{
		"version": "2", "local_addrs": []string{r.vpnAt(v).String()}, "remote_addrs": []string{"%any"},
		"proposals": []string{"default"}, "send_cert": "always", "unique": "replace", "pools": pools, "dpd_delay": "30s",
		"local": section{"auth": "pubkey", "certs": []string{v.Remote.Certificate}}, "remote": section{"auth": "eap-mschapv2", "eap_id": "%any"},
		"children": section{"net": section{"local_ts": texts(v.Guests), "esp_proposals": []string{"default"}, "dpd_action": "clear"}},
	}})
}

// vpnDNS is whom users ask for names: the router where it knows them, else whom it
// would ask.
func (r *router) vpnDNS() []string {
	var out []string
	for _, s := range r.sides() {
		for _, a := range s.resolvers(r.provides(s.services().Dns), s.on.Subnets[0]) {
			if t := a.String(); !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	return out[:min(len(out), 4)]
}

// vpnAsk has dnsmasq answer users of VPNs: by the links that their questions come in by,
// which is the public one where the kernel has ESP. There INPUT tells them from others.
func (r *side) vpnAsk(c *config) {
	outer := "except-interface"
	for _, v := range r.r.VPNs {
		switch {
		case v.Remote == nil || !r.provides(r.services().Dns):
		case v.IPsec() && r.r.Host.Facts.ESP:
			outer = "no-dhcp-interface"
		case v.IPsec():
			c.line("interface=%s", ipsecLink)
			c.line("no-dhcp-interface=%s", ipsecLink)
		default:
			link := strings.Replace(v.Link, "+", "*", 1)
			c.line("interface=%s", link)
			c.line("no-dhcp-interface=%s", link)
		}
	}
	c.line("%s=%s", outer, model.PublicLink)
}

// wireguard asks for the server of one WireGuard. It has a process of its own, so that
// no other VPN notices what happens to it.
func (r *router) wireguard(v *model.VPN) {
	ns := r.r.NS
	dir := "routers/" + ns + "/wireguard/" + v.ID.Name
	list := &config{}
	for _, u := range v.Users {
		list.item(section{"user": u.Spec.Name, "publicKey": u.Spec.PublicKey, "ips": []string{u.IP.String()}})
	}
	users := r.file(dir+"/users", list)
	key := resource.File{Path: dir + "/key", Mode: 0o600, Parts: []resource.Part{{Secret: v.Remote.PrivateKey.SecretFile, Optional: true}}}
	r.ask(key, v.Doc.At("spec.privateKey"))
	p := resource.Process{
		Name: ns + "/wireguard/" + v.ID.Name, NS: ns,
		Argv: []string{
			"{weft}", "wireguard-serve", "--dir", "{run}/" + dir, "--link", v.Link, "--port", fmt.Sprint(v.Remote.Port),
			"--mtu", fmt.Sprint(r.r.Legs[0].MTU - wireGuardOverhead),
		},
		Load: users.Content(), Reload: "HUP",
		Test:  []string{"{weft}", "wireguard-serve", "--dir", "{run}/" + dir, "--test"},
		After: append([]resource.ID{users.ID(), key.ID()}, r.vpnAddrs()...),
		Probes: []resource.Probe{{
			Service: "vpn/" + v.Name(), Kind: resource.ProbeVPN, At: r.vpnAt(v).String(), Path: "@weft-wireguard-" + v.Link, Ask: "\n", Want: "Connected",
		}},
	}
	for _, c := range v.Far() {
		p.Argv = append(p.Argv, "--route", c.String())
	}
	if r.r.Host.Facts.WireGuard {
		p.Argv = append(p.Argv, "--kernel")
	}
	if r.r.Host.Facts.Rootless {
		p.Argv = append(p.Argv, "--same-user")
	}
	p.Argv = r.primary(p.Argv)
	r.ask(p, v.Doc.Pos)
}
