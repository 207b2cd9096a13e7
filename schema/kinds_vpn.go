package schema

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// SiteToSiteVPN joins a network, or a VPC, to networks behind another gateway by IPsec.
type SiteToSiteVPN struct {
	// VPC whose guests it joins; or network.
	VPC Ref `yaml:"vpc"`
	// Network whose guests it joins; or vpc.
	Network Ref `yaml:"network"`
	// PublicIP that the tunnel ends at, of the network or VPC; absent: its source NAT address.
	PublicIP Ref `yaml:"publicIP"`
	// Peer is the other end.
	Peer VPNPeer `yaml:"peer" weft:"required"`
	// PSK is the secret that both ends know.
	PSK *Secret `yaml:"psk" weft:"required"`
	// IKE says how the ends agree on keys.
	IKE VPNIKE `yaml:"ike"`
	// ESP says how packets are encrypted.
	ESP VPNESP `yaml:"esp"`
	// DPD: a peer that has gone is noticed (after 30 s, with IKEv1 after 120 s) and called again.
	DPD bool `yaml:"dpd" weft:"default=true"`
	// SplitConnections makes a connection of its own for each of the peer's networks, for peers that take one at a time.
	SplitConnections bool `yaml:"splitConnections" weft:"default=false"`
	// ForceEncap sends by UDP port 4500 also where no address translation is in between.
	ForceEncap bool `yaml:"forceEncap" weft:"default=false"`
	// Passive waits for the peer to call.
	Passive bool `yaml:"passive" weft:"default=false"`
}

// VPNPeer is the other end of a SiteToSiteVPN.
type VPNPeer struct {
	At Pos32 `yaml:"-"`
	// Gateway is the peer's public address, by which it identifies itself too.
	Gateway netip.Addr `yaml:"gateway" weft:"required"`
	// CIDRs are the networks behind the peer, at most 10.
	CIDRs []netip.Prefix `yaml:"cidrs" weft:"required"`
}

// VPNIKE says how the ends of a SiteToSiteVPN agree on keys.
type VPNIKE struct {
	// Version of IKE.
	Version int `yaml:"version" weft:"default=2,min=1,max=2"`
	// Proposals in strongSwan's words, each encryption, integrity and a Diffie-Hellman group: `aes256-sha256-modp2048`; absent:
	// that and what strongSwan proposes by itself.
	Proposals []string `yaml:"proposals" weft:"format=proposal"`
	// Lifetime of the keys, at most 24h.
	Lifetime Duration `yaml:"lifetime" weft:"default=24h"`
}

// VPNESP says how the packets of a SiteToSiteVPN are encrypted.
type VPNESP struct {
	// Proposals in strongSwan's words, each encryption, integrity and, for perfect forward secrecy, a Diffie-Hellman group:
	// `aes256-sha256-modp2048`; absent: that and what strongSwan proposes by itself.
	Proposals []string `yaml:"proposals" weft:"format=proposal"`
	// Lifetime of the keys, at most 24h.
	Lifetime Duration `yaml:"lifetime" weft:"default=1h"`
}

// RemoteAccessVPN lets users into the network, or VPC, that a public address serves.
type RemoteAccessVPN struct {
	// PublicIP that users call.
	PublicIP Ref `yaml:"publicIP" weft:"required"`
	// Protocol of the tunnels. L2TP (inside IPsec) needs PPP and ESP in the kernel of the router's host; whatever has it has IKEv2.
	Protocol string `yaml:"protocol" weft:"required,enum=WireGuard|IKEv2|L2TP"`
	// Ranges that users' own addresses are of; they must be no part of the guests' networks. With L2TP the lowest address is the router's.
	Ranges []IPRange `yaml:"ranges" weft:"required"`
	// Port of WireGuard.
	Port int `yaml:"port" weft:"default=51820,min=1,max=65535"`
	// PrivateKey of WireGuard, as `wg genkey` prints it.
	PrivateKey *Secret `yaml:"privateKey"`
	// Certificate of the gateway for IKEv2, PEM, its issuers after it. Its first DNS name, or the public address where it is for that, is
	// what users call the gateway.
	Certificate string `yaml:"certificate" weft:"format=certificate"`
	// Key of the certificate, PEM.
	Key *Secret `yaml:"key"`
	// PSK of L2TP, which all users know.
	PSK *Secret `yaml:"psk"`
	// Users that may come in.
	Users []VPNUser `yaml:"users" weft:"unique=name"`
}

