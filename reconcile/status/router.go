package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weft.dev/reconcile/resource"
)

// The states of a service.
const (
	ServiceUnknown = "Unknown" // not asked yet
	ServiceWell    = "Well"    // it answers
	ServiceSick    = "Sick"    // it failed several times in a row
	ServiceAbsent  = "Absent"  // there is nobody to be asked here: a standby, or not made yet
)

// A Service is how one service of a router is.
type Service struct {
	Name    string `json:"name"`
	Process string `json:"process,omitempty"`
	// Outside: it is none of the router's; nothing is done when it is sick.
	Outside bool      `json:"outside,omitempty"`
	State   string    `json:"state"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since"` // of State
	Asked   time.Time `json:"asked,omitzero"`
	// Took is how long the last answer took, in nanoseconds.
	Took time.Duration `json:"took,omitempty"`
	// Restarts counts how often its process was started anew because it was sick,
	// since the agent began.
	Restarts int `json:"restarts,omitempty"`
	// VPN is how the VPN is that the service is.
	VPN *VPN `json:"vpn,omitempty"`
	// BGP is how the session is that the service is.
	BGP *BGP `json:"bgp,omitempty"`
}

// A Router is how a router's services are.
type Router struct {
	Name  string         `json:"name"` // "router/ACCOUNT/NETWORK"
	Owner resource.Owner `json:"owner"`
	NS    string         `json:"namespace"`
	Every time.Duration  `json:"every"` // nanoseconds from check to check
	// Leave is why nothing is done for it whatever the checks say, or "".
	Leave string `json:"leave,omitempty"`
	// Keep is why it is not made anew as a whole, or "".
	Keep     string    `json:"keep,omitempty"`
	Services []Service `json:"services"`
	// Rebuilds counts how often it was made anew because it was sick, Deaths how
	// often a process of it ended by itself, since the agent began.
	Rebuilds int `json:"rebuilds,omitempty"`
	Deaths   int `json:"deaths,omitempty"`
	// Roles are what a router that is one of a pair became here, the last one last, as
	// far as that is remembered; none for one that stands alone.
	Roles []Role `json:"roles,omitempty"`
	// Next is when it is treated again at the earliest, where that was to no avail.
	Next time.Time `json:"next,omitzero"`
}

// A Role is what a router of a pair became, in CloudStack's words: PRIMARY, BACKUP or
// FAULT (a link that it needs is down); STOPPED while nothing decides.
type Role struct {
	State string    `json:"state"`
	Since time.Time `json:"since"`
}

// The roles of a router of a pair.
const (
	RolePrimary = "PRIMARY"
	RoleBackup  = "BACKUP"
)

// Role is what a router of a pair is now; the zero one for a router that stands alone.
func (r *Router) Role() Role {
	if len(r.Roles) == 0 {
		return Role{}
	}
	return r.Roles[len(r.Roles)-1]
}

// rolesShown is how many changes people see.
const rolesShown = 5

// role shows what a router of a pair is, and with all of it what it was.
func (p *printer) role(r *Router) [][]string {
	now := r.Role()
	if now.State == "" {
		return nil
	}
	word := p.paint(red, now.State)
	if now.State == RolePrimary || now.State == RoleBackup {
		word = p.paint(green, now.State)
	}
	rows := [][]string{{"  pair", word, Age(p.now.Sub(now.Since)), ""}}
	if !p.style.All {
		return rows
	}
	for i := len(r.Roles) - 2; i >= max(0, len(r.Roles)-1-rolesShown); i-- {
		x := r.Roles[i]
		rows = append(rows, []string{"", "was " + clean(x.State), Age(p.now.Sub(x.Since)), ""})
	}
	return rows
}

// Sick lists the services that are sick: those of others, or its own.
func (r *Router) Sick(outside bool) []Service {
	var out []Service
	for _, s := range r.Services {
		if s.State == ServiceSick && s.Outside == outside {
			out = append(out, s)
		}
	}
	return out
}

