package ovs

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"

	"weft.dev/reconcile/resource"
)

// This file reads flow tables over OpenFlow 1.4 itself: what an observation
// needs is a sum per cookie, and 3000 flows take ovs-ofctl 30 ms to print that
// the switch sends in 3. Text, where people see it, is ovs-ofctl's.

// OpenFlow 1.4 by number; the names are the specification's.
const (
	ofVersion       = 0x05
	ofHello         = 0
	ofError         = 1
	ofEchoRequest   = 2
	ofEchoReply     = 3
	ofMultipartAsk  = 18
	ofMultipartSay  = 19
	ofFlowStats     = 1
	ofFlowMonitor   = 16
	ofMore          = 1
	ofAny           = 0xffffffff
	ofAllTables     = 0xff
	ofHeader        = 8
	ofMultipartHead = 16
	ofFlowHead      = 48
)

// readWait bounds the silence of a switch that was asked something.
const readWait = 10 * time.Second

// A channel is one OpenFlow connection to a bridge.
type channel struct {
	conn    net.Conn
	r       *bufio.Reader
	w       *bufio.Writer
	xid     uint32
	greeted bool // the switch has said hello
}

// dial opens a channel to a bridge; it is closed when ctx ends. Who asks does not
// wait for the switch to greet first: one that is busy takes its time for each answer.
func (d *Driver) dial(ctx context.Context, bridge string) (*channel, error) {
	conn, err := (&net.Dialer{Timeout: readWait}).DialContext(ctx, "unix", d.socket(bridge))
	if err != nil {
		return nil, fmt.Errorf("openflow of bridge %s: %w", bridge, err)
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	c := &channel{conn: conn, r: bufio.NewReaderSize(conn, 1<<16), w: bufio.NewWriter(conn)}
	_ = conn.SetDeadline(time.Now().Add(readWait))
	return c, c.queue(ofHello, nil)
}

// socket is where a bridge listens. Open vSwitch has no bridge with a slash in
// its name.
func (d *Driver) socket(bridge string) string {
	return filepath.Join(d.rundir, strings.ReplaceAll(bridge, "/", "_")+".mgmt")
}

func (c *channel) send(kind byte, body []byte) error {
	if err := c.queue(kind, body); err != nil {
		return err
	}
	return c.w.Flush()
}

// queue is send that waits for the next one.
func (c *channel) queue(kind byte, body []byte) error {
	c.xid++
	msg := make([]byte, ofHeader, ofHeader+len(body))
	msg[0], msg[1] = ofVersion, kind
	binary.BigEndian.PutUint16(msg[2:], uint16(ofHeader+len(body)))
	binary.BigEndian.PutUint32(msg[4:], c.xid)
	_, err := c.w.Write(append(msg, body...))
	return err
}

// receive returns the next message after the greeting that is not an echo, which it
// answers.
func (c *channel) receive() (kind byte, body []byte, err error) {
	if !c.greeted {
		if err := c.greet(); err != nil {
			return 0, nil, err
		}
	}
	return c.message()
}

// greet waits for the switch to say hello.
func (c *channel) greet() error {
	if err := c.w.Flush(); err != nil {
		return err
	}
	kind, body, err := c.message()
	if err != nil {
		return err
	}
	if c.greeted = true; kind != ofHello {
		return fmt.Errorf("the switch greets with message %d%s", kind, refusal(body))
	}
	return nil
}

func (c *channel) message() (kind byte, body []byte, err error) {
	for {
		var head [ofHeader]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			return 0, nil, err
		}
		size := int(binary.BigEndian.Uint16(head[2:]))
		if size < ofHeader {
			return 0, nil, fmt.Errorf("a message of %d bytes", size)
		}
		body = make([]byte, size-ofHeader)
		if _, err := io.ReadFull(c.r, body); err != nil {
			return 0, nil, err
		}
		if head[1] != ofEchoRequest {
			return head[1], body, nil
		}
		if err := c.send(ofEchoReply, body); err != nil {
			return 0, nil, err
		}
	}
}

func refusal(body []byte) string {
	if len(body) < 4 {
		return ""
	}
	return fmt.Sprintf(" (error type %d code %d)", binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:]))
}

// parts receives the multipart messages of one kind and hands each entry to f,
// until the last one or, when endless, an error.
func (c *channel) parts(kind uint16, endless bool, f func(entry []byte) error) error {
	return c.bodies(kind, endless, func(rest []byte) error {
		for len(rest) > 0 {
			if len(rest) < 4 {
				return errors.New("a truncated entry")
			}
			size := int(binary.BigEndian.Uint16(rest))
			if size < 4 || size > len(rest) {
				return fmt.Errorf("an entry of %d bytes in %d", size, len(rest))
			}
			if err := f(rest[:size]); err != nil {
				return err
			}
			rest = rest[size:]
		}
		return nil
	})
}

