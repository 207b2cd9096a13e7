package health

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/status"
)

// A Router is what is looked after together: a namespace and its processes.
type Router struct {
	resource.Health
	NS    string
	Owner resource.Owner
	// Processes have probes; only those fields count that say so.
	Processes []resource.Process
	// Leave is why nothing may be done whatever the answers are, or "".
	Leave string
	// Keep is why the namespace may not be made anew, or "": processes may be started anew.
	Keep string
}

// RoutersOf lists the routers of an intent; leave says of an owner why nothing of it may
// be changed, and why it may not be made anew as a whole, or "".
func RoutersOf(in *resource.Intent, leave func(resource.Owner) (leave, keep string)) []Router {
	var out []Router
	for _, f := range in.Fragments {
		at := len(out)
		for _, e := range f.Entries() {
			if ns, ok := e.State.(resource.NS); ok && ns.Health != nil {
				r := Router{Health: *ns.Health, NS: ns.Name, Owner: f.Owner}
				r.Leave, r.Keep = leave(f.Owner)
				out = append(out, r)
			}
		}
		if at == len(out) {
			continue
		}
		for _, e := range f.Entries() {
			p, ok := e.State.(resource.Process)
			if !ok || len(p.Probes) == 0 {
				continue
			}
			for i := at; i < len(out); i++ {
				if out[i].NS == p.NS {
					out[i].Processes = append(out[i].Processes, p)
				}
			}
		}
	}
	return out
}

// A question is a probe and whose it is.
type question struct {
	resource.Probe
	process string // "" for none
	shared  bool   // the process serves others too
}

func (r *Router) questions() []question {
	var out []question
	for _, p := range r.Probes {
		out = append(out, question{p, p.Process, p.Process != ""})
	}
	for _, p := range r.Processes {
		for _, x := range p.Probes {
			out = append(out, question{x, cmp.Or(x.Process, p.Name), x.Process != ""})
		}
	}
	return out
}

// An answer is how one question fared.
type answer struct {
	words string
	err   error
	took  time.Duration
}

// ErrAbsent says that there is nobody to be asked: the namespace is not there, or the
// address is another host's at the moment.
var ErrAbsent = errors.New("not here")

// enough is how many times in a row a service must fail to be sick. It is asked
// again sooner after the first.
const (
	enough   = 3
	sooner   = 6 // times as often
	soonest  = time.Second
	latest   = 10 * time.Second
	tooLate  = time.Second // who asks that late cannot tell who is slow
	quiet    = 10 * time.Minute
	recovery = 3 * time.Second // after a cure, before anybody is asked
)

// The pauses between cures that do not help: doubled from the first to the last.
const (
	firstPause = time.Minute
	lastPause  = 30 * time.Minute
)

// turnTime is how long a turn of those lasts that may not be made anew at the same
// time; one is begun in its first half only, so that it is over at the end. It stands
// on the clocks of the hosts, which differ by less.
const turnTime = time.Minute

// A service is what is known of one question.
type service struct {
	state  status.Service
	fails  int
	shared bool
}

// A patient is a router with its history. Its methods are pure: they are told what
// was answered and what time it is.
type patient struct {
	down     map[string]bool // processes that cannot be started, by name
	router   Router
	services map[string]*service
	cures    int       // since it was well for a while
	until    time.Time // before then nothing is done
	well     time.Time // since when every service is; zero while one is not
	treating bool      // a cure was handed on and is not over
	treated  bool      // one was, and nobody was asked since
	restarts map[string]int
	rebuilds int
}

func newPatient() patient {
	return patient{services: map[string]*service{}, restarts: map[string]int{}}
}

// take replaces what is asked, and forgets what is no longer.
func (p *patient) take(r Router, now time.Time) {
	p.router = r
	asked := map[string]bool{}
	for _, q := range r.questions() {
		asked[q.Service] = true
		if p.services[q.Service] == nil {
			p.services[q.Service] = &service{state: status.Service{Name: q.Service, State: status.ServiceUnknown, Since: now}}
		}
		s := p.services[q.Service]
		s.state.Process, s.state.Outside, s.shared = q.process, q.Outside, q.shared
	}
	for name := range p.services {
		if !asked[name] {
			delete(p.services, name)
		}
	}
}

// hear takes in the answers of a round that began so late; true if a service became
// well or sick by them.
func (p *patient) hear(questions []question, answers []answer, late time.Duration, now time.Time) (changed bool) {
	if p.treating {
		return false
	}
	p.treated = false
	for i, q := range questions {
		s := p.services[q.Service]
		if s == nil {
			continue // not asked any more
		}
		a := answers[i]
		switch q.Kind {
		case resource.ProbeVPN:
			was := s.state.VPN
			a, s.state.VPN = a.read()
			changed = changed || vpnState(was) != vpnState(s.state.VPN)
		case resource.ProbeBGP:
			was := s.state.BGP
			a, s.state.BGP = a.session()
			changed = changed || sessionsOf(was) != sessionsOf(s.state.BGP)
		}
		changed = s.hear(a, late, now) || changed
	}
	switch {
	case slices.ContainsFunc(p.own(), func(s *service) bool { return s.state.State != status.ServiceWell }):
		p.well = time.Time{}
	case p.well.IsZero():
		p.well = now
	case now.Sub(p.well) >= quiet:
		p.cures, p.until = 0, time.Time{}
	}
	return changed
}

