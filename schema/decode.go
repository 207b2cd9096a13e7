package schema

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A decodeFunc sets v, of the type it was made for, from node n. f says what else the field
// asks for. What is wrong becomes a diagnostic and leaves v as it was.
type decodeFunc func(d *decoder, f *field, n int32, v reflect.Value)

// decoder turns the nodes of one document into its struct. It goes on after a mistake.
type decoder struct {
	file   string
	ns     nodes
	ds     *Diags
	path   []step
	errs   int  // diagnostics of this document
	hidden bool // the value being decoded is a secret
}

// step is one part of the path to the value being decoded: a field, or an item of a list.
type step struct {
	field string
	item  int
}

func (d *decoder) push(s step) { d.path = append(d.path, s) }

func (d *decoder) pop() { d.path = d.path[:len(d.path)-1] }

// where is the path to the value being decoded, such as spec.nics[0].mac.
func (d *decoder) where() string {
	var b strings.Builder
	for _, s := range d.path {
		switch {
		case s.field == "":
			fmt.Fprintf(&b, "[%d]", s.item)
			continue
		case b.Len() > 0:
			b.WriteByte('.')
		}
		b.WriteString(s.field)
	}
	return b.String()
}

func (d *decoder) pos(n int32) Pos { return d.place(d.ns[n].pos) }

func (d *decoder) place(p Pos32) Pos { return Pos{d.file, int(p.Line), int(p.Col)} }

func (d *decoder) errorf(at Pos, code, format string, args ...any) *Diag {
	if d.errs++; d.errs > maxDiags {
		return new(Diag)
	}
	return d.ds.Errorf(at, code, format, args...)
}

// wrong reports node n: its path, what is wrong with it, and its text as offending.
func (d *decoder) wrong(n int32, code, format string, args ...any) *Diag {
	diag := d.errorf(d.pos(n), code, "%s: %s", d.where(), fmt.Sprintf(format, args...))
	if d.hidden {
		return diag
	}
	return diag.Offending(d.ns[n].value)
}

// structure decodes a mapping into a struct. at is where a missing field is reported.
func (d *decoder) structure(t *table, n int32, at Pos32, v reflect.Value) {
	v.Set(t.proto)
	if t.at >= 0 {
		*v.Field(t.at).Addr().Interface().(*Pos32) = d.ns[n].pos
	}
	if d.ns[n].kind == scalarNode && t.short >= 0 {
		f := &t.fields[t.short]
		f.decode(d, f, n, v.Field(f.index))
		return
	}
	if !d.isA(n, mappingNode) {
		return
	}
	var seen [64]int32
	for k := d.ns[n].first; k != 0; {
		val := d.ns[k].next
		if i, ok := t.byName[d.ns[k].value]; !ok {
			d.unknown(k, t.names)
		} else if seen[i] != 0 {
			d.duplicate(k, seen[i])
		} else {
			seen[i] = k
			d.field(&t.fields[i], k, val, v.Field(t.fields[i].index), t)
		}
		k = d.ns[val].next
	}
	for i := range t.fields {
		if f := &t.fields[i]; f.required && seen[i] == 0 {
			d.missing(f, at)
		}
	}
}

func (d *decoder) field(f *field, k, n int32, v reflect.Value, t *table) {
	d.push(step{field: f.name})
	defer d.pop()
	if d.isNull(n) {
		d.errorf(d.pos(k), "empty-value", "%s has no value", d.where()).Offending(f.name).
			Hintf("give it one, or leave it out")
		return
	}
	before := d.hidden
	d.hidden = before || f.secret
	f.decode(d, f, n, v)
	d.hidden = before
	if f.later != "" && !isDefault(v, t.proto.Field(f.index)) {
		d.unsupported(f, k)
	}
}

// unsupported reports a field that this release does not act on: an error where people would
// rely on it, a warning where leaving it out changes nothing else.
func (d *decoder) unsupported(f *field, k int32) {
	if f.mild {
		d.ds.Warnf(d.pos(k), "unsupported-field", "%s is not supported yet and has no effect", d.where()).Offending(f.name).
			Hintf("a later release brings %s", f.later)
		return
	}
	d.errorf(d.pos(k), "unsupported-field", "field %s is not supported yet", d.where()).Offending(f.name).
		Hintf("leave it out; a later release brings %s", f.later)
}

