package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"weft.dev/reconcile/resource"

	"github.com/miekg/dns"
)

// resolve is the address of a server. Its resolvers are asked for its name, if it has one;
// the host's own are not.
func (d *Driver) resolve(ctx context.Context, s resource.Server) (string, error) {
	_, address, _ := strings.Cut(s.Endpoint, ":")
	if _, err := netip.ParseAddrPort(address); err == nil {
		return address, nil
	}
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	err = fmt.Errorf("nobody to ask for %s", name)
	for server := range strings.FieldsSeq(s.Resolvers) {
		for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
			var found string
			if found, err = d.lookup(ctx, server, name, kind); err == nil && found != "" {
				return net.JoinHostPort(found, port), nil
			}
			if err != nil {
				break // the next may know
			}
			err = fmt.Errorf("%s knows no address of %s", server, name)
		}
	}
	return "", err
}

// lookup returns the first address of name that a resolver knows, or "".
func (d *Driver) lookup(ctx context.Context, server, name string, kind uint16) (string, error) {
	conn, err := d.dial(ctx, "udp", net.JoinHostPort(server, "53"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c := &dns.Client{Timeout: patience / 2} // another one may know
	answer, _, err := c.ExchangeWithConn(new(dns.Msg).SetQuestion(dns.Fqdn(name), kind), &dns.Conn{Conn: conn})
	if err != nil {
		return "", fmt.Errorf("ask %s for %s: %w", server, name, told(err))
	}
	for _, rr := range answer.Answer {
		if v := value(rr); v != "" && rr.Header().Rrtype == kind {
			return v, nil
		}
	}
	return "", nil
}