// own are the services that are the router's to heal: none of a process that is down.
func (p *patient) own() []*service {
	var out []*service
	for _, s := range p.services {
		if !s.state.Outside && s.state.State != status.ServiceAbsent && !p.down[s.state.Process] {
			out = append(out, s)
		}
	}
	return out
}

func (s *service) hear(a answer, late time.Duration, now time.Time) (changed bool) {
	before := s.state.State
	s.state.Asked, s.state.Took = now, a.took
	state := s.state.State
	switch {
	case a.err == nil:
		s.fails, state, s.state.Message = 0, status.ServiceWell, a.words
	case errors.Is(a.err, ErrAbsent):
		s.fails, state, s.state.Message = 0, status.ServiceAbsent, a.err.Error()
	case late >= tooLate:
		return false // it may be us
	default:
		s.fails++
		s.state.Message = a.err.Error()
		if s.fails < enough && state == status.ServiceWell {
			s.state.Message += fmt.Sprintf(" (%d in a row)", s.fails)
		}
		if s.fails >= enough {
			state = status.ServiceSick
		}
	}
	if state != before {
		s.state.State, s.state.Since = state, now
	}
	return state != before
}

// sick reports whether a service is sick that is the router's own and no other's.
func (p *patient) sick() bool {
	return slices.ContainsFunc(p.own(), func(s *service) bool { return s.state.State == status.ServiceSick && !s.shared })
}

// sickest is the service that is sick for the longest time, or nil.
func (p *patient) sickest() *service {
	var out *service
	for _, s := range p.own() {
		if s.state.State != status.ServiceSick {
			continue
		}
		if out == nil || s.state.Since.Before(out.state.Since) || s.state.Since.Equal(out.state.Since) && s.state.Name < out.state.Name {
			out = s
		}
	}
	return out
}

// next is the time until the next round: sooner where something is in doubt.
func (p *patient) next() time.Duration {
	every := max(p.router.Every, soonest)
	if p.treating || p.treated {
		return recovery
	}
	for _, s := range p.own() {
		if s.fails > 0 {
			return min(every, max(soonest, min(latest, every/sooner)))
		}
	}
	return every
}

// A Cure is what is to be made anew.
type Cure struct {
	Router string
	Owner  resource.Owner
	NS     string
	ID     resource.ID
	// Service is the sick one, Why the sentence for people.
	Service string
	Why     string
}

// Rebuilds reports whether it is the whole router.
func (c Cure) Rebuilds() bool { return c.ID.Kind == resource.KindNS }

// cure says what is to be done now, if anything: first the process is started anew,
// and if that does not help the namespace is made anew, and so on, more and more
// rarely. For a process that serves others too no namespace is made anew. Nothing is done
// for processes that are down: they cannot be started.
func (p *patient) cure(now time.Time) (Cure, bool) {
	s := p.sickest()
	if s == nil || p.router.Leave != "" || p.treating || p.treated || now.Before(p.until) {
		return Cure{}, false
	}
	c := Cure{Router: p.router.Name, Owner: p.router.Owner, NS: p.router.NS, Service: s.state.Name}
	c.Why = fmt.Sprintf("%s of %s: %s", s.state.Name, p.router.Name, s.state.Message)
	if s.state.Process != "" && (p.cures%2 == 0 || s.shared || p.router.Keep != "") {
		c.ID = resource.ID{Kind: resource.KindProcess, Name: s.state.Process}
		return c, true
	}
	if p.router.Keep != "" || !p.turn(now) {
		return Cure{}, false
	}
	c.ID = resource.ID{Kind: resource.KindNS, Name: p.router.NS}
	return c, true
}

// process is whose a service is, "" for nobody's.
func (p *patient) process(name string) string {
	if s := p.services[name]; s != nil {
		return s.state.Process
	}
	return ""
}

// turn reports whether the router may be made anew now, as far as its others go.
func (p *patient) turn(now time.Time) bool {
	if p.router.Turns < 2 {
		return true
	}
	slot := now.UnixNano() / int64(turnTime)
	into := time.Duration(now.UnixNano() % int64(turnTime))
	return int(slot%int64(p.router.Turns)) == p.router.Turn && into < turnTime/2
}

// treat notes that a cure is under way: until it is over no answer counts.
func (p *patient) treat(c Cure, now time.Time) {
	if c.Rebuilds() {
		p.rebuilds++
		p.cures += 2 - p.cures%2 // the next one starts the process anew again
	} else {
		p.restarts[c.Service]++
		p.cures++
	}
	pause := time.Duration(0)
	if n := p.cures - 2; n >= 0 {
		pause = min(lastPause, firstPause<<min(n, 10))
	}
	p.treating, p.until, p.well = true, now.Add(pause), time.Time{}
}

// done notes that a cure is over: everybody is asked anew.
func (p *patient) done() {
	p.treating, p.treated = false, true
	for _, s := range p.services {
		s.fails = 0
	}
}

// Note is what the journal says of the pass that carries c out.
func (c Cure) Note() string {
	what := "started anew"
	if c.Rebuilds() {
		what = "made anew"
	}
	return fmt.Sprintf("%s %s, it is sick: %s", c.ID.Name, what, c.Why)
}
