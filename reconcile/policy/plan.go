package policy

import (
	"weft.dev/reconcile/plan"
)

// A Change is a plan as policies see it: the variable plan. Its tags are the names of the fields in
// expressions and in the plans of tests.
type Change struct {
	// Base and Head name the commits compared; empty where files or hosts are.
	Base string `yaml:"base"`
	Head string `yaml:"head"`
	// What all hosts do; a replaced resource is one added and one destroyed.
	Add        int `yaml:"add"`
	Change     int `yaml:"change"`
	Destroy    int `yaml:"destroy"`
	Disruptive int `yaml:"disruptive"`
	Drift      int `yaml:"drift"`
	// Hosts are those of the plan, with nothing to do too.
	Hosts       []HostChange `yaml:"hosts"`
	Actions     []Action     `yaml:"actions"`
	Allocations []Allocation `yaml:"allocations"`
	// Exposed is what the internet newly reaches: "203.0.113.20:443/tcp".
	Exposed []string `yaml:"exposed"`
	// Gained and Lost are the ways that are newly, and no longer, possible.
	Gained []Way `yaml:"gained"`
	Lost   []Way `yaml:"lost"`
}

// A HostChange is what one host does.
type HostChange struct {
	Name       string `yaml:"name"`
	Add        int    `yaml:"add"`
	Change     int    `yaml:"change"`
	Destroy    int    `yaml:"destroy"`
	Disruptive int    `yaml:"disruptive"`
	Drift      int    `yaml:"drift"`
	// Observed counts the resources that are there before, Desired those wanted.
	Observed int `yaml:"observed"`
	Desired  int `yaml:"desired"`
	// Frozen is why nothing may change there, or empty.
	Frozen string `yaml:"frozen"`
}

// An Action is what becomes of one resource.
type Action struct {
	Host  string `yaml:"host"`
	Owner string `yaml:"owner"`
	// Kind and Name of the resource: "ovs.bridge", "cloudbr1".
	Kind string `yaml:"kind"`
	Name string `yaml:"name"`
	// Verb is create, update, replace or delete.
	Verb string `yaml:"verb"`
	// Phase is design, implement, prepare, release, shutdown or trash.
	Phase string `yaml:"phase"`
	// Disrupts says whom it disturbs and how; empty: nobody.
	Disrupts string `yaml:"disrupts"`
	Reason   string `yaml:"reason"`
	Drift    bool   `yaml:"drift"`
	// Implied actions happen by themselves with that of a parent.
	Implied bool `yaml:"implied"`
}

// An Allocation is one line of weft.lock and its fate.
type Allocation struct {
	Owner string `yaml:"owner"`
	Field string `yaml:"field"`
	Verb  string `yaml:"verb"` // create, update or delete
	From  string `yaml:"from"`
	To    string `yaml:"to"`
}

// A Way is one that packets may go.
type Way struct {
	From  string `yaml:"from"`
	To    string `yaml:"to"`
	Ports string `yaml:"ports"`
}

var verbs = map[plan.Verb]string{plan.Create: "create", plan.Update: "update", plan.Replace: "replace", plan.Delete: "delete"}

// ChangeOf returns what policies see of a report.
func ChangeOf(r *plan.Report) *Change {
	all, _ := r.Count()
	c := &Change{
		Base: r.Base, Head: r.Head,
		Add: all.Add, Change: all.Change, Destroy: all.Destroy, Disruptive: all.Disruptive, Drift: all.Drift,
	}
	for _, p := range r.Hosts {
		n := p.Count()
		c.Hosts = append(c.Hosts, HostChange{
			Name: p.Host, Add: n.Add, Change: n.Change, Destroy: n.Destroy, Disruptive: n.Disruptive, Drift: n.Drift,
			Observed: p.Observed, Desired: p.Desired, Frozen: p.Frozen,
		})
		for _, a := range p.Actions {
			e := a.After
			if e == nil {
				e = a.Before
			}
			c.Actions = append(c.Actions, Action{
				Host: p.Host, Owner: string(e.Owner), Kind: string(a.ID.Kind), Name: a.ID.Name, Verb: verbs[a.Verb],
				Phase: string(a.Phase), Disrupts: a.Disrupts, Reason: a.Reason, Drift: a.Drift, Implied: a.Implied,
			})
		}
	}
	for _, a := range r.Allocations {
		c.Allocations = append(c.Allocations, Allocation{Owner: a.Owner, Field: a.Field, Verb: verbs[a.Verb], From: a.From, To: a.To})
	}
	if r.Reachability != nil {
		c.Exposed, c.Gained, c.Lost = r.Reachability.Exposed, ways(r.Reachability.Gained), ways(r.Reachability.Lost)
	}
	return c
}

func ways(paths []plan.Path) []Way {
	out := make([]Way, len(paths))
	for i, p := range paths {
		out[i] = Way{From: p.From, To: p.To, Ports: p.Ports}
	}
	return out
}
