package plan

import (
	"slices"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// Source is the document line that asked for the action: for what changes in a
// resource, else for the resource, or for what is removed. The commit is known of what
// is desired.
func (a *Action) Source(revision string) Source {
	var gone Source
	for i := range a.Changes {
		if s := a.Changes[i].Source; !s.IsZero() {
			return s
		}
		for _, l := range a.Changes[i].Diff {
			switch {
			case l.Source.IsZero():
			case l.Op == "+":
				return l.Source
			case gone.IsZero():
				gone = l.Source
			}
		}
	}
	if !gone.IsZero() {
		return gone
	}
	if s := sourceOf(a.After, revision); !s.IsZero() {
		return s
	}
	return sourceOf(a.Before, "")
}

// NICs lists those that the action is for, as "account/vm/nic".
func (a *Action) NICs() []string {
	var out []string
	for _, e := range []*resource.Entry{a.Before, a.After} {
		if e != nil {
			out = append(out, resource.NICOf(e.State))
		}
	}
	for i := range a.Changes {
		for _, l := range a.Changes[i].Diff {
			out = append(out, l.NIC)
		}
	}
	slices.Sort(out)
	return slices.Compact(slices.DeleteFunc(out, func(nic string) bool { return nic == "" }))
}

// forNICs is the phase of a change of lines that are NICs' as far as they are
// anybody's in particular; "" where it is another one.
func (a *Action) forNICs() Phase {
	var phase Phase
	for i := range a.Changes {
		for _, l := range a.Changes[i].Diff {
			switch {
			case l.NIC == "" && !l.Source.IsZero():
				return ""
			case l.NIC == "":
			case l.Op == "+":
				phase = Prepare
			case phase == "":
				phase = Release
			}
		}
	}
	return phase
}

// follow gives processes that change because files of theirs do the phase and the
// source of those.
func (p *Plan) follow() {
	files := map[resource.ID]*Action{}
	for _, a := range p.Actions {
		if a.ID.Kind == resource.KindFile && a.Verb == Update {
			files[a.ID] = a
		}
	}
	for _, a := range p.Actions {
		if a.ID.Kind != resource.KindProcess || a.Verb != Update || a.Drift {
			continue
		}
		var causes []*Action
		for _, id := range resource.Requires(a.After.State) {
			if f := files[id]; f != nil {
				causes = append(causes, f)
			}
		}
		if len(causes) == 0 {
			continue
		}
		first := causes[0]
		for i := range a.Changes {
			a.Changes[i].Source = first.Source(p.Revision)
		}
		if !slices.ContainsFunc(causes, func(f *Action) bool { return f.Phase != first.Phase }) {
			a.Phase = first.Phase
		}
	}
}

// sourceOf is where an entry comes from.
func sourceOf(e *resource.Entry, commit string) Source {
	if e == nil || len(e.Origin) == 0 || e.Origin[0] == (schema.Pos{}) {
		return Source{}
	}
	return Source{File: e.Origin[0].File, Line: e.Origin[0].Line, Commit: commit}
}
