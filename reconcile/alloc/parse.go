package alloc

import (
	"net/netip"
	"slices"
	"strings"

	"weft.dev/reconcile/model"
	"weft.dev/schema"
)

// Parse reads the text of a lock called file. prev is the lock read before from
// an earlier text, or nil; with it only what differs is read. All mistakes are
// returned; a lock with mistakes still answers for the lines without.
func Parse(file string, data []byte, prev *Lock) (*Lock, schema.Diags) {
	if prev != nil && prev.file == file && prev.text == string(data) {
		return prev, prev.diags
	}
	text := string(data)
	if prev != nil && prev.file == file && prev.plain {
		if l := prev.update(text); l != nil {
			return l, nil
		}
	}
	p := parser{lock: &Lock{file: file, text: text, plain: true, self: &token{}}}
	p.read(text)
	p.group()
	return p.lock, p.lock.diags
}

const codeTwoValues = "lock-two-values"

// maxDiags of one lock: the rest of a file that is no lock says nothing new.
const maxDiags = 50

type parser struct {
	lock    *Lock
	entries []Entry
	line    int
	quiet   bool // a mistake ends the parse
	failed  bool
}

// read splits text into entries.
func (p *parser) read(text string) {
	p.entries = slices.Grow(p.entries, len(text)/40)
	for len(text) > 0 && !(p.quiet && p.failed) {
		p.line++
		line := text
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			line, text = text[:i], text[i+1:]
		} else {
			text = ""
			p.lock.plain = false // the last line has no end
		}
		e, ok := split(line)
		if !ok {
			p.odd(line)
			continue
		}
		if n := len(p.entries); n > 0 && p.lock.plain && !before(p.entries[n-1], e) {
			p.lock.plain = false
		}
		p.entries = append(p.entries, e)
	}
}

// split reads OWNER FIELD VALUE.
func split(line string) (e Entry, ok bool) {
	i := strings.IndexByte(line, ' ')
	if i <= 0 {
		return e, false
	}
	j := strings.IndexByte(line[i+1:], ' ')
	if j <= 0 {
		return e, false
	}
	e = Entry{line[:i], fieldName(line[i+1 : i+1+j]), line[i+j+2:]}
	if e.Field == "" || !isOwner(e.Owner) || !isValue(e.Value) {
		return e, false
	}
	return e, true
}

// before reports whether a is the line of an earlier field than b.
func before(a, b Entry) bool {
	if a.Owner != b.Owner {
		return a.Owner < b.Owner
	}
	return a.Field < b.Field
}

// fieldName returns the constant of a field, so that the text is not needed for
// it, or "".
func fieldName(s string) string {
	for _, f := range [...]string{
		model.FieldCTZone, model.FieldIP, model.FieldMAC, model.FieldVNet, model.FieldAddress, model.FieldSourceNAT,
		model.FieldHost, model.FieldGuestMAC, model.FieldPublicMAC, model.FieldGuestIP, model.FieldIP6, model.FieldGuestIP6, model.FieldPublicIP6, model.FieldSharedVNet, model.FieldSecondary, model.FieldOuter, model.FieldASN,
		model.FieldHost2, model.FieldGuestMAC2, model.FieldGuestIP2, model.FieldVRID, model.FieldLead,
	} {
		if s == f {
			return f
		}
	}
	if ip, ok := strings.CutPrefix(s, model.FieldSecondaryIP); ok {
		if a, err := netip.ParseAddr(ip); err == nil && a.String() == ip {
			return strings.Clone(s)
		}
	}
	if model.LegField(s) {
		return strings.Clone(s)
	}
	if user, ok := strings.CutPrefix(s, model.FieldUser); ok && isUser(user) {
		return strings.Clone(s)
	}
	return ""
}

// isUser reports whether s may be a user's name, as the language writes it.
func isUser(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '@', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}

