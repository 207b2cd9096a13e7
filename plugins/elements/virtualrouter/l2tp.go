package virtualrouter

import (
	"fmt"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

// l2tpSocket is that of L2TP's server (reconcile/vpn).
const l2tpSocket = "@weft-l2tp"

// What L2TP inside IPsec takes of the MTU, as much as 90 bytes, and CloudStack's bound.
const (
	l2tpOverhead = 90
	l2tpMTU      = 1410
)

// The proposals of what has L2TP: Windows', macOS', iOS', Android's.
var (
	l2tpIKE = []string{"aes256-sha256-modp2048", "aes256-sha1-modp2048", "aes256-sha1-ecp384", "aes128-sha1-ecp256", "aes128-sha1-modp2048"}
	l2tpESP = []string{"aes256-sha256", "aes256-sha1", "aes128-sha1"}
)

// l2tpTransport adds the connection of IPsec that carries L2TP: whoever knows the secret,
// and of the traffic that of L2TP only.
func (r *router) l2tpTransport(v *model.VPN, list *config) {
	here := r.vpnAt(v).String()
	list.item(section{"connection": vpnName(v), "of": v.Name(), "config": section{
		"version": "1", "local_addrs": []string{here}, "remote_addrs": []string{"%any"}, "proposals": l2tpIKE,
		// Users behind different NATs name themselves by the same address.
		"unique": "never", "dpd_delay": "30s", "rekey_time": "0s", "keyingtries": "1",
		"local": section{"auth": "psk", "id": here}, "remote": section{"auth": "psk"},
		"children": section{"l2tp": section{
			"mode": "transport", "local_ts": []string{fmt.Sprintf("dynamic[udp/%d]", model.PortL2TP)}, "remote_ts": []string{"dynamic[udp]"},
			"esp_proposals": l2tpESP, "rekey_time": "0s", "dpd_action": "clear",
		}},
	}})
}

// l2tp asks for the server of the tunnels and links inside that connection.
func (r *router) l2tp(v *model.VPN) {
	ns, at := r.r.NS, r.vpnAt(v).String()
	dir := "routers/" + ns + "/l2tp"
	conf, options := r.file(dir+"/xl2tpd.conf", r.xl2tpd(v)), r.file(dir+"/options", r.pppd())
	p := resource.Process{
		Name: ns + "/l2tp", NS: ns,
		Argv:  []string{"{weft}", "l2tp-serve", "--dir", "{run}/" + dir, "--vpn", v.Name()},
		Start: conf.Content() + options.Content(), Reload: "HUP",
		Test:  []string{"{weft}", "l2tp-serve", "--dir", "{run}/" + dir, "--test"},
		After: append([]resource.ID{conf.ID(), options.ID()}, r.vpnAddrs()...),
		Probes: []resource.Probe{
			{Service: "l2tp", Kind: resource.ProbeUnix, At: at, Path: l2tpSocket, Ask: "server\n", Want: "Serves"},
			// Outside: it may lack what IPsec has no secret for, and no server's restart brings.
			{Service: "vpn/" + v.Name(), Kind: resource.ProbeVPN, At: at, Path: l2tpSocket, Ask: "\n", Want: "Connected", Outside: true},
		},
	}
	list := &config{}
	for i, u := range v.Users {
		f := resource.File{Path: dir + "/passwords/" + resource.Short(60, "user", u.Spec.Name), Mode: 0o600, Parts: []resource.Part{{Secret: u.Spec.Password.SecretFile, Optional: true}}}
		r.ask(f, v.Doc.At(fmt.Sprintf("spec.users[%d].password", i)))
		p.After = append(p.After, f.ID())
		list.item(section{"user": u.Spec.Name, "file": f.Path[len(dir)+1:]})
	}
	users := r.file(dir+"/users", list)
	p.Load = users.Content()
	p.After = append(p.After, users.ID())
	p.Argv = r.primary(p.Argv)
	r.ask(p, v.Doc.Pos)
}

// xl2tpd is the configuration of the daemon of L2TP, which starts pppd.
func (r *router) xl2tpd(v *model.VPN) *config {
	c := &config{}
	c.line("; of %s, made by weft: edits are undone", r.out.Owner)
	c.line("[global]")
	c.line("listen-addr = %s", r.vpnAt(v))
	c.line("port = %d", model.PortL2TP)
	c.line("access control = no")
	c.line("[lns default]")
	for _, x := range v.Others() {
		c.line("ip range = %s-%s", x.From, x.To)
	}
	c.line("local ip = %s", v.Own)
	c.line("require chap = yes")
	c.line("refuse pap = yes")
	c.line("require authentication = yes")
	c.line("name = weft")
	c.line("pppoptfile = /etc/ppp/options.l2tp")
	c.line("length bit = yes")
	return c
}

// pppd are the options of the daemon that each user has.
func (r *router) pppd() *config {
	c := &config{}
	mtu := min(l2tpMTU, r.r.Legs[0].MTU-l2tpOverhead)
	c.line("# of %s, made by weft: edits are undone", r.out.Owner)
	for _, o := range []string{
		"name weft", "auth", "require-mschap-v2", "refuse-pap", "refuse-chap", "refuse-mschap", "refuse-eap", "chapms-strip-domain",
		"noccp", "noipv6", "nodefaultroute", "noproxyarp", "nodeflate", "nobsdcomp", "novj",
		fmt.Sprintf("mtu %d", mtu), fmt.Sprintf("mru %d", mtu), "connect-delay 5000", "lcp-echo-interval 20", "lcp-echo-failure 4",
		"logfile /run/ppp.log",
	} {
		c.line("%s", o)
	}
	for i, a := range r.vpnDNS() {
		if i < 2 {
			c.line("ms-dns %s", a)
		}
	}
	return c
}

// l2tpInput lets L2TP come in as IPsec carries it and in no other way, whatever began
// before.
func (r *router) l2tpInput() []resource.Rule {
	var out []resource.Rule
	for _, v := range r.r.VPNs {
		if !v.L2TP() {
			continue
		}
		a := r.vpnAt(v)
		m := match{Dst: host(a), Proto: "udp", DstPorts: l2tpPort}
		inside := m
		inside.In, inside.IPsec = r.legOf(a), "in"
		out = append(out, rule("vpn-"+v.ID.Name, inside, "ACCEPT", v.Doc.Pos), rule("vpn-"+v.ID.Name, m, "DROP", v.Doc.Pos))
	}
	return out
}
