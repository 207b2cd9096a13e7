package ovs

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
)

// Pauses between attempts to reach a switch that is away. A restart is over in
// some 100 ms, and its flows are gone.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// Watch implements driver.Driver: rows by the database's own events, flows of
// the integration bridge by OpenFlow's. The switch's restart shows as the end of
// the OpenFlow connection only. What this driver does itself is reported too.
func (d *Driver) Watch(ctx context.Context, changed func(driver.Scope)) error {
	var both sync.WaitGroup
	both.Go(func() { d.watchRows(ctx, func(arrival bool) { changed(driver.Scope{Kinds: d.Kinds(), Now: arrival}) }) })
	both.Go(func() {
		d.watchFlows(ctx, func() { changed(driver.Scope{Kinds: []resource.Kind{resource.KindFlows}}) })
	})
	both.Wait()
	return nil
}

func (d *Driver) watchRows(ctx context.Context, changed func(arrival bool)) {
	news := make(chan struct{}, 1)
	var came atomic.Bool // a guest's port
	defer d.db.listen(func(arrival bool) {
		if arrival {
			came.Store(true)
		}
		select {
		case news <- struct{}{}:
		default: // one is waiting already
		}
	})()
	for pause := firstPause; ; {
		s, err := d.db.open(ctx)
		if err != nil {
			if !wait(ctx, &pause) {
				return
			}
			continue
		}
		pause = firstPause
		changed(false) // whatever happened while nobody looked
		if !forward(ctx, s, news, func() { changed(came.Swap(false)) }) {
			return
		}
	}
}

// forward passes on news until the session is lost; false if ctx has ended.
func forward(ctx context.Context, s *session, news <-chan struct{}, changed func()) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-s.lost:
			return true
		case <-news:
			changed()
		}
	}
}

func (d *Driver) watchFlows(ctx context.Context, changed func()) {
	for pause := firstPause; ; {
		err := d.follow(ctx, resource.IntegrationBridge, func() {
			pause = firstPause
			changed()
		}, changed)
		if ctx.Err() != nil {
			return
		}
		if err != nil && pause == firstPause {
			changed()
		}
		if !wait(ctx, &pause) {
			return
		}
	}
}

// wait sleeps for pause and doubles it; false if ctx has ended.
func wait(ctx context.Context, pause *time.Duration) bool {
	timer := time.NewTimer(*pause)
	defer timer.Stop()
	*pause = min(2**pause, lastPause)
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
