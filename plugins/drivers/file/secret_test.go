package file

import (
	"strings"
	"testing"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// TestSecretOfOneWord: a secret that has to be one word and is not holds its owner, told
// at the line that names it, and what is in it is told to nobody.
func TestSecretOfOneWord(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"fine!#?|$(x)'\"\\", ""},
		{"fine\n", ""},
		{strings.Repeat("x", 80), ""},
		{"pä", ""},
		{"", "is empty"},
		{"\n", "is empty"},
		{strings.Repeat("x", 81), "has 81 bytes"},
		{"hush\nrouter bgp 1", "has a line break"},
		{"hush\n\n", "has a line break"},
		{"hush\r\n", "has a line break"},
		{"hush hush", "has a blank"},
		{"hush\t", "has a blank"},
		{"hush\x00", "has a control character"},
		{"\x7fhush", "has a control character"},
	} {
		w := newWorld(t)
		path := w.secret("edge", c.value)
		f := resource.File{Path: "a/bgpd.conf", Mode: 0o600, Parts: []resource.Part{
			{Text: " password "}, {Secret: path, Word: 80, Pos: schema.Pos{File: "zone.yaml", Line: 7, Col: 12}}, {Text: "\n"},
		}}
		in := resource.NewIntent("kvm1", []*resource.Fragment{resource.NewFragment(owner, []resource.Entry{{State: f, Owner: owner}})}, nil)
		hold, held := w.driver().Digest(in).Held(owner)
		err := w.make(f)
		if c.want == "" {
			if held || err != nil {
				t.Errorf("%q is refused: %s, %v", c.value, hold.Reason, err)
			}
			continue
		}
		want := "zone.yaml:7:12: secret " + path + " " + c.want + ": it has to be 1 to 80 characters without blanks, in one line"
		if !held || hold.Reason != want {
			t.Errorf("%q: held %v: %s, want %s", c.value, held, hold.Reason, want)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q is written: %v", c.value, err)
		}
	}
}
