package resource

import "slices"

// Redacted is f without its hidden text, as outputs may have it. What the text was
// is still told by its digest, where the host filled that in.
func (f File) Redacted() File {
	if slices.ContainsFunc(f.Parts, func(p Part) bool { return p.Hidden && p.Text != "" }) {
		f.Parts = slices.Clone(f.Parts)
		for i := range f.Parts {
			if f.Parts[i].Hidden {
				f.Parts[i].Text = ""
			}
		}
	}
	return f
}

// Redacted is e without hidden text; nil stays nil.
func (e *Entry) Redacted() *Entry {
	if e == nil {
		return nil
	}
	f, ok := e.State.(File)
	if !ok {
		return e
	}
	out := *e
	out.State = f.Redacted()
	return &out
}

// Redacted is in without hidden text: for outputs, for nothing can be made of it.
func (in *Intent) Redacted() *Intent {
	if in == nil {
		return nil
	}
	out := *in
	out.Fragments = slices.Clone(in.Fragments)
	for i, f := range out.Fragments {
		entries := slices.Clone(f.Entries())
		hidden := false
		for j := range entries {
			if file, ok := entries[j].State.(File); ok && slices.ContainsFunc(file.Parts, func(p Part) bool { return p.Hidden }) {
				entries[j].State, hidden = file.Redacted(), true
			}
		}
		if hidden {
			out.Fragments[i] = NewFragment(f.Owner, entries)
		}
	}
	return &out
}
