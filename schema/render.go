package schema

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Render writes diagnostics for people: place and message, the line with the offending text
// underlined, related places, hint. source returns the text of a file, or nil where there is
// none; it may itself be nil. With color, ANSI sequences are used. No control character of the
// input reaches w. The errors of w are returned.
func (ds Diags) Render(w io.Writer, source func(file string) []byte, color bool) error {
	r := renderer{w: bufio.NewWriter(w), source: source, color: color, lines: map[string][][]byte{}}
	for i := range ds {
		if i > 0 {
			r.print("\n")
		}
		r.diag(&ds[i])
	}
	return r.w.Flush()
}

// The styles of a renderer, as ANSI parameters.
const (
	bold   = "1"
	red    = "1;31"
	yellow = "1;33"
	blue   = "1;34"
	cyan   = "1;36"
)

type renderer struct {
	w      *bufio.Writer
	source func(string) []byte
	color  bool
	lines  map[string][][]byte // of files read so far
	gutter int                 // width of the line numbers of this diagnostic
}

func (r *renderer) print(s string) { _, _ = r.w.WriteString(s) } // bufio keeps the error for Flush

func (r *renderer) styled(style, s string) {
	if r.color {
		s = "\x1b[" + style + "m" + s + "\x1b[0m"
	}
	r.print(s)
}

func (r *renderer) diag(d *Diag) {
	style := red
	if d.Severity == Warning {
		style = yellow
	}
	r.gutter = len(strconv.Itoa(d.Line))
	for _, n := range d.Related {
		r.gutter = max(r.gutter, len(strconv.Itoa(n.Pos.Line)))
	}
	r.styled(bold, d.Pos.String()+": ")
	r.styled(style, d.Severity.String()+": ")
	r.styled(bold, clean(d.Message))
	r.print("\n")
	r.excerpt(d.Pos, d.Text, style, "^")
	for _, n := range d.Related {
		r.margin("")
		r.styled(cyan, ":: ")
		r.print(n.Pos.String() + ": " + clean(n.Message) + "\n")
		r.excerpt(n.Pos, "", cyan, "-")
	}
	if d.Hint != "" {
		r.margin("")
		r.styled(cyan, "= hint: ")
		r.print(clean(d.Hint) + "\n")
	}
}

// margin starts a line: the number, or as much space.
func (r *renderer) margin(number string) {
	r.styled(blue, fmt.Sprintf(" %*s ", r.gutter, number))
}

// excerpt prints the line of a place with its text underlined.
func (r *renderer) excerpt(p Pos, text, style, mark string) {
	line, ok := r.line(p)
	if !ok || len(bytes.TrimSpace(line)) == 0 {
		return
	}
	e := layOut(line, p.Col, text)
	r.margin(strconv.Itoa(p.Line))
	r.styled(blue, "| ")
	r.print(strings.TrimRight(e.text, " ") + "\n")
	if p.Col > 0 {
		r.margin("")
		r.styled(blue, "| ")
		r.print(strings.Repeat(" ", e.start))
		r.styled(style, strings.Repeat(mark, e.width))
		r.print("\n")
	}
}

func (r *renderer) line(p Pos) ([]byte, bool) {
	if r.source == nil || p.Line <= 0 {
		return nil, false
	}
	lines, ok := r.lines[p.File]
	if !ok {
		if text := r.source(p.File); text != nil {
			lines = bytes.Split(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("\n"))
		}
		r.lines[p.File] = lines
	}
	if p.Line > len(lines) {
		return nil, false
	}
	return bytes.TrimSuffix(lines[p.Line-1], []byte("\r")), true
}

// layout is a line as it is shown, with the cells to underline.
type layout struct {
	text  string
	start int
	width int
}

// The most cells of a line that are shown, and how many of them stand before the mark when the
// line is longer.
const (
	maxCells  = 110
	leadCells = 40
	tabCells  = 4
)