// VPNUser is a user of a RemoteAccessVPN.
type VPNUser struct {
	At Pos32 `yaml:"-"`
	// Name of the user, unique in the list; with IKEv2 the user gives it beside the password.
	Name string `yaml:"name" weft:"required,format=username"`
	// PublicKey of WireGuard, as `wg pubkey` prints it.
	PublicKey string `yaml:"publicKey" weft:"format=wgkey"`
	// IP of the user, one of ranges, WireGuard only; absent: allocated.
	IP netip.Addr `yaml:"ip"`
	// Password of IKEv2 and L2TP.
	Password *Secret `yaml:"password"`
}

const (
	// maxPeerCIDRs is CloudStack's site2site.vpn.customergateway.subnets.limit.
	maxPeerCIDRs = 10
	// maxUserRanges bounds what is compared with the ranges of all other VPNs.
	maxUserRanges = 16
	// maxVPNLifetime is CloudStack's bound of both lifetimes, minVPNLifetime leaves room for a new key in time.
	maxVPNLifetime = 24 * time.Hour
	minVPNLifetime = 5 * time.Minute
)

func vpnFormats() []format {
	return []format{
		{name: "proposal", what: "a proposal", pattern: `^[a-z0-9]+(-[a-z0-9]+)+$`, ok: isProposal, hint: proposalHint,
			rule: "write encryption, integrity and group in strongSwan's words, such as aes256-sha256-modp2048 or aes256gcm16-prfsha256-ecp256"},
		{name: "username", what: "a user's name", pattern: `^[A-Za-z0-9]([A-Za-z0-9@_.-]{0,62}[A-Za-z0-9])?$`,
			ok:   func(s string) bool { return only(s, "@_.-", 64) && isAlnum(s[0]) && isAlnum(s[len(s)-1]) },
			rule: "a name has 1-64 letters, digits and @ _ . - and starts and ends with a letter or digit"},
		{name: "wgkey", what: "a key of WireGuard", pattern: `^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$`, ok: isWireGuardKey,
			rule: "write what wg pubkey prints: 32 bytes in base64, 44 characters"},
		{name: "certificate", what: "a certificate", ok: isCertificates,
			rule: "write certificates in PEM, the server's own first"},
	}
}

// isWireGuardKey takes 32 bytes in base64.
func isWireGuardKey(s string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == 32 && len(s) == 44
}

// isCertificates takes PEM that holds certificates and nothing else. What is in them the host
// reads.
func isCertificates(text string) bool {
	const begin = "-----BEGIN CERTIFICATE-----"
	rest := []byte(strings.TrimSpace(text))
	for len(rest) > 0 {
		if !bytes.HasPrefix(rest, []byte(begin)) {
			return false
		}
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil || len(b.Headers) > 0 || len(b.Bytes) == 0 {
			return false
		}
		rest = bytes.TrimSpace(rest)
	}
	return strings.Contains(text, begin)
}

// The words of strongSwan's proposals that are safe to be named, and those that are only so
// where a peer knows no better.
var (
	ciphers = []string{"aes128", "aes192", "aes256", "3des", "camellia128", "camellia256",
		"aes128gcm16", "aes192gcm16", "aes256gcm16", "aes128ccm16", "aes256ccm16", "chacha20poly1305"}
	hashes = []string{"md5", "sha1", "sha256", "sha384", "sha512", "aesxcbc"}
	prfs   = []string{"prfmd5", "prfsha1", "prfsha256", "prfsha384", "prfsha512", "prfaesxcbc"}
	groups = []string{"modp1024", "modp1536", "modp2048", "modp3072", "modp4096", "modp6144", "modp8192",
		"ecp256", "ecp384", "ecp521", "curve25519", "x25519"}
	weakWords = []string{"3des", "md5", "prfmd5", "modp1024", "modp1536"}
)

// isAEAD reports whether a cipher needs no integrity beside it.
func isAEAD(word string) bool {
	return strings.Contains(word, "gcm") || strings.Contains(word, "ccm") || strings.Contains(word, "poly")
}

// isProposal takes one cipher, then a hash where the cipher needs one, then a function and a
// group where they are written.
func isProposal(s string) bool {
	if len(s) > 100 {
		return false
	}
	words := strings.Split(s, "-")
	if !slices.Contains(ciphers, words[0]) {
		return false
	}
	aead := isAEAD(words[0])
	words = words[1:]
	take := func(list []string) bool {
		if len(words) == 0 || !slices.Contains(list, words[0]) {
			return false
		}
		words = words[1:]
		return true
	}
	if !take(hashes) && !aead {
		return false
	}
	take(prfs)
	take(groups)
	return len(words) == 0
}

