package model

import (
	"reflect"
	"slices"
	"strings"

	"weft.dev/schema"
)

// An OfferingChange is that a network, which was there before, stands on another
// offering, or on the same with other words.
type OfferingChange struct {
	Was, Now       *Network
	Added, Removed []string // services, in the order of the language reference
	Moved          []string // services whose provider is another
}

// ChangeOfOffering compares a network with what it was. It returns nil where its
// offering is the same; the diagnostics say what CloudStack refuses when the
// offering of a network is changed.
func ChangeOfOffering(was, now *Network) (*OfferingChange, schema.Diags) {
	if was == nil || now == nil || was.Offering == nil || now.Offering == nil || was.Physical == nil || now.Physical == nil {
		return nil, nil
	}
	a, b := was.Offering, now.Offering
	renamed := a.Name != b.Name
	if !renamed && sameOffering(a.Spec, b.Spec) {
		return nil, nil
	}
	x := &OfferingChange{Was: was, Now: now}
	before, after := map[string]string{}, map[string]string{}
	for _, s := range a.services() {
		before[s.Name] = s.Provider
	}
	for _, s := range b.services() {
		after[s.Name] = s.Provider
		switch p, had := before[s.Name]; {
		case !had:
			x.Added = append(x.Added, s.Name)
		case p != s.Provider:
			x.Moved = append(x.Moved, s.Name)
		}
	}
	for _, s := range a.services() {
		if _, has := after[s.Name]; !has {
			x.Removed = append(x.Removed, s.Name)
		}
	}
	return x, x.refused(renamed)
}

// sameOffering compares what offerings say, wherever they say it.
func sameOffering(a, b *schema.NetworkOffering) bool {
	plain := func(s *schema.NetworkOffering) schema.NetworkOffering {
		out := *s
		out.Services = schema.Services{}
		from, to := reflect.ValueOf(s.Services), reflect.ValueOf(&out.Services).Elem()
		for i := range from.NumField() {
			if from.Field(i).IsNil() {
				continue
			}
			c := reflect.New(from.Field(i).Elem().Type())
			c.Elem().Set(from.Field(i).Elem())
			c.Elem().FieldByName("At").SetZero()
			to.Field(i).Set(c)
		}
		out.State, out.Zones, out.Accounts = "", nil, nil // they rule new networks only
		return out
	}
	return reflect.DeepEqual(plain(a), plain(b))
}

// refused says why a change of offering is none that a network can go through.
func (x *OfferingChange) refused(renamed bool) schema.Diags {
	var ds schema.Diags
	a, b, doc := x.Was.Offering.Spec, x.Now.Offering.Spec, x.Now.Doc
	was := "offering " + x.Was.Offering.Name + " as it was at " + x.Was.Doc.At("spec.offering").String()
	refuse := func(format string, args ...any) {
		d := ds.Errorf(doc.At("spec.offering"), "offering-change", format, args...).Offending(x.Now.Spec.Offering)
		if o := x.Now.Offering; o.Doc != nil {
			d.See(o.Doc.At("spec"), "the offering now")
		}
		d.Hintf("keep what %s had, or make a new network", was)
	}
	id := x.Now.ID.String()
	if a.GuestType != b.GuestType || renamed && a.GuestType != GuestIsolated {
		refuse("%s can not change from offering %s (%s) to %s (%s): only Isolated networks change their offering", id, x.Was.Offering.Name, a.GuestType, x.Now.Offering.Name, b.GuestType)
		return ds
	}
	if (a.Services.SecurityGroup != nil) != (b.Services.SecurityGroup != nil) {
		refuse("%s can not change to offering %s: one has security groups, the other not", id, x.Now.Offering.Name)
	}
	if !slices.Equal(sorted(a.Tags), sorted(b.Tags)) {
		refuse("%s can not change to offering %s: its tags are %s, and were %s", id, x.Now.Offering.Name, list(sorted(b.Tags)), list(sorted(a.Tags)))
	}
	if a.SpecifyVLAN != b.SpecifyVLAN {
		refuse("%s can not change to offering %s: specifyVlan is another", id, x.Now.Offering.Name)
	}
	if a.NetworkMode != b.NetworkMode {
		refuse("%s can not change to offering %s: networkMode %s was %s", id, x.Now.Offering.Name, b.NetworkMode, a.NetworkMode)
	}
	if a.ForVPC != b.ForVPC {
		refuse("%s can not change to offering %s: forVPC is another", id, x.Now.Offering.Name)
	}
	if x.Was.Physical.Name != x.Now.Physical.Name {
		refuse("%s can not change to offering %s: it would move from physical network %s to %s", id, x.Now.Offering.Name, x.Was.Physical.Name, x.Now.Physical.Name)
	}
	return ds
}

func sorted(l []string) []string { return slices.Sorted(slices.Values(l)) }

// Sentence tells people of the change.
func (x *OfferingChange) Sentence() string {
	out := x.Now.ID.String() + " changes from offering " + x.Was.Offering.Name + " to " + x.Now.Offering.Name
	if x.Was.Offering.Name == x.Now.Offering.Name {
		out = "offering " + x.Now.Offering.Name + " of " + x.Now.ID.String() + " changes"
	}
	var parts []string
	for _, p := range []struct {
		word string
		list []string
	}{{"added", x.Added}, {"removed", x.Removed}, {"by another provider", x.Moved}} {
		if len(p.list) > 0 {
			parts = append(parts, p.word+": "+list(p.list))
		}
	}
	if len(parts) == 0 {
		return out
	}
	return out + "; " + strings.Join(parts, "; ")
}
