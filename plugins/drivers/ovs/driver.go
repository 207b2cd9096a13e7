// Package ovs is the driver of Open vSwitch: bridges, ports and tunnels through
// the switch's database, flows through OpenFlow.
//
// In go a host and the steps of a plan; out come observations built from the
// switch's own columns and flow tables, and one error per step. What is ours
// carries external_ids weft=INSTANCE (rows) or the instance in the upper 16 bits
// of its cookie (flows), so that a fresh process recognises it. Only
// plugins/plugins.go imports it.
package ovs

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// settle bounds how long the switch may take to realise one transaction: 500
// tunnels took it 0.4 s.
const settle = 15 * time.Second

// A Driver is the ovs.* part of one host. It connects when it is first used and
// again whenever the connection is lost.
type Driver struct {
	host   *host.Host
	db     *database
	rundir string // where the switch listens, one socket per bridge
	// doing keeps looks away from changes: between a bundle and its mark the
	// switch seems to have drifted.
	doing sync.RWMutex
	// passages say which limits do not hold.
	passages passages
}

var _ driver.Driver = (*Driver)(nil)

// New returns the driver of h; it does not touch the switch yet.
func New(h *host.Host) *Driver {
	dir := "/run/openvswitch"
	if path, ok := strings.CutPrefix(h.OVSDB, "unix:"); ok {
		dir = filepath.Dir(path)
	}
	return &Driver{host: h, db: newDatabase(h.OVSDB), rundir: dir}
}

// Close ends the connection to the switch. A driver that is used after that
// connects again.
func (d *Driver) Close() { d.db.close() }

// Kinds implements driver.Driver.
func (d *Driver) Kinds() []resource.Kind {
	return []resource.Kind{resource.KindBridge, resource.KindPort, resource.KindTunnel, resource.KindFlows}
}

// Epoch implements driver.Driver: the flow tables have no cheap sum that would
// change with every edit.
func (d *Driver) Epoch(context.Context, driver.Scope) (uint64, bool) { return 0, false }

// Observe implements driver.Driver. The database is read from a monitored copy
// behind a round trip, so that it holds everything that was committed before the
// call; flows are read from the switch.
func (d *Driver) Observe(ctx context.Context, scope driver.Scope) (*resource.Observed, error) {
	d.doing.RLock()
	defer d.doing.RUnlock()
	v, err := d.look(ctx)
	if err != nil && absent(scope.Desired) {
		return resource.NewObserved(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("observe ovs: %w", err)
	}
	o := resource.NewObserved()
	want := kindSet(d.Kinds(), scope.Kinds)
	d.observeRows(v, scope.Desired, want, o)
	if want[resource.KindFlows] {
		d.observeFlows(ctx, v, scope.Desired, o)
	}
	return o, nil
}

// absent reports whether the host has no Open vSwitch and needs none: one of Linux
// bridges.
func absent(desired resource.Set) bool {
	if _, err := exec.LookPath("ovs-vswitchd"); !errors.Is(err, exec.ErrNotFound) {
		return false
	}
	for id := range desired {
		if strings.HasPrefix(string(id.Kind), "ovs.") {
			return false
		}
	}
	return true
}

// look returns the database as it is now.
func (d *Driver) look(ctx context.Context) (*view, error) {
	s, err := d.db.fresh(ctx)
	if err != nil {
		return nil, err
	}
	x := d.lookOutside() // before the rows: a port plugged in between is not deaf
	v, err := s.view(ctx)
	if err == nil {
		v.outside = x
	}
	return v, err
}

func kindSet(all, asked []resource.Kind) map[resource.Kind]bool {
	if len(asked) == 0 {
		asked = all
	}
	out := make(map[resource.Kind]bool, len(asked))
	for _, k := range asked {
		out[k] = true
	}
	return out
}
