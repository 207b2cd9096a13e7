package process

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/driver/drivertest"
	"weft.dev/reconcile/resource"
)

func TestSuite(t *testing.T) {
	w := newWorld(t)
	p := sleeper("acme-web/a")
	p.Start, p.Load = 1, 1
	command, start, load, reload := p, p, p, p
	command.Argv = []string{"sleep", "1001"}
	start.Start, load.Load, reload.Reload = 2, 2, "HUP"
	drivertest.Run(t, drivertest.Fixture{
		New: func(*testing.T) driver.Driver { return w.driver() },
		Samples: []drivertest.Sample{{
			State: p, Changed: []resource.State{command, start, load, reload},
			Vanish: func(t *testing.T) {
				t.Helper()
				for _, f := range w.scan()[p.Name] {
					_ = syscall.Kill(f.pid, syscall.SIGKILL)
				}
				w.until("it has ended", func() bool { return len(w.scan()) == 0 })
			},
			Check: func(_ *testing.T, st resource.State) error { return w.look(p.Name, st) },
		}},
	})
}

func (w *world) look(name string, st resource.State) error {
	list := tops(w.scan()[name])
	p, ok := st.(resource.Process)
	if !ok {
		if len(list) != 0 {
			return fmt.Errorf("%d processes are there", len(list))
		}
		return nil
	}
	if len(list) != 1 {
		return fmt.Errorf("%d processes are there", len(list))
	}
	if got := strings.Join(commandLine(list[0].pid), " "); got != strings.Join(p.Argv, " ") {
		return fmt.Errorf("it runs %q", got)
	}
	return nil
}
