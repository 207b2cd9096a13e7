package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"

	"github.com/miekg/dns"
)

// Observe implements driver.Driver. It reads the zones in which records are wanted or
// were made, all at once; a server that does not answer is what could not be read.
func (d *Driver) Observe(ctx context.Context, scope driver.Scope) (*resource.Observed, error) {
	known, err := d.known()
	if err != nil {
		return nil, fmt.Errorf("observe records: %w", err)
	}
	places := slices.Clone(known)
	wanted := map[string][]resource.Entry{} // by place
	for _, e := range scope.Desired {
		r, ok := e.State.(resource.Record)
		if !ok {
			continue
		}
		p := placeOf(r)
		if i := slices.IndexFunc(places, p.is); i < 0 {
			places = append(places, p)
		} else {
			places[i] = p // with the key of today
		}
		wanted[p.key()] = append(wanted[p.key()], e)
	}
	out := resource.NewObserved()
	waits := d.waits(scope.Desired)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, p := range places {
		all.Go(func() {
			z, err := d.transfer(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				err = fmt.Errorf("zone %s: %w", p.Zone, err)
				out.Unread = append(out.Unread, resource.Unread{Kind: resource.KindRecord, NS: p.key(), Err: err.Error()})
				return
			}
			d.ours(z, p, known, scope.Desired, out)
			d.foreign(z, wanted[p.key()], out)
			for _, e := range wanted[p.key()] {
				if waits(e.State.(resource.Record)) {
					delete(out.Foreign, e.State.ID())
					out.Set.Put(e)
				}
			}
		})
	}
	all.Wait()
	slices.SortFunc(out.Unread, func(a, b resource.Unread) int { return strings.Compare(a.Err, b.Err) })
	return out, ctx.Err()
}

func (p place) key() string { return p.Server.Endpoint + "/" + p.Zone }

// A zone is what a server told of one.
type zone struct {
	sets  map[at][]dns.RR
	marks map[at]mark // of the records that they are about
}

type at struct{ name, kind string }

// largest is how many records a zone may have: all of them are kept in memory.
const largest = 500_000

// transfer reads a zone, unless its server was silent just before.
func (d *Driver) transfer(ctx context.Context, p place) (*zone, error) {
	if err := d.silent(p.Server); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, whole)
	defer cancel()
	z, err := d.read(limited, p)
	if err = told(err); err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("it cannot be read in %s: %w", whole, errSilent)
	}
	d.heard(ctx, p.Server, err)
	return z, err
}

func (d *Driver) axfr(ctx context.Context, p place) (*zone, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m := new(dns.Msg).SetAxfr(dns.Fqdn(p.Zone))
	secrets, err := d.sign(p.Server, m)
	if err != nil {
		return nil, err
	}
	address, err := d.resolve(ctx, p.Server)
	if err != nil {
		return nil, err
	}
	conn, err := d.connect(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	t := &dns.Transfer{Conn: conn, ReadTimeout: patience, WriteTimeout: patience, TsigSecret: secrets}
	envelopes, err := t.In(m, "")
	if err != nil {
		return nil, err
	}
	z, count := &zone{map[at][]dns.RR{}, map[at]mark{}}, 0
	for e := range envelopes {
		if err = e.Error; err != nil {
			break
		}
		if count += len(e.RR); count > largest {
			err = fmt.Errorf("the zone has more than %d records: give weft one of its own", largest)
			break
		}
		for _, rr := range e.RR {
			z.add(rr)
		}
	}
	_ = conn.Close()
	for range envelopes { // the sender must not be left waiting
	}
	if err != nil {
		return nil, fmt.Errorf("transfer (AXFR): %w", told(err))
	}
	return z, nil
}

func (z *zone) add(rr dns.RR) {
	a := at{canonical(rr.Header().Name), dns.TypeToString[rr.Header().Rrtype]}
	switch rr := rr.(type) {
	case *dns.A, *dns.AAAA, *dns.PTR, *dns.CNAME:
		z.sets[a] = append(z.sets[a], rr)
	case *dns.TXT:
		if name, kind, ok := marked(a.name); ok {
			if m, ok := parseMark(rr.Txt); ok {
				z.marks[at{name, kind}] = m
			}
		}
	}
}

// ours puts what this host made in z into out, and what it is to take over.
func (d *Driver) ours(z *zone, p place, known []place, desired resource.Set, out *resource.Observed) {
	i := slices.IndexFunc(known, p.is)
	for a, m := range z.marks {
		r := resource.Record{Server: p.Server, Zone: p.Zone, Name: a.name, Type: a.kind}
		want, wanted := desired[r.ID()]
		if m.instance != d.host.Instance || m.host != d.host.Name && (!wanted || want.Owner != m.owner) {
			continue
		}
		if w, ok := want.State.(resource.Record); ok {
			r.With = w.With // a server knows nothing of it
		}
		for _, rr := range z.sets[a] {
			r.Values = append(r.Values, value(rr))
			r.TTL = rr.Header().Ttl
		}
		slices.Sort(r.Values)
		e := resource.Entry{State: r, Owner: m.owner}
		if i >= 0 {
			r.Server = known[i].Server
			e.State = r
		}
		if i < 0 || m.host != d.host.Name {
			// Another owner than the right one, so that the place and the mark
			// are written.
			e.Owner = resource.Owner("host/" + m.host)
		}
		out.Set.Put(e)
	}
}

// foreign puts into out what stands where something wanted wants to be.
func (d *Driver) foreign(z *zone, wanted []resource.Entry, out *resource.Observed) {
	for _, e := range wanted {
		r := e.State.(resource.Record)
		a := at{r.Name, r.Type}
		if _, ok := out.Set[r.ID()]; ok {
			continue
		}
		m, marked := z.marks[a]
		switch {
		case marked:
			out.Foreign[r.ID()] = m.words()
		case len(z.sets[a]) > 0:
			out.Foreign[r.ID()] = fmt.Sprintf("the server has %s there, which weft did not make", z.sets[a][0])
		case len(z.sets[at{r.Name, "CNAME"}]) > 0:
			out.Foreign[r.ID()] = fmt.Sprintf("the server has %s there, which weft did not make", z.sets[at{r.Name, "CNAME"}][0])
		}
	}
}
