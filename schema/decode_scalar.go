package schema

import (
	"cmp"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// scalarDecoders are the types with a text form of their own. It is filled by a function so that
// the tables, which need it, are made after it.
var scalarDecoders = map[reflect.Type]decodeFunc{
	addrType:                        decodeAddr,
	prefixType:                      decodePrefix,
	reflect.TypeFor[Duration]():     decodeDuration,
	reflect.TypeFor[MAC]():          decodeMAC,
	reflect.TypeFor[IPRange]():      decodeIPRange,
	reflect.TypeFor[Ports]():        decodePorts,
	reflect.TypeFor[IDRange]():      decodeIDRange,
	reflect.TypeFor[BroadcastURI](): decodeURI,
	reflect.TypeFor[Ref]():          decodeRef,
	reflect.TypeFor[Date]():         decodeDate,
}

// scalar returns the text of a single value.
func (d *decoder) scalar(n int32) (string, bool) {
	if !d.isA(n, scalarNode) {
		return "", false
	}
	return d.ns[n].value, true
}

// number reads a plain decimal number. what describes the value for the message.
func (d *decoder) number(n int32, what string) (int64, bool) {
	text, ok := d.scalar(n)
	if !ok {
		return 0, false
	}
	if d.ns[n].style != plainStyle {
		diag := d.wrong(n, "wrong-type", "must be %s, not text", what)
		if classify(text) == intWord {
			diag.Hintf("write %s without quotes", text)
		}
		return 0, false
	}
	return d.decimal(n, text, what)
}

// decimal reads text, all or a part of node n, as a decimal number.
func (d *decoder) decimal(n int32, text, what string) (int64, bool) {
	switch classify(text) {
	case intWord:
		if num, err := strconv.ParseInt(text, 10, 64); err == nil {
			return num, true
		}
		d.wrong(n, "out-of-range", "%s is too large for %s", brief(text), what)
	case octalWord:
		d.wrong(n, "octal-number", "%q could be read as an octal number", text).
			Hintf("write %s", strings.TrimLeft(text[:len(text)-1], "0")+text[len(text)-1:])
	default:
		d.wrong(n, "bad-number", "%q is not %s", brief(text), what).Hintf("write a decimal number")
	}
	return 0, false
}

func decodeInt(d *decoder, f *field, n int32, v reflect.Value) {
	num, ok := d.number(n, "a number")
	if !ok || !d.inBounds(f, n, num, v) {
		return
	}
	if v.CanInt() {
		v.SetInt(num)
	} else {
		v.SetUint(uint64(num))
	}
}

func (d *decoder) inBounds(f *field, n int32, num int64, v reflect.Value) bool {
	low, high := int64(0), int64(1_000_000_000)
	if f.hasMin {
		low = f.min
	}
	if f.hasMax {
		high = f.max
	}
	if v.Kind() == reflect.Uint16 {
		high = min(high, 65535)
	}
	if num < low || num > high {
		d.wrong(n, "out-of-range", "%d is not from %d to %d", num, low, high)
		return false
	}
	return true
}

func decodeBool(d *decoder, _ *field, n int32, v reflect.Value) {
	text, ok := d.scalar(n)
	if !ok {
		return
	}
	if d.ns[n].style == plainStyle && classify(text) == boolWord {
		v.SetBool(text == "true")
		return
	}
	diag := d.wrong(n, "wrong-type", "must be true or false, not %q", brief(text))
	switch low := strings.ToLower(text); low {
	case "true", "yes", "on", "y", "1":
		diag.Hintf("write true")
	case "false", "no", "off", "n", "0":
		diag.Hintf("write false")
	}
}

func decodeString(d *decoder, f *field, n int32, v reflect.Value) {
	if len(f.enum) > 0 {
		if text, ok := d.scalar(n); ok && d.checkEnum(f, n) {
			v.SetString(text) // also where it is a word like off: the list says what is meant
		}
		return
	}
	text, ok := d.text(n)
	if !ok || f.format != nil && !d.matches(f.format, n) {
		return
	}
	if f.format == nil && !isClean(text) {
		d.wrong(n, "control-character", "must not contain line breaks or control characters")
		return
	}
	v.SetString(text)
}

// text reads a value that must be text: what some YAML would take for a number, a boolean or
// null must be in quotes.
func (d *decoder) text(n int32) (string, bool) {
	text, ok := d.scalar(n)
	if !ok {
		return "", false
	}
	if text == "" {
		d.wrong(n, "empty-value", "is empty").Hintf("give it a value, or leave it out")
		return "", false
	}
	if d.ns[n].style != plainStyle {
		return text, true
	}
	var what string
	switch classify(text) {
	case textWord:
		return text, true
	case boolWord, yesNoWord:
		what = "a boolean"
	case nullWord:
		what = "null"
	default:
		what = "a number"
	}
	diag := d.wrong(n, "wrong-type", "must be text, but %s without quotes is %s", d.shown(text), what).Hintf("write %q", brief(text))
	if d.hidden {
		diag.Hintf("put it in quotes")
	}
	return "", false
}

// parseAddr reads an address that can be somebody's: no zone, no IPv4 in IPv6 clothes.
func (d *decoder) parseAddr(n int32, text string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		diag := d.wrong(n, "bad-ip", "%q is not an IP address", brief(text))
		if p, err := netip.ParsePrefix(text); err == nil {
			diag.Hintf("write the address without prefix length: %s", p.Addr())
		} else {
			diag.Hintf("write an address such as 10.1.1.5 or fd00::5")
		}
	case ip.Zone() != "":
		d.wrong(n, "bad-ip", "%q has a zone", brief(text)).Hintf("write %s", ip.WithZone(""))
	case ip.Is4In6():
		d.wrong(n, "bad-ip", "%q is an IPv4 address written as IPv6", brief(text)).Hintf("write %s", ip.Unmap())
	case ip.IsUnspecified(), ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		d.wrong(n, "bad-ip", "%q is not the address of one machine", brief(text))
	default:
		return ip, true
	}
	return netip.Addr{}, false
}

