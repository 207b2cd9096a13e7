package bgp

import (
	"slices"
	"strings"
	"testing"
)

const base = `! made by weft
frr defaults traditional
ip prefix-list told permit 10.1.0.0/24
route-map told4 permit 10
 match ip address prefix-list told
router bgp 65001
 bgp graceful-restart
 neighbor 192.0.2.1 remote-as 65500
 neighbor 192.0.2.1 timers 20 60
 address-family ipv4 unicast
  network 10.1.0.0/24
  neighbor 192.0.2.1 activate
 exit-address-family
`

func TestChange(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		want           string
	}{
		{name: "nothing"},
		{name: "timers", old: "timers 20 60", new: "timers 3 9", want: "router bgp 65001|no neighbor 192.0.2.1 timers 20 60|router bgp 65001|neighbor 192.0.2.1 timers 3 9"},
		{
			name: "another peer", old: " address-family", new: " neighbor 192.0.2.2 remote-as 1\n address-family",
			want: "router bgp 65001|neighbor 192.0.2.2 remote-as 1",
		},
		{
			name: "a peer of another AS is another peer", old: "remote-as 65500", new: "remote-as 65501",
			want: "router bgp 65001|no neighbor 192.0.2.1|router bgp 65001|neighbor 192.0.2.1 remote-as 65501|router bgp 65001|neighbor 192.0.2.1 timers 20 60|router bgp 65001|address-family ipv4 unicast|neighbor 192.0.2.1 activate",
		},
		{
			name: "another network", old: "10.1.0.0/24", new: "10.2.0.0/24",
			want: "no ip prefix-list told permit 10.1.0.0/24|router bgp 65001|address-family ipv4 unicast|no network 10.1.0.0/24|ip prefix-list told permit 10.2.0.0/24|router bgp 65001|address-family ipv4 unicast|network 10.2.0.0/24",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			is := base
			if c.old != "" {
				is = strings.ReplaceAll(base, c.old, c.new)
			}
			got := slices.DeleteFunc(Change(base, is), func(s string) bool { return s == "end" || s == "configure terminal" })
			if text := strings.Join(got, "|"); text != c.want {
				t.Errorf("got\n  %s\nwant\n  %s", strings.ReplaceAll(text, "|", "\n  "), strings.ReplaceAll(c.want, "|", "\n  "))
			}
		})
	}
}
