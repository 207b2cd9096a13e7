package ovs

import (
	"context"
	"errors"
)

// A view is the switch's database at one moment, by name.
type view struct {
	root    *switchRow
	bridges map[string]*bridge
	ports   map[string]*port
	outside
}

type bridge struct {
	*bridgeRow
	ports []*port
	// links are the interfaces of all ports, by name.
	links map[string]*interfaceRow
}

type port struct {
	*portRow
	bridge *bridge
	// link is its interface; of a bond the first. links are all of them.
	link  *interfaceRow
	links []*interfaceRow
}

// errTorn says that a transaction is being applied while it is read.
var errTorn = errors.New("the switch's database keeps changing")

// view joins the tables. Rows of one transaction come into the tables one by
// one, so a reference may for an instant lead nowhere: then it looks again.
func (s *session) view(ctx context.Context) (*view, error) {
	for range 5 {
		if v, ok := s.join(); ok {
			return v, nil
		}
		if err := s.echo(ctx); err != nil {
			return nil, err
		}
	}
	return nil, errTorn
}

func (s *session) join() (*view, bool) {
	v := &view{bridges: map[string]*bridge{}, ports: map[string]*port{}}
	for _, r := range rows[switchRow](s, tableSwitch) {
		v.root = r
	}
	if v.root == nil {
		return nil, false
	}
	bridges, ports, links := rows[bridgeRow](s, tableBridge), rows[portRow](s, tablePort), rows[interfaceRow](s, tableInterface)
	for _, id := range v.root.Bridges {
		br := bridges[id]
		if br == nil {
			return nil, false
		}
		b := &bridge{bridgeRow: br, links: map[string]*interfaceRow{}}
		v.bridges[br.Name] = b
		for _, id := range br.Ports {
			if ports[id] == nil {
				return nil, false
			}
			p := &port{portRow: ports[id], bridge: b}
			for i, id := range p.Interfaces {
				if links[id] == nil {
					return nil, false
				}
				if i == 0 {
					p.link = links[id]
				}
				p.links = append(p.links, links[id])
				b.links[links[id].Name] = links[id]
			}
			if p.link == nil {
				return nil, false
			}
			b.ports = append(b.ports, p)
			v.ports[p.Name] = p
		}
	}
	return v, true
}

// local is the port of the bridge that has its name.
func (b *bridge) local() *port {
	for _, p := range b.ports {
		if p.Name == b.Name {
			return p
		}
	}
	return nil
}

// text is the value of an optional column.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// plugged returns the port number of an interface; false while it has none.
func plugged(l *interfaceRow) (int, bool) {
	if l.OFPort == nil || *l.OFPort <= 0 {
		return 0, false
	}
	return *l.OFPort, true
}
