package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"weft.dev/reconcile/resource"
)

// planJSON is a Plan. Summary is for readers that are no weft; it is computed.
type planJSON struct {
	FormatVersion int           `json:"formatVersion"`
	Host          string        `json:"host"`
	Revision      string        `json:"revision,omitempty"`
	Lock          string        `json:"lock,omitempty"`
	Digest        string        `json:"digest"`
	Frozen        string        `json:"frozen,omitempty"`
	Summary       Count         `json:"summary"`
	Observed      int           `json:"observed"`
	Desired       int           `json:"desired"`
	Actions       []actionJSON  `json:"actions"`
	Steps         []stepJSON    `json:"steps"`
	Held          []Held        `json:"held,omitempty"`
	Blocked       []blockedJSON `json:"blocked,omitempty"`
	Foreign       []Foreign     `json:"foreign,omitempty"`
	Unread        []unreadJSON  `json:"unread,omitempty"`
	Unbound       []Unbound     `json:"unbound,omitempty"`
	Notices       []Notice      `json:"notices,omitempty"`
}

// actionJSON is an Action. Owner, Source and NICs are computed from the rest.
type actionJSON struct {
	Verb       string          `json:"verb"`
	Kind       resource.Kind   `json:"kind"`
	Name       string          `json:"name"`
	Owner      resource.Owner  `json:"owner,omitempty"`
	Lifecycle  Phase           `json:"lifecycle,omitempty"`
	Wait       time.Duration   `json:"wait,omitempty"`
	Source     Source          `json:"source,omitzero"`
	NICs       []string        `json:"nics,omitempty"`
	Changes    []Change        `json:"changes,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Disruption string          `json:"disruption,omitempty"`
	Implied    bool            `json:"implied,omitempty"`
	Drift      bool            `json:"drift,omitempty"`
	Before     *resource.Entry `json:"before,omitempty"`
	After      *resource.Entry `json:"after,omitempty"`
}

// stepJSON is a Step: its action by number.
type stepJSON struct {
	Action int   `json:"action"`
	Drop   bool  `json:"drop,omitempty"`
	After  []int `json:"after,omitempty"`
}

type blockedJSON struct {
	Verb   string         `json:"verb"`
	Kind   resource.Kind  `json:"kind"`
	Name   string         `json:"name"`
	Owner  resource.Owner `json:"owner,omitempty"`
	Reason string         `json:"reason"`
	Source Source         `json:"source,omitzero"`
}

type unreadJSON struct {
	Kind resource.Kind `json:"kind"`
	NS   string        `json:"ns,omitempty"`
	Err  string        `json:"err"`
}

// Word is the verb as machines read it.
func (v Verb) Word() string {
	switch v {
	case Create:
		return "create"
	case Update:
		return "update"
	case Replace:
		return "replace"
	case Delete:
		return "delete"
	}
	return ""
}

func verbOf(word string) (Verb, error) {
	for _, v := range []Verb{Create, Update, Replace, Delete} {
		if v.Word() == word {
			return v, nil
		}
	}
	return "", fmt.Errorf("unknown verb %q", word)
}

// MarshalJSON implements json.Marshaler. It is lossless but for hidden text.
func (p *Plan) MarshalJSON() ([]byte, error) {
	w := planJSON{
		FormatVersion: FormatVersion, Host: p.Host, Revision: p.Revision, Lock: p.Lock, Digest: p.Digest, Frozen: p.Frozen,
		Summary: p.Count(), Observed: p.Observed, Desired: p.Desired, Held: p.Held, Foreign: p.Foreign, Unbound: p.Unbound, Notices: p.Notices,
		Actions: make([]actionJSON, len(p.Actions)), Steps: make([]stepJSON, len(p.Steps)),
	}
	number := make(map[*Action]int, len(p.Actions))
	for i, a := range p.Actions {
		number[a] = i
		w.Actions[i] = actionJSON{
			Verb: a.Verb.Word(), Kind: a.ID.Kind, Name: a.ID.Name, Owner: a.Owner(), Lifecycle: a.Phase, Wait: a.Wait, Source: a.Source(p.Revision), NICs: a.NICs(),
			Changes: a.Changes, Reason: a.Reason, Disruption: a.Disrupts, Implied: a.Implied, Drift: a.Drift, Before: a.Before.Redacted(), After: a.After.Redacted(),
		}
	}
	for i, s := range p.Steps {
		n, ok := number[s.Action]
		if !ok {
			return nil, fmt.Errorf("plan of %s: step %d does something else than its actions", p.Host, i)
		}
		w.Steps[i] = stepJSON{n, s.Drop, s.After}
	}
	for _, b := range p.Blocked {
		w.Blocked = append(w.Blocked, blockedJSON{b.Verb.Word(), b.ID.Kind, b.ID.Name, b.Owner, b.Reason, b.Source})
	}
	for _, u := range p.Unread {
		w.Unread = append(w.Unread, unreadJSON(u))
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler. It refuses plans that do not hang
// together.
func (p *Plan) UnmarshalJSON(b []byte) error {
	var w planJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	if err := resource.CheckFormat(w.FormatVersion, FormatVersion); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	out := Plan{
		Host: w.Host, Revision: w.Revision, Lock: w.Lock, Digest: w.Digest, Frozen: w.Frozen,
		Observed: w.Observed, Desired: w.Desired, Held: w.Held, Foreign: w.Foreign, Unbound: w.Unbound, Notices: w.Notices,
	}
	for i := range w.Actions {
		a, err := w.Actions[i].action()
		if err != nil {
			return fmt.Errorf("plan of %s: action %d: %w", w.Host, i, err)
		}
		out.Actions = append(out.Actions, a)
	}
	for i, s := range w.Steps {
		step, err := s.step(i, out.Actions)
		if err != nil {
			return fmt.Errorf("plan of %s: step %d: %w", w.Host, i, err)
		}
		out.Steps = append(out.Steps, step)
	}
	for _, b := range w.Blocked {
		v, err := verbOf(b.Verb)
		if err != nil {
			return fmt.Errorf("plan of %s: %w", w.Host, err)
		}
		out.Blocked = append(out.Blocked, Blocked{resource.ID{Kind: b.Kind, Name: b.Name}, b.Owner, v, b.Reason, b.Source})
	}
	for _, u := range w.Unread {
		out.Unread = append(out.Unread, resource.Unread(u))
	}
	*p = out
	return nil
}

func (w *actionJSON) action() (*Action, error) {
	v, err := verbOf(w.Verb)
	if err != nil {
		return nil, err
	}
	a := &Action{
		ID: resource.ID{Kind: w.Kind, Name: w.Name}, Verb: v, Before: w.Before, After: w.After, Changes: w.Changes,
		Reason: w.Reason, Disrupts: w.Disruption, Implied: w.Implied, Drift: w.Drift, Phase: w.Lifecycle, Wait: w.Wait,
	}
	if (a.Before == nil) != (v == Create) || (a.After == nil) != (v == Delete) {
		return nil, fmt.Errorf("%s %s: before or after is missing or too much", w.Verb, a.ID)
	}
	for _, e := range []*resource.Entry{a.Before, a.After} {
		if e != nil && e.State.ID() != a.ID {
			return nil, fmt.Errorf("%s %s: it is about %s", w.Verb, a.ID, e.State.ID())
		}
	}
	return a, nil
}

func (w *stepJSON) step(i int, actions []*Action) (*Step, error) {
	if w.Action < 0 || w.Action >= len(actions) {
		return nil, fmt.Errorf("there is no action %d", w.Action)
	}
	a := actions[w.Action]
	if w.Drop && a.Before == nil || !w.Drop && a.After == nil {
		return nil, fmt.Errorf("%s %s has no such step", a.Verb.Word(), a.ID)
	}
	for _, j := range w.After {
		if j < 0 || j >= i {
			return nil, fmt.Errorf("it comes after step %d, which is not before it", j)
		}
	}
	return &Step{Index: i, Action: a, Drop: w.Drop, After: w.After}, nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Report) UnmarshalJSON(b []byte) error {
	type plain Report
	var w plain
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := resource.CheckFormat(w.FormatVersion, FormatVersion); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if slices.Contains(w.Hosts, nil) {
		return errors.New("report: a host is null")
	}
	*r = Report(w)
	return nil
}

// allocationJSON is an Allocation.
type allocationJSON struct {
	Verb  string `json:"verb"`
	Owner string `json:"owner"`
	Field string `json:"field"`
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (a Allocation) MarshalJSON() ([]byte, error) {
	return json.Marshal(allocationJSON{a.Verb.Word(), a.Owner, a.Field, a.From, a.To})
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Allocation) UnmarshalJSON(b []byte) error {
	var w allocationJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	v, err := verbOf(w.Verb)
	*a = Allocation{v, w.Owner, w.Field, w.From, w.To}
	return err
}
