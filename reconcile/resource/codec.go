package resource

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"weft.dev/schema"
)

// FormatVersion is the version of the JSON of Intent and Observed. Readers
// ignore fields they do not know and refuse versions they do not know.
const FormatVersion = 1

// Kinds lists every kind there is.
func Kinds() []Kind {
	return []Kind{
		KindBridge, KindPort, KindTunnel, KindFlows, KindNS, KindLink, KindAddr, KindRoute, KindRule, KindSysctl,
		KindBridgePort, KindQdisc, KindChain, KindSet, KindFile, KindProcess, KindRecord,
	}
}

// decodeState is the closed registry: what JSON of a kind becomes.
func decodeState(kind Kind, b []byte) (State, error) {
	switch kind {
	case KindBridge:
		return decodeAs[Bridge](b)
	case KindPort:
		return decodeAs[Port](b)
	case KindTunnel:
		return decodeAs[Tunnel](b)
	case KindFlows:
		return decodeAs[Flows](b)
	case KindNS:
		return decodeAs[NS](b)
	case KindLink:
		return decodeAs[Link](b)
	case KindAddr:
		return decodeAs[Addr](b)
	case KindRoute:
		return decodeAs[Route](b)
	case KindRule:
		return decodeAs[RoutingRule](b)
	case KindSysctl:
		return decodeAs[Sysctl](b)
	case KindBridgePort:
		return decodeAs[BridgePort](b)
	case KindQdisc:
		return decodeAs[Qdisc](b)
	case KindChain:
		return decodeAs[Chain](b)
	case KindSet:
		return decodeAs[AddrSet](b)
	case KindFile:
		return decodeAs[File](b)
	case KindProcess:
		return decodeAs[Process](b)
	case KindRecord:
		return decodeAs[Record](b)
	default:
		return nil, fmt.Errorf("unknown kind %q", kind)
	}
}

func decodeAs[T State](b []byte) (State, error) {
	var st T
	if err := json.Unmarshal(b, &st); err != nil {
		return nil, err
	}
	return st, nil
}

