package schema

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func render(source string, color bool, ds ...Diag) string {
	var b strings.Builder
	_ = Diags(ds).Render(&b, func(string) []byte { return []byte(source) }, color)
	return b.String()
}

func TestRender(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		diag   Diag
		want   string
	}{
		"tab": {"\ta: bad\n", Diag{Pos: Pos{"f", 1, 5}, Message: "m", Text: "bad"},
			"f:1:5: error: m\n 1 |     a: bad\n   |        ^^^\n"},
		"wide": {"你好: bad\n", Diag{Pos: Pos{"f", 1, 5}, Message: "m", Text: "bad"},
			"f:1:5: error: m\n 1 | 你好: bad\n   |       ^^^\n"},
		"combining": {"e\u0301: bad\n", Diag{Pos: Pos{"f", 1, 5}, Message: "m", Text: "bad"},
			"f:1:5: error: m\n 1 | e\u0301: bad\n   |    ^^^\n"},
		"control": {"\x1b[2J: bad\r\n", Diag{Pos: Pos{"f\x07", 1, 7}, Message: "m\x1b", Hint: "h\n\u202e", Text: "bad"},
			"f\\a:1:7: error: m\\x1b\n 1 | \\x1b[2J: bad\n   |          ^^^\n   = hint: h\\n\\u202e\n"},
		"past the end": {"a\n", Diag{Pos: Pos{"f", 1, 9}, Message: "m", Text: "x"},
			"f:1:9: error: m\n 1 | a\n   |  ^\n"},
		"no line":    {"a\n", Diag{Pos: Pos{"f", 7, 1}, Message: "m"}, "f:7:1: error: m\n"},
		"no place":   {"a\n", Diag{Message: "m", Severity: Warning}, "-: warning: m\n"},
		"whole file": {"a\n", Diag{Pos: Pos{File: "f"}, Message: "m"}, "f: error: m\n"},
		"related": {"a: 1\nb: 2\n", Diag{Pos: Pos{"f", 2, 1}, Message: "m", Text: "b", Related: []Note{{Pos{"f", 1, 1}, "first"}}},
			"f:2:1: error: m\n 2 | b: 2\n   | ^\n   :: f:1:1: first\n 1 | a: 1\n   | -\n"},
		"byte order mark": {"\ufeffa: b\n", Diag{Pos: Pos{"f", 1, 4}, Message: "m", Text: "b"}, "f:1:4: error: m\n 1 | a: b\n   |    ^\n"},
	} {
		if got := render(c.source, false, c.diag); got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, c.want)
		}
	}
}

func TestRenderLongLine(t *testing.T) {
	source := strings.Repeat("x", 5000) + "BAD" + strings.Repeat("y", 5000)
	got := render(source, false, Diag{Pos: Pos{"f", 1, 5001}, Message: "m", Text: "BAD"})
	lines := strings.Split(got, "\n")
	if len(lines[1]) > maxCells+20 {
		t.Errorf("a line of %d characters", len(lines[1]))
	}
	if at := strings.Index(lines[1], "BAD"); at < 0 || strings.Index(lines[2], "^^^") != at {
		t.Errorf("the mark is not under the text:\n%s", got)
	}
}

func TestRenderColor(t *testing.T) {
	got := render("a: b\n", true, Diag{Pos: Pos{"f", 1, 4}, Message: "m\x1b[0m", Text: "b"})
	if !strings.Contains(got, "\x1b[1;31merror: \x1b[0m") || strings.Contains(got, "m\x1b[0m\x1b[0m") {
		t.Errorf("%q", got)
	}
}

func TestSort(t *testing.T) {
	var ds Diags
	ds.Errorf(Pos{"b", 1, 1}, "x", "m")
	ds.Errorf(Pos{"a", 2, 1}, "x", "m")
	ds.Errorf(Pos{"a", 1, 9}, "y", "m")
	ds.Errorf(Pos{"a", 1, 9}, "x", "n")
	ds.Warnf(Pos{"a", 1, 9}, "x", "m")
	ds.Warnf(Pos{"a", 1, 9}, "x", "m")
	ds.Sort()
	var got []string
	for i := range ds {
		got = append(got, ds[i].String()+" "+ds[i].Code)
	}
	want := []string{"a:1:9: warning: m x", "a:1:9: error: n x", "a:1:9: error: m y", "a:2:1: error: m x", "b:1:1: error: m x"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"offering", "cidr", "gateway", "networkDomain", "VXLAN", "egress", "ip", "ip6"}
	for text, want := range map[string]string{
		"offring": "offering", "CIDR": "cidr", "gatway": "gateway", "network-domain": "networkDomain", "network_domain": "networkDomain",
		"vxlan": "VXLAN", "ergess": "egress", "something": "", "x": "", "ipp": "ip", "": "",
	} {
		if got := nearest(text, words); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestClashes: every item that overlaps another is reported, and nothing else is.
func TestClashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type span struct{ from, to int }
		spans := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) span {
			from := rapid.IntRange(0, 30).Draw(t, "from")
			return span{from, from + rapid.IntRange(0, 5).Draw(t, "length")}
		}), 0, 12).Draw(t, "spans")
		overlap := func(i, j int) bool { return spans[i].from <= spans[j].to && spans[j].from <= spans[i].to }
		clash := false
		for i := range spans {
			for j := range i {
				clash = clash || overlap(i, j)
			}
		}
		got := clashes(len(spans), func(i int) (int, int) { return spans[i].from, spans[i].to }, func(a, b int) int { return a - b })
		if clash != (len(got) > 0) {
			t.Fatalf("%v: %v", spans, got)
		}
		for _, c := range got {
			if c.first >= c.second || !overlap(c.first, c.second) {
				t.Fatalf("%v: %v do not overlap", spans, c)
			}
		}
	})
}
