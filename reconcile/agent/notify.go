package agent

import (
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells systemd, where that started us.
func notify(state string) {
	// Nobody listens, or systemd is gone: the networks do not depend on it.
	_, _ = daemon.SdNotify(false, state)
}

// watchdog returns a ticker that is due twice within systemd's patience, and
// what feeds the watchdog. Without one the ticker is rare and feed does nothing.
func watchdog() (*time.Ticker, func()) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every <= 0 {
		return time.NewTicker(24 * time.Hour), func() {}
	}
	return time.NewTicker(every / 3), func() { notify("WATCHDOG=1") }
}

// feeding feeds the watchdog while a pass lasts, which may be longer than systemd's
// patience, but no longer than a pass may last; the function it returns ends that.
func (a *Agent) feeding() (stop func()) {
	dog, feed := watchdog()
	done, limit := make(chan struct{}), time.NewTimer(a.Limit+time.Second)
	var running sync.WaitGroup
	running.Go(func() {
		defer dog.Stop()
		defer limit.Stop()
		for {
			select {
			case <-done:
				return
			case <-limit.C:
				return
			case <-dog.C:
				feed()
			}
		}
	})
	return func() { close(done); running.Wait() }
}
