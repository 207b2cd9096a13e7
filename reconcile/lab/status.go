package lab

import (
	"net/netip"
	"time"

	"weft.dev/reconcile/lab/proc"
)

// State is where a lab or a node is in its life.
type State string

// The states. A lab is Up when all its nodes have been started once.
const (
	Starting State = "Starting"
	Up       State = "Up"
	Stopped  State = "Stopped"
	Failed   State = "Failed"
)

// Kind is what a node plays.
type Kind string

// What a node plays.
const (
	KindHost     Kind = "Host"
	KindVM       Kind = "VM"
	KindInternet Kind = "Internet"
)

// Status is what runs in a lab.
type Status struct {
	Name      string       `json:"name"`
	Version   int          `json:"version"` // grows with every change
	State     State        `json:"state"`
	Error     string       `json:"error,omitempty"` // of a start that failed
	Dashboard string       `json:"dashboard,omitempty"`
	Nodes     []NodeStatus `json:"nodes"` // hosts, internet, guests, each by name
}

// NodeStatus is one node.
type NodeStatus struct {
	Name     string              `json:"name"` // host/kvm1, internet, acme/web-1
	Kind     Kind                `json:"kind"`
	State    State               `json:"state"`
	Reason   string              `json:"reason,omitempty"` // why it does not run
	Since    time.Time           `json:"since"`
	Host     string              `json:"host,omitempty"` // of a guest
	Services []proc.ServiceState `json:"services,omitempty"`
	NICs     []NICStatus         `json:"nics,omitempty"`
}

// NICStatus is one card of a guest.
type NICStatus struct {
	Name      string         `json:"name"`
	Link      string         `json:"link"` // in the guest
	Port      string         `json:"port"` // on the host
	MAC       string         `json:"mac"`
	Plugged   bool           `json:"plugged"` // by the lab; one with an interface name is for weft to plug
	Ready     bool           `json:"ready"`   // it has all addresses it shall get
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	MTU       int            `json:"mtu,omitempty"`
	DNS       []netip.Addr   `json:"dns,omitempty"`
	Since     time.Time      `json:"since"` // of the addresses
}

// Node returns the node of that name.
func (s Status) Node(name string) (NodeStatus, bool) {
	for _, n := range s.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return NodeStatus{}, false
}

// Service returns the service of that name, e.g. agent.
func (n NodeStatus) Service(name string) (proc.ServiceState, bool) {
	for _, s := range n.Services {
		if s.Name == name {
			return s, true
		}
	}
	return proc.ServiceState{}, false
}

// Ready says whether the lab is up and every guest that runs has all its addresses.
func (s Status) Ready() bool {
	for _, n := range s.Nodes {
		for _, c := range n.NICs {
			if n.State == Up && !c.Ready {
				return false
			}
		}
	}
	return s.State == Up
}
