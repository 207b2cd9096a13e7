package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

// A Snapshot is a host as it was at one moment: all that a plan needs of it. Its JSON
// is versioned, and lossless but for hidden text; it holds no secret.
type Snapshot struct {
	Host string
	Time time.Time
	// Facts are what trees are compiled under for this host.
	Facts model.Facts
	// Observed is what is ours, with what could not be read.
	Observed *resource.Observed
	// Verified is the last good intent; without one nothing is called drift.
	Verified Stored
}

type snapshotJSON struct {
	FormatVersion int                `json:"formatVersion"`
	Host          string             `json:"host"`
	Time          time.Time          `json:"time"`
	Facts         factsJSON          `json:"facts"`
	Observed      *resource.Observed `json:"observed"`
	Verified      *Stored            `json:"verified,omitempty"`
}

// factsJSON has the fields of model.Facts.
type factsJSON struct {
	Instance    string `json:"instance,omitempty"`
	ESP         bool   `json:"esp,omitempty"`
	WireGuard   bool   `json:"wireGuard,omitempty"`
	PPP         bool   `json:"ppp,omitempty"`
	VLANDevices bool   `json:"vlanDevices,omitempty"`
	STT         bool   `json:"stt,omitempty"`
	Datapath    string `json:"datapath,omitempty"`
	OVSVersion  string `json:"ovsVersion,omitempty"`
	IPTables    string `json:"iptables,omitempty"`
	Rootless    bool   `json:"rootless,omitempty"`
	Outside     string `json:"outside,omitempty"`
	Assumed     bool   `json:"assumed,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (s *Snapshot) MarshalJSON() ([]byte, error) {
	w := snapshotJSON{FormatVersion: resource.FormatVersion, Host: s.Host, Time: s.Time, Facts: factsJSON(s.Facts), Observed: s.Observed}
	if s.Verified.Intent != nil {
		verified := s.Verified
		verified.Intent = verified.Intent.Redacted()
		w.Verified = &verified
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Snapshot) UnmarshalJSON(b []byte) error {
	var version struct {
		FormatVersion int `json:"formatVersion"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := resource.CheckFormat(version.FormatVersion, resource.FormatVersion); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	var w snapshotJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	switch {
	case w.Host == "":
		return fmt.Errorf("snapshot: host is missing")
	case w.Observed == nil:
		return fmt.Errorf("snapshot of %s: observed is missing", w.Host)
	}
	*s = Snapshot{Host: w.Host, Time: w.Time, Facts: model.Facts(w.Facts), Observed: w.Observed}
	if w.Verified != nil && w.Verified.Intent != nil {
		if w.Verified.Intent.Host != w.Host {
			return fmt.Errorf("snapshot of %s: its verified intent is that of %s", w.Host, w.Verified.Intent.Host)
		}
		s.Verified = *w.Verified
	}
	return nil
}

// Snapshot looks at the whole host while nobody changes it; a *LockedError if
// somebody does.
func (e *Engine) Snapshot(ctx context.Context, facts model.Facts) (*Snapshot, error) {
	e.pass.Lock()
	defer e.pass.Unlock()
	release, err := e.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	e.refresh()
	out := &Snapshot{Host: e.host.Name, Time: e.settings.Now().UTC().Truncate(time.Second), Facts: facts, Verified: e.Verified()}
	var desired resource.Set
	if in := out.Verified.Intent; in != nil {
		desired = e.Prepare(in).Set()
	}
	out.Observed = e.Observe(ctx, driver.Scope{Desired: desired})
	return out, ctx.Err()
}
