// Package metadata is the server that tells guests who they are, as CloudStack's
// virtual router does: user data and meta-data on one port, passwords on another,
// each guest's own by the address that it asks from.
//
// In go the files that the VirtualRouter element asks for; out come answers over
// HTTP, to guests that may be hostile. Two processes run: the keeper reads the files,
// which only root may, opens the ports and remembers which passwords were taken; the
// worker, which is nobody and opens nothing, talks to guests. cmd imports it.
package metadata

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
)

// The verbs by which the program is called to be one of the two.
const (
	Verb       = "metadata-serve"
	workerVerb = "metadata-worker"
)

// A Guest is what one guest is told. In the file "guests" each has a line of JSON
// with IP, ID, Keys and what else it Has; its user data and password are the files
// userdata/IP and passwords/IP beside that.
type Guest struct {
	IP       netip.Addr        `json:"ip"`
	ID       string            `json:"id"` // of the VM; what a password taken is remembered by
	Keys     map[string]string `json:"keys"`
	Has      []string          `json:"has,omitempty"` // the directories that have a file of it
	UserData []byte            `json:"userData,omitempty"`
	Password []byte            `json:"password,omitempty"`
}

// maxFile bounds a file that is read whole; user data has at most 32 KiB.
const maxFile = 1 << 20

// Read reads the guests below dir.
func Read(dir string) ([]*Guest, error) {
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
		case !g.IP.IsValid() || g.ID == "":
			return nil, fmt.Errorf("guests, line %d: without address or id", n)
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
	path := filepath.Join(dir, kind, g.IP.String())
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}
