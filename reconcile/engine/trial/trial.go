// Package trial lets a change of a host go back by itself: unless a person confirms
// it in time, or if something that had to go on working does not.
//
// In go the intent to go back to and an engine; out come files below the host's
// state directory and a watchdog, a process of a copy of this program. The files are
// all there is: whoever applied may die, and the agent need not run. It belongs to
// the shell; cmd imports it.
//
//	confirm/trial.json    the change that waits, if one does
//	confirm/back.json     the intent to go back to
//	confirm/next.json     the intent that becomes the last good one when confirmed
//	confirm/outcome.json  how the last one ended
//	confirm/claim         its lock is held by who ends a trial
//	confirm/alive         its lock is held by the watchdog
//	confirm/weft, log     the watchdog's program, and what it said
package trial

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// A Trial is a change that waits for a person's word.
type Trial struct {
	FormatVersion int       `json:"formatVersion"`
	ID            string    `json:"id"`
	Host          string    `json:"host"`
	Applier       int       `json:"applier"` // the process that applies
	Began         time.Time `json:"began"`
	Until         time.Time `json:"until"` // for people
	// Applied: it was carried out and verified; only then it can be confirmed.
	Applied bool          `json:"applied,omitempty"`
	Timeout time.Duration `json:"timeout"` // nanoseconds
	// Boot and Due are Until on a clock that nobody sets: time since that boot.
	Boot string        `json:"boot"`
	Due  time.Duration `json:"due"`
}

// The ends of a trial.
const (
	Confirmed  = "Confirmed"
	RolledBack = "RolledBack"
	Failed     = "Failed"    // going back did not succeed
	Withdrawn  = "Withdrawn" // nothing was changed
)

// An Outcome is how a trial ended.
type Outcome struct {
	ID      string    `json:"id"`
	Outcome string    `json:"outcome"`
	Reason  string    `json:"reason,omitempty"`
	Time    time.Time `json:"time"`
}

// A PendingError says that nobody may change the host because a change waits.
type PendingError struct{ Until time.Time }

// Error implements error.
func (e *PendingError) Error() string {
	return fmt.Sprintf("a change of this host waits for `weft confirm` and goes back by itself at %s", e.Until.Local().Format(time.TimeOnly))
}

// Why a trial cannot be confirmed.
var (
	ErrNone      = errors.New("no change waits to be confirmed")
	ErrApplying  = errors.New("the change is not carried out yet")
	ErrGoingBack = errors.New("too late: it is going back")
)

// Trials are those of one host, of which one at a time is pending. Any number of
// processes may use them.
type Trials struct {
	host *host.Host
	dir  string
	// clock tells this boot from others and how long it lasts; tests set it.
	clock func() (boot string, up time.Duration)
}

// Open returns the trials of h; it touches nothing.
func Open(h *host.Host) *Trials {
	return &Trials{host: h, dir: filepath.Join(h.StateDir, "confirm"), clock: sinceBoot}
}

func sinceBoot() (string, time.Duration) {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // "" is an answer too
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("the kernel has no clock: %v", err))
	}
	return strings.TrimSpace(string(id)), time.Duration(ts.Nano())
}

func (t *Trials) path(name string) string { return filepath.Join(t.dir, name) }

// Next is the file for what a trial verified.
func (t *Trials) Next() string { return t.path("next.json") }

// Back is the file of what a trial goes back to.
func (t *Trials) Back() string { return t.path("back.json") }

// read returns the trial that was begun and not ended.
func (t *Trials) read() (*Trial, bool) {
	var out Trial
	b, err := os.ReadFile(t.path("trial.json"))
	if err != nil || json.Unmarshal(b, &out) != nil || out.FormatVersion != resource.FormatVersion {
		return nil, false
	}
	if boot, _ := t.clock(); boot != out.Boot {
		return nil, false // the host lost all that was tried, and who watched it
	}
	return &out, true
}

// Pending returns the change that waits. One that is over and that nobody ends, as
// its watchdog was killed, waits no more.
func (t *Trials) Pending() (*Trial, bool) {
	out, ok := t.read()
	if !ok {
		return nil, false
	}
	return out, t.watched(out) || t.held("claim")
}

// watched reports whether a trial has time left, or somebody to take it back.
func (t *Trials) watched(x *Trial) bool {
	_, up := t.clock()
	return up <= x.Due || t.held("alive")
}

// Closed is for engine.Settings: while a change waits only it may go on or back.
func (t *Trials) Closed(id string) error {
	if p, ok := t.Pending(); ok && p.ID != id {
		return &PendingError{Until: p.Until}
	}
	return nil
}

