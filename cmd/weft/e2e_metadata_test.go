//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMetadata holds what routers tell guests, in the lab of examples/metadata.
func TestMetadata(t *testing.T) {
	secrets := t.TempDir()
	for name, text := range map[string]string{"web-1.pw": "correct \"horse\n", "box.pw": "of the drive\n"} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := startLab(t, fmt.Sprintf("md%d", os.Getpid()), "../../examples/metadata", "--secrets", secrets)
	c.secrets = secrets
	for _, part := range []struct {
		name string
		run  func(*cloud)
	}{
		{"Told", (*cloud).told},
		{"Untold", (*cloud).untold},
		{"Names", (*cloud).names},
		{"Password", (*cloud).passwords},
		{"Hidden", (*cloud).hiddenData},
		{"Change", (*cloud).toldAnew},
		{"CloudInit", (*cloud).taught},
		{"Drive", (*cloud).drives},
		{"Killed", (*cloud).killedServer},
		{"Anew", (*cloud).routerAnew},
	} {
		t.Run(part.name, func(t *testing.T) {
			p := *c
			p.TB = t
			part.run(&p)
		})
	}
}

// hears waits until a guest gets an answer, which has want.
func (c *cloud) hears(vm, url, want string, header ...string) {
	c.Helper()
	argv := []string{"curl", "-s", "-m", "3", url}
	for _, h := range header {
		argv = append(argv, "-H", h)
	}
	c.until(slow, fmt.Sprintf("%s hears %q from %s %q", vm, want, url, header), func() string {
		out, err := c.try(vm, argv...)
		if err == nil && strings.Contains(out, want) {
			return ""
		}
		return fmt.Sprintf("%q, %v", out, err)
	})
}

// told: each guest is told its own, by the router of its network, found as
// cloud-init finds it: by name, else as the DHCP server.
func (c *cloud) told() {
	c.hears("acme/web-1", "data-server./latest/user-data", "/etc/motd")
	c.hears("acme/web-2", "data-server./latest/user-data", "echo second")
	c.hears("acme/web-1", "10.1.1.1/latest/meta-data/", "instance-id\nlocal-hostname\nlocal-ipv4")
	c.hears("acme/web-1", "10.1.1.1/latest/meta-data/public-keys", " bob")
	c.hears("acme/web-1", "10.1.1.1/latest/meta-data/instance-id", "web-1.acme")
	c.hears("acme/web-2", "10.1.1.1/latest/meta-data/public-ipv4", "203.0.113.12")
	c.hears("acme/desk", "data-server./latest/user-data", "desk")
	c.hears("acme/desk", "data-server./latest/meta-data/local-ipv4", "10.2.0.20")
}

// untold: nobody is told what is another's, and the world nothing.
func (c *cloud) untold() {
	c.hears("acme/web-2", "10.1.1.1/latest/meta-data/public-keys", "no such thing")
	c.hears("acme/web-1", "10.1.1.1/latest/user-data", "proxy", "X-Forwarded-For: 10.1.1.12")
	c.in("acme/web-1", "ip", "addr", "add", "10.1.1.12/24", "dev", "eth0")
	if out, err := c.try("acme/web-1", "curl", "-s", "-m", "1", "--interface", "10.1.1.12", "10.1.1.1/latest/user-data"); err == nil {
		c.Errorf("who says that it is another guest is believed: %s", out)
	}
	c.in("acme/web-1", "ip", "addr", "del", "10.1.1.12/24", "dev", "eth0")
	c.hears("acme/web-1", "10.1.1.1/latest/user-data", "/etc/motd")
	nat := strings.TrimSpace(c.fetched("acme/web-1", "10.1.1.1/latest/meta-data/public-ipv4"))
	for _, from := range []string{"internet", "acme/web-1"} {
		for _, port := range []string{"80", "8080"} {
			if out, err := c.try(from, "curl", "-s", "-m", "1", nat+":"+port); err == nil {
				c.Errorf("%s is answered at the public address %s:%s: %s", from, nat, port, out)
			}
		}
	}
}

