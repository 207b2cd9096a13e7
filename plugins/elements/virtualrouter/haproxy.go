package virtualrouter

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// What CloudStack writes into haproxy.cfg where nobody says otherwise (reference
// 5.9), and the bounds of what a reload leaves behind: a process that still has
// connections of before.
const (
	haproxyThreads = 4
	haproxyOld     = 100
	haproxyOldest  = "24h"
	// haproxySocket is the abstract socket, of the router's namespace, that tells
	// statistics and changes nothing.
	haproxySocket = "weft-lb"
	haproxyPeers  = "weft-lb-peers"
	// balanceSocket is that of HAProxy's keeper (reconcile/balance).
	balanceSocket = "@weft-balance"
	appCookieSize = 200 << 10
)

// haproxy asks for the server of all balancers of the router but those of udp. It
// is one for all of them, and reads another configuration without losing a
// connection: a new process takes the listening sockets over from the old one,
// which serves those that it has, and the tables of who sticks to whom come along by
// the socket for peers. A keeper sees to that, and leaves out who has no certificate.
func (r *router) haproxy() {
	var list []*model.Balancer
	for _, b := range r.r.Balancers {
		if b.Transport() == "tcp" {
			list = append(list, b)
		}
	}
	if len(list) == 0 {
		return
	}
	dir := "routers/" + r.r.NS + "/haproxy"
	conf := r.file(dir+"/haproxy.cfg", r.haproxyConf(list))
	argv := []string{"{weft}", "balance-serve", "--dir", "{run}/" + dir}
	p := resource.Process{
		Name: r.r.NS + "/haproxy", NS: r.r.NS,
		Argv: append(slices.Clone(argv), "--state", "{state}"),
		Load: conf.Content(), Reload: "HUP",
		Test:  append(slices.Clone(argv), "--test"),
		After: []resource.ID{conf.ID()},
		Probes: []resource.Probe{
			{Service: "lb", Kind: resource.ProbeHAProxy, Path: "@" + haproxySocket},
			{Service: "lb/configuration", Kind: resource.ProbeUnix, Path: balanceSocket, Ask: "\n", Want: "Loaded", Outside: true},
		},
	}
	addrs := map[resource.ID]bool{}
	for _, b := range list {
		if f, ok := pemOf(dir, b); ok {
			// Not before the process: a certificate that cannot be used is its balancer's
			// trouble, and the keeper takes it in when it comes.
			r.ask(f, b.Doc.At("spec.tls"))
			p.Probes = append(p.Probes, resource.Probe{
				Service: "lb/" + b.ID.Account + "/" + b.ID.Name, Kind: resource.ProbeUnix, Path: balanceSocket, Ask: balancerName(b) + "\n", Want: "Serves", Outside: true,
			})
		}
		if id := r.balancedAt(b); !addrs[id] {
			addrs[id] = true
			p.After = append(p.After, id)
		}
	}
	r.ask(p)
}

// pemOf is the file with what a balancer of protocol ssl shows to clients.
func pemOf(dir string, b *model.Balancer) (resource.File, bool) {
	if b.Spec.Protocol != "ssl" || b.Spec.TLS == nil {
		return resource.File{}, false
	}
	var text strings.Builder // once more, so that nothing but certificates stands there
	for rest := []byte(b.Spec.TLS.Certificate); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}))
	}
	return resource.File{
		Path: dir + "/" + pemName(b), Mode: 0o600,
		Parts: []resource.Part{{Text: text.String()}, {Secret: b.Spec.TLS.Key.SecretFile}},
		Test:  []string{"{weft}", "balance-serve", "--pem", "{file}"},
	}, true
}

func pemName(b *model.Balancer) string { return balancerName(b) + ".pem" }

// balancerName is what HAProxy knows a balancer by. Names have no dots.
func balancerName(b *model.Balancer) string { return b.ID.Account + "." + b.ID.Name }

// balancedAt is the address that a balancer listens at.
func (r *router) balancedAt(b *model.Balancer) resource.ID {
	if b.IP != nil {
		l := r.r.LegOf(b.IP)
		return resource.AddrID(r.r.NS, l.Link, netip.PrefixFrom(b.Addr, l.Range.Spec.CIDR.Bits()))
	}
	return resource.AddrID(r.r.NS, r.sideOf(b).side.Link, host(b.Addr))
}

// sideOf is the side of the members.
func (r *router) sideOf(b *model.Balancer) *side {
	for _, s := range r.sides() {
		if s.n.ID == b.Network.ID {
			return s
		}
	}
	return nil
}

