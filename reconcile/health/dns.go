package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"weft.dev/reconcile/resource"
)

// dns asks for the addresses of a name. Any answer to the question is one, but that
// of a server that cannot do its work; with Want, its address must be among them.
func (n Net) dns(ctx context.Context, ns string, p resource.Probe) (string, error) {
	typ := dnsmessage.TypeA
	want, err := netip.ParseAddr(p.Want)
	switch {
	case p.Want == "":
		want = netip.Addr{}
	case err != nil:
		return "", err
	case want.Is6():
		typ = dnsmessage.TypeAAAA
	}
	name, err := dnsmessage.NewName(strings.TrimSuffix(p.Ask, ".") + ".")
	if err != nil {
		return "", fmt.Errorf("%q is no name: %w", p.Ask, err)
	}
	asked := dnsmessage.Question{Name: name, Type: typ, Class: dnsmessage.ClassINET}
	id := uint16(rand.Uint32())
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true}, Questions: []dnsmessage.Question{asked}}
	query, err := m.Pack()
	if err != nil {
		return "", err
	}
	conn, err := n.dial(ctx, ns, "udp", p.At)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(query); err != nil {
		return "", plain(err)
	}
	buf := make([]byte, 4096)
	for {
		k, err := conn.Read(buf)
		if err != nil {
			return "", plain(err)
		}
		var reply dnsmessage.Message
		if reply.Unpack(buf[:k]) != nil || !reply.Response || reply.ID != id {
			continue
		}
		return judge(&reply, want)
	}
}

func judge(reply *dnsmessage.Message, want netip.Addr) (string, error) {
	if code := reply.RCode; code == dnsmessage.RCodeServerFailure || code == dnsmessage.RCodeNotImplemented {
		return "", errors.New("it answers with " + strings.TrimPrefix(code.String(), "RCode"))
	}
	if !want.IsValid() {
		return "answers", nil
	}
	var got []netip.Addr
	for _, a := range reply.Answers {
		switch b := a.Body.(type) {
		case *dnsmessage.AResource:
			got = append(got, netip.AddrFrom4(b.A))
		case *dnsmessage.AAAAResource:
			got = append(got, netip.AddrFrom16(b.AAAA))
		}
	}
	if !slices.Contains(got, want) {
		return "", fmt.Errorf("it answers %v instead of %s", got, want)
	}
	return "answers " + want.String(), nil
}
