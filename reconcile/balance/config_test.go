package balance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate is one of key, in PEM.
func certificate(t *testing.T, public, private any, until time.Time) []byte {
	t.Helper()
	of := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"shop.example"}, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, of, of, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// pair is a certificate with its key.
func pair(t *testing.T, until time.Time) []byte {
	t.Helper()
	key := newKey(t)
	return append(certificate(t, &key.PublicKey, key, until), keyPEM(t, key)...)
}

func put(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestUsable: what HAProxy would stumble over is refused before it sees it.
func TestUsable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "of weft")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key, other := newKey(t), newKey(t)
	cert := certificate(t, &key.PublicKey, key, time.Now().Add(time.Hour))
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, held, want string
	}{
		{"good", string(cert) + string(keyPEM(t, key)), ""},
		{"ended", string(pair(t, time.Now().Add(-time.Hour))), ""}, // served, and told
		{"other key", string(cert) + string(keyPEM(t, other)), "private key does not match public key"},
		{"no key", string(cert), "found a certificate rather than a key"},
		{"no certificate", string(keyPEM(t, key)), "failed to find certificate PEM data in certificate input, but did find a private key"},
		{"empty", "", "failed to find any PEM data"},
		{"short key", string(certificate(t, &short.PublicKey, short, time.Now().Add(time.Hour))) + string(keyPEM(t, short)), "2048 bits"},
	} {
		err := usable(put(t, dir, ".new", []byte(c.held)))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE KEY-") {
			t.Errorf("%s: the error has the key: %v", c.name, err)
		}
	}
}

// TestLeftOut: a balancer without its certificate is left out, and nothing else.
func TestLeftOut(t *testing.T) {
	dir := t.TempDir()
	text := "global\n    maxconn 10\nlisten acme.http\n    bind 127.0.0.1:80\n" +
		"listen acme.https\n    bind 127.0.0.1:443 ssl crt acme.https.pem alpn h2,http/1.1\n    mode http\n" +
		"listen acme.last\n    bind 127.0.0.1:81\n"
	put(t, dir, "haproxy.cfg", []byte(text))
	without, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(without.text, "https") || !strings.Contains(without.text, "maxconn 10\nlisten acme.http\n    bind 127.0.0.1:80\nlisten acme.last") {
		t.Errorf("%s", without.text)
	}
	if end, ok := without.certs["acme.https"]; !ok || !end.IsZero() || len(without.certs) != 1 {
		t.Errorf("%v", without.certs)
	}
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	put(t, dir, "acme.https.pem", pair(t, end))
	with, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if with.text != text || with.sum == without.sum || !with.certs["acme.https"].Equal(end) {
		t.Errorf("%s %v", with.text, with.certs)
	}
	put(t, dir, "acme.https.pem", pair(t, end))
	if again, err := read(dir); err != nil || again.text != text || again.sum == with.sum {
		t.Errorf("another certificate is not seen: %v", err)
	}
}
