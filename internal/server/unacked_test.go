package server

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/queue"
)

// The ring agrees with a map of tags: with gaps, acknowledgements out of turn and of many, and settlements that a
// rollback puts back.
func TestUnackedAgainstModel(t *testing.T) {
	q := queue.New(queue.Config{Name: "q"}, queue.NoSettings(), nil, 0, queue.Storage{})
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var u unacked
		model := map[amqp.DeliveryTag]uint32{} // by tag, the time of delivery, by which it is told apart here
		var taken []txSettle
		tag := amqp.DeliveryTag(0)
		for step := range uint32(1500) {
			switch rnd.IntN(8) {
			case 0, 1, 2: // deliveries, now and then after some that need no acknowledgement
				tag += amqp.DeliveryTag(1 + max(0, rnd.IntN(12)-8))
				u.add(unackedDelivery{queue: q, tag: tag, at: step})
				model[tag] = step
			case 3, 4, 5, 6:
				at := amqp.DeliveryTag(rnd.Uint64N(uint64(tag) + 3))
				if keys := slices.Sorted(maps.Keys(model)); len(keys) > 0 && rnd.IntN(4) > 0 {
					at = keys[rnd.IntN(min(len(keys), 30))]
				}
				multiple := rnd.IntN(4) == 0
				_, there := model[at]
				want := there || at == 0 && multiple
				var got []amqp.DeliveryTag
				ok := u.take(at, multiple, func(d *unackedDelivery) {
					if model[d.tag] != d.at {
						t.Fatalf("seed %d: %d is another delivery", seed, d.tag)
					}
					got = append(got, d.tag)
					taken = append(taken, txSettle{unackedDelivery: *d})
				})
				var expect []amqp.DeliveryTag
				for _, k := range slices.Sorted(maps.Keys(model)) {
					if want && (k == at || multiple && (at == 0 || k < at)) {
						expect = append(expect, k)
						delete(model, k)
					}
				}
				if ok != want || !slices.Equal(got, expect) {
					t.Fatalf("seed %d, step %d: take(%d, %v) = %v with %v, want %v with %v", seed, step, at, multiple, ok, got, want, expect)
				}
			case 7: // some of what was taken comes back, in the order of tags
				if rnd.IntN(5) > 0 {
					taken = nil
					break
				}
				slices.SortFunc(taken, func(a, b txSettle) int { return int(a.tag) - int(b.tag) })
				u.putBack(taken)
				for _, s := range taken {
					model[s.tag] = s.at
				}
				taken = nil
			}
			if u.left != len(model) {
				t.Fatalf("seed %d, step %d: %d are left, want %d", seed, step, u.left, len(model))
			}
			if len(model) > 0 && model[slices.Min(slices.Collect(maps.Keys(model)))] != u.at(0).at {
				t.Fatalf("seed %d, step %d: the oldest delivery is not at the head", seed, step)
			}
		}
	}
}

// A delivery that waits long does not make room for all those that need no acknowledgement meanwhile.
func TestUnackedGap(t *testing.T) {
	q := queue.New(queue.Config{Name: "q"}, queue.NoSettings(), nil, 0, queue.Storage{})
	var u unacked
	u.add(unackedDelivery{queue: q, tag: 1})
	u.add(unackedDelivery{queue: q, tag: 1e9})
	if len(u.ring) > 8 {
		t.Errorf("two deliveries take %d places", len(u.ring))
	}
	for tag, want := range map[amqp.DeliveryTag]bool{2: false, 1e9 - 1: false, 1e9 + 1: false, 1e9: true, 1: true, 1<<64 - 1: false} {
		if _, ok := u.find(tag); ok != want {
			t.Errorf("find(%d) = %v", tag, ok)
		}
	}
}
