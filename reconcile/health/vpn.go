package health

import (
	"context"
	"errors"
	"io"
	"strings"

	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// whole asks what serves a VPN, or BGP. The words are the whole reply, which read takes
// apart.
func (n Net) whole(ctx context.Context, ns string, p resource.Probe) (string, error) {
	conn, err := n.dial(ctx, ns, "unix", n.path(p.Path))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, p.Ask); err != nil {
		return "", plain(err)
	}
	b, err := io.ReadAll(io.LimitReader(conn, maxReply))
	switch {
	case strings.HasPrefix(string(b), p.Want) && err == nil:
		return string(b), nil
	case len(b) > 0:
		return "", errors.New(string(b))
	case err == nil:
		return "", errors.New("it says nothing")
	}
	return "", plain(err)
}

// read takes the reply of a VPN out of an answer.
func (a answer) read() (answer, *status.VPN) {
	if errors.Is(a.err, ErrAbsent) {
		return a, nil
	}
	text := a.words
	if a.err != nil {
		text = a.err.Error()
	}
	line, v := status.ParseVPN(text)
	if a.err != nil {
		a.err = errors.New(line)
	}
	a.words = line
	return a, v
}

func vpnState(v *status.VPN) string {
	if v == nil {
		return ""
	}
	return v.State
}