func proposalHint(s string) string {
	known := slices.Concat(ciphers, hashes, prfs, groups)
	for _, w := range strings.Split(strings.ToLower(s), "-") {
		if !slices.Contains(known, w) {
			if best := nearest(w, known); best != "" {
				return "did you mean " + best + " in place of " + w + "?"
			}
			return w + " is none of " + strings.Join(known, " ")
		}
	}
	return ""
}

// hasGroup reports whether a proposal names a Diffie-Hellman group.
func hasGroup(s string) bool {
	return slices.ContainsFunc(strings.Split(s, "-"), func(w string) bool { return slices.Contains(groups, w) })
}

func (c *checker) siteToSiteVPN(s *SiteToSiteVPN) {
	switch {
	case !s.Network.IsZero() && !s.VPC.IsZero():
		c.errorf(at("vpc"), "conflicting-fields", "a VPN is of a network or of a VPC, not of both").See(c.pos("network"), "the network")
	case s.Network.IsZero() && s.VPC.IsZero():
		c.missingEnd()
	}
	c.addrFamily(s.Peer.Gateway, "peer", "gateway")
	path := at("peer", "cidrs")
	c.prefixes(s.Peer.CIDRs, path)
	if len(s.Peer.CIDRs) > maxPeerCIDRs {
		c.errorf(path, "too-many", "a peer has at most %d networks", maxPeerCIDRs)
	}
	for i, p := range s.Peer.CIDRs {
		c.family(p, join(path, i)...)
		switch {
		case !p.IsValid() || !p.Addr().Is4():
		case p.Bits() == 0 || p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() || p.Addr().IsUnspecified():
			c.errorf(join(path, i), "bad-cidr", "%s is not a network behind a peer", p)
		case s.Peer.Gateway.IsValid() && p.Contains(s.Peer.Gateway):
			c.errorf(join(path, i), "peer-inside", "%s contains the peer's own gateway %s, which the tunnel is built through", p, s.Peer.Gateway).
				See(c.pos("peer", "gateway"), "the gateway")
		}
	}
	c.prefixesUnique(s.Peer.CIDRs, path)
	c.proposals(s.IKE.Proposals, "ike", true)
	c.proposals(s.ESP.Proposals, "esp", false)
	c.lifetime(s.IKE.Lifetime, "ike")
	c.lifetime(s.ESP.Lifetime, "esp")
}

// missingEnd says that the VPN names neither a network nor a VPC, unless one was tried.
func (c *checker) missingEnd() {
	for _, f := range []string{"network", "vpc"} {
		if _, written := c.node(at(f)); written {
			return
		}
	}
	c.errorf(at("network"), "required-field", "the VPN says not whom it joins").Hintf("add network: NAME, or vpc: NAME")
}

func (c *checker) proposals(list []string, part string, group bool) {
	path := at(part, "proposals")
	if list != nil && len(list) == 0 {
		c.errorf(path, "empty-value", "the list is empty").Hintf("leave the field out for strongSwan's own proposals")
	}
	for i, p := range list {
		if slices.Index(list, p) < i && p != "" {
			c.errorf(join(path, i), "duplicate-item", "%s is in the list twice", p)
		}
		if p == "" {
			continue
		}
		if group && !hasGroup(p) {
			c.errorf(join(path, i), "no-group", "proposal %s has no Diffie-Hellman group, without which IKE has no keys", p).Hintf("write %s-modp2048", p)
		}
		if words := strings.Split(p, "-"); group && isAEAD(words[0]) && !slices.ContainsFunc(words, func(w string) bool { return slices.Contains(hashes, w) || slices.Contains(prfs, w) }) {
			c.errorf(join(path, i), "no-prf", "proposal %s has no pseudo-random function, which IKE makes keys with", p).Hintf("write prfsha256 after %s", words[0])
		}
		for _, w := range strings.Split(p, "-") {
			if slices.Contains(weakWords, w) {
				c.d.ds.Warnf(c.pos(join(path, i)...), "weak-cipher", "%s is no longer safe", w).Hintf("aes256-sha256-modp2048 is, if the peer knows it")
			}
		}
	}
}

