package resource

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"weft.dev/schema"
)

// drawState draws a state of kind in which every field may be anything.
func drawState(r *rand.Rand, kind Kind) State {
	word := func() string {
		return []string{"", "web", "a/b-c_d.e", "\"quoted\"\n<&>", "größe \u2028 \x00", strings.Repeat("x", r.IntN(40))}[r.IntN(6)]
	}
	number := func() int { return r.IntN(70000) }
	flag := func() bool { return r.IntN(2) == 0 }
	addr := func() netip.Addr {
		switch r.IntN(3) {
		case 0:
			return netip.Addr{}
		case 1:
			return netip.AddrFrom4([4]byte{10, byte(r.IntN(256)), 0, 1})
		}
		return netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", 1+r.IntN(9999)))
	}
	prefix := func() netip.Prefix {
		if a := addr(); a.IsValid() {
			return netip.PrefixFrom(a, r.IntN(a.BitLen()+1))
		}
		return netip.Prefix{}
	}
	id := func() ID { return ID{Kinds()[r.IntN(len(Kinds()))], word()} }
	ids := func() (out []ID) {
		for range r.IntN(3) {
			out = append(out, id())
		}
		return out
	}
	maybe := func() *ID {
		if flag() {
			return nil
		}
		x := id()
		return &x
	}
	words := func() (out []string) {
		for range r.IntN(3) {
			out = append(out, word())
		}
		return out
	}
	switch kind {
	case KindBridge:
		return Bridge{word(), word(), word(), flag(), flag(), number(), word()}
	case KindPort:
		p := Port{Bridge: word(), Name: word(), Type: word(), Peer: word(), IfaceID: word(), MAC: word(), Uplink: flag(), Link: maybe(), Guards: ids()}
		if flag() {
			p.Bond = &Bond{word(), word(), words()}
		}
		return p
	case KindTunnel:
		return Tunnel{word(), word(), word(), addr(), addr(), number(), maybe()}
	case KindFlows:
		return drawFlows(r, word, ids)
	case KindNS:
		return NS{word(), Owner(word()), &Health{Name: word(), Every: time.Duration(r.IntN(9)), Probes: probes(word), Turn: r.IntN(2), Turns: 2}}
	case KindLink:
		l := Link{NS: word(), Name: word(), Host: word(), MAC: word(), MTU: number(), Up: flag(), Of: word(), TxOff: flag(), Meter: &Meter{Of: word(), Name: word(), Account: word(), Direction: word()}}
		switch r.IntN(5) {
		case 4:
			l.Takeover = &Takeover{word(), []netip.Prefix{prefix()}, []Way{{prefix(), addr()}}}
		case 0:
			l.Bridge = &LinuxBridge{flag(), flag(), flag()}
		case 1:
			l.VLAN = &VLAN{word(), number()}
		case 2:
			l.VXLAN = &VXLAN{
				uint32(number()), addr(), number(), number(), flag(), []netip.Addr{addr()}, []Peer{{word(), addr()}}, addr(), word(), flag(), flag(), maybe(),
			}
		}
		return l
	case KindBridgePort:
		p := BridgePort{word(), word(), word(), word(), flag(), flag(), flag(), flag(), flag(), nil, maybe(), ids()}
		if flag() {
			rule := GuestRule{number(), []PortSpan{{uint16(number()), uint16(number())}}, number(), number(), []netip.Prefix{prefix()}}
			p.Guard = &Guard{flag(), flag(), flag(), word(), []Owned{{word(), prefix()}}, &Reserved{[]string{word()}, []netip.Addr{addr()}}, &GuestGroups{
				flag(), []GuestRule{rule}, []GuestRule{rule}, []netip.Prefix{prefix()}, []netip.Addr{addr()},
			}}
		}
		return p
	case KindQdisc:
		return Qdisc{word(), word(), number(), flag(), word(), word(), maybe()}
	case KindAddr:
		return Addr{word(), word(), prefix(), maybe(), maybe()}
	case KindRoute:
		return Route{word(), prefix(), addr(), word(), maybe(), maybe()}
	case KindRule:
		return RoutingRule{word(), uint32(number()), word(), prefix(), addr(), uint32(number()), uint32(number()), flag()}
	case KindSysctl:
		return Sysctl{word(), word(), word(), ids(), maybe()}
	case KindChain:
		return drawChain(r, word, prefix, addr)
	case KindSet:
		s := AddrSet{NS: word(), Name: word(), Family: number()}
		for range r.IntN(4) {
			s.Members = append(s.Members, prefix())
		}
		return s
	case KindFile:
		f := File{Path: word(), Mode: r.Uint32(), Nic: word(), Image: word()}
		for range r.IntN(4) {
			text := word()
			if flag() {
				text = string([]byte{0xff, 0x00, byte(r.IntN(256))})
			}
			f.Parts = append(f.Parts, Part{Text: text}, Part{Secret: word(), Digest: word(), Word: number(), Optional: flag(), Pos: schema.Pos{File: word(), Line: number(), Col: number()}}, Part{Text: word(), Hidden: flag(), Digest: word(), At: word()})
			f.Authors = append(f.Authors, Lines{r.IntN(9), r.IntN(9), drawAuthor(r, word)})
		}
		return f
	case KindProcess:
		return Process{word(), word(), words(), r.Uint64(), r.Uint64(), word(), words(), word(), ids(), probes(word)}
	case KindRecord:
		return Record{Server{word(), word(), word(), word(), word()}, word(), word(), word(), words(), uint32(number()), maybe()}
	}
	panic("no states are drawn of kind " + string(kind))
}

