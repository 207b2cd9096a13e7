package schema

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// breakouts are strings that would mean more than a name in a config file, a path, or on a
// command line.
var breakouts = []string{
	"a\nb", "a\rb", "a\x00b", "a\x1b[2J", "a\tb", "a;b", "a|b", "a&b", "a$b", "$(id)", "`id`", "a'b", `a"b`, `a\b`, "a<b", "a>b",
	"a#b", "a!b", "a(b", "a{b", "a%b", "-a", "--help", "../a", "a/../b", "/a/../b", "unix:/a/../b", " a", "a ", "", "\u202ea", "a\u2028b", "ä",
	strings.Repeat("a", 64*1024),
}

// TestFormatsHoldBreakouts: every format but free text, which only people read, refuses all of them.
func TestFormatsHoldBreakouts(t *testing.T) {
	allowed := map[string]string{
		"dhcpoption": " a|a |-a|--help|../a|a/../b|/a/../b|unix:/a/../b", // values, quoted where they are used
	}
	for name, f := range formats {
		if f.ok == nil || name == "text" || name == "sentence" {
			continue
		}
		for _, s := range breakouts {
			if f.ok(s) && !strings.Contains("|"+allowed[name]+"|", "|"+s+"|") {
				t.Errorf("%s takes %q", name, brief(s))
			}
		}
	}
	for _, s := range []string{"a\x00b", "a\x1b[2J", "a\u2028b", "\u202ea", "a\rb"} {
		for _, name := range []string{"text", "sentence"} {
			if formats[name].ok(s) {
				t.Errorf("%s takes %q", name, s)
			}
		}
	}
}

// TestEveryStringHasARule: no string field of the language takes anything.
func TestEveryStringHasARule(t *testing.T) {
	for typ, table := range tables {
		for i := range table.fields {
			f := &table.fields[i]
			sf := typ.Field(f.index)
			elem := sf.Type
			for scalarDecoders[elem] == nil && (elem.Kind() == reflect.Slice || elem.Kind() == reflect.Pointer) {
				elem = elem.Elem()
			}
			if elem.Kind() == reflect.String && f.format == nil && len(f.enum) == 0 && typ != reflect.TypeFor[Metadata]() {
				t.Errorf("%s.%s has neither format nor enum", typ.Name(), sf.Name)
			}
		}
	}
}

// TestPatternsAgree: what a format takes, its JSON Schema pattern takes.
func TestPatternsAgree(t *testing.T) {
	for name, f := range formats {
		if f.pattern == "" {
			continue
		}
		pattern := regexp.MustCompile(f.pattern)
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			s := rapid.StringOfN(rapid.RuneFrom([]rune("aZ0-._/:+= x;")), 0, 20, -1).Draw(t, "s")
			for _, s := range []string{s, "unix:/" + s, "/" + s, "root/" + s} {
				if f.ok(s) && !pattern.MatchString(s) {
					t.Fatalf("%q is accepted, but not by the pattern", s)
				}
			}
		}))
	}
}

func TestClassify(t *testing.T) {
	for s, want := range map[string]word{
		"": nullWord, "~": nullWord, "null": nullWord, "Null": nullWord,
		"true": boolWord, "false": boolWord, "True": yesNoWord, "yes": yesNoWord, "OFF": yesNoWord, "y": textWord,
		"0": intWord, "7": intWord, "-5": intWord, "10": intWord,
		"010": octalWord, "00": octalWord, "089": octalWord,
		"+5": otherWord, "0x1f": otherWord, "0o17": otherWord, "0b1": otherWord, "1e3": otherWord, "1.5": otherWord, ".5": otherWord,
		"5.": otherWord, "1_000": otherWord, ".inf": otherWord, "-.INF": otherWord, "1e-3": otherWord,
		"a": textWord, "1.2.3": textWord, "10.1.1.0/24": textWord, "8000-8100": textWord, "-": textWord, "02:00:4c:00:00:0b": textWord,
		"1a": textWord, "e3": textWord, "fd00::1": textWord, "-a": textWord, "..": textWord, "yess": textWord,
	} {
		if got := classify(s); got != want {
			t.Errorf("%q: got %d, want %d", s, got, want)
		}
	}
}

func TestScalarStrings(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{MAC{2, 0, 0x4c, 0, 0, 0xb}.String(), "02:00:4c:00:00:0b"},
		{MAC{}.String(), ""},
		{Ports{{80, 80}, {8000, 8100}}.String(), "80,8000-8100"},
		{IDRange{5, 5}.String(), "5"},
		{IDRange{5, 9}.String(), "5-9"},
		{BroadcastURI{Scheme: SchemeVLAN, ID: 100}.String(), "vlan://100"},
		{BroadcastURI{Scheme: SchemeNative}.String(), "native://untagged"},
		{BroadcastURI{Scheme: SchemeLSwitch, UUID: "u"}.String(), "lswitch:u"},
		{BroadcastURI{}.String(), ""},
		{Ref{"acme", "web"}.String(), "acme/web"},
		{Ref{"", "web"}.Or("acme"), "acme"},
		{Ref{"beta", "web"}.Or("acme"), "beta"},
		{Rate(0).String(), "unlimited"},
		{Rate(200).String(), "200 Mbit/s"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