// isOwner reports whether s is nic/ACCOUNT/VM/NIC, subnet/ACCOUNT/NETWORK/NAME,
// or KIND/ACCOUNT/NAME with network, publicip, vpc, privategateway, remoteaccessvpn or
// lb.
func isOwner(s string) bool {
	word, rest, ok := strings.Cut(s, "/")
	if !ok {
		return false
	}
	parts := 2
	switch word {
	case "nic", "subnet":
		parts = 3
	case "lb", "remoteaccessvpn", "network", "publicip", "vpc", "privategateway":
	default:
		return false
	}
	slashes, last := 0, -1
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '/':
			if i == last+1 {
				return false
			}
			slashes, last = slashes+1, i
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
		default:
			return false
		}
	}
	return slashes == parts-1 && last+1 < len(rest)
}

// isValue reports whether s can be a number, an address, a prefix or a name.
func isValue(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == ':', c == '-', c == '/':
		default:
			return false
		}
	}
	return true
}

// odd deals with a line that is no entry as it is.
func (p *parser) odd(line string) {
	p.lock.plain = false
	trimmed := strings.TrimRight(line, " \t\r")
	if trimmed == "" {
		return
	}
	if trimmed != line {
		if e, ok := split(trimmed); ok {
			p.entries = append(p.entries, e)
			return
		}
	}
	p.failed = true
	if len(p.lock.diags) >= maxDiags {
		return
	}
	at := schema.Pos{File: p.lock.file, Line: p.line, Col: 1}
	for _, mark := range []string{"<<<<<<<", "=======", ">>>>>>>", "|||||||"} {
		if strings.HasPrefix(line, mark) {
			p.lock.diags.Errorf(at, "lock-conflict", "a merge conflict is left in the lock").Offending(mark).
				Hintf("run weft lock --base REV, where REV is the branch that was merged into")
			return
		}
	}
	words := strings.Fields(trimmed)
	d := p.lock.diags.Errorf(at, "bad-lock-line", "this is no line of a lock").Offending(brief(trimmed))
	switch {
	case len(words) != 3:
		d.Hintf("a line has an owner, a field and a value; weft lock writes the file")
	case !isOwner(words[0]):
		d.Hintf("an owner is such as network/acme/web, nic/acme/web-1/web or publicip/acme/vip")
	case fieldName(words[1]) == "":
		d.Hintf("there is no field %q", words[1])
	default:
		d.Hintf("write one space between owner, field and value")
	}
}

func brief(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}

// group sorts entries where they were not, and makes the table.
func (p *parser) group() {
	l := p.lock
	if !l.plain {
		slices.SortFunc(p.entries, compareEntries)
		p.entries = slices.Compact(p.entries)
	}
	l.base = &table{owners: make(map[string]group, len(p.entries)/2), numbers: make([]number, len(p.entries))}
	start := 0
	for i, e := range p.entries {
		l.base.numbers[i] = number{e.Field, e.Value}
		if i > 0 && p.entries[i-1].Owner != e.Owner {
			l.base.owners[p.entries[start].Owner] = group{uint32(start), uint32(i)}
			start = i
		}
	}
	if n := len(p.entries); n > 0 {
		l.base.owners[p.entries[start].Owner] = group{uint32(start), uint32(n)}
	}
	if !l.plain {
		p.findConflicts()
	}
}

// findConflicts reports fields with two values, as union merges leave them, and
// takes the values out of the table.
func (p *parser) findConflicts() {
	l := p.lock
	for i := 1; i < len(p.entries); i++ {
		a, b := p.entries[i-1], p.entries[i]
		if a.Owner != b.Owner || a.Field != b.Field {
			continue
		}
		if n := len(l.conflicts); n == 0 || l.conflicts[n-1] != a {
			l.conflicts = append(l.conflicts, a)
		}
		l.conflicts = append(l.conflicts, b)
		l.base.numbers[i-1].value, l.base.numbers[i].value = "", ""
		if len(l.diags) < maxDiags {
			l.diags.Errorf(l.Pos(b.Owner, b.Field, b.Value), codeTwoValues, "%s has two values for %s: %s and %s", b.Owner, b.Field, a.Value, b.Value).
				Offending(b.Value).See(l.Pos(a.Owner, a.Field, a.Value), "the other value").
				Hintf("run weft lock --base REV to keep that of the branch that was merged into, or weft lock --reallocate %s", b.Owner)
		}
	}
}
