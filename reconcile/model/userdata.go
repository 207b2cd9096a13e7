package model

// DataServer is the name that guests find metadata by, in networks that have the
// services UserData and Dns.
const DataServer = "data-server"

// userData holds that what a VM is to be told can be told, as CloudStack does: by
// the network of its default NIC.
func (r *resolver) userData() {
	s := &r.n.Offering.Spec.Services
	for _, n := range r.n.NICs {
		if s.UserData != nil {
			if s.UserData.Provider != ProviderDrive && s.Dns != nil && n.Hostname == DataServer {
				r.diags.Errorf(n.VM.At("spec.hostname"), "reserved-hostname", "%s is the name by which guests of network %s find their metadata", DataServer, r.n.ID.Name).
					Offending(n.Hostname).See(r.doc.At("spec.offering"), "its offering has the service UserData").Hintf("give the VM another hostname")
			}
			continue
		}
		if !n.Default {
			continue
		}
		for _, x := range []struct {
			field string
			given bool
		}{{"userData", n.VMSpec.UserData != ""}, {"password", n.VMSpec.Password != nil}, {"sshKeys", len(n.VMSpec.SSHKeys) > 0}} {
			if x.given {
				r.diags.Errorf(n.VM.At("spec."+x.field), "no-user-data", "nothing tells VM %s its %s: network %s of its default NIC has no service UserData", n.VM.Meta.Name, x.field, r.n.ID.Name).
					See(r.doc.At("spec.offering"), "its offering").Hintf("take an offering with UserData, or leave %s out", x.field)
			}
		}
	}
}
