package link

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
)

// watched are the notification groups of links, addresses, routes, FDB entries and
// queueing disciplines.
var watched = []int{
	unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE,
	unix.RTNLGRP_NEIGH, unix.RTNLGRP_TC,
}

// Watch implements driver.Driver. Settings tell nothing when they change: they
// are looked at by timer.
func (d *Driver) Watch(ctx context.Context, changed func(driver.Scope)) error {
	d.mu.Lock()
	d.life = ctx
	d.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tell := func() { changed(driver.Scope{Kinds: d.Kinds()}) }
	if _, _, err := d.host.Spaces(); err != nil {
		return fmt.Errorf("watch net: %w", err)
	}
	names := make(chan error, 1)
	go func() {
		names <- d.watchNames(ctx, tell)
		cancel()
	}()
	guards := make(chan struct{})
	go func() {
		defer close(guards)
		// Without it the timer notices what somebody does to rules.
		_ = d.host.Listen(ctx, unix.NETLINK_NETFILTER, []int{unix.NFNLGRP_NFTABLES}, func(e host.Event) {
			if e.Type == 0 || e.NS == "" && len(e.Data) > 0 && e.Data[0] == unix.NFPROTO_BRIDGE {
				tell()
			}
		})
	}()
	err := d.host.Listen(ctx, unix.NETLINK_ROUTE, watched, func(e host.Event) {
		if d.concerns(e) {
			tell()
		}
	})
	cancel()
	<-guards
	if e := <-names; e != nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("watch net: %w", err)
	}
	return nil
}

// watchNames wakes when a namespace of ours gets or loses its name. What is held
// open of one that lost it is closed, or the kernel could not take it down.
func (d *Driver) watchNames(ctx context.Context, tell func()) error {
	if err := os.MkdirAll(d.host.Netns, 0o755); err != nil {
		return err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	if err := w.Add(d.host.Netns); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.Events:
			name := filepath.Base(e.Name)
			if !strings.HasPrefix(name, d.host.Instance+"-") {
				continue
			}
			if e.Has(fsnotify.Remove) {
				d.host.Forget(name)
			}
			tell()
		case <-w.Errors: // events were lost
			tell()
		}
	}
}

// concerns reports whether an event may be about something of ours.
func (d *Driver) concerns(e host.Event) bool {
	switch e.Type {
	case 0:
		return true
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return len(e.Data) >= unix.SizeofIfInfomsg && (e.NS != "" || d.knows(parseLink(e.Data)))
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(e.Data) < unix.SizeofIfAddrmsg {
			return false
		}
		a := parseAddr(e.Data)
		return a.prefix.IsValid() && (a.proto == d.proto || !a.kernelMade()) && (e.NS != "" || d.knows(iface{index: a.index}))
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return d.concernsRoute(e)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return e.NS != ""
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		index, _, ok := parseFDB(e.Data)
		return ok && e.NS == "" && d.knows(iface{index: index})
	case unix.RTM_NEWQDISC, unix.RTM_DELQDISC, unix.RTM_NEWTFILTER, unix.RTM_DELTFILTER:
		return len(e.Data) >= nl.SizeofTcMsg && (e.NS != "" || d.knows(iface{index: nl.DeserializeTcMsg(e.Data).Ifindex}))
	}
	return false
}

// concernsRoute is concerns for routes: those of the main table, and of the tables that
// rules of weft's use.
func (d *Driver) concernsRoute(e host.Event) bool {
	if len(e.Data) < unix.SizeofRtMsg {
		return false
	}
	r, table, ok := parseTabled(e.Data)
	return ok && (table == unix.RT_TABLE_MAIN || ruled(table)) && !r.kernelMade() && (e.NS != "" || r.proto == d.proto)
}

// knows reports whether a link of the host's namespace concerns us.
func (d *Driver) knows(l iface) bool {
	if _, ours := d.host.OwnerOf(l.alias); ours || d.made(l) {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.outside == nil {
		return true // nobody looked yet
	}
	return d.outside[l.index] || d.expected[l.name] || d.macs[l.mac]
}
