// Package plugins lists what this weft is made of: one line per plugin.
//
// Only cmd imports it.
package plugins

import (
	"weft.dev/plugins/drivers/dns"
	"weft.dev/plugins/drivers/file"
	"weft.dev/plugins/drivers/fw"
	"weft.dev/plugins/drivers/link"
	"weft.dev/plugins/drivers/ovs"
	"weft.dev/plugins/drivers/process"
	"weft.dev/plugins/elements/configdrive"
	"weft.dev/plugins/elements/securitygroup"
	"weft.dev/plugins/elements/virtualrouter"
	"weft.dev/plugins/gurus/guest"
	"weft.dev/plugins/gurus/linuxbridge"
	ovsguest "weft.dev/plugins/gurus/ovs"
	"weft.dev/plugins/gurus/public"
	"weft.dev/plugins/gurus/system"
	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plugin"
)

// All returns the gurus, elements and switches.
func All() plugin.Registry {
	switches := []plugin.Switch{ovsguest.Switch{}, linuxbridge.Switch{}}
	return plugin.Registry{
		Gurus:    guest.Gurus(switches...),
		Public:   public.Guru{},
		System:   system.Gurus(),
		Elements: []plugin.Element{virtualrouter.Element{}, virtualrouter.VPC{}, virtualrouter.InternalLB{}, securitygroup.Element{}, configdrive.Element{}},
		Switches: switches,
	}
}

// Drivers returns the drivers of one host. secrets is the directory that the
// tree's secret files lie in.
func Drivers(h *host.Host, secrets string) []driver.Driver {
	return []driver.Driver{
		ovs.New(h),
		link.New(h),
		fw.New(h),
		file.New(h, file.Below(secrets)),
		process.New(h),
		dns.New(h, file.Below(secrets)),
	}
}