// passwords: the protocol of CloudStack's helper, with its own words.
func (c *cloud) passwords() {
	ask := func(vm, request string) string {
		return c.in(vm, "wget", "-q", "-t", "3", "-T", "20", "-O", "-", "--header", "DomU_Request: "+request, "10.1.1.1:8080")
	}
	for _, x := range []struct{ vm, request, want string }{
		{"acme/web-1", "send_my_password", "correct \"horse"},
		{"acme/web-2", "send_my_password", "saved_password"},
		{"acme/web-2", "saved_password", "saved_password"},
		{"acme/web-1", "nonsense", "bad_request"},
		{"acme/web-1", "send_my_password", "correct \"horse"},
		{"acme/web-1", "saved_password", "saved_password"},
		{"acme/web-1", "send_my_password", "saved_password"},
	} {
		if got := ask(x.vm, x.request); got != x.want {
			c.Errorf("%s says %s: %q, want %q", x.vm, x.request, got, x.want)
		}
	}
}

// hiddenData: no output of the host has what guests only are told.
func (c *cloud) hiddenData() {
	const script = "weft drift; weft status router/acme/web; weft status vm/acme/web-1; weft history; cat /run/weft/log/* /run/weft/marks/*/*; weft observe"
	out := c.in("host/kvm1", "sh", "-c", script)
	if strings.Contains(out, "horse") || strings.Contains(out, "write_files") {
		c.Errorf("a secret is shown:\n%s", out)
	}
	for _, file := range []string{"userdata/acme.web-1.web", "passwords/acme.web-1.web"} {
		if !strings.Contains(out, file) {
			c.Errorf("nothing is said of %s:\n%s", file, out)
		}
	}
	modes := c.in("host/kvm1", "sh", "-c", "cd /run/weft/files/metadata/weft-acme-web && stat -c %a passwords/acme.web-1.web userdata/acme.web-1.web")
	if modes != "600\n600\n" {
		c.Errorf("others on the host may read: %q", modes)
	}
}

// toldAnew: a commit is told without a restart of the server; what it takes away
// is told no more. The password stays taken.
func (c *cloud) toldAnew() {
	before := c.server()
	c.edit("cloud.yaml", "of acme", "of the new acme")
	c.edit("cloud.yaml", `, userData: "#!/bin/sh\necho second\n"`, "")
	c.commit()
	c.hears("acme/web-1", "10.1.1.1/latest/user-data", "of the new acme")
	c.hears("acme/web-2", "10.1.1.1/latest/user-data", "no such thing")
	c.hears("acme/web-1", "10.1.1.1:8080", "saved_password", "DomU_Request: send_my_password")
	if after := c.server(); after != before {
		c.Errorf("the server was started anew: %q, %q", before, after)
	}
}

// server is the process that serves the networks of the host.
func (c *cloud) server() string {
	c.Helper()
	return strings.TrimSpace(c.in("host/kvm1", "pgrep", "-f", "^[^ ]*weft metadata-serve "))
}

// killedServer: a server that dies is replaced, and remembers what was taken; the
// half that talks to guests is nobody.
func (c *cloud) killedServer() {
	before := c.server()
	if user := c.in("host/kvm1", "ps", "-o", "user=", "--ppid", before); strings.TrimSpace(user) != "nobody" {
		c.Errorf("guests talk to %q", user)
	}
	c.in("host/kvm1", "kill", "-9", before)
	c.until(slow, "another server", func() string {
		out, err := c.try("host/kvm1", "pgrep", "-f", "^[^ ]*weft metadata-serve ")
		if now := strings.TrimSpace(out); err == nil && now != "" && now != before {
			return ""
		}
		return out
	})
	c.hears("acme/web-1", "10.1.1.1/latest/meta-data/instance-id", "web-1.acme")
	c.hears("acme/web-1", "10.1.1.1:8080", "saved_password", "DomU_Request: send_my_password")
}

// routerAnew: the server serves in the namespace that takes the place of another, and
// it is the same server.
func (c *cloud) routerAnew() {
	before := c.server()
	inode := func() string {
		out, _ := c.try("host/kvm1", "stat", "-L", "-c", "%i", "/run/netns/weft-acme-web")
		return strings.TrimSpace(out)
	}
	old := inode()
	c.in("host/kvm1", "ip", "netns", "del", "weft-acme-web")
	c.until(slow, "another namespace", func() string {
		if now := inode(); now == "" || now == old {
			return fmt.Sprintf("%q, not another than %q", now, old)
		}
		return ""
	})
	c.hears("acme/web-1", "10.1.1.1/latest/meta-data/instance-id", "web-1.acme")
	c.hears("acme/desk", "data-server./latest/user-data", "desk")
	c.hears("acme/web-1", "10.1.1.1:8080", "saved_password", "DomU_Request: send_my_password")
	if after := c.server(); after != before {
		c.Errorf("the server was started anew: %q, %q", before, after)
	}
}
