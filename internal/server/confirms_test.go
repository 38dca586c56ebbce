package server

import (
	"math/rand/v2"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

// Whatever the order in which queues answer, the client sees each publish settled exactly once, none before all of its
// queues have answered, and a nack if and only if one of them refused.
func TestConfirmsAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		type publish struct {
			left             int
			refused, settled bool
		}
		model := []publish{{settled: true}} // by tag; 0 is none
		var c confirms
		var open []uint64 // a tag for each answer that is still to come
		check := func(b []byte) {
			t.Helper()
			for _, s := range settlements(t, b) {
				settle := func(tag uint64) {
					p := &model[tag]
					switch {
					case p.settled:
						t.Fatalf("seed %d: %d is settled twice", seed, tag)
					case p.left > 0:
						t.Fatalf("seed %d: %d is settled while %d queues have to answer", seed, tag, p.left)
					case p.refused == s.ack:
						t.Fatalf("seed %d: %d is settled with ack %v, refused %v", seed, tag, s.ack, p.refused)
					}
					p.settled = true
				}
				if !s.multiple {
					settle(s.tag)
					continue
				}
				for tag := s.tag; tag > 0; tag-- {
					if !model[tag].settled {
						settle(tag)
					}
				}
			}
		}
		total := 1 + rnd.IntN(1+rnd.IntN(10_000))
		for len(model) <= total || len(open) > 0 {
			switch k := rnd.IntN(10); {
			case k < 4 && len(model) <= total:
				n := rnd.IntN(4)
				c.register(uint32(n))
				for range n {
					open = append(open, uint64(len(model)))
				}
				model = append(model, publish{left: n})
			case k < 9 && len(open) > 0:
				i := max(0, len(open)-1-rnd.IntN(40))
				if rnd.IntN(3) == 0 {
					i = rnd.IntN(min(len(open), 10))
				}
				tag, ok := open[i], rnd.IntN(5) > 0
				open = append(open[:i], open[i+1:]...)
				p := &model[tag]
				p.left--
				p.refused = p.refused || !ok
				c.settle(tag, ok)
			default:
				check(c.append(nil, 1))
				if c.due() {
					t.Fatalf("seed %d: something is due after all was sent", seed)
				}
			}
		}
		check(c.append(nil, 1))
		for tag, p := range model {
			if !p.settled {
				t.Fatalf("seed %d: %d of %d is never settled", seed, tag, total)
			}
		}
		c.settle(uint64(len(model)), true) // not published: ignored
		c.settle(1, true)                  // settled: ignored
		if c.due() {
			t.Fatalf("seed %d: an answer for nothing made something due", seed)
		}
	}
}

type settlement struct {
	tag           uint64
	ack, multiple bool
}

// settlements decodes frames of basic.ack and basic.nack.
func settlements(t *testing.T, b []byte) (out []settlement) {
	t.Helper()
	var in amqp.Reader
	for len(b) > 0 {
		n := copy(in.Space(), b)
		in.Filled(n)
		b = b[n:]
		for {
			f, ok, err := in.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			switch m := parsed(t, f.Payload).(type) {
			case *amqp.BasicAck:
				out = append(out, settlement{m.DeliveryTag, true, m.Multiple})
			case *amqp.BasicNack:
				out = append(out, settlement{m.DeliveryTag, false, m.Multiple})
			default:
				t.Fatalf("got %+v", m)
			}
		}
	}
	in.Close()
	return out
}

func parsed(t *testing.T, payload []byte) amqp.Method {
	t.Helper()
	m, err := amqp.ParseMethod(payload)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
