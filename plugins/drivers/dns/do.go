package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/resource"

	"github.com/miekg/dns"
)

// Do implements driver.Driver: one update for each step, which the server makes as a
// whole or not at all. A server that has had its turn is told the rest later.
func (d *Driver) Do(ctx context.Context, steps []*plan.Step) []error {
	errs := make([]error, len(steps))
	failed := map[int]bool{}
	left := map[string]place{}          // where something was dropped
	spent := map[string]time.Duration{} // by endpoint
	for i, s := range steps {
		errs[i] = ctx.Err()
		for _, before := range s.After {
			if failed[before] {
				errs[i] = plan.ErrSkipped
			}
		}
		if errs[i] == nil {
			r, began := recordOf(s), time.Now()
			errs[i] = d.step(ctx, s, r, left)
			if spent[r.Server.Endpoint] += time.Since(began); spent[r.Server.Endpoint] > turn {
				d.rest(r.Server)
			}
		}
		failed[s.Index] = errs[i] != nil
	}
	for _, p := range left {
		d.tidy(ctx, p)
	}
	return errs
}

// recordOf is what a step makes or drops.
func recordOf(s *plan.Step) resource.Record {
	var st resource.State
	if s.Drop {
		st = s.Action.Before.State
	} else {
		st = s.State()
	}
	r, ok := st.(resource.Record)
	if !ok {
		panic(fmt.Sprintf("the driver of records was given a %T", st))
	}
	return r
}

func (d *Driver) step(ctx context.Context, s *plan.Step, r resource.Record, left map[string]place) error {
	if !s.Drop {
		if d.backup(r.With) {
			return nil // since the look; the primary's host tells
		}
		if err := d.put(ctx, r, s.Owner()); err != nil {
			return fmt.Errorf("tell %s of %s %s: %w", r.Server.Endpoint, r.Name, r.Type, err)
		}
		return nil
	}
	left[placeOf(r).key()] = placeOf(r)
	d.changes(placeOf(r))
	if err := d.drop(ctx, r); err != nil {
		return fmt.Errorf("take %s %s from %s: %w", r.Name, r.Type, r.Server.Endpoint, err)
	}
	return nil
}

// errOther: between look and change somebody else came.
var errOther = errors.New("something that weft did not make stands there")

// put makes r true, if nothing stands there or what is ours does.
func (d *Driver) put(ctx context.Context, r resource.Record, owner resource.Owner) error {
	rrs, err := values(r)
	if err != nil {
		return err
	}
	if err := d.remember(placeOf(r)); err != nil {
		return err
	}
	d.changes(placeOf(r))
	err = d.replace(ctx, r, rrs, owner)
	if errors.Is(err, errOther) { // such as the host that the router left, taking its records away
		err = d.replace(ctx, r, rrs, owner)
	}
	return err
}

// replace puts rrs where nothing of another's stands now and then.
func (d *Driver) replace(ctx context.Context, r resource.Record, rrs []dns.RR, owner resource.Owner) error {
	was, m, err := d.marked(ctx, r)
	if err != nil {
		return err
	}
	u := new(dns.Msg).SetUpdate(dns.Fqdn(r.Zone))
	name, marks := every(r.Name, r.Type), every(marking(r.Name, r.Type), "TXT")
	switch {
	case was == nil:
		u.RRsetNotUsed([]dns.RR{name, marks, every(r.Name, "CNAME")})
	case d.mine(m, owner):
		u.Used([]dns.RR{was})
	default:
		return errors.New(m.words())
	}
	u.RemoveRRset([]dns.RR{name, marks})
	ours := mark{d.host.Instance, d.host.Name, owner}
	u.Insert(append(rrs, &dns.TXT{Hdr: header(marking(r.Name, r.Type), "TXT", r.TTL), Txt: ours.text()}))
	return d.update(ctx, r.Server, u)
}

// drop takes away what this host made; what is gone, or another's by now, is no error.
func (d *Driver) drop(ctx context.Context, r resource.Record) error {
	was, m, err := d.marked(ctx, r)
	if err != nil || was == nil || m.instance != d.host.Instance || m.host != d.host.Name {
		return err
	}
	u := new(dns.Msg).SetUpdate(dns.Fqdn(r.Zone))
	u.Used([]dns.RR{was})
	u.RemoveRRset([]dns.RR{every(r.Name, r.Type), every(marking(r.Name, r.Type), "TXT")})
	if err := d.update(ctx, r.Server, u); !errors.Is(err, errOther) {
		return err
	}
	return nil // another host was faster
}

// marked asks for the mark of r; nil if there is none.
func (d *Driver) marked(ctx context.Context, r resource.Record) (*dns.TXT, mark, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(marking(r.Name, r.Type)), dns.TypeTXT)
	q.RecursionDesired = false
	answer, err := d.ask(ctx, r.Server, q)
	if err != nil {
		return nil, mark{}, err
	}
	if answer.Rcode != dns.RcodeNameError {
		if err := refusal(answer.Rcode); err != nil {
			return nil, mark{}, err
		}
	}
	if !answer.Authoritative {
		return nil, mark{}, fmt.Errorf("the server is not authoritative for %s", r.Zone)
	}
	for _, rr := range answer.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			if m, ok := parseMark(txt.Txt); ok {
				return txt, m, nil
			}
		}
	}
	return nil, mark{}, nil
}

func (d *Driver) update(ctx context.Context, s resource.Server, u *dns.Msg) error {
	answer, err := d.ask(ctx, s, u)
	if err != nil {
		return err
	}
	switch answer.Rcode {
	case dns.RcodeYXRrset, dns.RcodeYXDomain, dns.RcodeNXRrset, dns.RcodeNameError:
		return errOther
	}
	return refusal(answer.Rcode)
}

// tidy forgets a place that has nothing of ours any more. What it cannot do now is
// done after the next drop.
func (d *Driver) tidy(ctx context.Context, p place) {
	z, err := d.transfer(ctx, p)
	if err != nil {
		return
	}
	for _, m := range z.marks {
		if m.instance == d.host.Instance && m.host == d.host.Name {
			return
		}
	}
	_ = d.forget(p) // it is looked at once more than it needs
}

// values are the records that r asks for, typed: no text of a tree is parsed as one.
func values(r resource.Record) ([]dns.RR, error) {
	if !dns.IsSubDomain(dns.Fqdn(r.Zone), dns.Fqdn(r.Name)) {
		return nil, fmt.Errorf("it is not in the zone %s", r.Zone)
	}
	h := header(r.Name, r.Type, r.TTL)
	var out []dns.RR
	for _, v := range r.Values {
		if r.Type == "PTR" {
			if _, ok := dns.IsDomainName(v); !ok {
				return nil, fmt.Errorf("%q is no name", v)
			}
			out = append(out, &dns.PTR{Hdr: h, Ptr: dns.Fqdn(v)})
			continue
		}
		a, err := netip.ParseAddr(v)
		switch {
		case err != nil:
			return nil, err
		case r.Type == "A" && a.Is4():
			out = append(out, &dns.A{Hdr: h, A: a.AsSlice()})
		case r.Type == "AAAA" && a.Is6():
			out = append(out, &dns.AAAA{Hdr: h, AAAA: a.AsSlice()})
		default:
			return nil, fmt.Errorf("%s is no value of type %q", v, r.Type)
		}
	}
	return out, nil
}

func header(name, kind string, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.StringToType[kind], Class: dns.ClassINET, Ttl: ttl}
}

// every stands for all records of a type at a name.
func every(name, kind string) dns.RR {
	h := header(name, kind, 0)
	return &dns.ANY{Hdr: h}
}