func drawFlows(r *rand.Rand, word func() string, ids func() []ID) State {
	f := Flows{Bridge: word(), Owner: Owner(word()), Ports: ids()}
	for range r.IntN(4) {
		f.Authors = append(f.Authors, drawAuthor(r, word))
		f.Rules = append(f.Rules, Flow{
			By: r.Uint32(), Table: uint8(r.IntN(256)), Priority: uint16(r.IntN(65536)),
			Match: []Cond{{FlowField(r.IntN(35)), r.Uint64(), r.Uint64(), word()}},
			Do:    []Act{{Op(r.IntN(18)), FlowField(r.IntN(35)), r.Uint64(), uint8(r.IntN(256)), uint16(r.Uint32()), r.Uint32(), word()}},
		})
	}
	return f
}

func drawAuthor(r *rand.Rand, word func() string) Author {
	return Author{Pos: schema.Pos{File: word(), Line: r.IntN(99), Col: r.IntN(99)}, NIC: word()}
}

func drawChain(r *rand.Rand, word func() string, prefix func() netip.Prefix, addr func() netip.Addr) State {
	c := Chain{NS: word(), Family: r.IntN(7), Table: word(), Name: word(), Policy: word(), Meter: &Meter{Of: word(), Name: word()}}
	for range r.IntN(4) {
		ports := []schema.PortRange{{From: uint16(r.IntN(65536)), To: uint16(r.IntN(65536))}}
		c.Rules = append(c.Rules, Rule{
			Name: word(), Origin: schema.Pos{File: word(), Line: r.IntN(99), Col: r.IntN(99)},
			Match: Match{
				In: word(), Out: word(), Src: prefix(), Dst: prefix(), NotDst: r.IntN(2) == 0, SrcSet: word(), DstSet: word(), Proto: word(),
				SrcPorts: ports, DstPorts: ports, ICMPType: r.IntN(256), ICMPCode: r.IntN(256), CT: []string{word()}, OrigDst: prefix(),
				SYN: r.IntN(2) == 0, Mark: r.Uint32(), IPsec: []string{"", "in", "out", "clear"}[r.IntN(4)], Nth: r.IntN(9), Hash: Hash{Nodes: r.IntN(32), Mask: r.Uint32(), Seed: r.Uint32()},
			},
			Behind: []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), uint16(r.IntN(65536)))},
			Do:     Verdict{Target: word(), Jump: word(), To: addr(), Ports: ports[0], Base: uint16(r.IntN(65536)), Mark: r.Uint32()},
		})
	}
	return c
}

func probes(word func() string) []Probe {
	return []Probe{{Service: word(), Kind: ProbeDNS, At: word(), Path: word(), Ask: word(), Want: word(), Link: word(), Outside: true, Process: word()}, {Service: word()}}
}

func roundTrip(t *testing.T, from, to any) []byte {
	t.Helper()
	b, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, to); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return b
}

func TestEveryKindRoundTrips(t *testing.T) {
	for _, kind := range Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			for seed := range uint64(300) {
				r := rand.New(rand.NewPCG(seed, 1))
				e := Entry{State: drawState(r, kind), Owner: "network/acme/web", Origin: []schema.Pos{{File: "a.yaml", Line: 1, Col: 2}, {File: "b"}}}
				if seed%3 == 0 {
					id := ID{kind, e.State.ID().Name}
					e.State = Seen{Ident: id, Print: r.Uint64(), Up: ID{KindNS, "r0"}, Needed: []ID{id}, Held: []string{"x"}, Drift: "- a\n+ b"}
				}
				var back Entry
				b := roundTrip(t, e, &back)
				if !reflect.DeepEqual(e, back) {
					t.Fatalf("seed %d: got\n%#v, want\n%#v\n%s", seed, back, e, b)
				}
				if back.State.Fingerprint() != e.State.Fingerprint() {
					t.Fatalf("seed %d: the fingerprint changed on the way", seed)
				}
			}
		})
	}
}

