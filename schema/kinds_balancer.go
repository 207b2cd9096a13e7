package schema

import (
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// LoadBalancer spreads what comes in at one port over VMs.
type LoadBalancer struct {
	// PublicIP whose port it is; or network.
	PublicIP Ref `yaml:"publicIP"`
	// Network that it is in, for its guests and those that its ACL lets in: an internal balancer, with ip; or publicIP.
	Network Ref `yaml:"network"`
	// IP of an internal balancer, of the network; absent: allocated.
	IP netip.Addr `yaml:"ip"`
	// Port that clients call.
	Port int `yaml:"port" weft:"required,min=1,max=65535"`
	// InstancePort of the members; absent: port.
	InstancePort int `yaml:"instancePort" weft:"min=1,max=65535"`
	// Protocol: tcp and udp are passed on as they are, tcp-proxy is tcp that tells members the client's address by HAProxy's PROXY
	// protocol, http is understood, ssl is http that is decrypted here.
	Protocol string `yaml:"protocol" weft:"enum=tcp|tcp-proxy|http|ssl|udp,default=tcp"`
	// Algorithm that chooses the member: in turn by weight, the one with the fewest connections, or by the client's address.
	Algorithm string `yaml:"algorithm" weft:"enum=roundrobin|leastconn|source,default=roundrobin"`
	// Stickiness brings a client back to the member that it had.
	Stickiness *Stickiness `yaml:"stickiness"`
	// HealthCheck of the members; absent: a TCP connection, as with an empty one. None for udp.
	HealthCheck *HealthCheck `yaml:"healthCheck"`
	// Sources that may come in; absent: everywhere. The firewall of the address, or the ACL of the tier, decides beside it.
	Sources []netip.Prefix `yaml:"sources"`
	// Members that it is spread over.
	Members []Member `yaml:"members"`
	// TLS of protocol ssl.
	TLS *TLS `yaml:"tls"`
	// Statistics are shown to the members' network at its gateway, port 8081, without a password, read only.
	Statistics bool `yaml:"statistics" weft:"default=false"`
}

// Member is a NIC of a VM that a LoadBalancer sends clients to.
type Member struct {
	At Pos32 `yaml:"-"`
	// VM that clients are sent to.
	VM Ref `yaml:"vm" weft:"required"`
	// NIC of the VM by name; absent: its only one in the network, or VPC.
	NIC string `yaml:"nic" weft:"format=name"`
	// IP of the NIC, one of its secondaryIPs; absent: its own.
	IP netip.Addr `yaml:"ip"`
	// Weight against that of the others; 0: no new clients, but those that stick to it.
	Weight int `yaml:"weight" weft:"default=1,min=0,max=256"`
}

// Target is the NIC that a member means.
func (m *Member) Target() Target { return Target{At: m.At, VM: m.VM, NIC: m.NIC, IP: m.IP} }

// Stickiness brings a client back to the member that it had.
type Stickiness struct {
	At Pos32 `yaml:"-"`
	// Method: by a cookie of the balancer, by one of the application, or by the client's address. Cookies need protocol http or ssl.
	Method string `yaml:"method" weft:"required,enum=LbCookie|AppCookie|SourceBased"`
	// Params of the method, CloudStack's.
	Params StickinessParams `yaml:"params"`
}

// StickinessParams are the parameters of all methods; each method has some of them.
type StickinessParams struct {
	// CookieName of the cookie; LbCookie has one by itself, AppCookie needs it.
	CookieName string `yaml:"cookie-name" weft:"format=cookie"`
	// Mode of LbCookie: insert (its own cookie, where absent), rewrite or prefix (one of the application). Of AppCookie: where the
	// value may stand in URLs, path-parameters (where absent) or query-string.
	Mode string `yaml:"mode" weft:"enum=insert|rewrite|prefix|path-parameters|query-string"`
	// NoCache (LbCookie): what sets the cookie is marked as not to be cached.
	NoCache bool `yaml:"nocache" weft:"default=false"`
	// Indirect (LbCookie): members do not see the cookie, and who has it is not given it again.
	Indirect bool `yaml:"indirect" weft:"default=false"`
	// PostOnly (LbCookie): only answers to POST set the cookie.
	PostOnly bool `yaml:"postonly" weft:"default=false"`
	// Domain (LbCookie) of the cookie.
	Domain string `yaml:"domain" weft:"format=cookiedomain"`
	// Length (AppCookie): how many characters of the value count; absent: 52.
	Length int `yaml:"length" weft:"min=1,max=256"`
	// HoldTime (AppCookie) after which an unused value is forgotten; absent: 3h.
	HoldTime Duration `yaml:"holdtime"`
	// RequestLearn (AppCookie): also a value that only the client says makes it stick.
	RequestLearn bool `yaml:"request-learn" weft:"default=false"`
	// Prefix (AppCookie): cookie-name is how the cookie's name begins; what follows, with the value, is what counts. Not in URLs.
	Prefix bool `yaml:"prefix" weft:"default=false"`
	// TableSize (SourceBased): how many addresses are remembered, with k or m for thousands or millions of them; absent: 200k.
	TableSize string `yaml:"tablesize" weft:"format=tablesize"`
	// Expire (SourceBased) after which an unused address is forgotten; absent: 30m.
	Expire Duration `yaml:"expire"`
}

// Entries is TableSize as a number, 0 where it says nothing.
func (p *StickinessParams) Entries() int { n, _ := tableSize(p.TableSize); return n }

// HealthCheck says when a member gets clients.
type HealthCheck struct {
	At Pos32 `yaml:"-"`
	// Path that members must answer with 200 to 399; absent: that they take a connection is enough.
	Path string `yaml:"path" weft:"format=urlpath"`
	// Interval of the checks.
	Interval Duration `yaml:"interval" weft:"default=5s"`
	// Timeout of a check, at most interval.
	Timeout Duration `yaml:"timeout" weft:"default=2s"`
	// HealthyThreshold is how many checks in a row a member must pass to come back.
	HealthyThreshold int `yaml:"healthyThreshold" weft:"default=2,min=1,max=50"`
	// UnhealthyThreshold is how many it must fail to leave.
	UnhealthyThreshold int `yaml:"unhealthyThreshold" weft:"default=3,min=1,max=50"`
}

// TLS is what a balancer of protocol ssl shows to clients.
type TLS struct {
	At Pos32 `yaml:"-"`
	// Certificate in PEM, its issuers after it.
	Certificate string `yaml:"certificate" weft:"required,format=certificate"`
	// Key of the certificate, PEM.
	Key *Secret `yaml:"key" weft:"required"`
}

const (
	// maxTable bounds the memory of a table to some 200 MB.
	maxTable    = 1 << 20
	minInterval = 500 * time.Millisecond
	maxInterval = time.Hour
)

func balancerFormats() []format {
	return []format{
		{name: "cookie", what: "a cookie's name", pattern: `^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`, ok: isCookie,
			rule: "a cookie's name has 1-64 letters, digits and _ . - and starts with a letter, a digit or _"},
		{name: "cookiedomain", what: "a cookie's domain", pattern: `^\.?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$`, ok: isCookieDomain, hint: lowerHint,
			rule: "write a domain name of two labels or more, which may begin with a dot"},
		{name: "tablesize", what: "the size of a table", pattern: `^[1-9][0-9]{0,6}[km]?$`, ok: func(s string) bool { _, ok := tableSize(s); return ok },
			rule: "write a number up to 1048576, such as 200k, or \"5000\" in quotes"},
		{name: "urlpath", what: "the path of a URL", pattern: `^/[A-Za-z0-9_.~!&()*+,;=:@%/?-]{0,999}$`, ok: isURLPath,
			rule: "a path starts with /, has letters, digits and _ . ~ ! & ( ) * + , ; = : @ % / ? - and no . or .. parts"},
	}
}

func isCookie(s string) bool { return only(s, "_.-", 64) && s[0] != '-' && s[0] != '.' }

func isCookieDomain(s string) bool {
	s = strings.TrimPrefix(s, ".")
	return isDomain(s) && strings.Contains(s, ".")
}

func isURLPath(s string) bool {
	return only(s, "_.~!&()*+,;=:@%/?-", 1000) && s[0] == '/' && every(s, "/", func(part string) bool { return part != "." && part != ".." })
}

// tableSize reads a number with HAProxy's units.
func tableSize(s string) (int, bool) {
	unit := 1
	switch {
	case strings.HasSuffix(s, "k"):
		s, unit = s[:len(s)-1], 1<<10
	case strings.HasSuffix(s, "m"):
		s, unit = s[:len(s)-1], 1<<20
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxTable/unit || strconv.Itoa(n) != s {
		return 0, false
	}
	return n * unit, true
}

// balancing holds that balancers of a scheme are for their provider.
func (c *checker) balancing(lb *LbService) {
	if lb == nil || lb.Provider == "" || lb.Scheme == "" {
		return
	}
	if internal := lb.Scheme == "Internal"; internal != (lb.Provider == providerInternalLb) {
		d := c.errorf(at("services", "Lb"), "not-of-provider", "balancers of scheme %s are not from %s", lb.Scheme, lb.Provider).Offending("")
		if internal {
			d.Hintf("write Lb: {provider: %s, scheme: Internal}, in an offering with forVPC: true", providerInternalLb)
		} else {
			d.Hintf("add scheme: Internal, or write another provider")
		}
	}
}

func (c *checker) loadBalancer(s *LoadBalancer) {
	c.whereBalanced()
	c.addrFamily(s.IP, "ip")
	c.prefixes(s.Sources, at("sources"))
	for i := range s.Members {
		c.addrFamily(s.Members[i].IP, "members", i, "ip")
	}
	c.stickiness(s)
	c.healthCheck(s.HealthCheck)
	if s.TLS != nil && s.Protocol != "ssl" {
		c.errorf(at("tls"), "conflicting-fields", "only protocol ssl has tls, not %s", s.Protocol).See(c.pos("protocol"), "the protocol")
	}
	if _, written := c.node(at("tls")); s.Protocol == "ssl" && !written {
		c.errorf(at("protocol"), "required-field", "protocol ssl needs tls with certificate and key")
	}
	if s.Protocol == "udp" {
		c.balancedUDP(s)
	}
}

// whereBalanced holds that the balancer is at one place.
func (c *checker) whereBalanced() {
	_, public := c.node(at("publicIP"))
	_, internal := c.node(at("network"))
	switch {
	case public && internal:
		c.errorf(at("network"), "conflicting-fields", "a balancer is at a public address or in a network, not both").See(c.pos("publicIP"), "the address")
	case !public && !internal:
		c.errorf(nil, "required-field", "where is the balancer?").Hintf("add publicIP: NAME, or network: NAME for an internal one")
	}
	if _, written := c.node(at("ip")); written && public {
		c.errorf(at("ip"), "conflicting-fields", "a balancer at a public address has no other ip").See(c.pos("publicIP"), "the address")
	}
}

// paramsOf are the parameters of each method.
var paramsOf = map[string][]string{
	"LbCookie":    {"cookie-name", "mode", "nocache", "indirect", "postonly", "domain"},
	"AppCookie":   {"cookie-name", "mode", "length", "holdtime", "request-learn", "prefix"},
	"SourceBased": {"tablesize", "expire"},
}

func (c *checker) stickiness(s *LoadBalancer) {
	t := s.Stickiness
	if t == nil || t.Method == "" {
		return
	}
	if t.Method != "SourceBased" && s.Protocol != "http" && s.Protocol != "ssl" {
		c.errorf(at("stickiness", "method"), "conflicting-fields", "%s needs protocol http or ssl: nobody sees cookies in %s", t.Method, s.Protocol).
			See(c.pos("protocol"), "the protocol")
	}
	base := at("stickiness", "params")
	for _, name := range tables[reflect.TypeFor[StickinessParams]()].names {
		if _, written := c.node(join(base, name)); written && !slices.Contains(paramsOf[t.Method], name) {
			c.errorf(join(base, name), "not-of-method", "%s has no parameter %s", t.Method, name).
				Hintf("it has %s", strings.Join(paramsOf[t.Method], ", ")).See(c.pos("stickiness", "method"), "the method")
		}
	}
	c.stickinessParams(t, base)
}

// stickinessParams holds what the parameters of a method must obey among themselves.
func (c *checker) stickinessParams(t *Stickiness, base []any) {
	p := &t.Params
	modes := map[string][]string{"LbCookie": {"", "insert", "rewrite", "prefix"}, "AppCookie": {"", "path-parameters", "query-string"}}[t.Method]
	if modes != nil && !slices.Contains(modes, p.Mode) {
		c.errorf(join(base, "mode"), "not-of-method", "%s has no mode %s", t.Method, p.Mode).Hintf("write %s", strings.Join(modes[1:], " or "))
	}
	switch {
	case t.Method == "AppCookie" && p.CookieName == "":
		if _, written := c.node(join(base, "cookie-name")); !written {
			c.errorf(at("stickiness"), "required-field", "AppCookie needs params with the cookie-name of the application")
		}
	case t.Method == "LbCookie" && p.CookieName == "" && (p.Mode == "rewrite" || p.Mode == "prefix"):
		c.errorf(join(base, "mode"), "required-field", "mode %s is about a cookie of the application: it needs cookie-name", p.Mode)
	case t.Method == "AppCookie" && p.Prefix && p.Mode != "":
		c.errorf(join(base, "mode"), "conflicting-fields", "with prefix only cookies are looked at, not URLs").See(c.pos("stickiness", "params", "prefix"), "the prefix")
	case t.Method == "LbCookie" && p.Mode == "rewrite" && p.Indirect:
		c.errorf(join(base, "indirect"), "conflicting-fields", "mode rewrite is about a cookie that members have to see")
	}
	c.span(time.Duration(p.HoldTime), join(base, "holdtime"), time.Second, 7*24*time.Hour)
	c.span(time.Duration(p.Expire), join(base, "expire"), time.Second, 7*24*time.Hour)
}

func (c *checker) healthCheck(h *HealthCheck) {
	if h == nil {
		return
	}
	c.span(time.Duration(h.Interval), at("healthCheck", "interval"), minInterval, maxInterval)
	c.span(time.Duration(h.Timeout), at("healthCheck", "timeout"), 10*time.Millisecond, maxInterval)
	if h.Timeout > h.Interval && h.Interval > 0 {
		d := c.errorf(at("healthCheck", "timeout"), "conflicting-fields", "a check that takes up to %s does not fit into an interval of %s", time.Duration(h.Timeout), time.Duration(h.Interval))
		if _, written := c.node(at("healthCheck", "timeout")); !written {
			d.Hintf("write timeout too, where it is not 2s")
		}
	}
}

// span holds that a time, where one is written, is within bounds.
func (c *checker) span(d time.Duration, path []any, low, high time.Duration) {
	if _, written := c.node(path); written && (d < low || d > high) {
		c.errorf(path, "out-of-range", "%s is not from %s to %s", d, low, high)
	}
}

// balancedUDP refuses what the kernel, which balances udp, does not do.
func (c *checker) balancedUDP(s *LoadBalancer) {
	if s.Algorithm == "leastconn" {
		c.errorf(at("algorithm"), "not-with-udp", "udp has no connections to count").Hintf("use roundrobin or source").See(c.pos("protocol"), "the protocol")
	}
	if s.Stickiness != nil {
		c.errorf(at("stickiness"), "not-with-udp", "udp has no stickiness of its own").Hintf("algorithm: source sends a client to one member").See(c.pos("protocol"), "the protocol")
	}
	if s.HealthCheck != nil {
		c.errorf(at("healthCheck"), "not-with-udp", "members of udp are not checked: no answer says nothing about a protocol that is not known").
			Hintf("leave healthCheck out; a member that shall get nothing has weight: 0").See(c.pos("protocol"), "the protocol")
	}
	if s.Statistics {
		c.errorf(at("statistics"), "not-with-udp", "udp is balanced by the kernel, which has no statistics page").See(c.pos("protocol"), "the protocol")
	}
}