// internal asks for the addresses of balancers that are in the side itself.
func (r *side) internal() {
	for _, b := range r.r.Balancers {
		if b.IP == nil && b.Network.ID == r.n.ID {
			r.ask(resource.Addr{NS: r.r.NS, Link: r.side.Link, Prefix: host(b.Addr)}, b.Doc.Pos)
		}
	}
}

func (r *router) haproxyConf(list []*model.Balancer) *config {
	c := &config{}
	c.line("# of %s, made by weft: edits are undone", r.out.Owner)
	c.line("global")
	limits := map[schema.ID]int{}
	for _, b := range list {
		limits[b.Network.ID] = b.Network.Offering.Spec.ConcurrentConnections
	}
	total := 0
	for _, n := range limits {
		total += n
	}
	c.line("    maxconn %d", total)
	c.line("    no strict-limits")
	c.line("    nbthread %d", haproxyThreads)
	c.line("    mworker-max-reloads %d", haproxyOld)
	c.line("    hard-stop-after %s", haproxyOldest)
	c.line("    stats socket abns@%s level user", haproxySocket)
	if !r.r.Host.Facts.Rootless {
		c.line("    user haproxy")
		c.line("    group haproxy")
		c.line("    chroot /var/lib/haproxy")
	}
	c.line("    ssl-default-bind-options ssl-min-ver TLSv1.2")
	c.line("defaults")
	for _, l := range []string{
		"mode tcp", "option dontlognull", "option redispatch", "retries 3",
		"timeout connect 5s", "timeout client 50s", "timeout server 50s", "timeout http-request 10s", "timeout http-keep-alive 10s",
	} {
		c.line("    %s", l)
	}
	c.line("peers weft")
	c.line("    peer weft abns@%s", haproxyPeers)
	for _, b := range list {
		c.balancer(b)
	}
	for _, s := range r.sides() {
		s.statistics(c, list)
	}
	return c
}

// balancer writes the section of one balancer.
func (c *config) balancer(b *model.Balancer) {
	spec := b.Spec
	http := spec.Protocol == "http" || spec.Protocol == "ssl"
	c.line("listen %s", balancerName(b))
	bind := netip.AddrPortFrom(b.Addr, b.Port).String()
	if spec.Protocol == "ssl" {
		bind += " ssl crt " + pemName(b) + " alpn h2,http/1.1"
	}
	c.line("    bind %s", bind)
	c.line("    maxconn %d", b.Network.Offering.Spec.ConcurrentConnections)
	c.line("    balance %s", spec.Algorithm)
	if spec.Algorithm == "source" {
		c.line("    hash-type consistent") // another member moves few clients
	}
	if http {
		c.line("    mode http")
		c.line("    option forwardfor")
		if b.Network.Offering.Spec.KeepAlive {
			c.line("    option http-keep-alive")
		} else {
			c.line("    option httpclose")
		}
		if spec.Protocol == "ssl" {
			c.line("    http-request set-header X-Forwarded-Proto https")
		}
	}
	c.stickiness(b)
	check := c.check(b)
	for i := range b.Members {
		c.server(b, &b.Members[i], check)
	}
}

// check writes how members are checked, and returns what each server says of it.
func (c *config) check(b *model.Balancer) string {
	h := b.Spec.HealthCheck
	if h == nil {
		h = &schema.HealthCheck{Interval: schema.Duration(5 * time.Second), Timeout: schema.Duration(2 * time.Second), HealthyThreshold: 2, UnhealthyThreshold: 3}
	}
	ms := func(d schema.Duration) int64 { return time.Duration(d).Milliseconds() }
	c.line("    timeout check %dms", ms(h.Timeout))
	if h.Path != "" {
		c.line("    option httpchk")
		c.line("    http-check send meth GET uri '%s' ver HTTP/1.1 hdr Host %s hdr User-Agent weft", h.Path, b.Addr)
		c.line("    http-check expect status 200-399")
	}
	return fmt.Sprintf("check inter %dms rise %d fall %d", ms(h.Interval), h.HealthyThreshold, h.UnhealthyThreshold)
}

func (c *config) server(b *model.Balancer, m *model.BalancedTo, check string) {
	name := serverName(m)
	s := fmt.Sprintf("%s %s weight %d %s", name, netip.AddrPortFrom(m.To, b.To), m.Spec.Weight, check)
	if t := b.Spec.Stickiness; t != nil && t.Method == "LbCookie" {
		s += " cookie " + token(balancerName(b)+" "+name)
	}
	if b.Spec.Protocol == "tcp-proxy" {
		s += " send-proxy"
	}
	c.lineOf(m.NIC, "    server %s", s)
}

