package process

import (
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/resource"
)

// deaf reports whether the device that a process bound to at its start, which m
// remembers, is no more the one that p names.
func (d *Driver) deaf(m mark, p resource.Process) bool {
	return m.Index != 0 && p.Device != "" && m.Process.Device == p.Device && d.index(p) != m.Index
}

// index is that of the device of p; 0 without one.
func (d *Driver) index(p resource.Process) int {
	if p.Device == "" {
		return 0
	}
	s, err := d.host.Space(p.NS)
	if err != nil {
		return 0
	}
	req, err := unix.NewIfreq(p.Device)
	if err != nil || unix.IoctlIfreq(s.Fd(unix.NETLINK_ROUTE), unix.SIOCGIFINDEX, req) != nil {
		return 0
	}
	return int(req.Uint32())
}
