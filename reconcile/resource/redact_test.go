package resource

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRedacted(t *testing.T) {
	f := File{Path: "u", Mode: 0o600, Parts: []Part{{Text: "shown"}, {Text: "hunter2", Hidden: true}, {Secret: "/etc/x"}}}
	in := NewIntent("kvm1", []*Fragment{
		NewFragment("network/a/plain", []Entry{{State: File{Path: "p", Parts: []Part{{Text: "plain"}}}, Owner: "network/a/plain"}}),
		NewFragment("network/a/web", []Entry{{State: f, Owner: "network/a/web"}}),
	}, nil)
	out := in.Redacted()
	b, err := json.Marshal(out)
	if err != nil || strings.Contains(string(b), "hunter2") || !strings.Contains(string(b), "shown") || !strings.Contains(string(b), "plain") {
		t.Errorf("%s, %v", b, err)
	}
	if out.Fragments[0] != in.Fragments[0] {
		t.Error("what hides nothing is made anew")
	}
	if b, _ = json.Marshal(in); !strings.Contains(string(b), "hunter2") || f.Parts[1].Text == "" {
		t.Errorf("the intent itself has lost its text: %s", b)
	}
	for _, field := range f.Fields() {
		if strings.Contains(field.Value, "hunter2") {
			t.Errorf("shown in %s", field.Name)
		}
	}
	var none *Entry
	if none.Redacted() != nil || (*Intent)(nil).Redacted() != nil {
		t.Error("something came of nothing")
	}
}

// What the driver knows of hidden text is its digest, and that is compared.
func TestHiddenIsComparedByDigest(t *testing.T) {
	hidden := func(text, digest string) uint64 {
		return File{Path: "u", Parts: []Part{{Text: text, Hidden: true, Digest: digest}}}.Fingerprint()
	}
	if hidden("a", "1") != hidden("", "1") || hidden("a", "1") == hidden("a", "2") || hidden("a", "") == hidden("b", "") {
		t.Error("neither the digest nor, without one, the text is compared")
	}
	if hidden("a", "") == (File{Path: "u", Parts: []Part{{Text: "a"}}}).Fingerprint() {
		t.Error("hidden text is the same as shown")
	}
}
