package vpn

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/strongswan/govici/vici"
)

// An item is one line of the file "connections", one of these:
//
//	{"connection": NAME, "of": "acme/berlin", "call": true, "config": {...}}
//	{"pool": NAME, "of": ..., "config": {...}}
//	{"secret": NAME, "of": ..., "kind": "IKE" or "EAP", "owners": [...], "file": PATH}
//	{"key": NAME, "of": ..., "file": PATH}
//
// A config is what charon is told of it, in the words of swanctl.conf; a file is
// named from the directory that they are in.
type item struct {
	Connection string         `json:"connection,omitempty"`
	Of         string         `json:"of,omitempty"`   // the VPN that it is of
	Call       bool           `json:"call,omitempty"` // whether this end begins
	Pool       string         `json:"pool,omitempty"`
	Secret     string         `json:"secret,omitempty"`
	Kind       string         `json:"kind,omitempty"`
	Owners     []string       `json:"owners,omitempty"`
	Key        string         `json:"key,omitempty"`
	File       string         `json:"file,omitempty"`
	Config     map[string]any `json:"config,omitempty"`

	content []byte     // of File
	block   *pem.Block // of a key
	text    string     // what tells a changed one
	bad     error      // why it cannot be used, or nil
}

// id tells items apart.
func (i *item) id() string {
	switch {
	case i.Connection != "":
		return "connection " + i.Connection
	case i.Pool != "":
		return "pool " + i.Pool
	case i.Secret != "":
		return "secret " + i.Secret
	}
	return "key " + i.Key
}

// open reports whether a connection takes in whoever calls and knows a secret: users.
func (i *item) open() bool {
	from, _ := i.Config["remote_addrs"].([]any)
	return len(from) == 1 && from[0] == "%any"
}

// children lists the names of a connection's tunnels.
func (i *item) children() []string {
	c, _ := i.Config["children"].(map[string]any)
	return slices.Sorted(maps.Keys(c))
}

// items reads the file "connections" below dir, and the files that it names. What cannot
// be used of those is no mistake of the others.
func items(dir string) (map[string]*item, error) {
	b, err := read(dir, "connections")
	if err != nil {
		return nil, err
	}
	out := map[string]*item{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxFile)
	for n := 1; lines.Scan(); n++ {
		i := new(item)
		if err := json.Unmarshal(lines.Bytes(), i); err != nil {
			return nil, fmt.Errorf("connections, line %d: %w", n, err)
		}
		i.bad = i.take(dir)
		i.text = lines.Text() + string(i.content)
		if out[i.id()] != nil {
			return nil, fmt.Errorf("connections, line %d: %s is there twice", n, i.id())
		}
		out[i.id()] = i
	}
	return out, lines.Err()
}

// take reads the file that the item names, and what is in it.
func (i *item) take(dir string) (err error) {
	if i.File != "" {
		if i.content, err = read(dir, i.File); err != nil {
			return err
		}
		if len(i.content) == 0 {
			return errors.New("it is empty")
		}
	}
	return i.identity()
}

// word is what people call the item.
func (i *item) word() string {
	switch {
	case i.Connection != "":
		return "connection"
	case i.Pool != "":
		return "addresses"
	case i.Key != "":
		return "key"
	case i.personal():
		_, user, _ := strings.Cut(i.Secret, "/")
		return "password of " + user
	}
	return "secret"
}

// personal reports whether the item is one user's.
func (i *item) personal() bool { return i.Kind == "EAP" }

// identity takes the name by which the gateway is called out of its certificate.
func (i *item) identity() error {
	if i.Key != "" {
		if i.block = privateBlock(i.content); i.block == nil {
			return errors.New("there is no private key in PEM in it")
		}
	}
	local, _ := i.Config["local"].(map[string]any)
	certs, _ := local["certs"].([]any)
	if len(certs) == 0 {
		return nil
	}
	text, _ := certs[0].(string)
	b, _ := pem.Decode([]byte(text))
	if b == nil {
		return errors.New("the certificate is none in PEM")
	}
	c, err := x509.ParseCertificate(b.Bytes)
	switch {
	case err != nil:
		return err
	case len(c.DNSNames) > 0:
		local["id"] = c.DNSNames[0]
	case len(c.IPAddresses) > 0:
		local["id"] = c.IPAddresses[0].String()
	default:
		return errors.New("the certificate is for no DNS name and no address: make one with a subjectAltName")
	}
	return nil
}

// privateBlock finds the key among what may stand beside it.
func privateBlock(text []byte) *pem.Block {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil || strings.HasSuffix(b.Type, "PRIVATE KEY") {
			return b
		}
	}
}

// message is a config as charon takes it, in a fixed order.
func message(config map[string]any) (*vici.Message, error) {
	m := vici.NewMessage()
	for _, key := range slices.Sorted(maps.Keys(config)) {
		var value any
		switch v := config[key].(type) {
		case string:
			value = v
		case []any:
			list := make([]string, len(v))
			for i := range v {
				s, ok := v[i].(string)
				if !ok {
					return nil, fmt.Errorf("%s: %v is no text", key, v[i])
				}
				list[i] = s
			}
			value = list
		case map[string]any:
			sub, err := message(v)
			if err != nil {
				return nil, err
			}
			value = sub
		default:
			return nil, fmt.Errorf("%s: %v is neither text nor list nor section", key, v)
		}
		if err := m.Set(key, value); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return m, nil
}