func isDefault(v, def reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Pointer:
		return v.IsNil()
	}
	return v.Equal(def)
}

func (d *decoder) missing(f *field, at Pos32) {
	d.push(step{field: f.name})
	diag := d.errorf(d.place(at), "required-field", "%s is missing", d.where())
	if len(f.enum) > 0 {
		diag.Hintf("one of %s", list(f.enum))
	}
	d.pop()
}

func (d *decoder) unknown(k int32, names []string) {
	if d.errs++; d.errs > maxDiags {
		return // before the search for a better word
	}
	d.errs--
	in := d.where()
	if in == "" {
		in = "the document"
	}
	text := d.ns[k].value
	if d.hidden && nearest(text, names) == "" {
		text = hidden // it may be the secret, written in the field's place
	}
	d.errorf(d.pos(k), "unknown-field", "unknown field %q in %s", brief(text), in).Offending(text).
		Hintf("%s", didYouMean(text, names))
}

func (d *decoder) duplicate(k, first int32) {
	d.errorf(d.pos(k), "duplicate-field", "field %q is given twice", d.shown(d.ns[k].value)).Offending(d.shown(d.ns[k].value)).
		See(d.pos(first), "first given here")
}

// isNull reports whether a node is YAML's null, written or not.
func (d *decoder) isNull(n int32) bool {
	return d.ns[n].kind == scalarNode && d.ns[n].style == plainStyle && isNull(d.ns[n].value)
}

// isA reports whether n is of that kind, with a diagnostic where not.
func (d *decoder) isA(n int32, kind nodeKind) bool {
	if d.ns[n].kind == kind {
		return true
	}
	diag := d.wrong(n, "wrong-type", "must be %s, not %s", kind, d.ns[n].kind)
	if kind == sequenceNode && d.ns[n].kind == scalarNode {
		diag.Hintf("write [%s]", d.ns[n].value)
	}
	return false
}

// decoderOf returns the function for a Go type of the language.
func decoderOf(t reflect.Type) decodeFunc {
	if f := scalarDecoders[t]; f != nil {
		return f
	}
	switch t.Kind() {
	case reflect.String:
		return decodeString
	case reflect.Bool:
		return decodeBool
	case reflect.Int, reflect.Uint16, reflect.Uint32:
		return decodeInt
	case reflect.Pointer:
		elem := decoderOf(t.Elem())
		return func(d *decoder, f *field, n int32, v reflect.Value) {
			errs, p := d.errs, reflect.New(t.Elem())
			if elem(d, f, n, p.Elem()); d.errs == errs || t.Elem().Kind() == reflect.Struct {
				v.Set(p)
			}
		}
	case reflect.Slice:
		return listDecoder(t)
	case reflect.Map:
		return mapDecoder(t)
	case reflect.Struct:
		table := tableOf(t)
		return func(d *decoder, _ *field, n int32, v reflect.Value) { d.structure(table, n, d.ns[n].pos, v) }
	}
	panic("schema: no decoder for " + t.String())
}

func listDecoder(t reflect.Type) decodeFunc {
	elem := decoderOf(t.Elem())
	return func(d *decoder, f *field, n int32, v reflect.Value) {
		if !d.isA(n, sequenceNode) {
			return
		}
		count := 0
		for c := d.ns[n].first; c != 0; c = d.ns[c].next {
			count++
		}
		out := reflect.MakeSlice(t, count, count)
		i := 0
		for c := d.ns[n].first; c != 0; c = d.ns[c].next {
			d.push(step{item: i})
			if d.isNull(c) {
				d.wrong(c, "empty-value", "the item has no value")
			} else {
				elem(d, f, c, out.Index(i))
			}
			d.pop()
			i++
		}
		v.Set(out)
		if f.unique != "" {
			d.checkUnique(n, f.unique)
		}
	}
}