// begin writes down that a change is about to be tried.
func (t *Trials) begin(back engine.Stored, timeout time.Duration) (*Trial, error) {
	c, err := t.claim()
	if err != nil {
		return nil, err
	}
	defer c.Release()
	if p, ok := t.read(); ok && t.watched(p) {
		return nil, &PendingError{Until: p.Until}
	}
	if err := t.forget(); err != nil {
		return nil, err
	}
	_ = os.Remove(t.path("outcome.json")) // there need not be one
	if err := back.WriteFile(t.Back()); err != nil {
		return nil, fmt.Errorf("trial: %w", err)
	}
	now := time.Now()
	out := &Trial{FormatVersion: resource.FormatVersion, ID: rand.Text(), Host: t.host.Name, Applier: os.Getpid(), Began: now, Timeout: timeout}
	return out, t.put(out)
}

// put writes a trial down that has its whole time before it.
func (t *Trials) put(x *Trial) error {
	var up time.Duration
	x.Boot, up = t.clock()
	x.Due, x.Until = up+x.Timeout, time.Now().Add(x.Timeout)
	return t.write("trial.json", x)
}

func (t *Trials) write(name string, value any) error {
	b, err := json.Marshal(value)
	if err == nil {
		err = host.WriteFile(t.path(name), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("trial: %w", err)
	}
	return nil
}

// Applied notes that the change was carried out and verified: the time in which it
// may be confirmed begins.
func (t *Trials) Applied(id string) (*Trial, error) {
	c, err := t.claim()
	if err != nil {
		return nil, err
	}
	defer c.Release()
	x, ok := t.read()
	if !ok || x.ID != id {
		return nil, ErrGoingBack
	}
	x.Applied = true
	return x, t.put(x)
}

// Confirm ends the pending trial well: what it made is the last good intent. It is
// safe to repeat after a crash. Errors are ErrNone, ErrApplying, ErrGoingBack, or
// the disk's.
func (t *Trials) Confirm() (*Trial, error) {
	if _, ok := t.read(); !ok {
		return nil, ErrNone
	}
	c, err := t.claim()
	if err != nil {
		return nil, err
	}
	defer c.Release()
	x, ok := t.read()
	if !ok {
		return nil, ErrNone
	}
	if _, up := t.clock(); up >= x.Due {
		return nil, ErrGoingBack // whoever sees that next takes it back
	}
	if !x.Applied {
		return nil, ErrApplying
	}
	// A pass with a target, or one of which nothing can be said, verifies no intent.
	if err := os.Rename(t.Next(), engine.StoredPath(t.host)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("confirm: %w", err)
	}
	return x, c.End(Outcome{ID: x.ID, Outcome: Confirmed})
}

// Last is how the last trial ended; false if none ever did, or one is on.
func (t *Trials) Last() (Outcome, bool) {
	var o Outcome
	b, err := os.ReadFile(t.path("outcome.json"))
	return o, err == nil && json.Unmarshal(b, &o) == nil
}

// forget removes what a trial left, its outcome and log apart.
func (t *Trials) forget() error {
	// First that there is one; the rest means nothing without it.
	for _, name := range []string{"trial.json", "next.json", "back.json", "weft"} {
		if err := os.Remove(t.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("trial: %w", err)
		}
	}
	return nil
}

// A Claim is held by the one that ends a trial; the kernel releases it with the process.
type Claim struct {
	trials *Trials
	file   *os.File
}

// claimPatience is how long somebody may write a file of the trial. Who goes back
// holds its claim for longer.
const claimPatience = time.Second

// claim takes the right to change or end the trial; ErrGoingBack if another has it.
func (t *Trials) claim() (*Claim, error) {
	f, err := t.lockSoon("claim")
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrGoingBack
	}
	if err != nil {
		return nil, fmt.Errorf("trial: %w", err)
	}
	return &Claim{t, f}, nil
}

// lockSoon is lock for who can wait a moment.
func (t *Trials) lockSoon(name string) (*os.File, error) {
	for end := time.Now().Add(claimPatience); ; time.Sleep(10 * time.Millisecond) {
		f, err := t.lock(name)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			return f, err
		}
	}
}

// Release gives the claim back. It may be called twice.
func (c *Claim) Release() { _ = c.file.Close() }

// End notes how the trial ended and releases the claim.
func (c *Claim) End(o Outcome) error {
	defer c.Release()
	o.Time = time.Now()
	return errors.Join(c.trials.write("outcome.json", o), c.trials.forget())
}

// lock opens and locks a file; EWOULDBLOCK if another has it.
func (t *Trials) lock(name string) (*os.File, error) {
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(t.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// held reports whether a process has the lock of that file. It looks through the
// kernel's eyes and leaves nothing behind.
func (t *Trials) held(name string) bool {
	f, err := os.Open(t.path(name))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
