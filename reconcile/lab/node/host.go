package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft.dev/reconcile/host/facts"
)

// Files of the switch, where production has them.
const (
	ovsDatabase = "/etc/openvswitch/conf.db"
	ovsSchema   = "/usr/share/openvswitch/vswitch.ovsschema"
	ovsSocket   = "/run/openvswitch/db.sock"
)

// vsctl changes the switch's configuration and waits until the switch follows.
func (n *Node) vsctl(ctx context.Context, args ...string) (string, error) {
	return n.table.Run(ctx, append([]string{"ovs-vsctl", "--timeout=30"}, args...)...)
}

// bootSwitch starts the database and the switch of this node and returns when the links of its bridges are there. Ports that
// a guest plugged in an earlier life are gone, as the boot scripts of Open vSwitch do it.
func (n *Node) bootSwitch(ctx context.Context) error {
	if _, err := os.Stat(ovsDatabase); os.IsNotExist(err) {
		if _, err := n.table.Run(ctx, "ovsdb-tool", "create", ovsDatabase, ovsSchema); err != nil {
			return err
		}
	}
	_, err := n.keep("ovsdb-server", []string{"ovsdb-server", ovsDatabase, "--remote=punix:" + ovsSocket,
		"--remote=db:Open_vSwitch,Open_vSwitch,manager_options", "--pidfile", "--unixctl=/run/openvswitch/ovsdb-server.ctl",
		"--log-file", "-vconsole:off"}, nil)
	if err != nil {
		return err
	}
	if err := dialable(ctx, ovsSocket); err != nil {
		return fmt.Errorf("ovsdb-server: %w", err)
	}
	version, err := n.table.Run(ctx, "ovs-vswitchd", "--version")
	if err != nil {
		return err
	}
	first := strings.Fields(strings.SplitN(version, "\n", 2)[0])
	if _, err := n.vsctl(ctx, "--no-wait", "init"); err != nil {
		return err
	}
	stale, err := n.vsctl(ctx, "--no-wait", "--bare", "--columns=name", "find", "Port", "other_config:transient=true")
	if err != nil {
		return err
	}
	// The number of a configuration that no earlier life of the switch has reached.
	last, err := n.vsctl(ctx, "--no-wait", "get", "Open_vSwitch", ".", "next_cfg")
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(strings.TrimSpace(last))
	if err != nil {
		return fmt.Errorf("next_cfg of the switch: %w", err)
	}
	next := strconv.Itoa(number + 1)
	set := []string{"--no-wait", "set", "Open_vSwitch", ".", "next_cfg=" + next, "ovs_version=" + first[len(first)-1],
		"external_ids:system-id=" + n.config.Hostname, "external_ids:hostname=" + n.config.Hostname}
	for _, port := range strings.Fields(stale) {
		set = append(set, "--", "--if-exists", "del-port", port)
	}
	if _, err := n.vsctl(ctx, set...); err != nil {
		return err
	}
	_, err = n.keep("ovs-vswitchd", []string{"ovs-vswitchd", "unix:" + ovsSocket, "--pidfile", "--log-file", "-vconsole:off"}, nil)
	if err != nil {
		return err
	}
	_, err = n.vsctl(ctx, "--no-wait", "wait-until", "Open_vSwitch", ".", "cur_cfg>="+next)
	return err
}

// dialable returns once the unix socket at path answers.
func dialable(ctx context.Context, path string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

func (n *Node) bootHost(ctx context.Context, h Host) error {
	if err := n.bootSwitch(ctx); err != nil {
		return err
	}
	var add []string
	for _, b := range h.Bridges {
		if b.Takeover {
			continue
		}
		if b.Linux {
			if err := makeBridge(b); err != nil {
				return err
			}
			continue
		}
		add = append(add, "--", "--may-exist", "add-br", b.Name, "--", "set", "Bridge", b.Name, "datapath_type="+facts.LabDatapath(),
			"--", "set", "Interface", b.Name, "mtu_request="+strconv.Itoa(b.MTU)) // the switch lowers an MTU by itself, it raises none
		for _, uplink := range b.Uplinks {
			add = append(add, "--", "--may-exist", "add-port", b.Name, uplink)
		}
	}
	if len(add) > 0 {
		if _, err := n.vsctl(ctx, add...); err != nil {
			return err
		}
	}
	for _, b := range h.Bridges {
		link := b.Name
		if b.Takeover {
			link = b.Uplinks[0]
		}
		if err := address(link, b); err != nil {
			return fmt.Errorf("bridge %s: %w", b.Name, err)
		}
	}
	go n.ports.run()
	if len(h.Agent) == 0 {
		return nil
	}
	_, err := n.keep("agent", h.Agent, slices.Concat(os.Environ(), h.Env))
	return err
}
