package alloc

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/model"
)

func TestParse(t *testing.T) {
	text := "nic/acme/web-1/web mac 02:00:00:00:00:01\nnetwork/acme/web vnet 5001\r\n\nnetwork/acme/web router kvm1\nnetwork/acme/web vnet 5001\n"
	l, ds := Parse(FileName, []byte(text), nil)
	if len(ds) != 0 {
		t.Fatal(ds[0].String())
	}
	want := "network/acme/web router kvm1\nnetwork/acme/web vnet 5001\nnic/acme/web-1/web mac 02:00:00:00:00:01\n"
	if string(l.Marshal()) != want {
		t.Errorf("got %q", l.Marshal())
	}
	if l.Number("network/acme/web", model.FieldHost) != "kvm1" || l.Number("network/acme/web", model.FieldIP) != "" || l.Number("x", "y") != "" {
		t.Error("wrong numbers")
	}
	if p := l.Pos("network/acme/web", model.FieldHost, "kvm1"); p.Line != 4 {
		t.Error(p)
	}
	if got := l.NICs("acme", "web-1"); !slices.Equal(got, []string{"web"}) || l.NICs("acme", "web") != nil {
		t.Error(got)
	}
}

// TestNICs looks in sorted and in unsorted text.
func TestNICs(t *testing.T) {
	sorted := "network/acme/web vnet 1\nnic/acme/web-1/app ip 10.1.1.1\nnic/acme/web-1/web ip 10.1.1.2\nnic/acme/web-1/web mac 02:00:00:00:00:01\n" +
		"nic/acme/web-10/x ip 10.1.1.3\nnic/acme/web/y ip 10.1.1.4\nnic/beta/web-1/z ip 10.1.1.5\npublicip/acme/nic address 203.0.113.1\n"
	lines := strings.SplitAfter(strings.TrimSuffix(sorted, "\n"), "\n")
	lines[len(lines)-1] += "\n"
	slices.Reverse(lines)
	for _, text := range []string{sorted, strings.Join(lines, "")} {
		l, _ := Parse(FileName, []byte(text), nil)
		if l.plain != (text == sorted) {
			t.Fatal("sorted text is not plain, or unsorted text is")
		}
		for vm, want := range map[string][]string{
			"acme/web-1": {"app", "web"}, "acme/web-10": {"x"}, "acme/web": {"y"}, "beta/web-1": {"z"}, "acme/web-2": nil, "a/a": nil, "zeta/z": nil,
		} {
			account, name, _ := strings.Cut(vm, "/")
			if got := l.NICs(account, name); !slices.Equal(got, want) {
				t.Errorf("%s has %v, want %v", vm, got, want)
			}
		}
	}
	if Empty().NICs("acme", "web") != nil {
		t.Error("an empty lock has NICs")
	}
}

func TestParseMistakes(t *testing.T) {
	for text, code := range map[string]string{
		"network/acme/web vnet\n":                "bad-lock-line",
		"network/acme/web  vnet 1\n":             "bad-lock-line",
		"network/acme/web vnet 1 2\n":            "bad-lock-line",
		"network/acme/web color 1\n":             "bad-lock-line",
		"network/acme vnet 1\n":                  "bad-lock-line",
		"network//web vnet 1\n":                  "bad-lock-line",
		"nic/acme/web vnet 1\n":                  "bad-lock-line",
		"vm/acme/web vnet 1\n":                   "bad-lock-line",
		"network/acme/web vnet $(reboot)\n":      "bad-lock-line",
		"network/acme/web vnet \x00\n":           "bad-lock-line",
		"network/acme/we\u00df vnet 1\n":         "bad-lock-line",
		"<<<<<<< HEAD\n":                         "lock-conflict",
		"=======\n":                              "lock-conflict",
		">>>>>>> branch\n":                       "lock-conflict",
		strings.Repeat("x", 1<<20):               "bad-lock-line",
		"# a comment\nnetwork/acme/web vnet 1\n": "bad-lock-line",
	} {
		l, ds := Parse(FileName, []byte(text), nil)
		if len(ds) != 1 || ds[0].Code != code || ds[0].Line != 1 || ds[0].File != FileName || ds[0].Hint == "" {
			t.Errorf("%.40q: %+v", text, ds)
			continue
		}
		if l.Unreadable() == "" {
			t.Errorf("%.40q: can be trusted", text)
		}
	}
	if _, ds := Parse(FileName, bytes.Repeat([]byte("junk\n"), 100000), nil); len(ds) != maxDiags {
		t.Error(len(ds))
	}
}