func decodeAddr(d *decoder, _ *field, n int32, v reflect.Value) {
	if text, ok := d.scalar(n); ok {
		if ip, ok := d.parseAddr(n, text); ok {
			*v.Addr().Interface().(*netip.Addr) = ip
		}
	}
}

func decodePrefix(d *decoder, f *field, n int32, v reflect.Value) {
	text, ok := d.scalar(n)
	if !ok {
		return
	}
	p, err := netip.ParsePrefix(text)
	host := f.format != nil && f.format.name == hostAddr
	switch {
	case err != nil:
		diag := d.wrong(n, "bad-cidr", "%q is not a CIDR", brief(text))
		if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
			diag.Hintf("write the prefix length too: %s/%d for one address", ip, ip.BitLen())
		} else {
			diag.Hintf("write an address and a prefix length, such as 10.1.1.0/24")
		}
		return
	case p.Addr().Is4In6():
		d.wrong(n, "bad-cidr", "%q is an IPv4 network written as IPv6", brief(text))
		return
	case host && p.Addr() == p.Masked().Addr() && p.Bits() < p.Addr().BitLen()-1:
		d.wrong(n, "bad-cidr", "%s is the address of the network, not of a machine in it", p).Hintf("%s", f.format.rule)
		return
	case !host && p != p.Masked():
		d.wrong(n, "bad-cidr", "%s has bits beyond its prefix length", p).Hintf("write %s", p.Masked())
		return
	}
	*v.Addr().Interface().(*netip.Prefix) = p
}

func decodeDuration(d *decoder, _ *field, n int32, v reflect.Value) {
	text, ok := d.scalar(n)
	if !ok {
		return
	}
	dur, err := time.ParseDuration(text)
	switch {
	case err != nil || classify(text) == intWord:
		diag := d.wrong(n, "bad-duration", "%q is not a duration", brief(text)).Hintf("write a number and a unit, such as 30s, 10m or 1h30m")
		if classify(text) == intWord {
			diag.Hintf("write the unit too, such as %ss", brief(text))
		}
	case dur < 0:
		d.wrong(n, "bad-duration", "%s is negative", text)
	case dur > 10*365*24*time.Hour:
		d.wrong(n, "bad-duration", "%s is more than ten years", text)
	default:
		v.SetInt(int64(dur))
	}
}

