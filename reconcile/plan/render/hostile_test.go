package render_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/plan/render"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// spiced is a report in which everything that a user or a host may have
// written holds spice.
func spiced(t *testing.T, spice string) *plan.Report {
	t.Helper()
	owner := resource.Owner("network/acme/" + spice)
	origin := []schema.Pos{{File: "networks/" + spice + ".yaml", Line: 3, Col: 1}}
	port := func(bridge string) resource.Port {
		return resource.Port{Bridge: bridge, Name: "p" + spice, IfaceID: "acme/vm/" + spice, MAC: spice}
	}
	before := intent("kvm1", nil, []resource.Entry{
		entry(owner, resource.Bridge{Name: "b0", Datapath: "netdev"}, origin),
		entry(owner, resource.Bridge{Name: "b1", Datapath: "netdev"}, origin),
		entry(owner, port("b0"), origin),
		entry(owner, resource.File{Path: "f" + spice, Parts: []resource.Part{{Text: "one\n" + spice}}}, origin),
		entry(owner, resource.NS{Name: "gone" + spice, Owner: owner}, origin),
	})
	after := intent("kvm1", []resource.Hold{{Owner: owner + "x", Cause: resource.HoldInvalid, Reason: spice}}, []resource.Entry{
		entry(owner, resource.Bridge{Name: "b0", Datapath: "netdev"}, origin),
		entry(owner, resource.Bridge{Name: "b1", Datapath: "netdev"}, origin),
		entry(owner, port("b1"), origin),
		entry(owner, resource.File{Path: "f" + spice, Parts: []resource.Part{{Text: spice + "\ntwo"}}}, origin),
		entry(owner, resource.Process{Name: "d" + spice, NS: "missing" + spice, Argv: []string{spice}}, origin),
		entry(owner, resource.Process{Name: "e" + spice, Argv: []string{spice}}, origin),
	})
	p, err := plan.Between(before, after, plan.Options{Revision: spice})
	if err != nil {
		t.Fatal(err)
	}
	p.Foreign = []plan.Foreign{{ID: resource.ID{Kind: "net.ns", Name: spice}, Owner: owner, Words: spice}}
	p.Unread = []resource.Unread{{Kind: "fw.set", NS: spice, Err: spice}}
	p.Unbound = []plan.Unbound{{Owner: owner, Symbols: []string{spice}}}
	p.Notices = []plan.Notice{{Owner: owner, Words: []string{spice}}}
	r := plan.NewReport(spice, spice, []*plan.Plan{p, {Host: "h" + spice, Frozen: spice}})
	source := plan.Source{File: spice, Line: 1}
	r.Allocations = []plan.Allocation{{Verb: plan.Update, Owner: spice, Field: spice, From: spice, To: spice}}
	r.Checks = []plan.Check{{Name: spice, Status: plan.Denied, Message: spice, Source: source}, {Name: spice, Status: plan.Warned, Message: spice}}
	r.Reachability = &plan.Reachability{Gained: []plan.Path{{From: spice, To: spice, Ports: spice, Source: source}}, Exposed: []string{spice}}
	return r
}

func hostile() []string {
	return []string{
		"x\ny", "x\r\ny", "\x1b[2Jx", "x\u2028y\u202ez", "x\x00\x9by", "```", "x```````y", "`", "</details></summary><script>alert(1)</script>",
		"<!-- weft plan -->", "-->", "@everyone", "[x](http://e.example)", "**x**", "::error file=a::b", "x::y,z=1", "%0A::error::x", "\n::set-output name=a::b",
		"\n```\n# injected\n", "  ", "~~~", "|x|", "&lt;", string([]byte{0xff, 0xfe}),
	}
}

func write(t *testing.T, f func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := f(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestNobodyBreaksOutOfText(t *testing.T) {
	for _, spice := range hostile() {
		r := spiced(t, spice)
		for name, out := range map[string]string{
			"text":   write(t, func(w io.Writer) error { return render.Text(w, r, render.Options{Width: 100}) }),
			"steps":  write(t, func(w io.Writer) error { return render.Steps(w, r, render.Options{Width: 100}) }),
			"md":     write(t, func(w io.Writer) error { return render.Markdown(w, r) }),
			"github": write(t, func(w io.Writer) error { return render.GitHub(w, r) }),
		} {
			for _, c := range out {
				if c != '\n' && c < ' ' || c >= 0x7f && c < 0xa0 || strings.ContainsRune("\u2028\u202e\uFFFD", c) {
					t.Errorf("%s with %q holds %q", name, spice, c)
					break
				}
			}
			for l := range strings.SplitSeq(out, "\n") {
				if strings.HasPrefix(l, "# injected") || name != "github" && strings.HasPrefix(l, "::") {
					t.Errorf("%s with %q has a line of its own: %q", name, spice, l)
				}
			}
		}
	}
}

// outside returns what stands outside of fences and code spans, and fails if a
// fence is left open.
func outside(t *testing.T, md string) string {
	t.Helper()
	var b strings.Builder
	fence := ""
	for l := range strings.SplitSeq(md, "\n") {
		trimmed := strings.TrimLeft(l, " ")
		ticks := trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, "`"))]
		indented := len(l) - len(trimmed)
		switch {
		case fence == "" && len(ticks) >= 3 && indented < 4 && !strings.Contains(trimmed[len(ticks):], "`"):
			fence = ticks
		case fence == "":
			b.WriteString(noSpans(l) + "\n")
		case len(ticks) >= len(fence) && indented < 4 && strings.TrimSpace(trimmed[len(ticks):]) == "":
			fence = ""
		}
	}
	if fence != "" {
		t.Errorf("a fence is left open:\n%s", md)
	}
	return b.String()
}

