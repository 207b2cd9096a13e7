//go:build e2e

package main

import (
	"context"
	"strings"
	"sync"
	"time"
)

// A watcher notes when the router on a host got and lost the gateway.
type watcher struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

// had are the times at which the gateway came (and went, if it did).
func (w *watcher) had() [][2]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out [][2]time.Time
	for line := range strings.Lines(w.text.String()) {
		// [2026-11-21T11:12:37.123456] Deleted 2: eth0    inet 10.1.1.1/24 ...
		stamp, rest, _ := strings.Cut(strings.TrimPrefix(line, "["), "]")
		at, err := time.Parse("2006-01-02T15:04:05.999999", stamp)
		if err != nil || !strings.Contains(rest, " "+pairLead+" ") {
			continue
		}
		switch gone := strings.Contains(rest, "Deleted"); {
		case !gone:
			out = append(out, [2]time.Time{at})
		case len(out) > 0 && out[len(out)-1][1].IsZero():
			out[len(out)-1][1] = at
		}
	}
	return out
}

// both is how long two routers had the gateway at once.
func both(a, b [][2]time.Time) time.Duration {
	var sum time.Duration
	for _, x := range a {
		for _, y := range b {
			from, to := x[0], x[1]
			if y[0].After(from) {
				from = y[0]
			}
			if to.IsZero() || !y[1].IsZero() && y[1].Before(to) {
				to = y[1]
			}
			if to.IsZero() {
				to = time.Now().UTC()
			}
			if to.After(from) {
				sum += to.Sub(from)
			}
		}
	}
	return sum
}

// startRace: of two that begin at once one becomes primary and the other does not,
// from the first moment.
func (c *pairLab) startRace() {
	for round := 1; ; round++ {
		over, seen := c.race()
		if seen && over == 0 {
			return
		}
		// On a machine that stands still for the better part of a second it may be, or
		// nobody looked yet when the gateway came.
		if c.Logf("round %d: two primaries for %v, seen: %v", round, over, seen); round == 3 {
			c.Fatal("two primaries, or none seen, three times in a row")
		}
	}
}

// race has both begin at once, and returns how long both had the gateway, and whether
// it was seen to come at all.
func (c *pairLab) race() (over time.Duration, seen bool) {
	hosts := []string{"kvm1", "kvm2"}
	for _, h := range hosts {
		c.must("lab", "kill", "agent/"+h)
		c.in("host/"+h, "pkill", "-TERM", "-f", "keepalived-serve --config")
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	var watched [2]watcher
	for i, h := range hosts {
		c.until(soon, h+" has let go", func() string {
			if c.leads(h) {
				return "not yet"
			}
			return ""
		})
		cmd, err := c.command(ctx, "host/"+h, "ip", "netns", "exec", pairNS, "ip", "-ts", "-o", "monitor", "address")
		if err != nil {
			c.Fatal(err)
		}
		cmd.Stdout = &watched[i]
		if err := cmd.Start(); err != nil {
			c.Fatal(err)
		}
		defer func() { cancel(); _ = cmd.Wait() }()
	}
	for _, h := range hosts {
		c.must("lab", "start", "agent/"+h)
	}
	c.whole(hosts...)
	first, second := watched[0].had(), watched[1].had()
	return both(first, second), len(first)+len(second) > 0
}
