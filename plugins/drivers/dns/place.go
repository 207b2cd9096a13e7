package dns

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// A place is a zone of a server in which this host may have records: it outlives a
// reboot, as they do.
type place struct {
	Server resource.Server `json:"server"`
	Zone   string          `json:"zone"`
}

func (p place) is(o place) bool { return p.Server.Endpoint == o.Server.Endpoint && p.Zone == o.Zone }

func placeOf(r resource.Record) place { return place{r.Server, r.Zone} }

// known reads the places.
func (d *Driver) known() ([]place, error) {
	b, err := os.ReadFile(d.places)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []place
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("places of records: %w", err)
	}
	return out, nil
}

// remember notes where records will be, before they are.
func (d *Driver) remember(p place) error {
	return d.note(p, true)
}

// forget drops a place in which nothing of ours is.
func (d *Driver) forget(p place) error { return d.note(p, false) }

func (d *Driver) note(p place, stays bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	list, err := d.known()
	if err != nil {
		return err
	}
	if stays && slices.Contains(list, p) {
		return nil
	}
	list = slices.DeleteFunc(list, func(o place) bool { return o.is(p) })
	if stays {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.Server.Endpoint, b.Server.Endpoint), cmp.Compare(a.Zone, b.Zone))
	})
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return host.WriteFile(d.places, b, 0o600)
}
