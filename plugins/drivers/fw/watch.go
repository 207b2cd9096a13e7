package fw

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// setsEvery is how often sets are read, for they tell nobody when they change:
// some 20 microseconds for each namespace that has any.
const setsEvery = time.Second

// Watch implements driver.Driver. Legacy tables tell nothing and are looked at by
// timer.
func (d *Driver) Watch(ctx context.Context, changed func(driver.Scope)) error {
	t, err := d.find(ctx)
	if err != nil {
		return fmt.Errorf("watch fw: %w", err)
	}
	if t.variant != NFT {
		return nil
	}
	if _, _, err := d.host.Spaces(); err != nil {
		return fmt.Errorf("watch fw: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var sets sync.WaitGroup
	sets.Go(func() { d.watchSets(ctx, changed) })
	defer sets.Wait()
	defer cancel()
	err = d.host.Listen(ctx, unix.NETLINK_NETFILTER, []int{unix.NFNLGRP_NFTABLES}, func(e host.Event) {
		// Each transaction ends with the new generation.
		if e.Type == 0 || e.NS != "" && e.Type == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN {
			changed(driver.Scope{Kinds: d.Kinds()})
		}
	})
	if err != nil {
		return fmt.Errorf("watch fw: %w", err)
	}
	return nil
}

// watchSets looks for sets that are no longer what weft made, in namespaces in
// which it made some.
func (d *Driver) watchSets(ctx context.Context, changed func(driver.Scope)) {
	tick := time.NewTicker(setsEvery)
	defer tick.Stop()
	seen := map[string]uint64{}
	for {
		spaces, _, _ := d.host.Spaces() // what is wrong the next look says
		now := map[string]uint64{}
		for name, s := range spaces {
			n := d.note(s)
			if len(n.Sets) == 0 {
				continue
			}
			raw, err := dumpSets(s)
			if err != nil {
				continue
			}
			if now[name] = printOf(raw); now[name] != seen[name] && !n.has(parseSets(raw)) {
				changed(driver.Scope{Kinds: []resource.Kind{resource.KindSet}})
			}
		}
		seen = now
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// has reports whether sets are those that n says.
func (n *note) has(sets []kset) bool {
	for _, set := range sets {
		if made, ok := n.Sets[set.name]; !ok || set.odd != "" || !same(made.Set, set) {
			return false
		}
	}
	return len(sets) == len(n.Sets)
}

func printOf(raw [][]byte) uint64 {
	h := fnv.New64a()
	for _, b := range raw {
		_, _ = h.Write(b)
	}
	return h.Sum64()
}
