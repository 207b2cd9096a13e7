package schema

import (
	"reflect"
	"slices"
	"strings"
)

var envelopeFields = []string{"apiVersion", "kind", "metadata", "spec"}

// envelope decodes a whole document. It returns nil where the document is not one of weft at
// all; otherwise doc.Spec is nil when there were errors.
func (d *decoder) envelope(c chunk, root int32) *Document {
	doc := &Document{File: d.file, Pos: d.pos(root), text: c.text, line: c.line}
	if d.ns[root].kind != mappingNode {
		d.errorf(doc.Pos, "not-a-document", "a document must be a mapping, not %s", d.ns[root].kind).
			Hintf("start with apiVersion: %s", APIVersion)
		return doc
	}
	keys := d.envelopeKeys(root)
	if !d.apiVersion(doc, keys[0]) {
		return doc
	}
	kind := d.kind(doc, keys[1])
	switch {
	case keys[2] == 0:
		d.errorf(doc.Pos, "required-field", "metadata is missing").Hintf("write metadata: {name: NAME}")
	case kind == nil:
		d.identity(doc, root)
	default:
		d.metadata(doc, kind, keys[2])
	}
	if kind != nil {
		d.spec(doc, kind, keys[3])
	}
	return doc
}

// identity reads kind and metadata of a document that is wrong already, as far as it goes.
func (d *decoder) identity(doc *Document, root int32) {
	if _, v := d.ns.find(root, "kind"); v != 0 {
		doc.Kind = d.ns[v].value
	}
	if _, m := d.ns.find(root, "metadata"); m != 0 && d.ns[m].kind == mappingNode {
		var ignored Diags
		quiet := decoder{file: d.file, ns: d.ns, ds: &ignored}
		quiet.structure(metaTable, m, Pos32{}, reflect.ValueOf(&doc.Meta).Elem())
	}
}

// envelopeKeys finds the key nodes of the envelope in the order of envelopeFields.
func (d *decoder) envelopeKeys(root int32) (keys [4]int32) {
	for k := d.ns[root].first; k != 0; {
		i := slices.Index(envelopeFields, d.ns[k].value)
		switch {
		case i < 0:
			d.unknown(k, envelopeFields)
		case keys[i] != 0:
			d.duplicate(k, keys[i])
		default:
			keys[i] = k
		}
		k = d.ns[d.ns[k].next].next
	}
	return keys
}

// apiVersion reports whether the document is one that this program can read.
func (d *decoder) apiVersion(doc *Document, k int32) bool {
	if k == 0 {
		d.errorf(doc.Pos, "required-field", "apiVersion is missing").
			Hintf("write apiVersion: %s, or list the file in .weftignore", APIVersion)
		return false
	}
	d.push(step{field: "apiVersion"})
	defer d.pop()
	n := d.ns[k].next
	text, ok := d.text(n)
	if !ok {
		return false
	}
	doc.APIVersion = text
	switch {
	case text == APIVersion:
		return true
	case strings.HasPrefix(text, apiGroup):
		d.wrong(n, "unknown-version", "version %q is not supported", brief(text)).Hintf("write %s", APIVersion)
	default:
		diag := d.wrong(n, "foreign-document", "%q is not a version of weft", brief(text)).
			Hintf("list the file in .weftignore if it is meant for another program")
		if nearest(text, []string{APIVersion}) != "" {
			diag.Hintf("did you mean %s?", APIVersion)
		}
	}
	return false
}

func (d *decoder) kind(doc *Document, k int32) *kindOf {
	if k == 0 {
		d.errorf(doc.Pos, "required-field", "kind is missing").Hintf("%s", didYouMean("", Kinds()))
		return nil
	}
	d.push(step{field: "kind"})
	defer d.pop()
	n := d.ns[k].next
	text, ok := d.text(n)
	if !ok {
		return nil
	}
	doc.Kind = text
	if kind := findKind(text); kind != nil {
		return kind
	}
	if slices.Contains(laterKinds, text) {
		d.errorf(d.pos(n), "unsupported-kind", "kind %s is not supported yet", text).Offending(text).
			Hintf("a later release brings it")
	} else {
		d.errorf(d.pos(n), "unknown-kind", "unknown kind %q", brief(text)).Offending(text).
			Hintf("%s", didYouMean(text, append(Kinds(), laterKinds...)))
	}
	return nil
}

