package model

// Rate is what each direction of a NIC passes in Mbit/s, 0 without limit: what
// the NIC states, else what the offering gives all of the network, routers too.
func (n *Network) Rate(nic *NIC) int {
	if nic != nil && nic.Spec.Rate != nil {
		return int(*nic.Spec.Rate)
	}
	return int(n.Offering.Spec.NetworkRate)
}

// Up reports whether the NIC's port carries traffic.
func (n *NIC) Up() bool { return n.Spec.Link != "Down" }
