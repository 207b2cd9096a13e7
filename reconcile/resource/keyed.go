package resource

import (
	"fmt"
	"slices"
)

// Keyed returns f with the parts of each file that has closed ones as fill returns
// them, with digests, and the processes that read such a file changed with it: their
// Load where they can reload, else their Start. f itself stays as it is, and is
// returned where nothing in it is closed.
func (f *Fragment) Keyed(fill func(File) ([]Part, error)) (*Fragment, error) {
	contents := map[ID]uint64{}
	var entries []Entry
	for i, e := range f.Entries() {
		file, ok := e.State.(File)
		if !ok || !slices.ContainsFunc(file.Parts, func(p Part) bool { return p.Closed() }) {
			continue
		}
		parts, err := fill(file)
		if err != nil {
			return nil, err
		}
		if entries == nil {
			entries = slices.Clone(f.Entries())
		}
		file.Parts = parts
		entries[i].State = file
		contents[file.ID()] = file.Content()
	}
	if entries == nil {
		return f, nil
	}
	for i, e := range entries {
		if p, ok := e.State.(Process); ok {
			entries[i].State = p.follow(contents)
		}
	}
	return NewFragment(f.Owner, entries), nil
}

// follow mixes what files hold into the process that reads them.
func (p Process) follow(contents map[ID]uint64) Process {
	for _, id := range p.After {
		content, ok := contents[id]
		if !ok {
			continue
		}
		part := Digest(id.Name, fmt.Sprint(content))
		if p.Reload != "" {
			p.Load ^= part
		} else {
			p.Start ^= part
		}
	}
	return p
}

// KeyedAs is in with the digests that seen has of the same closed parts: who has not
// the key of a host takes for unchanged what it cannot compare.
func (in *Intent) KeyedAs(seen Set) *Intent {
	owners := map[Owner]bool{} // of such files: most have none
	for _, e := range seen {
		if f, ok := e.State.(File); ok && slices.ContainsFunc(f.Parts, func(p Part) bool { return p.Digest != "" }) {
			owners[e.Owner] = true
		}
	}
	if in == nil || len(owners) == 0 {
		return in
	}
	out := *in
	out.Fragments = slices.Clone(in.Fragments)
	for i, f := range out.Fragments {
		if !owners[f.Owner] {
			continue
		}
		f, err := f.Keyed(func(file File) ([]Part, error) { return keyedAs(file, seen), nil })
		if err != nil {
			panic("resource: filling in what was seen fails: " + err.Error())
		}
		out.Fragments[i] = f
	}
	return &out
}

func keyedAs(file File, seen Set) []Part {
	was, ok := seen[file.ID()].State.(File)
	if !ok || len(was.Parts) != len(file.Parts) {
		return file.Parts
	}
	parts := slices.Clone(file.Parts)
	for i, p := range parts {
		if w := was.Parts[i]; p.Closed() && p.Secret == w.Secret && p.Hidden == w.Hidden {
			parts[i].Digest = w.Digest
		}
	}
	return parts
}
