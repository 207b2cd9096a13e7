package resource

import "testing"

// Who has no key takes digests from what was seen, and then nothing differs, the
// process that reads the file neither; what is seen as something else does.
func TestKeyedAs(t *testing.T) {
	const owner Owner = "network/a/web"
	secret := File{Path: "pw", Parts: []Part{{Secret: "/etc/x"}}}
	hidden := File{Path: "u", Parts: []Part{{Text: "hunter2", Hidden: true}}}
	reader := Process{Name: "p", Argv: []string{"p"}, Load: 7, Reload: "HUP", After: []ID{secret.ID(), hidden.ID()}}
	in := NewIntent("kvm1", []*Fragment{
		NewFragment("network/a/other", []Entry{{State: File{Path: "o", Parts: []Part{{Text: "t"}}}, Owner: "network/a/other"}}),
		NewFragment(owner, []Entry{{State: secret, Owner: owner}, {State: hidden, Owner: owner}, {State: reader, Owner: owner}}),
	}, nil)
	host, err := in.Fragments[1].Keyed(func(f File) ([]Part, error) {
		return []Part{{Secret: f.Parts[0].Secret, Hidden: f.Parts[0].Hidden, Digest: "of " + f.Path}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := Set{}
	for _, e := range host.Entries() {
		seen.Put(e)
	}
	if seen[reader.ID()].State.Fingerprint() == reader.Fingerprint() {
		t.Fatal("the process does not follow the files that it reads")
	}
	out := in.KeyedAs(seen)
	for id, e := range seen {
		if out.Set()[id].State.Fingerprint() != e.State.Fingerprint() {
			t.Errorf("%s differs", id)
		}
	}
	if out.Fragments[0] != in.Fragments[0] || in.Set()[reader.ID()].State.Fingerprint() != reader.Fingerprint() {
		t.Error("more was changed than what follows")
	}
	for _, other := range []File{
		{Path: "pw", Parts: []Part{{Text: "(changed by hand)"}}},
		{Path: "pw", Parts: []Part{{Secret: "/etc/y", Digest: "d"}}},
		{Path: "pw", Parts: []Part{{Secret: "/etc/x", Digest: "d"}, {Text: "more"}}},
	} {
		seen[other.ID()] = Entry{State: other, Owner: owner}
		if in.KeyedAs(seen).Set()[other.ID()].State.Fingerprint() == other.Fingerprint() {
			t.Errorf("%v is taken for what is desired", other)
		}
	}
	if in.KeyedAs(Set{}) != in || (*Intent)(nil).KeyedAs(seen) != nil {
		t.Error("where nothing is closed something is made")
	}
}
