package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weft.dev/reconcile/resource"
)

func (a *Agent) suspend(name, reason string) error {
	owner, err := a.owner(name)
	if err != nil {
		return err
	}
	return a.saved.change(func(s *state) { s.Suspended[owner] = suspension{Reason: reason, Since: time.Now()} })
}

// resume ends a suspension; that of the host ends a rollback too.
func (a *Agent) resume(name string) error {
	s := a.saved.get()
	var owner resource.Owner
	var found []resource.Owner
	for o := range s.Suspended { // also of something that is no more
		if o != "" && called(o, name) {
			found = append(found, o)
		}
	}
	var err error
	switch len(found) {
	case 0:
		owner, err = a.owner(name)
	case 1:
		owner = found[0]
	default:
		err = several(name, found)
	}
	if err != nil {
		return err
	}
	if _, ok := s.Suspended[owner]; !ok && (owner != "" || s.Pin == "") {
		return userError("nothing of that name is suspended")
	}
	return a.saved.change(func(s *state) {
		delete(s.Suspended, owner)
		if owner == "" {
			s.Pin, s.Over = "", ""
		}
	})
}

// called reports whether a person's name means o: with its kind or without.
func called(o resource.Owner, name string) bool {
	_, rest, _ := strings.Cut(string(o), "/")
	return string(o) == name || rest == name
}

// several refuses a name that means more than one.
func several(name string, found []resource.Owner) error {
	var all []string
	for _, o := range found {
		all = append(all, string(o))
	}
	slices.Sort(all)
	return userError(fmt.Sprintf("%q is several things here: say %s", name, strings.Join(all, " or ")))
}

// owner finds whom a person means: "" or the host, or anything that is asked for
// here, with its kind or without where no two have the name.
func (a *Agent) owner(name string) (resource.Owner, error) {
	if name == "" || name == "host" || name == a.Host.Name || name == "host/"+a.Host.Name {
		return "", nil
	}
	var found []resource.Owner
	meet := func(o resource.Owner) {
		if called(o, name) && !slices.Contains(found, o) {
			found = append(found, o)
		}
	}
	if a.compiled != nil {
		for _, f := range a.compiled.Intent.Fragments {
			meet(f.Owner)
		}
		for _, h := range a.compiled.Intent.Holds {
			meet(h.Owner)
		}
	}
	switch len(found) {
	case 0:
		return "", userError(fmt.Sprintf("%q is nothing on this host", name))
	case 1:
		return found[0], nil
	}
	return "", several(name, found)
}
