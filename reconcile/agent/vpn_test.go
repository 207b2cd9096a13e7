package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/reconcile/status"
)

// told is a collector of what is told of one VPN.
type told status.VPN

func (*told) Describe(chan<- *prometheus.Desc) {}

func (v *told) Collect(ch chan<- prometheus.Metric) { tellVPN(ch, (*status.VPN)(v), "acme", "staff") }

// TestVPNMetrics: a user who is there twice is no end of all metrics.
func TestVPNMetrics(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	text := gather(t, &told{State: status.VPNConnected, Since: at, Ends: []status.VPNEnd{
		{Name: "ann", Up: true, Handshake: at, In: 5, Out: 6}, {Name: "bob"}, {Name: "bob", Up: true},
	}})
	for _, want := range []string{
		`weft_vpn_state{account="acme",state="Connected",vpn="staff"} 1`, `weft_vpn_state{account="acme",state="Error",vpn="staff"} 0`,
		`weft_vpn_state_since_seconds{account="acme",vpn="staff"} 1.7e+09`,
		`weft_vpn_user_up{account="acme",user="ann",vpn="staff"} 1`, `weft_vpn_user_up{account="acme",user="bob",vpn="staff"} 0`,
		`weft_vpn_user_handshake_seconds{account="acme",user="ann",vpn="staff"} 1.7e+09`,
		`weft_vpn_user_bytes_total{account="acme",direction="in",user="ann",vpn="staff"} 5`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
