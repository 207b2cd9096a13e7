//go:build e2e

package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// probes are the hidden verbs of the test binary in a lab's nodes, where it is
// called weft: what sends and answers packets there.
var probes = map[string]func(args []string) error{
	"e2e-ping": probePing, "e2e-stream": probeStream, "e2e-echo": probeEcho, "e2e-shout": probeShout, "e2e-frame": probeFrame,
	"e2e-floor": probeFloor, "e2e-pass": probePass, "e2e-knock": probeKnock, "e2e-try": probeTry, "e2e-try6": probeTry6,
	"e2e-member": probeMember, "e2e-clients": probeClients, "e2e-datagrams": probeDatagrams,
}

// every is the pace of pings and stream: one packet in so long.
const every = 10 * time.Millisecond

// grace is how long the last answers of pings may take; what TCP carries comes, if late.
const grace, graceOfTCP = 2 * time.Second, soon

// tally is what a ping or stream says at its end.
type tally struct {
	Sent int           `json:"sent"`
	Lost int           `json:"lost"`
	Gap  time.Duration `json:"gap"` // the longest time without an answer
}

// A pace counts what is sent and answered.
type pace struct {
	mu    sync.Mutex
	open  map[uint16]bool
	last  time.Time
	tally tally
	grace time.Duration
	idle  chan struct{} // closed when nothing is open any more, once asked for
	asked bool
}

func (p *pace) sent(seq uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[seq] = true
	p.tally.Sent++
}

// answered reports whether it is the first answer of all.
func (p *pace) answered(seq uint16) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open[seq] {
		return false
	}
	delete(p.open, seq)
	now := time.Now()
	first = p.last.IsZero()
	if !first {
		p.tally.Gap = max(p.tally.Gap, now.Sub(p.last))
	}
	p.last = now
	p.settle()
	return first
}

// settle closes idle when all is answered; p.mu is held.
func (p *pace) settle() {
	if p.asked && len(p.open) == 0 {
		select {
		case <-p.idle:
		default:
			close(p.idle)
		}
	}
}

// end waits for the last answers and prints the tally.
func (p *pace) end() error {
	p.mu.Lock()
	p.asked = true
	end := time.Now()
	p.settle()
	p.mu.Unlock()
	select {
	case <-p.idle:
	case <-time.After(p.grace):
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.Lost = len(p.open)
	if p.tally.Lost > 0 {
		p.tally.Gap = max(p.tally.Gap, end.Sub(p.last))
	}
	return json.NewEncoder(os.Stdout).Encode(p.tally)
}

// run calls send at its pace until standard input ends; the first answer is
// told by a line.
func (p *pace) run(send func(seq uint16) error) error {
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for seq := uint16(1); ; seq++ {
		p.sent(seq)
		if err := send(seq); err != nil {
			return err
		}
		select {
		case <-stop:
			return p.end()
		case <-tick.C:
		}
	}
}

func newPace(grace time.Duration) *pace {
	return &pace{open: map[uint16]bool{}, grace: grace, idle: make(chan struct{})}
}

// probePing ADDR: ICMP echo requests until standard input ends.
func probePing(args []string) error {
	to, err := net.ResolveIPAddr("ip", args[0])
	if err != nil {
		return err
	}
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if to.IP.To4() == nil {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	c, err := net.ListenPacket(network, "")
	if err != nil {
		return err
	}
	id := uint16(os.Getpid())
	p := newPace(grace)
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if n >= 8 && b[0] == reply && binary.BigEndian.Uint16(b[4:]) == id && from.String() == to.String() {
				if p.answered(binary.BigEndian.Uint16(b[6:])) {
					fmt.Println("first")
				}
			}
		}
	}()
	return p.run(func(seq uint16) error {
		b := make([]byte, 64)
		b[0] = request
		binary.BigEndian.PutUint16(b[4:], id)
		binary.BigEndian.PutUint16(b[6:], seq)
		binary.BigEndian.PutUint16(b[2:], checksum(b))
		_, _ = c.WriteTo(b, to) // no route for a moment is a loss
		return nil
	})
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// probeStream ADDR:PORT: numbers over one TCP connection to probeEcho, which
// sends them back, until standard input ends.
func probeStream(args []string) error {
	c, err := net.DialTimeout("tcp", args[0], 10*time.Second)
	if err != nil {
		return err
	}
	p := newPace(graceOfTCP)
	broken := make(chan error, 1)
	go func() {
		var b [2]byte
		for {
			if _, err := io.ReadFull(c, b[:]); err != nil {
				broken <- err
				return
			}
			if p.answered(binary.BigEndian.Uint16(b[:])) {
				fmt.Println("first")
			}
		}
	}()
	return p.run(func(seq uint16) error {
		select {
		case err := <-broken:
			return fmt.Errorf("the connection broke: %w", err)
		default:
		}
		_, err := c.Write(binary.BigEndian.AppendUint16(nil, seq))
		return err
	})
}

// probeEcho [ADDR]:PORT: sends back what one TCP connection brings, until
// standard input ends.
func probeEcho(args []string) error {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// probeShout ADDR TEXT [LOCAL]: one UDP datagram to port 4711.
func probeShout(args []string) error {
	d := net.Dialer{}
	if len(args) > 2 {
		d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(args[2])}
	}
	c, err := d.Dial("udp4", net.JoinHostPort(args[0], "4711"))
	if err != nil {
		return err
	}
	w := bufio.NewWriter(c)
	_, err = w.WriteString(args[1])
	return errors.Join(err, w.Flush(), c.Close())
}

// probeFrame LINK HEX: one Ethernet frame as it is.
func probeFrame(args []string) error {
	frame, err := hex.DecodeString(args[1])
	if err != nil {
		return err
	}
	link, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6}), unix.Close(fd))
}
