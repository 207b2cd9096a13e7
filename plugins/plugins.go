// Package plugins lists what this weft is made of: one line per plugin.
//
// Only cmd imports it.
package plugins

import (
	"weft.dev/plugins/drivers/file"
	"weft.dev/plugins/drivers/fw"
	"weft.dev/plugins/drivers/link"
	"weft.dev/plugins/drivers/ovs"
	"weft.dev/plugins/drivers/process"
	"weft.dev/plugins/elements/virtualrouter"
	ovsguest "weft.dev/plugins/gurus/ovs"
	"weft.dev/plugins/gurus/public"
	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/plugin"
)

// All returns the gurus, elements and switches.
func All() plugin.Registry {
	return plugin.Registry{
		Gurus:    []plugin.Guru{ovsguest.Guru{}},
		Public:   public.Guru{},
		Elements: []plugin.Element{virtualrouter.Element{}},
		Switches: []plugin.Switch{ovsguest.Switch{}},
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
	}
}
