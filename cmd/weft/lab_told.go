package main

import (
	"context"
	"net/netip"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
)

// told: a guest learns from its router who it is. What security groups and private
// VLANs leave of the way there is not followed.
func (k *checker) told(n *model.Network) {
	s := n.Offering.Spec.Services.UserData
	if s == nil || s.Provider == model.ProviderDrive || n.Grouped() || n.Spec.PVLAN != nil {
		return
	}
	nic := running(n)[0]
	on := nic.Segment
	if on == nil || on.Side == nil || nic.Subnet == nil || !nic.Subnet.RouterIP.IsValid() {
		return
	}
	url := "http://" + netip.AddrPortFrom(nic.Subnet.RouterIP, 80).String() + "/latest/meta-data/instance-id"
	k.add(vm(nic)+" is told by its router who it is", func(ctx context.Context) error {
		return k.says(ctx, vm(nic), plugin.InstanceID(nic), "curl", "-s", "-m", "2", url)
	})
}