// serverName is what HAProxy knows a member by: account.vm.nic, and the address
// where that is not the NIC's own.
func serverName(m *model.BalancedTo) string {
	name := strings.ReplaceAll(m.NIC.ID, "/", ".")
	if m.To != m.NIC.IP {
		name += "." + m.To.String()
	}
	return name
}

// token is a word that stands for a name and does not tell it.
func token(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:6])
}

// stickiness writes how clients come back to the member that they had.
func (c *config) stickiness(b *model.Balancer) {
	t := b.Spec.Stickiness
	if t == nil {
		return
	}
	switch p := &t.Params; t.Method {
	case "LbCookie":
		c.lbCookie(b, p)
	case "AppCookie":
		c.appCookie(p)
	case "SourceBased":
		size := p.Entries()
		if size == 0 {
			size = 200 << 10
		}
		c.line("    stick-table type ip size %d expire %s peers weft", size, seconds(p.Expire, 30*time.Minute))
		c.line("    stick on src")
	}
}

func seconds(d schema.Duration, otherwise time.Duration) string {
	if d == 0 {
		d = schema.Duration(otherwise)
	}
	return strconv.FormatInt(int64(time.Duration(d).Seconds()), 10) + "s"
}

func (c *config) lbCookie(b *model.Balancer, p *schema.StickinessParams) {
	name, mode := p.CookieName, p.Mode
	if name == "" {
		name = "lb-" + token(balancerName(b))
	}
	if mode == "" {
		mode = "insert"
	}
	s := "cookie " + name + " " + mode
	for _, x := range []struct {
		on   bool
		word string
	}{{p.Indirect, "indirect"}, {p.NoCache, "nocache"}, {p.PostOnly, "postonly"}} {
		if x.on {
			s += " " + x.word
		}
	}
	if p.Domain != "" {
		s += " domain " + p.Domain
	}
	c.line("    %s", s)
}

// cookiesSeen is how many cookies of one answer are looked at where only the
// beginning of the name is known: HAProxy takes eight rules that store.
const cookiesSeen = 4

// appCookie writes what the directive appsession of old did (reference 1.4, 5.9): the
// value that the application gives a client, in a cookie, is remembered with the
// member that gave it, and found again in the client's cookie or in the URL.
func (c *config) appCookie(p *schema.StickinessParams) {
	length := p.Length
	if length == 0 {
		length = 52
	}
	c.line("    stick-table type string len %d size %d expire %s peers weft", length, appCookieSize, seconds(p.HoldTime, 3*time.Hour))
	request, condition := "req.cook("+p.CookieName+")", ""
	if p.Prefix {
		begins := strings.ReplaceAll(p.CookieName, ".", "[.]")
		request = `'req.fhdr(cookie),regsub("^(.*[; ])?` + begins + `([^;]*).*$",\2)'`
		condition = ` if { req.fhdr(cookie) -m reg '(^|[; ])` + begins + `' }`
		for i := range cookiesSeen {
			set := fmt.Sprintf("res.fhdr(set-cookie,%d)", i+1)
			c.line("    stick store-response %s,field(1,;),bytes(%d) if { %s -m beg %s }", set, len(p.CookieName), set, p.CookieName)
		}
	} else {
		c.line("    stick store-response res.cook(%s)", p.CookieName)
	}
	c.line("    stick match %s%s", request, condition)
	if p.RequestLearn {
		c.line("    stick store-request %s%s", request, condition)
	}
	if p.Prefix {
		return
	}
	url := "urlp(" + p.CookieName + ",;)"
	if p.Mode == "query-string" {
		url = "urlp(" + p.CookieName + ")"
	}
	c.line("    stick match %s", url)
	if p.RequestLearn {
		c.line("    stick store-request %s", url)
	}
}

// shown are the balancers whose statistics the side's guests may see.
func (r *side) shown(list []*model.Balancer) []*model.Balancer {
	var out []*model.Balancer
	for _, b := range list {
		if b.Spec.Statistics && b.Network.ID == r.n.ID {
			out = append(out, b)
		}
	}
	return out
}

// statistics writes the page for the side's guests: of balancers that ask for it,
// on the guests' side only, and nothing can be changed there, so that no password
// has to be made up (CloudStack has one and the same everywhere).
func (r *side) statistics(c *config, list []*model.Balancer) {
	shown := r.shown(list)
	if len(shown) == 0 {
		return
	}
	c.line("listen statistics_%s", r.n.ID.Name)
	c.line("    bind %s", netip.AddrPortFrom(r.side.IP, model.StatisticsPort))
	c.line("    mode http")
	c.line("    option httpclose")
	c.line("    stats enable")
	c.line("    stats hide-version")
	c.line("    stats uri /admin?stats")
	for _, b := range shown {
		c.line("    stats scope %s", balancerName(b))
	}
}
