package fw

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// kchain is a chain as iptables-save prints it, counters left out.
type kchain struct {
	policy string // "-" on chains that are not built in
	rules  []string
}

// text is what a note keeps of it.
func (c *kchain) text() []string { return append([]string{":" + c.policy}, c.rules...) }

// bare reports whether a chain is what the kernel makes of it by itself.
func (c *kchain) bare() bool { return c.policy == "ACCEPT" && len(c.rules) == 0 }

// tables are the chains of a namespace by ID.
type tables map[resource.ID]*kchain

// parse splits the output of iptables-save. Rules are taken as they are.
func (t tables) parse(ns string, family int, out string) error {
	table := ""
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "" || line[0] == '#' || line == "COMMIT":
		case line[0] == '*':
			table = line[1:]
		case line[0] == ':':
			name, policy, ok := header(line[1:])
			if !ok || table == "" {
				return fmt.Errorf("iptables-save printed %q", line)
			}
			t[resource.ChainID(ns, family, table, name)] = &kchain{policy: policy}
		case strings.HasPrefix(line, "-A "):
			name, _, _ := strings.Cut(line[3:], " ")
			c := t[resource.ChainID(ns, family, table, name)]
			if c == nil {
				return fmt.Errorf("iptables-save printed %q for no chain", line)
			}
			c.rules = append(c.rules, line)
		default:
			return fmt.Errorf("iptables-save printed %q", line)
		}
	}
	return nil
}

// header splits "NAME POLICY [0:0]".
func header(s string) (name, policy string, ok bool) {
	if i := strings.LastIndex(s, " ["); i > 0 {
		s = s[:i]
	}
	i := strings.LastIndexByte(s, ' ')
	if i < 1 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// state is what can be told of the rules of a namespace without forking.
type state struct {
	print uint64 // changes whenever the rules do
	has   []int  // families that have any table
	ok    bool   // false if nothing can be told
}

// peek tells the state of a namespace.
func (d *Driver) peek(t *tools, s *host.Space) (st state) {
	if t.variant == Legacy {
		st.print, st.has, st.ok = legacyPrint(d.host, s.Name)
		return st
	}
	gen, ok := s.NftGeneration()
	return state{print: uint64(gen), ok: ok}
}

// read returns the chains of a namespace. They are remembered for as long as the
// state of the rules stays, if need be from a note of an earlier process.
func (d *Driver) read(ctx context.Context, t *tools, s *host.Space) (tables, error) {
	m := d.memory(s.Name)
	for range 3 {
		st := d.peek(t, s)
		m.mu.Lock()
		known, kernel := m.known && st.ok && m.cookie == s.Cookie && m.print == st.print, m.kernel
		m.mu.Unlock()
		if known {
			return kernel, nil
		}
		if n := d.note(s); st.ok && s.Cookie != 0 && n.Print != 0 && n.Print == st.print && n.Variant == t.variant {
			kernel = n.kernel()
			m.remember(s.Cookie, st.print, kernel)
			return kernel, nil
		}
		if t.variant == NFT {
			var ok bool
			if st.has, ok = nftFamilies(s); !ok {
				st.has = []int{4, 6}
			}
		} else if !st.ok {
			st.has = []int{4, 6}
		}
		kernel, err := d.save(ctx, t, s, st.has)
		if err != nil {
			return nil, err
		}
		if after := d.peek(t, s); !st.ok || !after.ok {
			return kernel, nil
		} else if after.print == st.print {
			m.remember(s.Cookie, st.print, kernel)
			return kernel, nil
		}
	}
	return d.save(ctx, t, s, []int{4, 6}) // somebody writes all the time
}

func (m *memory) remember(cookie, sum uint64, kernel tables) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cookie, m.print, m.kernel, m.known = cookie, sum, kernel, true
}

// save asks iptables-save of the families in has.
func (d *Driver) save(ctx context.Context, t *tools, s *host.Space, has []int) (tables, error) {
	out := tables{}
	for number, f := range t.families {
		if !slices.Contains(has, number) {
			continue // no table, so nothing to fork for
		}
		text, err := d.host.Run(ctx, s.Name, nil, f.save)
		if err != nil {
			return nil, err
		}
		if err := out.parse(s.Name, number, string(text)); err != nil {
			return nil, err
		}
	}
	return out, nil
}
