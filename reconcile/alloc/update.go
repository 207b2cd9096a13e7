package alloc

import (
	"maps"
	"slices"
	"strings"
)

// maxOver bounds the owners beside the base table; a longer history is read anew.
const maxOver = 20000

// update returns the lock of text by reading only what differs from l's, or nil
// where that is not simple: then the whole text is read.
func (l *Lock) update(text string) *Lock {
	from := lineStart(text, commonPrefix(l.text, text))
	tail := min(commonSuffix(l.text[from:], text[from:]), len(text)-from, len(l.text)-from)
	// Both ends move to the start of a line, which is the same place of the
	// common rest.
	tail = min(len(l.text)-lineEnd(l.text, len(l.text)-tail), len(text)-lineEnd(text, len(text)-tail))
	oldEnd, newEnd := len(l.text)-tail, len(text)-tail
	// Whole owners: the neighbours of the difference may have the same owner.
	for from > 0 {
		prev := lineStart(text, from-1)
		o := owner(text[prev:])
		if o != owner(text[from:newEnd]) && o != owner(l.text[from:oldEnd]) {
			break
		}
		from = prev
	}
	for newEnd < len(text) {
		o := owner(text[newEnd:])
		if o != lastOwner(text[from:newEnd]) && o != lastOwner(l.text[from:oldEnd]) {
			break
		}
		n := lineEnd(text, newEnd+1) - newEnd
		newEnd, oldEnd = newEnd+n, oldEnd+n
	}
	p := parser{lock: &Lock{plain: true}, quiet: true}
	p.read(text[from:newEnd])
	if p.failed || !p.lock.plain || !l.fits(text, from, newEnd, p.entries) {
		return nil
	}
	return l.with(text, l.text[from:oldEnd], p.entries)
}

// fits reports whether the lines around the difference are still in order.
func (l *Lock) fits(text string, from, end int, entries []Entry) bool {
	if len(entries) == 0 {
		return true
	}
	if from > 0 && owner(text[lineStart(text, from-1):]) >= entries[0].Owner {
		return false
	}
	return end == len(text) || entries[len(entries)-1].Owner < owner(text[end:])
}

// with makes the lock that has entries instead of the lines of gone.
func (l *Lock) with(text, gone string, entries []Entry) *Lock {
	out := &Lock{file: l.file, text: text, base: l.base, plain: true, self: &token{}, from: l.self}
	out.over = maps.Clone(l.over)
	if out.over == nil {
		out.over = map[string][]number{}
	}
	seen := map[string]bool{}
	for len(gone) > 0 {
		o := strings.Clone(owner(gone))
		out.over[o] = nil
		seen[o] = true
		gone = gone[lineEnd(gone, 1):]
	}
	for _, e := range entries {
		o := e.Owner
		if !seen[o] {
			o = strings.Clone(o)
			seen[o] = true
			out.over[o] = nil
		}
		out.over[o] = append(out.over[o], number{e.Field, strings.Clone(e.Value)})
	}
	if len(out.over) > maxOver {
		return nil
	}
	for o := range seen {
		if !slices.Equal(l.of(o), out.of(o)) {
			out.changed = append(out.changed, o)
		}
	}
	return out
}

// commonPrefix is how many bytes a and b begin with alike.
func commonPrefix(a, b string) int {
	n, i := min(len(a), len(b)), 0
	for i+4096 <= n && a[i:i+4096] == b[i:i+4096] {
		i += 4096
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// commonSuffix is how many bytes a and b end with alike.
func commonSuffix(a, b string) int {
	n, i := min(len(a), len(b)), 0
	for i+4096 <= n && a[len(a)-i-4096:len(a)-i] == b[len(b)-i-4096:len(b)-i] {
		i += 4096
	}
	for i < n && a[len(a)-i-1] == b[len(b)-i-1] {
		i++
	}
	return i
}

// lineStart is where the line that i is in starts.
func lineStart(text string, i int) int { return strings.LastIndexByte(text[:i], '\n') + 1 }

// lineEnd is the first start of a line at or after i.
func lineEnd(text string, i int) int {
	if i == 0 || i >= len(text) || text[i-1] == '\n' {
		return min(i, len(text))
	}
	if j := strings.IndexByte(text[i:], '\n'); j >= 0 {
		return i + j + 1
	}
	return len(text)
}

// owner is that of the first line of text.
func owner(text string) string {
	i := strings.IndexByte(text, ' ')
	if i < 0 {
		return ""
	}
	return text[:i]
}

// lastOwner is that of the last line of text.
func lastOwner(text string) string {
	if text == "" {
		return ""
	}
	return owner(text[lineStart(text, len(text)-1):])
}
