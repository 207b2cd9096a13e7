package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/status"
)

// ErrNotRunning says that no agent answers.
var ErrNotRunning = errors.New("no agent runs on this host")

// A Client talks to the agent of a host. Calls that change something return
// after the pass that follows, with the status then.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client of h's agent. It does not connect.
func NewClient(h *host.Host) *Client {
	path := Socket(h)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{path, &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status asks how things stand.
func (c *Client) Status(ctx context.Context) (*status.Status, error) {
	return c.status(ctx, http.MethodGet, "status", nil)
}

// Drift looks at the whole host and returns the status with what it found.
func (c *Client) Drift(ctx context.Context) (*status.Status, error) {
	return c.status(ctx, http.MethodGet, "drift", nil)
}

// History returns the last n applies, newest first.
func (c *Client) History(ctx context.Context, n int) ([]engine.Record, error) {
	var out []engine.Record
	return out, c.call(ctx, http.MethodGet, fmt.Sprintf("history?n=%d", n), nil, &out)
}

// Suspend has a network, or with "" the host, left as it is.
func (c *Client) Suspend(ctx context.Context, owner, reason string) (*status.Status, error) {
	return c.status(ctx, http.MethodPost, "suspend", ownerRequest{owner, reason})
}

// Resume ends a suspension; without a name that of the host, and a rollback.
func (c *Client) Resume(ctx context.Context, owner string) (*status.Status, error) {
	return c.status(ctx, http.MethodPost, "resume", ownerRequest{Owner: owner})
}

// Reconcile fetches and makes a pass now, over what would have to wait too.
func (c *Client) Reconcile(ctx context.Context, o ReconcileOptions) (*status.Status, error) {
	return c.status(ctx, http.MethodPost, "reconcile", o)
}

// Rollback goes to an earlier revision and stays there until there is a newer
// one than today's, or Resume.
func (c *Client) Rollback(ctx context.Context, revision string) (*status.Status, error) {
	return c.status(ctx, http.MethodPost, "rollback", revisionRequest{revision})
}

func (c *Client) status(ctx context.Context, method, verb string, body any) (*status.Status, error) {
	out := new(status.Status)
	if err := c.call(ctx, method, verb, body, out); err != nil {
		return nil, err
	}
	return out, nil
}

func (c *Client) call(ctx context.Context, method, verb string, body, into any) error {
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://agent/api/v1/"+verb, send)
	if err != nil {
		return err
	}
	got, err := c.http.Do(r)
	if err != nil {
		var dial *net.OpError
		if ctx.Err() == nil && errors.As(err, &dial) && dial.Op == "dial" {
			return fmt.Errorf("%w: %s: %w", ErrNotRunning, c.path, dial.Err)
		}
		var torn *url.Error // of an address that says nothing to people
		if errors.As(err, &torn) {
			err = torn.Err
		}
		return fmt.Errorf("the agent did not answer: %w", err)
	}
	defer func() { _ = got.Body.Close() }()
	if got.StatusCode == http.StatusOK {
		if err := json.NewDecoder(got.Body).Decode(into); err != nil {
			return fmt.Errorf("answer of the agent: %w", err)
		}
		return nil
	}
	var f failure
	if err := json.NewDecoder(io.LimitReader(got.Body, 64<<10)).Decode(&f); err != nil || f.Error == "" {
		return errors.New("agent: " + strings.ToLower(got.Status))
	}
	return errors.New(f.Error)
}
