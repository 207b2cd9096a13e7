package virtualrouter

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/balance"
	"weft.dev/reconcile/bgp"
	"weft.dev/reconcile/metadata"
	redundant "weft.dev/reconcile/pair"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/vpn"
)

var registry = plugin.Registry{
	Gurus: []plugin.Guru{plugintest.Silent{}}, Public: plugintest.Silent{}, Elements: []plugin.Element{Element{}, VPC{}, InternalLB{}},
}

func TestCases(t *testing.T) {
	plugintest.Cases(t, registry, func(t *testing.T, in *resource.Intent) {
		t.Helper()
		plugintest.Complete(t, in)
		parsers(t, in)
	})
}

// parsers gives every configuration to the program that reads it, as its process
// asks for.
func parsers(t *testing.T, in *resource.Intent) {
	t.Helper()
	set := in.Set()
	dir := t.TempDir()
	write(t, set, dir)
	for _, e := range set {
		if f, ok := e.State.(resource.File); ok && path.Base(f.Path) == "server" {
			if _, _, err := metadata.Read(filepath.Join(dir, path.Dir(f.Path))); err != nil {
				t.Errorf("%s: %v", f.Path, err)
			}
		}
		p, ok := e.State.(resource.Process)
		if !ok || len(p.Test) == 0 {
			continue
		}
		argv := expand(p.Test, dir)
		if argv[0] == "{weft}" {
			code, ok := vpn.Main(argv[1:])
			if !ok {
				code, ok = redundant.Main(argv[1:])
			}
			if !ok {
				code, ok = bgp.Main(argv[1:])
			}
			if !ok {
				code, ok = balance.Main(argv[1:])
			}
			if !ok || code != 0 {
				t.Errorf("%s: exit %d", strings.Join(argv, " "), code)
			}
			continue
		}
		if out, err := exec.Command(tool(t, argv[0]), argv[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", strings.Join(argv, " "), err, out)
		}
	}
}

// write makes the files of set below dir.
func write(t *testing.T, set resource.Set, dir string) {
	t.Helper()
	for _, e := range set {
		f, ok := e.State.(resource.File)
		if !ok {
			continue
		}
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		text := []byte(f.Parts[0].Text)
		switch {
		case strings.HasSuffix(path, ".pem") || strings.Contains(path, "/ipsec/keys/"):
			text = pair(t)
		case f.Parts[0].Secret != "":
			text = []byte("QAlmK1MWIGhTFBWbNvHJkEp1nUfbPP4bUHRv3iM93Xc=") // a key of WireGuard, or any secret
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func expand(argv []string, dir string) []string {
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = strings.ReplaceAll(a, "{run}", dir)
	}
	return out
}

// pair is a certificate and its key, which no tree has.
func pair(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"shop.example"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
}

// packages have the programs that read what is generated.
var packages = map[string]string{"dnsmasq": "dnsmasq-base", "haproxy": "haproxy"}

func dnsmasq(t *testing.T) string { return tool(t, "dnsmasq") }

// tool is the path of a program; without it a test is skipped.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skipf("no %s here (package %s) that could read what was generated", name, packages[name])
	return ""
}
