//go:build e2e

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// pinging sends a ping every 10 ms, from now on until lost is asked for.
func (c *cloud) pinging(from, to string) *probe {
	c.Helper()
	return c.probe(from, "e2e-ping", to)
}

// streaming sends numbers over one TCP connection between two guests.
func (c *cloud) streaming(from, to, address string) *probe {
	c.Helper()
	port := fmt.Sprintf("%d", 7000+ports.Add(1))
	c.probe(to, "e2e-echo", ":"+port)
	return c.probe(from, "e2e-stream", address+":"+port)
}

var ports atomic.Int32

// tally ends a ping or stream and returns how it went.
func (p *probe) tally() tally {
	p.c.Helper()
	_ = p.end.Close()
	if err := <-p.done; err != nil {
		p.c.Errorf("%s: %v", p.name, err)
	}
	var t tally
	if err := json.Unmarshal(p.out.Bytes(), &t); err != nil {
		p.c.Errorf("%s: %v: %q", p.name, err, p.out)
	}
	return t
}

// unbroken ends a ping or stream of which nothing may be lost.
func (p *probe) unbroken() {
	p.c.Helper()
	t := p.tally()
	if t.Lost > 0 || t.Sent == 0 {
		p.c.Errorf("%s: %d of %d lost (longest gap %v)", p.name, t.Lost, t.Sent, t.Gap)
		return
	}
	p.c.Logf("%s: none of %d lost, longest gap %v", p.name, t.Sent, t.Gap.Round(time.Millisecond))
}

// An ear hears the packets of one link by tcpdump.
type ear struct {
	c    *cloud
	name string
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (e *ear) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text.Write(b)
	return len(b), nil
}

func (e *ear) heard(token string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Contains(e.text.String(), token)
}

// listen hears a link of a node from when it returns until the test ends.
func (c *cloud) listen(node, link string) *ear {
	c.Helper()
	e := &ear{c: c, name: node + " " + link}
	ctx, cancel := context.WithCancel(c.ctx)
	cmd, err := c.command(ctx, node, "tcpdump", "-A", "-l", "-n", "--immediate-mode", "-i", link)
	if err != nil {
		cancel()
		c.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = e, e
	if err := cmd.Start(); err != nil {
		cancel()
		c.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed
		close(done)
	}()
	c.Cleanup(func() {
		cancel()
		<-done
	})
	c.until(slow, e.name+" listens", func() string {
		if e.heard("listening on") {
			return ""
		}
		return "tcpdump is not up"
	})
	return e
}

// hears waits until a packet with a text passes.
func (e *ear) hears(c *cloud, token string) {
	c.Helper()
	c.until(slow, e.name+" hears "+token, func() string {
		if e.heard(token) {
			return ""
		}
		return "silence"
	})
}
