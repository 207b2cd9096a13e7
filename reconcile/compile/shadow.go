package compile

import (
	"slices"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// shadowNeeds is what networks that are held may need of hosts, by host: more
// rather than less, so that what they share with others stays.
func (c *Compiler) shadowNeeds(tree *schema.Tree, more map[schema.ID][]string) map[string][]*plugin.Needs {
	out := map[string][]*plugin.Needs{}
	for _, u := range c.order {
		_, held := c.holds[u.id]
		if u.vpc != nil && (u.hold != nil || held) {
			c.castVPC(u.net.Doc, gatesOf(tree), out)
		} else if u.net != nil && (u.hold != nil || held) {
			c.cast(u.net.Doc, u.net, more[u.id], out)
		}
	}
	for _, d := range suspects(tree) {
		if d.Kind == schema.KindNetwork && c.units[d.ID()] == nil {
			c.cast(d, nil, more[d.ID()], out)
		}
		if d.Kind == schema.KindVPC && c.units[d.ID()] == nil {
			c.castVPC(d, gatesOf(tree), out)
		}
	}
	return out
}

// gatesOf lists the private gateways that cannot be read.
func gatesOf(tree *schema.Tree) []*schema.Document {
	return slices.DeleteFunc(suspects(tree), func(d *schema.Document) bool { return d.Kind != schema.KindPrivateGateway })
}

// cast adds the needs of one network's shadows.
func (c *Compiler) cast(d *schema.Document, known *model.Network, more []string, out map[string][]*plugin.Needs) {
	for _, n := range model.Shadows(c.site, c.index, d, known, c.input.lock, more) {
		draft := plugin.NewDraft(resource.Owner(d.ID().String()), d.Pos)
		for _, g := range c.registry.Gurus {
			if g.CanHandle(n) == "" {
				g.Design(n, draft)
			}
		}
		if p := c.registry.Public; p != nil && n.Router != nil && n.Router.Public() && p.CanServe(n.Router) == "" {
			p.DesignLegs(n.Router, draft)
		}
		if n.Router != nil {
			draft.Need(n.Router.Host.Name).Routers = true
		}
		for host, needs := range draft.Needs {
			out[host] = append(out[host], needs)
		}
	}
}

// replaceShadows counts the needs of the networks that are held now instead of
// those that were.
func (c *Compiler) replaceShadows(now map[string][]*plugin.Needs) {
	for name, list := range c.shadows {
		if !slices.EqualFunc(list, now[name], sameNeeds) {
			for _, n := range list {
				c.need(name, n, -1)
			}
		}
	}
	for name, list := range now {
		if !slices.EqualFunc(list, c.shadows[name], sameNeeds) {
			for _, n := range list {
				c.need(name, n, 1)
			}
		}
	}
	c.shadows = now
}

func sameNeeds(a, b *plugin.Needs) bool {
	return slices.Equal(a.Labels, b.Labels) && slices.Equal(a.Tunnels, b.Tunnels) && slices.Equal(a.Segments, b.Segments) && slices.Equal(a.Privates, b.Privates) &&
		slices.Equal(a.Wires, b.Wires) && a.Routers == b.Routers
}