// checkUnique reports items of a list of mappings that have the same text in a field.
func (d *decoder) checkUnique(n int32, key string) {
	first := make(map[string]int32)
	i := 0
	for c := d.ns[n].first; c != 0; c = d.ns[c].next {
		if _, v := d.ns.find(c, key); v != 0 && d.ns[v].kind == scalarNode {
			text := d.ns[v].value
			if before, ok := first[text]; ok {
				d.push(step{item: i})
				d.wrong(v, "duplicate-item", "%s %q is used twice in the list", key, brief(text)).
					See(d.pos(before), "first used here")
				d.pop()
			} else {
				first[text] = v
			}
		}
		i++
	}
}

func mapDecoder(t reflect.Type) decodeFunc {
	elem := decoderOf(t.Elem())
	return func(d *decoder, f *field, n int32, v reflect.Value) {
		if !d.isA(n, mappingNode) {
			return
		}
		out := reflect.MakeMap(t)
		seen := map[string]int32{}
		for k := d.ns[n].first; k != 0; {
			val := d.ns[k].next
			name := d.ns[k].value
			d.push(step{field: keyName(name)})
			if first := seen[name]; first != 0 {
				d.duplicate(k, first)
			} else if key, ok := d.mapKey(t.Key(), f, k); ok {
				seen[name] = k
				item := reflect.New(t.Elem()).Elem()
				elemField := *f
				if t.Key().Kind() == reflect.String {
					elemField.format = nil
				}
				elem(d, &elemField, val, item)
				out.SetMapIndex(key, item)
			}
			d.pop()
			k = d.ns[val].next
		}
		v.Set(out)
	}
}

// keyName is a free key as a path shows it.
func keyName(key string) string {
	if key == "" {
		return `""`
	}
	return brief(key)
}

// mapKey reads a key: a string that f.format rules, or the number of a DHCP option, whose
// values f.format rules then.
func (d *decoder) mapKey(t reflect.Type, f *field, k int32) (reflect.Value, bool) {
	text := d.ns[k].value
	if t.Kind() == reflect.Int {
		num, err := strconv.Atoi(text)
		if err != nil || num < 1 || num > 254 || classify(text) != intWord {
			d.wrong(k, "bad-number", "the key must be a number from 1 to 254")
			return reflect.Value{}, false
		}
		return reflect.ValueOf(num), true
	}
	if text == "" || !isClean(text) {
		d.wrong(k, "bad-key", "the key must be text without control characters")
		return reflect.Value{}, false
	}
	if f.format != nil && !d.matches(f.format, k) {
		return reflect.Value{}, false
	}
	return reflect.ValueOf(text), true
}

func (d *decoder) matches(f *format, n int32) bool {
	text := d.ns[n].value
	if f.ok(text) {
		return true
	}
	hint := f.rule
	if f.hint != nil {
		if better := f.hint(text); better != "" {
			hint = better
		}
	}
	d.wrong(n, "bad-"+f.name, "%q is not %s", d.shown(text), f.what).Hintf("%s", hint)
	return false
}

// checkEnum reports whether the text of n is one of the field's values.
func (d *decoder) checkEnum(f *field, n int32) bool {
	text := d.ns[n].value
	switch {
	case !slices.Contains(f.enum, text):
		d.wrong(n, "unknown-value", "%q is not one of %s", brief(text), list(f.enum)).Hintf("%s", didYouMeanValue(text, f.enum))
		return false
	case slices.Contains(f.notYet, text):
		hint := "a later release brings it"
		if f.instead != "" {
			hint = f.instead
		}
		d.wrong(n, "unsupported-value", "%s is not supported yet", text).Hintf("%s", hint)
		return false
	}
	return true
}

func didYouMeanValue(text string, words []string) string {
	if word := nearest(text, words); word != "" {
		return fmt.Sprintf("did you mean %s?", word)
	}
	return ""
}

// brief shortens text for a message.
func brief(s string) string {
	const limit = 60
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}

var (
	addrType   = reflect.TypeFor[netip.Addr]()
	prefixType = reflect.TypeFor[netip.Prefix]()
)