// layOut prepares a line: tabs become spaces, control characters escapes, wide characters count
// two cells. col is the 1-based character that is marked, with as much of text as stands there.
func layOut(line []byte, col int, text string) layout {
	line, col, before, after := near(line, col)
	var cells []string // one per character shown
	var widths []int
	from, to, cell := -1, -1, 0
	marked := markLength(line, col, text)
	for n, b := 1, line; len(b) > 0; n++ {
		c, size := utf8.DecodeRune(b)
		if n == col {
			from = len(cells)
		}
		if n == col+marked {
			to = len(cells)
		}
		s, width := shown(c, cell)
		cells, widths, cell = append(cells, s), append(widths, width), cell+width
		b = b[size:]
	}
	if from < 0 {
		from = len(cells)
	}
	if to < 0 {
		to = len(cells)
	}
	first, last := window(widths, from)
	l := layout{}
	var b strings.Builder
	if before || first > 0 {
		b.WriteString("...")
		l.start = 3
	}
	for i := first; i < last; i++ {
		b.WriteString(cells[i])
		if i < from {
			l.start += widths[i]
		} else if i < to {
			l.width += widths[i]
		}
	}
	if after || last < len(cells) {
		b.WriteString("...")
	}
	l.text, l.width = b.String(), max(l.width, 1)
	return l
}

// near cuts a line of any length to the characters around col that can be shown at all.
func near(line []byte, col int) (part []byte, newCol int, before, after bool) {
	skip := max(col-1-maxCells, 0)
	for range skip {
		_, size := utf8.DecodeRune(line)
		line = line[size:]
	}
	end := 0
	for range 3 * maxCells {
		_, size := utf8.DecodeRune(line[end:])
		end += size
	}
	return line[:end], col - skip, skip > 0, end < len(line)
}

// window chooses which characters of a line are shown so that the one at mark is.
func window(widths []int, mark int) (first, last int) {
	total := 0
	for _, w := range widths {
		total += w
	}
	if total > maxCells {
		lead := 0
		for first = min(mark, len(widths)); first > 0 && lead < leadCells; first-- {
			lead += widths[first-1]
		}
	}
	cells := 0
	for last = first; last < len(widths) && cells < maxCells; last++ {
		cells += widths[last]
	}
	return first, last
}

// markLength counts the characters to underline: text where it stands at col, also in quotes;
// else one.
func markLength(line []byte, col int, text string) int {
	rest := line
	for n := 1; n < col && len(rest) > 0; n++ {
		_, size := utf8.DecodeRune(rest)
		rest = rest[size:]
	}
	if text == "" || strings.Contains(text, "\n") {
		return 1
	}
	for _, quote := range []string{"", `"`, "'"} {
		if bytes.HasPrefix(rest, []byte(quote+text+quote)) {
			return utf8.RuneCountInString(text) + 2*len(quote)
		}
	}
	return 1
}

// shown is a character as it is printed at a cell, and the cells it takes.
func shown(c rune, cell int) (string, int) {
	switch {
	case c == '\t':
		n := tabCells - cell%tabCells
		return strings.Repeat(" ", n), n
	case c == utf8.RuneError:
		return `\ufffd`, 6 // also where the text has it: it looks like a broken terminal
	case unicode.In(c, unicode.Mn, unicode.Me):
		return string(c), 0
	case !unicode.IsPrint(c):
		s := escape(c)
		return s, len(s)
	case isWide(c):
		return string(c), 2
	}
	return string(c), 1
}

// isWide reports whether terminals use two cells: the East Asian wide and emoji blocks.
func isWide(c rune) bool {
	switch {
	case c < 0x1100:
		return false
	case c <= 0x115f, c >= 0x2e80 && c <= 0xa4cf, c >= 0xac00 && c <= 0xd7a3, c >= 0xf900 && c <= 0xfaff,
		c >= 0xfe30 && c <= 0xfe6f, c >= 0xff00 && c <= 0xff60, c >= 0xffe0 && c <= 0xffe6,
		c >= 0x1f300 && c <= 0x1faff, c >= 0x20000 && c <= 0x3fffd:
		return true
	}
	return false
}

func escape(c rune) string {
	q := strconv.QuoteRuneToASCII(c)
	return q[1 : len(q)-1]
}

// clean makes text of hostile input safe for a terminal and a log: control characters, invalid
// UTF-8 and characters that change the direction of text become visible escapes.
func clean(s string) string {
	if isClean(s) {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		if unicode.IsPrint(c) && c != unicode.ReplacementChar {
			b.WriteRune(c)
		} else {
			b.WriteString(escape(c))
		}
	}
	return b.String()
}

// isClean reports whether s has printable characters only.
func isClean(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return isCleanUnicode(s)
		}
	}
	return true
}

func isCleanUnicode(s string) bool {
	for _, c := range s {
		if !unicode.IsPrint(c) || c == unicode.ReplacementChar {
			return false
		}
	}
	return true
}
