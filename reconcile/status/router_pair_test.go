package status

import (
	"strings"
	"testing"
	"time"
)

func TestPairText(t *testing.T) {
	s := &Status{Host: "kvm1", Time: now, Routers: []Router{
		{Name: "router/acme/single", Services: []Service{{Name: "dns", State: ServiceWell}}},
		{Name: "router/acme/web", Roles: []Role{{RoleBackup, ago(time.Hour)}, {RolePrimary, ago(3 * time.Minute)}}, Services: []Service{{Name: "dns", State: ServiceWell}}},
		{Name: "router/acme/db", Roles: []Role{{"FAULT", ago(time.Minute)}}},
	}}
	p := &printer{now: now}
	p.routers(s)
	equal(t, p.String(), `

Routers
  router/acme/web
    pair  PRIMARY  3m
  router/acme/db
    pair  FAULT  1m
`)
	p = &printer{now: now, style: Style{All: true}}
	p.routers(s)
	for _, want := range []string{"was BACKUP", "router/acme/single", "dns"} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("all of it lacks %q:\n%s", want, p.String())
		}
	}
	if r := (&Router{}).Role(); r.State != "" {
		t.Errorf("a router that stands alone is %v", r)
	}
}
