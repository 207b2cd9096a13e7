package compile

import (
	"math/rand/v2"
	"testing"

	"weft.dev/reconcile/model"
)

// TestStranger: of each list the answer is that of looking at all pairs.
func TestStranger(t *testing.T) {
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		list := make([]*claim, 2+rnd.IntN(5))
		for i := range list {
			switch word := []string{"", "overlap", "pvlan", "nic"}[rnd.IntN(4)]; word {
			case "nic":
				list[i] = &claim{nic: &model.NIC{}}
			default:
				list[i] = &claim{demand: &model.Demand{Shares: word}}
			}
		}
		other := firstOther(list)
		for i, c := range list {
			want := len(list)
			for j, o := range list {
				if j != i && (c.shares() == "" || c.shares() != o.shares()) {
					want = j
					break
				}
			}
			if got := stranger(list, i, other); got != want {
				t.Fatalf("seed %d: of %d the stranger is %d, want %d", seed, i, got, want)
			}
		}
	}
}