func noSpans(l string) string {
	var b strings.Builder
	for l != "" {
		i := strings.IndexByte(l, '`')
		if i < 0 || i > 0 && l[i-1] == '\\' {
			if i < 0 {
				i = len(l) - 1
			}
			b.WriteString(l[:i+1])
			l = l[i+1:]
			continue
		}
		b.WriteString(l[:i])
		l = l[i:]
		ticks := l[:len(l)-len(strings.TrimLeft(l, "`"))]
		rest := l[len(ticks):]
		j := strings.Index(" "+strings.ReplaceAll(rest, ticks+"`", strings.Repeat("x", len(ticks)+1))+" ", ticks)
		if j < 0 {
			b.WriteString(ticks)
			l = rest
			continue
		}
		l = rest[min(len(rest), j-1+len(ticks)):]
	}
	return b.String()
}

func TestNobodyBreaksOutOfMarkdown(t *testing.T) {
	tags := strings.NewReplacer("<details>", "", "</details>", "", "<summary>", "", "</summary>", "")
	code := regexp.MustCompile("<code>[^<]*</code>")
	for _, spice := range hostile() {
		md := write(t, func(w io.Writer) error { return render.Markdown(w, spiced(t, spice)) })
		free, ok := strings.CutPrefix(outside(t, md), render.Marker+"\n")
		if !ok {
			t.Errorf("with %q the marker is not first:\n%s", spice, md)
		}
		if n := strings.Count(md, "<details>"); n != 3 && !strings.Contains(spice, "details") {
			t.Errorf("with %q there are %d folds, want 3", spice, n)
		}
		if i := strings.IndexAny(tags.Replace(code.ReplaceAllString(free, "")), "<>@"); i >= 0 {
			t.Errorf("with %q markup stands outside of code:\n%s", spice, tags.Replace(free))
		}
	}
}

func TestNobodyBreaksOutOfAnnotations(t *testing.T) {
	lines := func(spice string) []string {
		out := write(t, func(w io.Writer) error { return render.GitHub(w, spiced(t, spice)) })
		return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	}
	want := len(lines("harmless"))
	for _, spice := range hostile() {
		got := lines(spice)
		if len(got) != want {
			t.Errorf("with %q there are %d commands, want %d", spice, len(got), want)
		}
		for _, l := range got {
			command, message, ok := strings.Cut(strings.TrimPrefix(l, "::"), "::")
			level, properties, _ := strings.Cut(command, " ")
			if !ok || level != "error" && level != "warning" && level != "notice" {
				t.Errorf("with %q: no command: %q", spice, l)
			}
			for p := range strings.SplitSeq(properties, ",") {
				key, _, _ := strings.Cut(p, "=")
				if key != "file" && key != "line" && key != "title" {
					t.Errorf("with %q: property %q in %q", spice, p, l)
				}
			}
			_ = message
		}
	}
}