// posJSON is a place in a document.
type posJSON struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"col,omitempty"`
}

// entryOut and entryIn are an Entry. Exactly one of State and Seen is there.
type entryOut struct {
	Kind   Kind      `json:"kind"`
	Owner  Owner     `json:"owner,omitempty"`
	Origin []posJSON `json:"origin,omitempty"`
	State  State     `json:"state,omitempty"`
	Seen   *Seen     `json:"seen,omitempty"`
}

type entryIn struct {
	Kind   Kind            `json:"kind"`
	Owner  Owner           `json:"owner"`
	Origin []posJSON       `json:"origin"`
	State  json.RawMessage `json:"state"`
	Seen   *Seen           `json:"seen"`
}

// out converts e; an owner equal to implied is left out.
func (e Entry) out(implied Owner) entryOut {
	w := entryOut{Kind: e.State.ID().Kind}
	if e.Owner != implied {
		w.Owner = e.Owner
	}
	for _, p := range e.Origin {
		w.Origin = append(w.Origin, posJSON{p.File, p.Line, p.Col})
	}
	if s, ok := e.State.(Seen); ok {
		w.Seen = &s
	} else {
		w.State = e.State
	}
	return w
}

func (w *entryIn) entry(implied Owner) (Entry, error) {
	e := Entry{Owner: cmp.Or(w.Owner, implied)}
	for _, p := range w.Origin {
		e.Origin = append(e.Origin, schema.Pos{File: p.File, Line: p.Line, Col: p.Col})
	}
	switch {
	case w.Seen != nil:
		if !slices.Contains(Kinds(), w.Kind) || w.Seen.Ident.Kind != w.Kind {
			return e, fmt.Errorf("unknown kind %q", w.Kind)
		}
		e.State = *w.Seen
	case len(w.State) == 0 || string(w.State) == "null":
		return e, fmt.Errorf("%s has no state", w.Kind)
	default:
		st, err := decodeState(w.Kind, w.State)
		if err != nil {
			return e, fmt.Errorf("state: %w", err)
		}
		e.State = st
	}
	return e, nil
}

// MarshalJSON implements json.Marshaler. It is lossless, except that an empty
// list may come back as nil.
func (e Entry) MarshalJSON() ([]byte, error) {
	if e.State == nil {
		return nil, errors.New("an entry has no state")
	}
	return json.Marshal(e.out(""))
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *Entry) UnmarshalJSON(b []byte) error {
	var w entryIn
	err := json.Unmarshal(b, &w)
	if err == nil {
		*e, err = w.entry("")
	}
	if err != nil {
		return fmt.Errorf("entry: %w", err)
	}
	return nil
}

type fragmentOut struct {
	Owner   Owner      `json:"owner"`
	Entries []entryOut `json:"entries"`
}

type fragmentIn struct {
	Owner   Owner     `json:"owner"`
	Entries []entryIn `json:"entries"`
}

func (f *Fragment) out() fragmentOut {
	entries := f.Entries()
	w := fragmentOut{Owner: f.Owner, Entries: make([]entryOut, len(entries))}
	for i, e := range entries {
		w.Entries[i] = e.out(f.Owner)
	}
	return w
}

func (w *fragmentIn) fragment() (*Fragment, error) {
	entries := make([]Entry, len(w.Entries))
	ids := make(map[ID]bool, len(w.Entries))
	for i := range w.Entries {
		e, err := w.Entries[i].entry(w.Owner)
		if err != nil {
			return nil, fmt.Errorf("fragment %s: entry %d: %w", w.Owner, i, err)
		}
		if id := e.State.ID(); ids[id] {
			return nil, fmt.Errorf("fragment %s: %s is there twice", w.Owner, id)
		}
		ids[e.State.ID()] = true
		entries[i] = e
	}
	return NewFragment(w.Owner, entries), nil
}

// MarshalJSON implements json.Marshaler.
func (f *Fragment) MarshalJSON() ([]byte, error) { return json.Marshal(f.out()) }

// UnmarshalJSON implements json.Unmarshaler. The fingerprint is computed anew.
func (f *Fragment) UnmarshalJSON(b []byte) error {
	var w fragmentIn
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	made, err := w.fragment()
	if err != nil {
		return err
	}
	*f = *made
	return nil
}

type intentJSON[F any] struct {
	FormatVersion int    `json:"formatVersion"`
	Host          string `json:"host"`
	Frozen        string `json:"frozen,omitempty"`
	Holds         []Hold `json:"holds,omitempty"`
	Terms         []Term `json:"terms,omitempty"`
	Fragments     []F    `json:"fragments"`
}

// MarshalJSON implements json.Marshaler.
func (in *Intent) MarshalJSON() ([]byte, error) {
	w := intentJSON[fragmentOut]{FormatVersion: FormatVersion, Host: in.Host, Frozen: in.Frozen, Holds: in.Holds, Terms: in.Terms}
	w.Fragments = make([]fragmentOut, len(in.Fragments))
	for i, f := range in.Fragments {
		w.Fragments[i] = f.out()
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (in *Intent) UnmarshalJSON(b []byte) error {
	var w intentJSON[fragmentIn]
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("intent: %w", err)
	}
	if err := CheckFormat(w.FormatVersion, FormatVersion); err != nil {
		return fmt.Errorf("intent: %w", err)
	}
	fragments := make([]*Fragment, len(w.Fragments))
	for i := range w.Fragments {
		f, err := w.Fragments[i].fragment()
		if err != nil {
			return fmt.Errorf("intent of %s: %w", w.Host, err)
		}
		fragments[i] = f
	}
	*in = *NewIntent(w.Host, fragments, w.Holds)
	in.Frozen, in.Terms = w.Frozen, w.Terms
	return nil
}

// CheckFormat returns why this weft, which knows format versions up to known,
// cannot read a document of version v.
func CheckFormat(v, known int) error {
	switch {
	case v <= 0:
		return errors.New("formatVersion is missing")
	case v > known:
		return fmt.Errorf("format version %d is newer than this weft reads (%d)", v, known)
	}
	return nil
}

type observedJSON[E any] struct {
	FormatVersion int                `json:"formatVersion"`
	Set           []E                `json:"set"`
	Foreign       []foreignJSON      `json:"foreign,omitempty"`
	Unread        []unreadJSON       `json:"unread,omitempty"`
	Unbound       map[Owner][]string `json:"unbound,omitempty"`
	Notices       map[Owner][]string `json:"notices,omitempty"`
	Guests        []GuestPort        `json:"guests,omitempty"`
}

type foreignJSON struct {
	ID
	Words string `json:"words"`
}

type unreadJSON struct {
	Kind Kind   `json:"kind"`
	NS   string `json:"ns,omitempty"`
	Err  string `json:"err"`
}

// MarshalJSON implements json.Marshaler.
func (x *Observed) MarshalJSON() ([]byte, error) {
	w := observedJSON[entryOut]{FormatVersion: FormatVersion, Set: make([]entryOut, 0, len(x.Set)), Unbound: x.Unbound, Notices: x.Notices, Guests: x.Guests}
	for _, id := range x.Set.IDs() {
		w.Set = append(w.Set, x.Set[id].out(""))
	}
	for _, id := range slices.SortedFunc(maps.Keys(x.Foreign), ID.Compare) {
		w.Foreign = append(w.Foreign, foreignJSON{id, x.Foreign[id]})
	}
	for _, u := range x.Unread {
		w.Unread = append(w.Unread, unreadJSON(u))
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (x *Observed) UnmarshalJSON(b []byte) error {
	var w observedJSON[entryIn]
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("observed: %w", err)
	}
	if err := CheckFormat(w.FormatVersion, FormatVersion); err != nil {
		return fmt.Errorf("observed: %w", err)
	}
	out := NewObserved()
	for i := range w.Set {
		e, err := w.Set[i].entry("")
		if err != nil {
			return fmt.Errorf("observed: entry %d: %w", i, err)
		}
		out.Set.Put(e)
	}
	for _, f := range w.Foreign {
		out.Foreign[f.ID] = f.Words
	}
	for _, u := range w.Unread {
		out.Unread = append(out.Unread, Unread(u))
	}
	maps.Copy(out.Unbound, w.Unbound)
	maps.Copy(out.Notices, w.Notices)
	out.Guests = w.Guests
	*x = *out
	return nil
}

// partJSON is a Part; Bytes stands for a Text that JSON cannot carry, such as
// what somebody else wrote into a file of ours.
type partJSON struct {
	Text   string `json:"text,omitempty"`
	Bytes  []byte `json:"bytes,omitempty"`
	Secret string `json:"secret,omitempty"`
	Hidden bool   `json:"hidden,omitempty"`
	Digest string `json:"digest,omitempty"`
	At     string `json:"at,omitempty"`
	Word   int    `json:"word,omitempty"`

	Optional bool `json:"optional,omitempty"`

	Pos schema.Pos `json:"pos,omitzero"`
}

// MarshalJSON implements json.Marshaler.
func (p Part) MarshalJSON() ([]byte, error) {
	w := partJSON{Text: p.Text, Secret: p.Secret, Hidden: p.Hidden, Digest: p.Digest, At: p.At, Word: p.Word, Optional: p.Optional, Pos: p.Pos}
	if !utf8.ValidString(p.Text) {
		w.Text, w.Bytes = "", []byte(p.Text)
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Part) UnmarshalJSON(b []byte) error {
	var w partJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*p = Part{Text: w.Text, Secret: w.Secret, Hidden: w.Hidden, Digest: w.Digest, At: w.At, Word: w.Word, Optional: w.Optional, Pos: w.Pos}
	if len(w.Bytes) > 0 {
		p.Text = string(w.Bytes)
	}
	return nil
}
