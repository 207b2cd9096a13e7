package schema

import "strings"

// The annotations that change how weft treats a document.
const (
	AnnotationSuspend     = "weft.dev/suspend"
	AnnotationPrune       = "weft.dev/prune"
	AnnotationIgnoreDrift = "weft.dev/ignore-drift"
	AnnotationFormerly    = "weft.dev/formerly"
	AnnotationLabRuntime  = "weft.dev/lab-runtime"
)

// Suspended reports whether what the document and its children produce is left as it is.
func (m *Metadata) Suspended() bool { return m.Annotations[AnnotationSuspend] == "true" }

// PruneDisabled reports whether what the document produces must not be removed with it.
func (m *Metadata) PruneDisabled() bool { return m.Annotations[AnnotationPrune] == "disabled" }

// IgnoreDrift is the glob of resources whose drift is not healed; empty for none.
func (m *Metadata) IgnoreDrift() string { return m.Annotations[AnnotationIgnoreDrift] }

// Formerly is the name that the document had before a rename; empty for none.
func (m *Metadata) Formerly() string { return m.Annotations[AnnotationFormerly] }

// LabRuntime is how `weft lab` runs the VirtualMachine: "qemu" as a real one; empty in a namespace.
func (m *Metadata) LabRuntime() string { return m.Annotations[AnnotationLabRuntime] }

// annotationRule is what an annotation of weft.dev/ may be.
type annotationRule struct {
	name    string
	doc     string // for the published schema
	pattern string // of the value, for the published schema
	ok      func(value string) bool
	hint    string
}

var annotationRules = []annotationRule{
	{AnnotationSuspend, "What the document and its children produce is left as it is.", `^true$`,
		func(v string) bool { return v == "true" }, `write "true", or leave the annotation out`},
	{AnnotationPrune, "What the document produces is kept when the document goes; deletion takes two commits.", `^disabled$`,
		func(v string) bool { return v == "disabled" }, `write disabled, or leave the annotation out`},
	{AnnotationIgnoreDrift, "Drift of the resources that this glob matches is not healed.", `^[A-Za-z0-9*?_./:@%+=,-]{1,256}$`,
		isGlob, "write a glob over resources, such as ovs.port/*"},
	{AnnotationFormerly, "The name that the document had before a rename; lock entries and marks follow.", patternLabel,
		isLabel, "write the name that the document had before"},
	{AnnotationLabRuntime, "What `weft lab` runs a VirtualMachine as: qemu, a real machine under libvirt; without it, a namespace.", `^qemu$`,
		func(v string) bool { return v == "qemu" }, "write qemu, or leave the annotation out"},
}

// isGlob keeps to what names of resources have, and path.Match's wildcards without classes.
func isGlob(s string) bool { return only(s, "*?_./:@%+=,-", 256) }

// annotations checks those of weft.dev/; others are free, as long as they can be printed.
func (d *decoder) annotations(doc *Document, meta int32) {
	_, m := d.ns.find(meta, "annotations")
	d.push(step{field: "annotations"})
	defer d.pop()
	for k := d.ns[m].first; k != 0; {
		v := d.ns[k].next
		if d.ns[v].kind == scalarNode && d.ns[k].value != "" && isClean(d.ns[k].value) {
			d.push(step{field: keyName(d.ns[k].value)})
			d.annotation(doc, k, v)
			d.pop()
		}
		k = d.ns[v].next
	}
}

func (d *decoder) annotation(doc *Document, k, v int32) {
	name, value := d.ns[k].value, d.ns[v].value
	if !strings.HasPrefix(name, apiGroup) {
		d.matches(formats["labelkey"], k)
		return
	}
	names := make([]string, 0, len(annotationRules))
	for _, rule := range annotationRules {
		if names = append(names, rule.name); rule.name != name {
			continue
		}
		switch {
		case value != "" && !rule.ok(value):
			d.wrong(v, "bad-annotation", "%q is not a value of this annotation", brief(value)).Hintf("%s", rule.hint)
		case (name == AnnotationPrune || name == AnnotationIgnoreDrift) && doc.Kind != "Network":
			d.ds.Warnf(d.pos(k), "annotation-without-effect", "annotation %s has no effect on kind %s yet", name, doc.Kind).
				Offending(name).Hintf("put it on the Network that it is about")
		case name == AnnotationLabRuntime && doc.Kind != "VirtualMachine":
			d.ds.Warnf(d.pos(k), "annotation-without-effect", "annotation %s has no effect on kind %s", name, doc.Kind).
				Offending(name).Hintf("put it on the VirtualMachine that it is about")
		case name == AnnotationFormerly && value == doc.Meta.Name:
			d.wrong(v, "bad-annotation", "%q is the name the document has now", brief(value)).Hintf("%s", rule.hint)
		}
		return
	}
	d.errorf(d.pos(k), "unknown-annotation", "unknown annotation %q", brief(name)).Offending(name).
		Hintf("%s", didYouMean(name, names))
}