// TestUpdateLaw: a lock parsed with the one before is that of its text alone.
func TestUpdateLaw(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	line := func() string {
		o := fmt.Sprintf("network/acme/n%d", rnd.IntN(40))
		return o + " " + []string{model.FieldVNet, model.FieldHost, model.FieldGuestMAC}[rnd.IntN(3)] + fmt.Sprintf(" %d\n", rnd.IntN(9))
	}
	var lines []string
	for range 60 {
		lines = append(lines, line())
	}
	prev, _ := Parse(FileName, nil, nil)
	incremental := 0
	for range 3000 {
		next := slices.Clone(lines)
		for range 1 + rnd.IntN(4) {
			switch i := rnd.IntN(len(next) + 1); {
			case len(next) > 5 && rnd.IntN(3) == 0:
				next = slices.Delete(next, i%len(next), i%len(next)+1)
			default:
				next = slices.Insert(next, i, line())
			}
		}
		if rnd.IntN(20) > 0 {
			slices.Sort(next)
			next = slices.CompactFunc(next, func(a, b string) bool {
				return strings.Join(strings.Fields(a)[:2], " ") == strings.Join(strings.Fields(b)[:2], " ")
			})
		}
		text := strings.Join(next, "")
		got, _ := Parse(FileName, []byte(text), prev)
		want, _ := Parse(FileName, []byte(text), nil)
		if got.from != nil {
			incremental++
		}
		if string(got.Marshal()) != string(want.Marshal()) || !slices.Equal(got.Entries(), want.Entries()) {
			t.Fatalf("from:\n%s\nto:\n%s\ngot:\n%s", prev.text, text, got.Marshal())
		}
		changed := got.Changed(prev)
		for _, o := range append(got.ownerNames(), prev.ownerNames()...) {
			if !slices.Equal(got.of(o), prev.of(o)) != slices.Contains(changed, o) {
				t.Fatalf("%s: changed is %v", o, changed)
			}
		}
		prev, lines = got, next
	}
	if incremental < 1000 {
		t.Errorf("only %d of 3000 were read incrementally", incremental)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("network/acme/web vnet 5001\n", "network/acme/web vnet 5002\n")
	f.Add("<<<<<<<\n", "nic/a/b/c ip 10.0.0.1")
	f.Fuzz(func(t *testing.T, a, b string) {
		l, ds := Parse(FileName, []byte(a), nil)
		for _, d := range ds {
			if d.Pos.Line == 0 && d.Code != codeTwoValues {
				t.Error("no place", d)
			}
		}
		m, _ := Parse(FileName, []byte(b), l)
		want, _ := Parse(FileName, []byte(b), nil)
		if !bytes.Equal(m.Marshal(), want.Marshal()) {
			t.Errorf("%q after %q: %q", b, a, m.Marshal())
		}
	})
}

// TestSubnetOwner: routers of subnets and pods have lines of their own.
func TestSubnetOwner(t *testing.T) {
	text := "network/acme/web pvlan 201\nnetwork/acme/web shared-vnet 100\nsubnet/acme/web/a router kvm1\nsubnet/acme/web/a router-ip 10.1.1.7\n"
	l, ds := Parse(FileName, []byte(text), nil)
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	if string(l.Marshal()) != text || l.Number("subnet/acme/web/a", model.FieldGuestIP) != "10.1.1.7" {
		t.Errorf("read as %q", l.Marshal())
	}
	for _, bad := range []string{"subnet/acme/web vnet 1\n", "subnet/acme/web/a/b vnet 1\n", "subnet/acme//a vnet 1\n"} {
		if _, ds := Parse(FileName, []byte(bad), nil); len(ds) == 0 {
			t.Errorf("%q is taken for a line", bad)
		}
	}
}
