package render

import (
	"fmt"
	"html"
	"io"
	"strings"

	"weft.dev/reconcile/plan"
)

// Marker is what a comment made by Markdown begins with, so that it is found
// and updated. People do not see it.
const Marker = "<!-- weft plan -->"

// MostCharacters is how long a comment may be (GitHub's limit of a comment's
// body; GitLab's is larger). It is counted in bytes, which are never fewer.
const MostCharacters = 65536

// Markdown writes r for a pull request: the summary first, hosts folded. What
// does not fit is left out and counted.
func Markdown(w io.Writer, r *plan.Report) error {
	m := &markdown{}
	m.head(r)
	left, hosts := 0, 0
	for _, p := range r.Hosts {
		rows := hostRows(p)
		if len(rows) == 0 {
			continue
		}
		c := p.Count()
		title := fmt.Sprintf("<code>%s</code>: %s%s", html.EscapeString(clean(p.Host)), tally(c), remarks(c))
		if p.Empty() {
			title = fmt.Sprintf("<code>%s</code>: no changes", html.EscapeString(clean(p.Host)))
		}
		if n := m.fold(title, rows); n > 0 {
			left += n
			hosts++
		}
	}
	if rows := reportRows(r); len(rows) > 0 {
		left += m.fold("Lock file, checks, reachability", rows)
	}
	if left > 0 {
		where := ""
		if hosts > 0 {
			where = fmt.Sprintf(" (%s cut short)", count(hosts, "host"))
		}
		fmt.Fprintf(&m.b, "\n**%s left out%s**: a comment holds %d characters. `weft plan` shows all.\n", count(left, "line"), where, MostCharacters)
	}
	if _, err := io.WriteString(w, m.b.String()); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

type markdown struct{ b strings.Builder }

// mostWarnings is how many lines of attention the summary has.
const mostWarnings = 20

func (m *markdown) head(r *plan.Report) {
	b := &m.b
	fmt.Fprintf(b, "%s\n### weft plan\n\n", Marker)
	for _, s := range summarize(r, span) {
		fmt.Fprintf(b, "**%s**\n\n", s)
	}
	switch {
	case r.Base != "" && r.Head != "":
		fmt.Fprintf(b, "From %s to %s.\n\n", span(r.Base), span(r.Head))
	case r.Base != "":
		fmt.Fprintf(b, "From %s to the files as they are.\n\n", span(r.Base))
	case r.Head != "":
		fmt.Fprintf(b, "To %s.\n\n", span(r.Head))
	}
	lines := attention(r)
	if len(lines) == 0 {
		return
	}
	b.WriteString("**Attention:**\n")
	for _, l := range lines[:min(len(lines), mostWarnings)] {
		b.WriteString(l + "\n")
	}
	if n := len(lines) - mostWarnings; n > 0 {
		fmt.Fprintf(b, "- and %d more\n", n)
	}
}

// attention lists what a reviewer should not have to unfold.
func attention(r *plan.Report) []string {
	var lines []string
	for _, c := range r.Checks {
		if c.Status == plan.Denied || c.Status == plan.Failed {
			lines = append(lines, fmt.Sprintf("- **%s**: %s %s", span(string(c.Status)), span(c.Name), span(c.Message)))
		}
	}
	for _, p := range r.Hosts {
		if p.Frozen != "" {
			lines = append(lines, fmt.Sprintf("- %s is frozen: %s", span(p.Host), span(p.Frozen)))
		}
	}
	for _, h := range held(r) {
		lines = append(lines, fmt.Sprintf("- %s is left as it is: %s", span(string(h.Owner)), span(h.Reason)))
	}
	for _, p := range r.Hosts {
		for _, a := range p.Actions {
			if a.Disrupts != "" {
				lines = append(lines, fmt.Sprintf("- %s: %s", span(p.Host), span(a.Disrupts)))
			}
		}
		if n := len(p.Blocked) + len(p.Unread); n > 0 {
			lines = append(lines, fmt.Sprintf("- %s: %s blocked or not read", span(p.Host), count(n, "resource")))
		}
	}
	return lines
}

// tailRoom is kept for the sentence that counts what was left out, and for the
// end of a fold.
const tailRoom = 400

// fold writes rows as a folded difference, as far as they fit; it returns how
// many did not.
func (m *markdown) fold(title string, rows []row) int {
	lines := make([]string, len(rows))
	fence := 3
	for i, r := range rows {
		lines[i] = diffRow(r)
		fence = max(fence, longestRun(lines[i], '`')+1)
	}
	ticks := strings.Repeat("`", fence)
	open := fmt.Sprintf("\n<details><summary>%s</summary>\n\n%sdiff\n", title, ticks)
	room := MostCharacters - tailRoom - m.b.Len() - len(open) - len(ticks)
	fits := 0
	for fits < len(lines) && room >= len(lines[fits])+1 {
		room -= len(lines[fits]) + 1
		fits++
	}
	if fits == 0 {
		return len(lines)
	}
	m.b.WriteString(open)
	for _, l := range lines[:fits] {
		m.b.WriteString(l + "\n")
	}
	m.b.WriteString(ticks + "\n</details>\n")
	return len(lines) - fits
}

// diffRow is a row in a fence of language diff, which colours lines by their
// first character: + and - as everywhere, ! for warnings, # for headings.
func diffRow(r row) string {
	text := clean(r.text)
	if r.more != "" {
		text += "  " + clean(r.more)
	}
	if r.right != "" {
		text += "  (" + clean(r.right) + ")"
	}
	indent := strings.Repeat("  ", r.depth)
	switch r.kind {
	case heading:
		return "# " + indent + text
	case action:
		switch plan.Verb(r.mark) {
		case plan.Create:
			return "+ " + indent + text
		case plan.Delete:
			return "- " + indent + text
		case plan.Update, plan.Replace:
		}
		return "! " + indent + r.mark + " " + text
	case added:
		return "+ " + indent + text
	case removed:
		return "- " + indent + text
	case warning:
		return "! " + indent + text
	case plain, detail, context:
	}
	return "  " + indent + text
}

// longestRun is the length of the longest run of c in s.
func longestRun(s string, c byte) int {
	longest, run := 0, 0
	for i := range len(s) {
		if s[i] != c {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// mostSpan is how many characters one span shows, so that the summary always fits.
const mostSpan = 500

// span is s as code: nothing in it is markup, link or mention.
func span(s string) string {
	s = clean(s)
	if r := []rune(s); len(r) > mostSpan {
		s = string(r[:mostSpan]) + "..."
	}
	if strings.TrimSpace(s) == "" {
		return ""
	}
	ticks := strings.Repeat("`", longestRun(s, '`')+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return ticks + s + ticks
}