// bodies is parts without looking into them.
func (c *channel) bodies(kind uint16, endless bool, f func(body []byte) error) error {
	for {
		got, body, err := c.receive()
		switch {
		case err != nil:
			return err
		case got == ofError && endless:
			continue // it cannot tell; that it ends is worth waiting for
		case got == ofError:
			return errors.New("the switch refuses to tell" + refusal(body))
		case got != ofMultipartSay || len(body) < ofMultipartHead-ofHeader || binary.BigEndian.Uint16(body) != kind:
			continue
		}
		more := binary.BigEndian.Uint16(body[2:])&ofMore != 0
		if err := f(body[ofMultipartHead-ofHeader:]); err != nil {
			return err
		}
		if !more && !endless {
			return nil
		}
	}
}

// anyMatch is an OXM match without fields, padded.
var anyMatch = []byte{0, 1, 0, 4, 0, 0, 0, 0}

// ask sends one multipart request on a channel of its own and hands each entry of
// the answer to f. askWhole hands over whole bodies.
func (d *Driver) ask(ctx context.Context, bridge string, kind uint16, body []byte, f func(entry []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := d.question(ctx, bridge, kind, body)
	if err != nil {
		return err
	}
	return c.parts(kind, false, f)
}

func (d *Driver) askWhole(ctx context.Context, bridge string, kind uint16, body []byte, f func(body []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := d.question(ctx, bridge, kind, body)
	if err != nil {
		return err
	}
	return c.bodies(kind, false, f)
}

func (d *Driver) question(ctx context.Context, bridge string, kind uint16, body []byte) (*channel, error) {
	c, err := d.dial(ctx, bridge)
	if err != nil {
		return nil, err
	}
	return c, c.send(ofMultipartAsk, multipart(kind, body))
}

// multipart is the body of a multipart request.
func multipart(kind uint16, body []byte) []byte {
	head := binary.BigEndian.AppendUint16(nil, kind)
	head = append(head, 0, 0, 0, 0, 0, 0) // flags, padding
	return append(head, body...)
}

// A tally says which flows a cookie has, in any order: their number and the sum
// of their digests.
type tally struct {
	n   int
	sum uint64
}

// tallies sums the flows of a bridge by cookie, of those cookies that agree with
// value in the bits of mask. Counters and ages do not count, and what was
// learned is left out.
func (d *Driver) tallies(ctx context.Context, bridge string, value, mask uint64) (map[uint64]tally, error) {
	ask := []byte{ofAllTables, 0, 0, 0}
	ask = binary.BigEndian.AppendUint32(ask, ofAny) // port
	ask = binary.BigEndian.AppendUint32(ask, ofAny) // group
	ask = append(ask, 0, 0, 0, 0)
	ask = binary.BigEndian.AppendUint64(ask, value&mask)
	ask = binary.BigEndian.AppendUint64(ask, mask)
	out := map[uint64]tally{}
	err := d.ask(ctx, bridge, ofFlowStats, append(ask, anyMatch...), func(e []byte) error {
		if len(e) < ofFlowHead {
			return fmt.Errorf("a flow of %d bytes", len(e))
		}
		if e[2] == learnTable {
			return nil
		}
		cookie := binary.BigEndian.Uint64(e[24:])
		clear(e[4:12])  // age
		clear(e[32:48]) // packets, bytes
		t := out[cookie]
		out[cookie] = tally{t.n + 1, t.sum + resource.Digest(string(e))}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read flows of bridge %s: %w", bridge, err)
	}
	return out, nil
}

// follow calls changed whenever a flow outside the learned ones comes, goes or
// changes; a switch before 2.16 cannot tell that. It returns when the connection ends, which a restart of the switch
// does, and calls ready once it would notice that.
func (d *Driver) follow(ctx context.Context, bridge string, ready, changed func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := d.dial(ctx, bridge)
	if err != nil {
		return err
	}
	if err := c.greet(); err != nil {
		return fmt.Errorf("openflow of bridge %s: %w", bridge, err)
	}
	const added, removed, modified = 1 << 1, 1 << 2, 1 << 3
	ask := binary.BigEndian.AppendUint16(nil, ofFlowMonitor)
	ask = append(ask, 0, 0, 0, 0, 0, 0)
	ask = binary.BigEndian.AppendUint32(ask, 1)     // monitor
	ask = binary.BigEndian.AppendUint32(ask, ofAny) // port
	ask = binary.BigEndian.AppendUint32(ask, ofAny) // group
	ask = binary.BigEndian.AppendUint16(ask, added|removed|modified)
	ask = append(ask, ofAllTables, 0)
	if err := c.send(ofMultipartAsk, append(ask, anyMatch...)); err != nil {
		return err
	}
	_ = c.conn.SetDeadline(time.Time{})
	ready()
	return c.parts(ofFlowMonitor, true, func(e []byte) error {
		const lastFull = 3 // initial, added, removed, modified carry a flow
		if event := binary.BigEndian.Uint16(e[2:]); event <= lastFull && len(e) > 4 && e[4] == learnTable {
			return nil
		}
		changed()
		return nil
	})
}