func TestCommentIsCutAndCounted(t *testing.T) {
	var entries []resource.Entry
	for i := range 3000 {
		entries = append(entries, nic(web, fmt.Sprintf("tap-%d", i), fmt.Sprintf("acme/vm-%d/web", i), "02:00:4c:00:00:0b", i+1))
	}
	empty := resource.NewIntent("kvm1", nil, nil)
	p, err := plan.Between(empty, intent("kvm1", nil, base("kvm1"), entries), plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	md := write(t, func(w io.Writer) error { return render.Markdown(w, plan.NewReport("a", "b", []*plan.Plan{p, p, p})) })
	if len(md) > render.MostCharacters || len(md) < render.MostCharacters*9/10 {
		t.Errorf("the comment has %d characters, the limit is %d", len(md), render.MostCharacters)
	}
	shown := strings.Count(md, "ovs.port tap-")
	var left int
	tail := md[strings.LastIndex(md, "\n**")+3:]
	if _, err := fmt.Sscanf(tail, "%d lines left out", &left); err != nil {
		t.Fatalf("nothing says what was left out: %q", tail)
	}
	headings := 3 * 5 // host, owner and phase lines
	if shown+left < 9000 || shown+left > 9000+headings {
		t.Errorf("%d lines shown and %d left out, want 9000 with up to %d headings", shown, left, headings)
	}
	outside(t, md)
}

// TestSummaryIsCut: whatever hosts and daemons say, a comment fits, and names all hosts that fit.
func TestSummaryIsCut(t *testing.T) {
	var hosts []*plan.Plan
	for i := range 30 {
		hosts = append(hosts, &plan.Plan{Host: fmt.Sprintf("kvm%d", i), Frozen: strings.Repeat("\u20ac ", 20_000)})
	}
	md := write(t, func(w io.Writer) error { return render.Markdown(w, plan.NewReport("a", "b", hosts)) })
	if len(md) > render.MostCharacters || !strings.Contains(md, "- and 10 more\n") || !strings.Contains(md, "lines left out") {
		t.Errorf("the comment has %d characters", len(md))
	}
	outside(t, md)
}

// TestWrap: lines are broken at blanks, and at the first one where none is in time.
func TestWrap(t *testing.T) {
	for in, want := range map[string]string{
		"":                "",
		"one two":         "one two",
		"one two three":   "one two|three",
		"12345678 90":     "12345678|90",
		"123456789 90 ab": "123456789|90 ab",
		"\u20ac\u20ac\u20ac \u20ac\u20ac\u20ac \u20ac": "\u20ac\u20ac\u20ac \u20ac\u20ac\u20ac|\u20ac",
		"unbroken-as-it-is":                            "unbroken-as-it-is",
	} {
		if got := strings.Join(render.Wrap(in, 8), "|"); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestReportRoundTrip(t *testing.T) {
	for _, r := range []*plan.Report{change(t), spiced(t, "harmless")} {
		first := write(t, func(w io.Writer) error { return render.JSON(w, r) })
		var back plan.Report
		if err := json.Unmarshal([]byte(first), &back); err != nil {
			t.Fatal(err)
		}
		second := write(t, func(w io.Writer) error { return render.JSON(w, &back) })
		if first != second {
			t.Errorf("the JSON changed on the way:\n%s\n%s", first, second)
		}
		a := write(t, func(w io.Writer) error { return render.Text(w, r, render.Options{}) })
		b := write(t, func(w io.Writer) error { return render.Text(w, &back, render.Options{}) })
		if a != b {
			t.Errorf("the text changed on the way:\n%s\n%s", a, b)
		}
		if !reflect.DeepEqual(r.Checks, back.Checks) {
			t.Errorf("checks: got %v, want %v", back.Checks, r.Checks)
		}
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	file := func(digest string) []resource.Entry {
		parts := []resource.Part{{Text: "user ann\npassword "}, {Secret: "/etc/weft/ann.pw", Digest: digest}}
		return []resource.Entry{entry(web, resource.File{Path: "web/users", Mode: 0o600, Parts: parts}, from("a.yaml", 1))}
	}
	p, err := plan.Between(intent("kvm1", nil, file("old-digest")), intent("kvm1", nil, file("new-digest")), plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := write(t, func(w io.Writer) error {
		return render.Text(w, plan.NewReport("a", "b", []*plan.Plan{p}), render.Options{})
	})
	if strings.Contains(out, "digest") || !strings.Contains(out, "~   file web/users") {
		t.Errorf("got:\n%s", out)
	}
	hidden := func(text string) []resource.Entry {
		return []resource.Entry{entry(web, resource.File{Path: "web/users", Mode: 0o600, Parts: []resource.Part{{Text: text, Hidden: true}}}, from("a.yaml", 1))}
	}
	if p, err = plan.Between(intent("kvm1", nil, hidden("hunter2")), intent("kvm1", nil, hidden("hunter3")), plan.Options{}); err != nil {
		t.Fatal(err)
	}
	r := plan.NewReport("a", "b", []*plan.Plan{p})
	for name, show := range map[string]func(io.Writer) error{
		"text":   func(w io.Writer) error { return render.Text(w, r, render.Options{}) },
		"steps":  func(w io.Writer) error { return render.Steps(w, r, render.Options{}) },
		"md":     func(w io.Writer) error { return render.Markdown(w, r) },
		"github": func(w io.Writer) error { return render.GitHub(w, r) },
		"json":   func(w io.Writer) error { return render.JSON(w, r) },
	} {
		if out := write(t, show); strings.Contains(out, "hunter") || !strings.Contains(out, "web/users") {
			t.Errorf("%s:\n%s", name, out)
		}
	}
}