func decodeMAC(d *decoder, _ *field, n int32, v reflect.Value) {
	text, ok := d.scalar(n)
	if !ok {
		return
	}
	mac, ok := parseMAC(text)
	switch {
	case !ok:
		d.wrong(n, "bad-mac", "%q is not a MAC address", brief(text)).Hintf("write six bytes, such as \"02:00:4c:00:00:0b\"")
	case mac.IsZero():
		d.wrong(n, "bad-mac", "%s is no address", text).Hintf("leave the field out to have one allocated")
	case mac[0]&1 != 0:
		d.wrong(n, "bad-mac", "%s is a multicast address", text).Hintf("the first byte must be even")
	default:
		*v.Addr().Interface().(*MAC) = mac
	}
}

func parseMAC(s string) (mac MAC, ok bool) {
	if len(s) != 17 {
		return mac, false
	}
	for i := range mac {
		if i > 0 && s[3*i-1] != ':' {
			return mac, false
		}
		b, err := strconv.ParseUint(s[3*i:3*i+2], 16, 8)
		if err != nil {
			return mac, false
		}
		mac[i] = byte(b)
	}
	return mac, true
}

func decodeIPRange(d *decoder, _ *field, n int32, v reflect.Value) {
	text, ok := d.scalar(n)
	if !ok {
		return
	}
	from, to, isRange := strings.Cut(text, "-")
	var r IPRange
	if r.From, ok = d.parseAddr(n, strings.TrimSpace(from)); !ok {
		return
	}
	r.To = r.From
	if isRange {
		if r.To, ok = d.parseAddr(n, strings.TrimSpace(to)); !ok {
			return
		}
	}
	switch {
	case r.From.Is4() != r.To.Is4():
		d.wrong(n, "bad-range", "%q mixes IPv4 and IPv6", brief(text))
	case r.To.Less(r.From):
		d.wrong(n, "bad-range", "%q ends before it starts", brief(text)).Hintf("write %s-%s", r.To, r.From)
	default:
		*v.Addr().Interface().(*IPRange) = r
	}
}

// numberRange reads "a-b" or "a".
func (d *decoder) numberRange(n int32, text, what string, low, high int64) (from, to int64, ok bool) {
	first, second, isRange := strings.Cut(text, "-")
	if from, ok = d.decimal(n, first, what); !ok {
		return 0, 0, false
	}
	to = from
	if isRange {
		if to, ok = d.decimal(n, second, what); !ok {
			return 0, 0, false
		}
	}
	switch {
	case from < low || from > high || to > high:
		d.wrong(n, "out-of-range", "%s is not from %d to %d", brief(text), low, high)
		return 0, 0, false
	case to < from:
		d.wrong(n, "bad-range", "%q ends before it starts", brief(text)).Hintf("write \"%d-%d\"", to, from)
		return 0, 0, false
	}
	return from, to, true
}

func decodeIDRange(d *decoder, _ *field, n int32, v reflect.Value) {
	text, ok := d.scalar(n)
	if !ok {
		return
	}
	if from, to, ok := d.numberRange(n, text, "a range of ids", 1, 1<<32-1); ok {
		*v.Addr().Interface().(*IDRange) = IDRange{uint32(from), uint32(to)}
	}
}

func decodePorts(d *decoder, _ *field, n int32, v reflect.Value) {
	var items []int32
	if d.ns[n].kind != sequenceNode {
		items = []int32{n}
	} else if d.ns[n].first == 0 {
		d.wrong(n, "empty-value", "the list is empty").Hintf("leave the field out for all ports")
		return
	} else {
		for c := d.ns[n].first; c != 0; c = d.ns[c].next {
			items = append(items, c)
		}
	}
	ports := make(Ports, len(items))
	errs := d.errs
	for i, item := range items {
		text, ok := d.scalar(item)
		if !ok {
			continue
		}
		from, to, ok := d.numberRange(item, text, "a port", 1, 65535)
		if ok {
			ports[i] = PortRange{uint16(from), uint16(to)}
		}
	}
	if d.errs > errs {
		return
	}
	bounds := func(i int) (from, to uint16) { return ports[i].From, ports[i].To }
	for _, x := range clashes(len(ports), bounds, cmp.Compare[uint16]) {
		d.wrong(items[x.second], "duplicate-port", "%s overlaps %s in the same list", ports[x.second], ports[x.first]).
			See(d.pos(items[x.first]), "the other one")
	}
	if d.errs == errs {
		*v.Addr().Interface().(*Ports) = ports
	}
}
