package model

import (
	"slices"

	"weft.dev/schema"
)

// attached are the documents that belong to what a public address serves.
type attached struct {
	// homes are the network that each public address serves, or itself where it is
	// only reserved.
	homes map[schema.ID]schema.ID
	docs  map[schema.ID][]*schema.Document // by public address
}

// addressOf is the public address that a document belongs to; false where it is
// none of such a kind, or belongs to a network itself.
func addressOf(d *schema.Document) (schema.ID, bool) {
	var ref schema.Ref
	switch spec := d.Spec.(type) {
	case *schema.LoadBalancer:
		ref = spec.PublicIP
	case *schema.RemoteAccessVPN:
		ref = spec.PublicIP
	default:
		return schema.ID{}, false
	}
	return schema.ID{Kind: schema.KindPublicIP, Account: ref.Or(d.Meta.Account), Name: ref.Name}, !ref.IsZero()
}

// settle notes what a public address serves.
func (x *Index) settle(d *schema.Document, home schema.ID, add bool) {
	if !add {
		delete(x.attached.homes, d.ID())
		return
	}
	if x.attached.homes == nil {
		x.attached.homes = map[schema.ID]schema.ID{}
	}
	x.attached.homes[d.ID()] = home
}

// attach takes in, or out, a document that belongs to what a public address serves,
// and returns whose unit changed.
func (x *Index) attach(d *schema.Document, ip schema.ID, add bool) []schema.ID {
	if x.attached.docs == nil {
		x.attached.docs = map[schema.ID][]*schema.Document{}
	}
	if list := edit(x.attached.docs[ip], d, add); len(list) > 0 {
		x.attached.docs[ip] = list
	} else {
		delete(x.attached.docs, ip)
	}
	if home, ok := x.attached.homes[ip]; ok {
		return []schema.ID{home}
	}
	return nil
}

// Home is the network that the public address of d serves, or the address itself
// where it is only reserved; false where d names none that is there.
func (x *Index) Home(d *schema.Document) (schema.ID, bool) {
	ip, ok := addressOf(d)
	if !ok {
		return schema.ID{}, false
	}
	return x.Serves(ip)
}

// Serves is the network, or VPC, that a public address serves, or the address itself
// where it is only reserved; false where no document declares it.
func (x *Index) Serves(ip schema.ID) (schema.ID, bool) {
	home, ok := x.attached.homes[ip]
	return home, ok
}

// Attached lists the documents that belong to a network, or to the public addresses
// that serve it, by ID.
func (x *Index) Attached(id schema.ID) []*schema.Document {
	m := x.members[id]
	if m == nil {
		return nil
	}
	out := slices.Clone(m.own)
	if len(x.attached.docs) > 0 {
		for _, ip := range m.ips {
			out = append(out, x.attached.docs[ip.ID()]...)
		}
	}
	sortDocs(out)
	return out
}

// Own lists the documents that name a network and are none of its guests, by ID.
func (x *Index) Own(id schema.ID) []*schema.Document {
	m := x.members[id]
	if m == nil || len(m.own) == 0 {
		return nil
	}
	out := slices.Clone(m.own)
	sortDocs(out)
	return out
}

// CheckAttached reports what belongs to a public address that serves nothing.
func CheckAttached(x *Index, ip schema.ID, ds *schema.Diags) {
	for _, d := range x.attached.docs[ip] {
		p := ds.Errorf(d.At("spec.publicIP"), "only-reserved", "%s is only reserved: it serves no network that %s could be of", ip, d.ID()).Offending(ip.Name)
		if doc := x.loose[ip]; doc != nil {
			p.See(nameOf(doc), "the address")
		}
		p.Hintf("add network: NAME to %s", ip)
	}
}

// Lost reports the documents that name a public address which no document declares,
// and returns them; those of an address whose document could not be read are no
// mistake.
func (x *Index) Lost(ds *schema.Diags) []*schema.Document {
	var out []*schema.Document
	known := map[string][]string{} // by account, made when one is missed
	for ip, docs := range x.attached.docs {
		if _, ok := x.attached.homes[ip]; ok || x.unread[ip] {
			continue
		}
		if len(known) == 0 {
			for id := range x.attached.homes {
				known[id.Account] = append(known[id.Account], id.Name)
			}
			for _, names := range known {
				slices.Sort(names)
			}
		}
		for _, d := range docs {
			unknown(ds, d.At("spec.publicIP"), "public IP", ip.Name, known[ip.Account])
		}
		out = append(out, docs...)
	}
	sortDocs(out)
	return out
}
