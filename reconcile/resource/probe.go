package resource

import "time"

// A Probe is a question that a service answers while it is well. The agent asks it
// from inside the namespace, again and again; what it asks is no part of a state, so
// that another question restarts nothing. In Path "{run}" and "{state}" stand for
// what they do in a Process.
type Probe struct {
	// Service is what people call what is asked, such as "dns" or "lb/acme-https":
	// unique in its namespace, a label of metrics.
	Service string    `json:"service"`
	Kind    ProbeKind `json:"kind"`
	// At is who is asked, "ADDRESS:PORT", or "ADDRESS" where there are no ports; of a
	// socket (unix, vpn, bgp) an address without which nobody is there to be asked.
	At string `json:"at,omitempty"`
	// Path is what is asked for (http) or the socket that is asked (unix, vpn, bgp, haproxy).
	Path string `json:"path,omitempty"`
	// Ask is the name in question (dns), the hardware address of who asks (dhcp, dhcp6), or
	// what is sent (tcp, unix, vpn, bgp).
	Ask string `json:"ask,omitempty"`
	// Want is the address that is to be among the answers (dns, dhcp), or what the
	// reply begins with (tcp, unix, vpn, bgp); "" takes any answer.
	Want string `json:"want,omitempty"`
	// Link is the link that who asks is on: inside the namespace (ping), or the
	// host's end of it (dhcp, dhcp6, ra).
	Link string `json:"link,omitempty"`
	// Outside: who is asked is none of the host's. Silence is told, and nothing is
	// restarted for it.
	Outside bool `json:"outside,omitempty"`
	// Process is who serves, and is started anew where that is not the process that the
	// probe stands beside.
	Process string `json:"process,omitempty"`
}

// A ProbeKind is a way to ask.
type ProbeKind string

// The ways to ask.
const (
	ProbeDNS     ProbeKind = "dns"     // a query by UDP, answered whatever the answer says, or with Want
	ProbeDHCP    ProbeKind = "dhcp"    // a DISCOVER as a relay would pass it on, answered by an OFFER of Want, or of nothing once the guest declined that
	ProbeDHCP6   ProbeKind = "dhcp6"   // likewise, a SOLICIT answered by an ADVERTISE of Want, or of nothing once the guest has that
	ProbeRA      ProbeKind = "ra"      // a router solicitation, answered by an advertisement with the prefix Want
	ProbeHTTP    ProbeKind = "http"    // a GET of Path, answered by any status below 500
	ProbeTCP     ProbeKind = "tcp"     // a connection, and the reply to Ask if there is one to be had
	ProbeUnix    ProbeKind = "unix"    // likewise, to a socket of the file system
	ProbePing    ProbeKind = "ping"    // an answer to an echo request, or over IPv4 to ARP
	ProbeVPN     ProbeKind = "vpn"     // likewise, to what serves a VPN, which tells more in a second line (status.VPN)
	ProbeBGP     ProbeKind = "bgp"     // likewise, to what serves BGP, which tells more in a second line (status.BGP)
	ProbeHAProxy ProbeKind = "haproxy" // its statistics: every listener open; servers that are down are told
)

// Health is how the services of a namespace are looked after.
type Health struct {
	// Name is what people call it: "router/ACCOUNT/NETWORK".
	Name  string        `json:"name"`
	Every time.Duration `json:"every"`
	// Probes are those that belong to no process.
	Probes []Probe `json:"probes,omitempty"`
	// Turn is the place of this one among the Turns of which only one may be made
	// anew at a time, on whichever hosts they are; Turns 0 or 1: it is alone.
	Turn  int `json:"turn,omitempty"`
	Turns int `json:"turns,omitempty"`
}

// A Meter says what it is that a chain or a link counts. It is no part of a state.
type Meter struct {
	// Of is "publicip", "vpn" or "nic".
	Of string `json:"of"`
	// Name tells it from others of its sort: an address, "ACCOUNT/NAME" of a VPN.
	Name string `json:"name"`
	// Account has it.
	Account string `json:"account,omitempty"`
	// Direction of a chain: "in" towards the network, or "out" of it. A link counts
	// both.
	Direction string `json:"direction,omitempty"`
}
