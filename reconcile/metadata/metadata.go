// Package metadata is the server that tells guests who they are, as CloudStack's
// virtual router does: user data and meta-data on one port, passwords on another,
// each guest's own by the address that it asks from. A host has one for all its
// routers: it listens in their namespaces.
//
// In go the files that the VirtualRouter element asks for; out come answers over
// HTTP, to guests that may be hostile. Two processes run: the keeper reads the files,
// which only root may, opens the ports and remembers which passwords were taken; the
// worker, which is nobody, opens nothing and has no network but the ports that it is
// given, talks to guests. cmd imports it.
package metadata

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"weft.dev/reconcile/host"
)

// The verbs by which the program is called to be one of the two.
const (
	Verb       = "metadata-serve"
	workerVerb = "metadata-worker"
)

// A Server is what is served at one side of a router: the file "server" of a directory.
// The rest of what the directory has is about its guests.
type Server struct {
	NS string `json:"ns"` // "" is the keeper's own
	// MetaData and Passwords are the addresses in NS to listen at; they need not be
	// there.
	MetaData  []netip.AddrPort `json:"metaData"`
	Passwords []netip.AddrPort `json:"passwords"`
}

// A Guest is what one guest is told. In the file "guests" each has a line of JSON
// with IP, ID, NIC, Keys and what else it Has; its user data and password are the
// files userdata/NIC and passwords/NIC beside that. They have the name of the NIC and
// not its address: whatever is written first, nobody is told what was another's.
type Guest struct {
	IP       netip.Addr        `json:"ip"`
	ID       string            `json:"id"`  // of the VM; what a password taken is remembered by
	NIC      string            `json:"nic"` // account.vm.nic, a file name
	Keys     map[string]string `json:"keys"`
	Has      []string          `json:"has,omitempty"` // the directories that have a file of it
	UserData []byte            `json:"userData,omitempty"`
	Password []byte            `json:"password,omitempty"`
}

// maxFile bounds a file that is read whole; user data has at most 32 KiB.
const maxFile = 1 << 20

// Read reads what the directory dir says of one side of a router.
func Read(dir string) (*Server, []*Guest, error) {
	b, err := os.ReadFile(filepath.Join(dir, "server"))
	if err != nil {
		return nil, nil, err
	}
	s := new(Server)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, nil, fmt.Errorf("server: %w", err)
	}
	if len(s.MetaData)+len(s.Passwords) == 0 {
		return nil, nil, errors.New("server: without address")
	}
	guests, err := readGuests(dir)
	return s, guests, err
}

func readGuests(dir string) ([]*Guest, error) {
	b, err := os.ReadFile(filepath.Join(dir, "guests"))
	if err != nil {
		return nil, err
	}
	var out []*Guest
	seen := map[netip.Addr]bool{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxFile)
	for n := 1; lines.Scan(); n++ {
		g := new(Guest)
		switch err := json.Unmarshal(lines.Bytes(), g); {
		case err != nil:
			return nil, fmt.Errorf("guests, line %d: %w", n, err)
		case !g.IP.IsValid() || g.ID == "" || !filepath.IsLocal(g.NIC) || filepath.Base(g.NIC) != g.NIC:
			return nil, fmt.Errorf("guests, line %d: without address, id or NIC", n)
		case seen[g.IP]:
			return nil, fmt.Errorf("guests, line %d: %s is there twice", n, g.IP)
		}
		seen[g.IP] = true
		if g.UserData, err = g.own(dir, "userdata"); err != nil {
			return nil, err
		}
		if g.Password, err = g.own(dir, "passwords"); err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, lines.Err()
}

// own reads a file of the guest; nil when it has none.
func (g *Guest) own(dir, kind string) ([]byte, error) {
	if !slices.Contains(g.Has, kind) {
		return nil, nil
	}
	return host.ReadFile(filepath.Join(dir, kind, g.NIC), maxFile)
}
