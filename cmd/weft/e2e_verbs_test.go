//go:build e2e

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"

	"weft.dev/reconcile/lab"
	"weft.dev/reconcile/status"
)

// verbs: what people and programs see of a lab and its hosts.
func (c *cloud) verbs() {
	var ls lab.Status
	if err := json.Unmarshal([]byte(c.must("lab", "ls", "-o", "json")), &ls); err != nil || len(ls.Nodes) != 11 || !ls.Ready() {
		c.Errorf("lab ls -o json: %v, %d nodes", err, len(ls.Nodes))
	}
	if out := c.must("lab", "ls"); !regexp.MustCompile(`(?m)^acme/web-1 +Up +kvm1 +10\.1\.1\.11/24$`).MatchString(out) {
		c.Errorf("lab ls:\n%s", out)
	}
	var all struct {
		Hosts map[string]*status.Status `json:"hosts"`
	}
	if err := json.Unmarshal([]byte(c.must("lab", "status", "-o", "json")), &all); err != nil || len(all.Hosts) != 2 || !all.Hosts["kvm2"].Condition(status.Ready).True {
		c.Errorf("lab status -o json: %v, %+v", err, all)
	}
	if out := c.must("lab", "exec", "acme/web-1", "--", "cat", "/etc/resolv.conf"); !strings.Contains(out, "nameserver 10.1.1.1") || !strings.Contains(out, "search web.acme.internal") {
		c.Errorf("resolv.conf of a guest: %s", out)
	}
	if out := c.must("lab", "exec", "router/acme/db", "--", "ip", "-br", "addr"); !strings.Contains(out, "10.1.3.1/24") {
		c.Errorf("in a router: %s", out)
	}
	if _, code := c.weft("lab", "exec", "acme/web-1", "--", "sh", "-c", "exit 42"); code != 42 {
		c.Errorf("exit 42 is %d", code)
	}
	for node, word := range map[string]string{"acme/nobody": "acme/nobody", "router/acme/nothing": "no router acme/nothing", "host/kvm9": "kvm9"} {
		if out, code := c.weft("lab", "exec", node, "--", "true"); code != exitError || !strings.Contains(out, word) {
			c.Errorf("exec in %s: exit status %d: %s", node, code, out)
		}
	}

	// On a host.
	const on = "host/kvm1"
	var s status.Status
	if err := json.Unmarshal([]byte(c.in(on, "weft", "status", "-o", "json")), &s); err != nil || s.Host != "kvm1" || len(s.Owners) == 0 {
		c.Errorf("weft status -o json: %v, %+v", err, s)
	}
	if out := c.in(on, "weft", "status", "acme/web"); !strings.Contains(out, "network/acme/web") || strings.Contains(out, "beta") {
		c.Errorf("weft status acme/web:\n%s", out)
	}
	if out, code := c.code(on, "weft", "status", "acme/nothing"); code != exitError || !strings.Contains(out, "acme/nothing") {
		c.Errorf("weft status acme/nothing: exit status %d\n%s", code, out)
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(c.in(on, "weft", "history", "-o", "json")), &list); err != nil || len(list) == 0 {
		c.Errorf("weft history -o json: %v, %v", err, list)
	}
	var drift map[string]any
	if err := json.Unmarshal([]byte(c.in(on, "weft", "drift", "-o", "json")), &drift); err != nil || drift["drift"] != nil && len(drift["drift"].([]any)) > 0 {
		c.Errorf("weft drift -o json: %v, %v", err, drift)
	}

	// Over HTTP, by the lab's dashboard.
	for path, word := range map[string]string{
		"kvm1/healthz": "ok", "kvm1/readyz": "ok", "kvm2/metrics": "weft_", "kvm2/api/v1/status": `"host":"kvm2"`,
	} {
		r, err := http.Get(ls.Dashboard + path)
		if err != nil {
			c.Error(err)
			continue
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK || !strings.Contains(string(body), word) {
			c.Errorf("%s: %s %.200s", path, r.Status, body)
		}
	}
}