func (d *decoder) metadata(doc *Document, kind *kindOf, k int32) {
	d.push(step{field: "metadata"})
	defer d.pop()
	n := d.ns[k].next
	if d.isNull(n) {
		d.errorf(d.pos(k), "empty-value", "metadata has no value").Hintf("write metadata: {name: NAME}")
		return
	}
	d.structure(metaTable, n, d.ns[k].pos, reflect.ValueOf(&doc.Meta).Elem())
	if _, v := d.ns.find(n, "name"); v != 0 && doc.Meta.Name != "" {
		d.push(step{field: "name"})
		d.matches(formats["name"], v)
		d.pop()
	}
	d.account(doc, kind, k)
	if doc.Meta.Labels != nil {
		d.labels(n)
	}
	if doc.Meta.Annotations != nil {
		d.annotations(doc, n)
	}
}

func (d *decoder) account(doc *Document, kind *kindOf, k int32) {
	key, v := d.ns.find(d.ns[k].next, "account")
	switch {
	case kind.tenant && key == 0:
		d.errorf(d.pos(k), "required-field", "metadata.account is missing").
			Hintf("kind %s belongs to an account", kind.name)
	case !kind.tenant && key != 0:
		d.errorf(d.pos(key), "unexpected-account", "kind %s has no account", kind.name).Offending("account").
			Hintf("leave metadata.account out")
		doc.Meta.Account = ""
	case doc.Meta.Account != "":
		d.push(step{field: "account"})
		d.matches(formats["name"], v)
		d.pop()
	}
	if kind.name == KindAccount && doc.Meta.Name == SystemAccount {
		_, v := d.ns.find(d.ns[k].next, "name")
		d.errorf(d.pos(v), "reserved-name", "the account %s is built in", SystemAccount).Offending(SystemAccount)
	}
}

func (d *decoder) labels(meta int32) {
	_, m := d.ns.find(meta, "labels")
	d.push(step{field: "labels"})
	defer d.pop()
	for k := d.ns[m].first; k != 0; {
		v := d.ns[k].next
		d.push(step{field: keyName(d.ns[k].value)})
		if d.ns[k].value != "" && isClean(d.ns[k].value) {
			d.matches(formats["labelkey"], k)
		}
		if value := d.ns[v].value; d.ns[v].kind == scalarNode && value != "" && !isLabelValue(value) {
			d.wrong(v, "bad-label", "%q is not the value of a label", brief(value)).
				Hintf("a value has 1-63 letters, digits and _ . - and starts and ends with a letter or digit")
		}
		d.pop()
		k = d.ns[v].next
	}
}

// spec decodes the kind's part and checks it, provided that nothing was wrong before: a check
// of half a document would say what is known already.
func (d *decoder) spec(doc *Document, kind *kindOf, k int32) {
	t := specTables[kind.name]
	d.push(step{field: "spec"})
	defer d.pop()
	n, at := int32(0), d.ns[1].pos
	if k != 0 {
		n, at = d.ns[k].next, d.ns[k].pos
		if d.isNull(n) {
			d.errorf(d.pos(k), "empty-value", "spec has no value").Hintf("write spec: {}")
			return
		}
	} else {
		for i := range t.fields {
			if t.fields[i].required {
				d.errorf(doc.Pos, "required-field", "spec is missing")
				return
			}
		}
	}
	v := reflect.New(t.typ)
	if n == 0 {
		v.Elem().Set(t.proto)
	} else {
		d.structure(t, n, at, v.Elem())
	}
	if spec := v.Interface(); n == 0 || d.ns[n].kind == mappingNode {
		d.check(n, at, spec)
		if d.errs == 0 {
			doc.Spec = spec
		}
	}
}
