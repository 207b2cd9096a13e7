package doctor

import "weft.dev/reconcile/resource"

// Below these a limit is told.
const (
	enoughFlows      = 65536 // connections of one router; Linux' default is 262144 from 4 GB on
	enoughInstances  = 16    // of inotify, for one user: the agent takes a few
	enoughNeighbours = 1024  // Linux' default, which is told too
)

// sysctls tells the settings of the host that bite.
func (x *exam) sysctls() {
	x.bridgeNF()
	if n, ok := x.number("/proc/sys/net/netfilter/nf_conntrack_max"); ok && n > 0 && n < enoughFlows {
		x.tell(Warning, "sysctl", "sysctl -w net.netfilter.nf_conntrack_max=262144, and the same in /etc/sysctl.d/weft.conf",
			"net.netfilter.nf_conntrack_max is %d: a router drops new connections while it has as many", n)
	}
	x.neighbours()
	if n, ok := x.number("/proc/sys/fs/inotify/max_user_instances"); ok && n < enoughInstances {
		x.tell(Warning, "sysctl", "sysctl -w fs.inotify.max_user_instances=128, and the same in /etc/sysctl.d/weft.conf",
			"fs.inotify.max_user_instances is %d: where none is left for the agent it notices what changes on the host by polling only", n)
	}
	if n, ok := x.number("/proc/sys/user/max_user_namespaces"); ok && n == 0 {
		l := Note
		if x.wants["bgp-serve"] != "" {
			l = Error
		}
		x.tell(l, "sysctl", "sysctl -w user.max_user_namespaces=1024, and the same in /etc/sysctl.d/weft.conf",
			"user.max_user_namespaces is 0: the zebra of routers that speak BGP runs in a user namespace, and cannot start")
	}
}

// bridgeNF: with bridge-nf-call the frames of Linux bridges pass the host's iptables.
func (x *exam) bridgeNF() {
	if x.Share != nil && x.wants[needBridge] == "" {
		return
	}
	for _, program := range []string{"iptables", "ip6tables"} {
		name := "bridge-nf-call-" + program
		if n, ok := x.number("/proc/sys/net/bridge/" + name); !ok || n == 0 {
			continue
		}
		l, also := Warning, ""
		switch {
		case x.Share == nil:
			l = Note
		case x.policy == "DROP" && program == "iptables":
			l, also = Error, "; FORWARD drops what no rule accepts, so guests do not hear each other"
		}
		x.tell(l, "sysctl", "sysctl -w net.bridge."+name+"=0, and the same in /etc/sysctl.d/weft.conf",
			"net.bridge.%s is 1: what passes Linux bridges is judged by the host's %s and shares its conntrack, where networks with equal addresses meet%s", name, program, also)
	}
}

// neighbours: the kernel counts them over all namespaces, and this limit holds for the sum.
func (x *exam) neighbours() {
	n, ok := x.number("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
	if !ok || n > enoughNeighbours {
		return
	}
	l, routers := Note, 0
	if x.Share != nil {
		for id := range x.Share.Set {
			if id.Kind == resource.KindNS {
				routers++
			}
		}
		if 2*routers > n { // each knows its gateway and a guest
			l = Warning
		}
	}
	x.tell(l, "sysctl", "sysctl -w net.ipv4.neigh.default.gc_thresh3=65536 (gc_thresh2=32768), and the same in /etc/sysctl.d/weft.conf",
		"net.ipv4.neigh.default.gc_thresh3 is %d: the routers and guests that talk here share as many entries, and beyond them ARP fails", n)
}