// Health is the condition that follows from how the routers are.
func (s *Status) Health() Condition {
	c := Condition{Type: Healthy, True: true, Reason: "Well"}
	var own, outside []string
	for i := range s.Routers {
		r := &s.Routers[i]
		for _, x := range r.Sick(false) {
			own = append(own, fmt.Sprintf("%s: %s: %s", r.Name, x.Name, x.Message))
		}
		for _, x := range r.Sick(true) {
			outside = append(outside, fmt.Sprintf("%s: %s: %s", r.Name, x.Name, x.Message))
		}
	}
	switch {
	case len(own) > 0:
		c.True, c.Reason, c.Message = false, "Sick", first(own)
	case len(outside) > 0:
		c.Reason, c.Message = "OutsideSick", first(outside)
	case len(s.Routers) == 0:
		c.Reason = "NoRouters"
	}
	return c
}

func first(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return fmt.Sprintf("%s, and %d more", list[0], len(list)-1)
}

// routers shows those with something sick, or all.
func (p *printer) routers(s *Status) {
	head := false
	for i := range s.Routers {
		r := &s.Routers[i]
		sick := len(r.Sick(false))+len(r.Sick(true)) > 0
		if !p.style.All && !sick && len(r.Roles) == 0 && !slices.ContainsFunc(r.Services, Service.always) {
			continue
		}
		if !head {
			p.line("\n%s", p.paint(bold, "Routers"))
			head = true
		}
		p.line("  %s", clean(r.words(p)))
		rows := p.role(r)
		for _, x := range r.Services {
			if !p.style.All && !sick && !x.always() {
				continue
			}
			rows = append(rows, []string{"  " + clean(x.Name), p.service(x), Age(p.now.Sub(x.since())), clean(x.words(p.now))})
			rows = append(rows, p.vpnRows(x.VPN)...)
		}
		p.rows(rows)
	}
}

func (r *Router) words(p *printer) string {
	parts := []string{r.Name}
	for _, x := range []struct {
		n    int
		what string
	}{{r.Deaths, "ended by itself"}, {r.restarts(), "started anew for being sick"}, {r.Rebuilds, "made anew"}} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d×", x.what, x.n))
		}
	}
	if r.Leave != "" {
		return strings.Join(append(parts, "nothing is done: "+r.Leave), ", ")
	}
	if r.Keep != "" {
		parts = append(parts, "not to be made anew: "+r.Keep)
	}
	if r.Next.After(p.now) {
		parts = append(parts, "treated again in "+Age(r.Next.Sub(p.now)))
	}
	return strings.Join(parts, ", ")
}

func (r *Router) restarts() int {
	n := 0
	for _, x := range r.Services {
		n += x.Restarts
	}
	return n
}

// always reports whether people see it even where nothing is wrong: a session with the
// world has a state of its own.
func (x Service) always() bool { return x.BGP != nil || x.VPN != nil }

// since is that of its state, as far back as who serves a VPN or BGP knows.
func (x *Service) since() time.Time {
	switch {
	case x.VPN != nil:
		return x.VPN.Since
	case x.BGP != nil && !x.BGP.Since.IsZero():
		return x.BGP.Since
	}
	return x.Since
}

func (x *Service) words(now time.Time) string {
	out := x.Message
	switch {
	case x.VPN != nil:
		out = x.VPN.Reason
	case x.BGP != nil:
		out = x.BGP.words(now)
	}
	if x.Restarts > 0 {
		out += fmt.Sprintf("; started anew %d×", x.Restarts)
	}
	if x.Outside && x.State == ServiceSick && x.VPN == nil && x.BGP == nil {
		out += " (outside: nothing is restarted for it)"
	}
	return strings.TrimPrefix(out, "; ")
}

func (p *printer) service(x Service) string {
	switch {
	case x.VPN != nil && x.VPN.State == VPNConnected:
		return p.paint(green, VPNConnected)
	case x.VPN != nil && x.VPN.State == VPNError:
		return p.paint(red, VPNError)
	case x.VPN != nil:
		return p.paint(yellow, clean(x.VPN.State))
	case x.BGP != nil && x.BGP.State == BGPEstablished:
		return p.paint(green, BGPEstablished)
	case x.BGP != nil:
		return p.paint(yellow, clean(x.BGP.State))
	case x.State == ServiceWell:
		return p.paint(green, x.State)
	case x.State == ServiceSick && !x.Outside:
		return p.paint(red, x.State)
	}
	return p.paint(yellow, x.State)
}
