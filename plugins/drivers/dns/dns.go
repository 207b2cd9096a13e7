// Package dns is the driver of records at external DNS servers, which it tells by
// updates (RFC 2136), signed where the server has a key (TSIG, RFC 8945).
//
// In go steps; out come records, and beside each a mark of ours that says whose it is:
// a TXT record at "_weft-TYPE.NAME". Servers are read by zone transfer, and a change is
// made on condition that the mark is what it was, so that what somebody else put at a
// name is never touched. The agent's wiring imports it.
package dns

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"

	"github.com/miekg/dns"
)

const (
	// patience is how long a server may take for one answer, and whole for all that it
	// is read for at one look.
	patience = 2 * time.Second
	whole    = 5 * time.Second
	// tries is how often it is asked by datagrams, which get lost.
	tries = 3
	// silence is how long one that did not answer is not looked at again: who waits
	// for it meanwhile are all others of the host.
	silence = 10 * time.Second
	// turn is how long one is told at a time, for the same reason; then it has a silence.
	turn = 10 * time.Second
)

// A Driver tells servers. Make one with New.
type Driver struct {
	host   *host.Host
	secret func(path string) ([]byte, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	places string // file of them

	mu       sync.Mutex
	down     map[string]outage // by endpoint
	readings map[place]reading
}

// outage is why a server is not asked until then.
type outage struct {
	until time.Time
	err   error
}

// New returns the driver of h. secret opens the file of a server's key; its errors must
// not quote what it read.
func New(h *host.Host, secret func(path string) ([]byte, error)) *Driver {
	dialer := net.Dialer{Timeout: patience}
	return &Driver{
		host: h, secret: secret, dial: dialer.DialContext, places: filepath.Join(h.StateDir, "dns.json"),
		down: map[string]outage{}, readings: map[place]reading{},
	}
}

// Kinds implements driver.Driver.
func (*Driver) Kinds() []resource.Kind { return []resource.Kind{resource.KindRecord} }

// Epoch implements driver.Driver: it cannot tell, for a server may change the serial
// number of a zone up to five minutes after the zone (RFC 2136, 3.6).
func (*Driver) Epoch(context.Context, driver.Scope) (uint64, bool) { return 0, false }

// Watch implements driver.Driver: nobody tells of changes.
func (*Driver) Watch(context.Context, func(driver.Scope)) error { return nil }

// ask exchanges one message with a server.
func (d *Driver) ask(ctx context.Context, s resource.Server, m *dns.Msg) (*dns.Msg, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := d.silent(s); err != nil {
		return nil, err
	}
	network, _, _ := strings.Cut(s.Endpoint, ":")
	secrets, err := d.sign(s, m)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, whole)
	defer cancel()
	address, err := d.resolve(limited, s)
	var answer *dns.Msg
	for try := 0; err == nil; {
		answer, err = d.exchange(limited, network, address, m, secrets)
		if try++; network == "udp" && late(err) && try < tries && limited.Err() == nil {
			err = nil
			continue
		}
		if network == "tcp" || err != nil || !answer.Truncated {
			break
		}
		network = "tcp"
	}
	err = told(err)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = errSilent
	}
	d.heard(ctx, s, err)
	return answer, err
}

// silent is why a server did not answer just before, or nil.
func (d *Driver) silent(s resource.Server) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if out, down := d.down[s.Endpoint]; down && time.Now().Before(out.until) {
		return out.err
	}
	return nil
}

// heard notes whether a server answered.
func (d *Driver) heard(ctx context.Context, s resource.Server, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() == nil && late(err) {
		d.down[s.Endpoint] = outage{time.Now().Add(silence), err}
	} else {
		delete(d.down, s.Endpoint)
	}
}

// errSlow is why the rest waits.
var errSlow = errors.New("it answers slowly, and is told the rest later")

// rest lets a server be until the next turn.
func (d *Driver) rest(s resource.Server) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down[s.Endpoint] = outage{time.Now().Add(silence), errSlow}
}

// silentError says that nobody answered in time.
type silentError struct{}

func (silentError) Error() string { return "it does not answer" }

// Timeout makes it one of those of package net.
func (silentError) Timeout() bool { return true }

var errSilent error = silentError{}

// late reports whether err is that nobody answered in time.
func late(err error) bool {
	var e interface{ Timeout() bool }
	return errors.As(err, &e) && e.Timeout()
}

func (d *Driver) exchange(ctx context.Context, network, address string, m *dns.Msg, secrets map[string]string) (*dns.Msg, error) {
	conn, err := d.connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	limit := patience
	if network == "udp" {
		limit = patience / tries
	}
	c := &dns.Client{Net: network, Timeout: limit, TsigSecret: secrets}
	answer, _, err := c.ExchangeWithConn(m.Copy(), conn)
	if err == nil && secrets != nil && answer.IsTsig() == nil { // the library lets it pass
		err = cmp.Or(refusal(answer.Rcode), dns.ErrNoSig)
	}
	return answer, err
}

func (d *Driver) connect(ctx context.Context, network, address string) (*dns.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize}, nil
}

// sign makes m one that is signed with the server's key, if it has one, and returns
// what signs it.
func (d *Driver) sign(s resource.Server, m *dns.Msg) (map[string]string, error) {
	if s.Key == "" {
		return nil, nil
	}
	text, err := d.secret(s.Secret)
	if err != nil {
		return nil, err
	}
	secret := strings.TrimSpace(string(text))
	if raw, err := base64.StdEncoding.DecodeString(secret); err != nil || len(raw) == 0 {
		return nil, fmt.Errorf("secret %s: a TSIG key is text in base64, as tsig-keygen writes it", s.Secret)
	}
	m.SetTsig(dns.Fqdn(s.Key), dns.Fqdn(s.Algorithm), 300, time.Now().Unix())
	return map[string]string{dns.Fqdn(s.Key): secret}, nil
}

// refusal is an answer that is no success, in words.
func refusal(code int) error {
	switch code {
	case dns.RcodeSuccess:
		return nil
	case dns.RcodeRefused:
		return errors.New("the server refuses it (REFUSED): may this key do it there?")
	case dns.RcodeNotAuth:
		return errors.New("the server does not take the key, its clock differs, or it has no such zone (NOTAUTH)")
	}
	return fmt.Errorf("the server answers %s", dns.RcodeToString[code])
}

// told is err, with the server's answer in words where that is what it is: the library
// has the number in its text only. Nor do addresses and ports of this side say anything,
// which are others each time.
func told(err error) error {
	var wire *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wire) && wire.Timeout():
		return errSilent
	case errors.As(err, &wire):
		return fmt.Errorf("it cannot be reached: %w", wire.Err)
	}
	switch {
	case errors.Is(err, dns.ErrAuth), errors.Is(err, dns.ErrSig), errors.Is(err, dns.ErrTime):
		return refusal(dns.RcodeNotAuth)
	case errors.Is(err, dns.ErrNoSig):
		return errors.New("the server's answer is not signed: does it know the key?")
	}
	var code int
	if _, no := fmt.Sscanf(err.Error(), "dns: bad xfr rcode: %d", &code); no == nil && code != dns.RcodeSuccess {
		return refusal(code)
	}
	return err
}