func (c *checker) lifetime(d Duration, part string) {
	if d < minVPNLifetime || d > maxVPNLifetime {
		c.errorf(at(part, "lifetime"), "out-of-range", "keys live from %s to %s", minVPNLifetime, maxVPNLifetime)
	}
}

// userRanges holds that users have addresses.
func (c *checker) userRanges(s *RemoteAccessVPN) {
	switch {
	case s.Ranges != nil && len(s.Ranges) == 0:
		c.errorf(at("ranges"), "empty-value", "users need addresses")
	case s.Protocol == "L2TP" && len(s.Ranges) == 1 && s.Ranges[0].From.IsValid() && s.Ranges[0].From == s.Ranges[0].To:
		c.errorf(at("ranges"), "too-few", "the lowest address is the router's own, and users need others")
	}
}

func (c *checker) remoteAccessVPN(s *RemoteAccessVPN) {
	c.userRanges(s)
	if len(s.Ranges) > maxUserRanges {
		c.errorf(at("ranges"), "too-many", "a VPN has at most %d ranges", maxUserRanges)
	}
	for i, r := range s.Ranges {
		c.addrFamily(r.From, "ranges", i)
	}
	bounds := func(i int) (from, to netip.Addr) { return s.Ranges[i].From, s.Ranges[i].To }
	for _, x := range clashes(len(s.Ranges), bounds, netip.Addr.Compare) {
		if s.Ranges[x.first].From.IsValid() {
			c.errorf(at("ranges", x.second), "overlapping-range", "the range %s overlaps %s", s.Ranges[x.second], s.Ranges[x.first]).
				See(c.pos("ranges", x.first), "the other range")
		}
	}
	wireguard := s.Protocol == "WireGuard"
	c.onlyWith(s.Protocol, map[string][]string{
		"WireGuard": {"privateKey"}, "IKEv2": {"certificate", "key"}, "L2TP": {"psk"},
	}, nil)
	keys, addrs := map[string]int{}, map[netip.Addr]int{}
	for i := range s.Users {
		u := &s.Users[i]
		path := at("users", i)
		c.onlyWith(s.Protocol, map[string][]string{"WireGuard": {"publicKey"}, "IKEv2": {"password"}, "L2TP": {"password"}}, path)
		if _, written := c.node(join(path, "ip")); written && !wireguard && s.Protocol != "" {
			c.errorf(join(path, "ip"), "conflicting-fields", "with %s users have any address of ranges", s.Protocol).See(c.pos("protocol"), "the protocol")
		}
		if u.IP.IsValid() && !slices.ContainsFunc(s.Ranges, func(r IPRange) bool { return r.From.IsValid() && r.Contains(u.IP) }) {
			c.errorf(join(path, "ip"), "outside-ranges", "%s is in none of the VPN's ranges", u.IP).See(c.pos("ranges"), "the ranges")
		}
		if j, twice := keys[u.PublicKey]; twice && u.PublicKey != "" {
			c.errorf(join(path, "publicKey"), "duplicate-item", "two users have this key").See(c.pos("users", j, "publicKey"), "the other one")
		}
		if j, twice := addrs[u.IP]; twice && u.IP.IsValid() {
			c.errorf(join(path, "ip"), "duplicate-item", "%s is given to two users", u.IP).See(c.pos("users", j, "ip"), "the other one")
		}
		keys[u.PublicKey], addrs[u.IP] = i, i
	}
	if s.Port != 51820 && !wireguard && s.Protocol != "" {
		c.errorf(at("port"), "conflicting-fields", "%s has ports of its own", s.Protocol).See(c.pos("protocol"), "the protocol")
	}
}

// onlyWith asks for the fields of a protocol, and refuses those of the others.
func (c *checker) onlyWith(protocol string, fields map[string][]string, path []any) {
	mine, known := fields[protocol]
	if !known {
		return
	}
	for _, f := range mine {
		if _, written := c.node(join(path, f)); !written {
			c.errorf(join(path, f), "required-field", "%s needs %s", protocol, f).See(c.pos("protocol"), "the protocol")
		}
	}
	refused := map[string]bool{}
	for _, p := range []string{"IKEv2", "L2TP", "WireGuard"} {
		for _, f := range fields[p] {
			if slices.Contains(mine, f) || refused[f] {
				continue
			}
			refused[f] = true
			if _, written := c.node(join(path, f)); written {
				c.errorf(join(path, f), "conflicting-fields", "%s is not for %s", f, protocol).See(c.pos("protocol"), "the protocol")
			}
		}
	}
}
