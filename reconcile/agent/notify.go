package agent

import (
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
