package dns

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/miekg/dns"
)

// lag is for how long a zone may have another content under the same serial number (RFC
// 2136, 3.6).
const lag = 5 * time.Minute

// A reading is what a zone held when it was transferred.
type reading struct {
	zone   *zone
	serial uint32
	time   time.Time
}

// read returns what a zone holds: what it held at the last transfer, if its serial number
// is still the same.
func (d *Driver) read(ctx context.Context, p place) (*zone, error) {
	serial, err := d.serial(ctx, p)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	last, ok := d.readings[p]
	d.mu.Unlock()
	if ok && last.serial == serial && time.Since(last.time) < lag {
		return last.zone, nil
	}
	z, err := d.axfr(ctx, p)
	if err != nil {
		return nil, err
	}
	d.changes(p) // read by another key
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readings[p] = reading{z, serial, time.Now()}
	return z, nil
}

// changes forgets what p held, because it is about to be changed, or was read anew.
func (d *Driver) changes(p place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.readings, func(o place, _ reading) bool { return o.is(p) })
}

func (d *Driver) serial(ctx context.Context, p place) (uint32, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(p.Zone), dns.TypeSOA)
	q.RecursionDesired = false
	answer, err := d.ask(ctx, p.Server, q)
	if err == nil {
		err = refusal(answer.Rcode)
	}
	if err != nil {
		return 0, err
	}
	for _, rr := range answer.Answer {
		if soa, ok := rr.(*dns.SOA); ok && answer.Authoritative && canonical(soa.Hdr.Name) == p.Zone {
			return soa.Serial, nil
		}
	}
	return 0, fmt.Errorf("the server is not authoritative for %s", p.Zone)
}