func drawIntent(r *rand.Rand, owners, each int) *Intent {
	var fragments []*Fragment
	for i := range owners {
		var entries []Entry
		seen := map[ID]bool{}
		owner := Owner(fmt.Sprintf("network/acme/n%d", i))
		for range each {
			st := drawState(r, Kinds()[r.IntN(len(Kinds()))])
			if !seen[st.ID()] {
				seen[st.ID()] = true
				entries = append(entries, Entry{State: st, Owner: owner, Origin: []schema.Pos{{File: "a.yaml", Line: i}}})
			}
		}
		fragments = append(fragments, NewFragment(owner, entries))
	}
	return NewIntent("kvm1", fragments, []Hold{{"network/acme/x", HoldInvalid, "broken"}})
}

func TestIntentAndObservedRoundTrip(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		in := drawIntent(r, 4, 12)
		in.Frozen = []string{"", "state is Disabled"}[seed%2]
		var back Intent
		first := roundTrip(t, in, &back)
		if in.Fingerprint() != back.Fingerprint() || in.Len() != back.Len() || in.Frozen != back.Frozen {
			t.Fatalf("seed %d: the intent changed on the way:\n%s", seed, first)
		}
		var fragment Fragment
		roundTrip(t, in.Fragments[0], &fragment)
		if fragment.Print != in.Fragments[0].Print {
			t.Fatalf("seed %d: the fragment changed on the way", seed)
		}
		o := NewObserved()
		o.Set = in.Set()
		o.Foreign[ID{KindNS, "x"}] = "made by hand"
		o.Unread = []Unread{{KindSet, "r0", "exit 1"}}
		o.Unbound["network/acme/n0"] = []string{"port:a"}
		o.Notices["network/acme/n1"] = []string{"the daemon has told nothing"}
		var seen Observed
		roundTrip(t, o, &seen)
		if !reflect.DeepEqual(o.Foreign, seen.Foreign) || !reflect.DeepEqual(o.Unread, seen.Unread) || !reflect.DeepEqual(o.Unbound, seen.Unbound) || !reflect.DeepEqual(o.Notices, seen.Notices) || len(o.Set) != len(seen.Set) {
			t.Fatalf("seed %d: the observation changed on the way: got %+v, want %+v", seed, seen, o)
		}
		for id, e := range o.Set {
			if b := seen.Set[id]; b.Owner != e.Owner || b.State.Fingerprint() != e.State.Fingerprint() {
				t.Fatalf("seed %d: %s changed on the way", seed, id)
			}
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no version", `{"host":"h"}`, "formatVersion is missing"},
		{"newer version", `{"formatVersion":2}`, "newer than this weft reads"},
		{"unknown kind", `{"formatVersion":1,"fragments":[{"owner":"o","entries":[{"kind":"net.tun","state":{}}]}]}`, `unknown kind "net.tun"`},
		{"unknown kind seen", `{"formatVersion":1,"fragments":[{"owner":"o","entries":[{"kind":"net.tun","seen":{"id":{"kind":"net.tun","name":"a"}}}]}]}`, `unknown kind "net.tun"`},
		{"no state", `{"formatVersion":1,"fragments":[{"owner":"o","entries":[{"kind":"net.ns"}]}]}`, "net.ns has no state"},
		{"null state", `{"formatVersion":1,"fragments":[{"owner":"o","entries":[{"kind":"net.ns","state":null}]}]}`, "net.ns has no state"},
		{"twice", `{"formatVersion":1,"fragments":[{"owner":"o","entries":[{"kind":"net.ns","state":{"name":"a"}},{"kind":"net.ns","state":{"name":"a"}}]}]}`, "net.ns a is there twice"},
		{"bad value", `{"formatVersion":1,"fragments":[{"owner":"o","entries":[{"kind":"net.addr","state":{"prefix":"x"}}]}]}`, "state:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var in Intent
			if err := json.Unmarshal([]byte(tt.text), &in); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
	var in Intent
	text := `{"formatVersion":1,"news":1,"fragments":[{"owner":"o","news":1,"entries":[{"kind":"net.ns","news":1,"state":{"name":"a","news":1}}]}]}`
	if err := json.Unmarshal([]byte(text), &in); err != nil || in.Len() != 1 {
		t.Errorf("unknown fields: got %d entries and error %v, want 1 and none", in.Len(), err)
	}
}

func BenchmarkMarshal100k(b *testing.B) {
	in := drawIntent(rand.New(rand.NewPCG(1, 3)), 3000, 40)
	b.ReportMetric(float64(in.Len()), "entries")
	for b.Loop() {
		text, err := json.Marshal(in)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(text)))
	}
}

func BenchmarkUnmarshal100k(b *testing.B) {
	text, err := json.Marshal(drawIntent(rand.New(rand.NewPCG(1, 3)), 3000, 40))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		var in Intent
		if err := json.Unmarshal(text, &in); err != nil {
			b.Fatal(err)
		}
	}
}
