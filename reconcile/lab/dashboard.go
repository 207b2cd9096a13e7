package lab

import (
	"context"
	"fmt"
	"html"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"weft.dev/reconcile/lab/link"
)

// agentAddress is where an agent serves HTTP on its host's loopback.
const agentAddress = "127.0.0.1:9464"

// serveDashboard passes HTTP on to the agents: to kvm1's as http://kvm1.localhost:PORT/ for people, and as
// http://127.0.0.1:PORT/kvm1/ for scripts. The listener is in the user's network namespace, the agents are in their hosts'.
func (s *supervisor) serveDashboard(listener net.Listener) {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: r.In.Context().Value(hostKey{}).(string)})
			r.Out.Host = agentAddress
		},
		Transport: &http.Transport{DialContext: s.dialAgent, DisableCompression: true},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	front := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(r.Host, ".localhost")
		if name == r.Host || !s.hasHost(name) {
			var rest string
			name, rest, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
			r.URL.Path = "/" + rest
			r.URL.RawPath = ""
		}
		if !s.hasHost(name) {
			s.index(w, r)
			return
		}
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), hostKey{}, name)))
	})
	slog.Error("dashboard", "error", http.Serve(listener, front))
}

// hostKey is the context key of the host that a request is for.
type hostKey struct{}

func (s *supervisor) hasHost(name string) bool {
	_, err := s.member("host/" + name)
	return name != "" && err == nil
}

// dialAgent connects to the agent of the host that addr names.
func (s *supervisor) dialAgent(_ context.Context, network, addr string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	m, err := s.member("host/" + name)
	if err != nil {
		return nil, err
	}
	if !m.alive() {
		return nil, fmt.Errorf("host %s does not run", name)
	}
	var conn net.Conn
	err = link.Within(m.netns(), func() error {
		conn, err = net.Dial(network, agentAddress)
		return err
	})
	return conn, err
}

// index names the hosts.
func (s *supervisor) index(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	_, port, _ := net.SplitHostPort(r.Host)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><title>weft lab %[1]s</title><h1>weft lab %[1]s</h1><ul>", html.EscapeString(s.name))
	for _, m := range s.all() {
		if m.kind == KindHost {
			name := strings.TrimPrefix(m.name, "host/")
			fmt.Fprintf(w, `<li><a href="http://%s.localhost:%s/">%s</a>`, name, html.EscapeString(port), name)
		}
	}
	fmt.Fprint(w, "</ul>")
}
