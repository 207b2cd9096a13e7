package schema

import (
	"reflect"
	"slices"
	"strings"
)

func decodeRef(d *decoder, _ *field, n int32, v reflect.Value) {
	text, ok := d.text(n)
	if !ok {
		return
	}
	ref := Ref{Name: text}
	if account, name, shared := strings.Cut(text, "/"); shared {
		ref = Ref{Account: account, Name: name}
	}
	if !isLabel(ref.Name) || ref.Account != "" && !isLabel(ref.Account) || strings.HasPrefix(text, "/") {
		diag := d.wrong(n, "bad-reference", "%q is not a reference", brief(text)).
			Hintf("write a name of the same account, or account/name")
		if better := lowerHint(text); better != "" {
			diag.Hintf("%s", better)
		}
		return
	}
	*v.Addr().Interface().(*Ref) = ref
}

// schemes are those of a BroadcastURI with the largest id of each: 12 bits for a VLAN less the
// reserved 0 and 4095, 24 bits for VXLAN and GENEVE, 32 for GRE; STT has 64, of which weft uses 32.
var schemes = []struct {
	name string
	max  int64
}{
	{SchemeVLAN, 4094}, {SchemeVXLAN, 1<<24 - 1}, {SchemeGRE, 1<<32 - 1}, {SchemeGENEVE, 1<<24 - 1}, {SchemeSTT, 1<<32 - 1},
}

const uriHint = "write such as vlan://100, vxlan://5001, gre://100, geneve://7, stt://9, lswitch:UUID or native://untagged; a bare number is a VLAN id"

func decodeURI(d *decoder, _ *field, n int32, v reflect.Value) {
	text, ok := d.scalar(n)
	if !ok {
		return
	}
	uri := v.Addr().Interface().(*BroadcastURI)
	scheme, rest, hasScheme := strings.Cut(text, "://")
	if !hasScheme {
		scheme, rest = SchemeVLAN, text
		if w := classify(text); w == textWord {
			d.decodeLSwitch(n, text, uri)
			return
		}
	}
	if text == "native://untagged" {
		*uri = BroadcastURI{Scheme: SchemeNative}
		return
	}
	for _, s := range schemes {
		if s.name != scheme {
			continue
		}
		if rest == "untagged" { // CloudStack's word for it is vlan://untagged
			break
		}
		from, to, ok := d.numberRange(n, rest, "an id", 1, s.max)
		switch {
		case !ok:
		case from != to:
			d.wrong(n, "bad-uri", "%q names more than one id", brief(text))
		default:
			*uri = BroadcastURI{Scheme: scheme, ID: uint32(from)}
		}
		return
	}
	d.wrong(n, "bad-uri", "%q is not a broadcast URI", brief(text)).Hintf("%s", uriHint)
}

func (d *decoder) decodeLSwitch(n int32, text string, uri *BroadcastURI) {
	uuid, ok := strings.CutPrefix(text, SchemeLSwitch+":")
	if !ok || !isUUID(uuid) {
		d.wrong(n, "bad-uri", "%q is not a broadcast URI", brief(text)).Hintf("%s", uriHint)
		return
	}
	*uri = BroadcastURI{Scheme: SchemeLSwitch, UUID: uuid}
}

func isUUID(s string) bool {
	parts := strings.Split(s, "-")
	var lengths []int
	for _, p := range parts {
		lengths = append(lengths, len(p))
	}
	return slices.Equal(lengths, []int{8, 4, 4, 4, 12}) && strings.Trim(s, "0123456789abcdef-") == ""
}
