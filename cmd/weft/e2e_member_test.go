//go:build e2e

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// probeMember serves as a member: HTTP on ports 80, 8080 and 81, where the PROXY protocol
// comes first, and datagrams on 5353 and 514. It says who it is and what it sees.
func probeMember(args []string) error {
	name := args[0]
	serve := func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat("/run/sick"); err == nil && r.URL.Path == "/healthz" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path == "/login" {
			http.SetCookie(w, &http.Cookie{Name: "theme", Value: "dark"})
			http.SetCookie(w, &http.Cookie{Name: "SESSION", Value: fmt.Sprintf("%s-%d", name, time.Now().UnixNano()), Path: "/"})
		}
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s remote=%s proto=%s cookies=%q for=%s\n", name, host, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("Cookie"), r.Header.Get("X-Forwarded-For"))
	}
	for _, port := range []string{":80", ":8080"} {
		l, err := net.Listen("tcp", port)
		if err != nil {
			return err
		}
		go func() { _ = http.Serve(l, http.HandlerFunc(serve)) }()
	}
	proxied, err := net.Listen("tcp", ":81")
	if err != nil {
		return err
	}
	for _, port := range []string{":5353", ":514"} {
		c, err := net.ListenPacket("udp", port)
		if err != nil {
			return err
		}
		go func() {
			for b := make([]byte, 64); ; {
				_, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				host, _, _ := net.SplitHostPort(from.String())
				_, _ = c.WriteTo([]byte(name+" "+host), from)
			}
		}()
	}
	go func() { _ = http.Serve(proxyListener{proxied}, http.HandlerFunc(serve)) }()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// A proxyListener reads the line of the PROXY protocol that each connection begins
// with.
type proxyListener struct{ net.Listener }

type proxied struct {
	net.Conn
	r    *bufio.Reader
	from net.Addr
}

func (p proxied) Read(b []byte) (int, error) { return p.r.Read(b) }

func (p proxied) RemoteAddr() net.Addr { return p.from }

func (l proxyListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		r := bufio.NewReader(c)
		line, err := r.ReadString('\n')
		words := strings.Fields(line)
		_ = c.SetReadDeadline(time.Time{})
		switch {
		case err == nil && len(words) == 6 && words[0] == "PROXY":
			return proxied{c, r, &net.TCPAddr{IP: net.ParseIP(words[2])}}, nil
		case err == nil && len(words) == 2 && words[1] == "UNKNOWN":
			return proxied{c, r, c.RemoteAddr()}, nil
		}
		_ = c.Close()
	}
}

// probeClients calls args[0] until standard input ends, each time anew, or by one
// connection.
func probeClients(args []string) error {
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: args[1] == "many", MaxConnsPerHost: 1}}
	if args[1] == "one" {
		conn, err := net.Dial("tcp", args[0])
		if err != nil {
			return err
		}
		first := true
		client.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			if !first {
				return nil, errors.New("the connection was closed")
			}
			first = false
			return conn, nil
		}}
	}
	var got tally
	for ctx.Err() == nil {
		got.Sent++
		res, err := client.Get("http://" + args[0])
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if err == nil && res.StatusCode != http.StatusOK {
				err = errors.New(res.Status)
			}
		}
		if err != nil {
			got.Lost++
			fmt.Fprintln(os.Stderr, time.Now().Format("05.000"), err)
		}
		if got.Sent == 1 {
			fmt.Println("first")
		}
		time.Sleep(every)
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}

// probeDatagrams sends a datagram from args[0] to args[1] by args[2] sockets, each with a
// port of its own, and says who answered how often.
func probeDatagrams(args []string) error {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	to, err := net.ResolveUDPAddr("udp", args[1])
	if err != nil {
		return err
	}
	seen := map[string]int{}
	for range n {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(args[0])}, to)
		if err != nil {
			return err
		}
		defer c.Close() // not before: a port twice would be one client
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		b := make([]byte, 64)
		k, err := c.Read(b)
		if err != nil {
			return err
		}
		seen[string(b[:k])]++
	}
	return json.NewEncoder(os.Stdout).Encode(seen)
}
