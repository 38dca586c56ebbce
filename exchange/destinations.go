package exchange

import "slices"

// A destination is where a binding leads, with the number of bindings that lead there alike: those that differ in what
// does not matter to the exchange's type, such as the arguments in a direct exchange.
type destination struct {
	queue    *Queue // nil if the destination is an exchange
	exchange string
	bindings int64
}

// key names the destination among queues and exchanges.
func (d destination) key() string {
	if d.queue != nil {
		return "q" + d.queue.Name
	}
	return "x" + d.exchange
}

func (d destination) same(e destination) bool {
	return (d.queue == nil) == (e.queue == nil) && d.exchange == e.exchange && (d.queue == nil || d.queue.Name == e.queue.Name)
}

// destinations is an immutable set of them. The usual handful is a slice, which is fastest to walk; a crowd is a hamt,
// so that the next change stays cheap.
type destinations struct {
	few  []destination
	many hamt[destination]
}

const (
	fewMax  = 16 // a slice that would grow longer becomes a hamt
	manyMin = 8  // a hamt that shrinks to this becomes a slice
)

func (d destinations) empty() bool { return len(d.few) == 0 && d.many.size == 0 }

// with adds n bindings to the destination to, and takes them away if n is negative.
func (d destinations) with(to destination, n int64) destinations {
	if d.many.size > 0 {
		return d.withMany(to, n)
	}
	i := slices.IndexFunc(d.few, to.same)
	switch {
	case i < 0 && n > 0:
		to.bindings = n
		if len(d.few) < fewMax {
			d.few = inserted(d.few, len(d.few), to)
			break
		}
		for _, old := range d.few {
			d.many = d.many.set(old.key(), old)
		}
		d.many = d.many.set(to.key(), to)
		d.few = nil
	case i < 0:
	case d.few[i].bindings+n > 0:
		to.bindings = d.few[i].bindings + n
		d.few = replaced(d.few, i, to)
	default:
		d.few = removed(d.few, i)
	}
	return d
}

func (d destinations) withMany(to destination, n int64) destinations {
	key := to.key()
	old, _ := d.many.at(key)
	if to.bindings = old.bindings + n; to.bindings > 0 {
		d.many = d.many.set(key, to)
		return d
	}
	d.many = d.many.without(key)
	if d.many.size <= manyMin {
		d.many.each(func(e destination) bool {
			d.few = append(d.few, e)
			return true
		})
		d.many = hamt[destination]{}
	}
	return d
}
