package exchange

// AddQueue adds a queue, which the default exchange finds by its name at once. A queue of the same name is replaced: its
// bindings lead to q from then on.
func (t *Table) AddQueue(q *Queue) *Table {
	e := edit{Table: *t}
	old, ok := e.queues.at(q.Name)
	if !ok {
		e.queues = e.queues.set(q.Name, &target{queue: q})
		return &e.Table
	}
	e.queues = e.queues.set(q.Name, &target{q, old.to})
	old.to.each(func(b *Binding) bool {
		e.changeExchange(b.Source, func(x *Exchange) {
			x.matcher = x.matcher.with(b, destination{queue: old.queue}, -1).with(b, destination{queue: q}, 1)
		})
		return true
	})
	return &e.Table
}

// RemoveQueue removes a queue and the bindings to it, and auto-delete exchanges that lose their last binding by it, and
// so on. removed are all bindings that went, without the implicit one of the default exchange, and gone the exchanges.
// A missing queue changes nothing.
func (t *Table) RemoveQueue(name string) (_ *Table, removed []Binding, gone []string) {
	q, ok := t.queues.at(name)
	if !ok {
		return t, nil, nil
	}
	e := edit{Table: *t}
	q.to.each(func(b *Binding) bool {
		e.unbind(b)
		return true
	})
	e.queues = e.queues.without(name)
	e.collapse()
	return &e.Table, e.removed, e.gone
}

// DeleteExchange removes an exchange and the bindings from and to it, and auto-delete exchanges that lose their last
// binding by it, and so on. removed are all bindings that went, and gone the other exchanges. A missing exchange, or the
// default exchange, changes nothing; whether the exchange may go at all is the caller's to check (see Used).
func (t *Table) DeleteExchange(name string) (_ *Table, removed []Binding, gone []string) {
	x, ok := t.Exchange(name)
	if !ok || name == "" {
		return t, nil, nil
	}
	e := edit{Table: *t}
	e.delete(x)
	e.collapse()
	return &e.Table, e.removed, e.gone
}

// unbind removes b, which must be in the table, from both of its ends.
func (e *edit) unbind(b *Binding) {
	id := b.identity()
	hash := hashOf(id)
	to, err := e.destination(b)
	if err != nil {
		panic("exchange: a binding outlived its destination: " + err.Error())
	}
	e.changeExchange(b.Source, func(x *Exchange) {
		x.from = x.from.del(hash, id)
		x.matcher = x.matcher.with(b, to, -1)
	})
	e.changeTarget(b, func(to hamt[*Binding]) hamt[*Binding] { return to.del(hash, id) })
	e.removed = append(e.removed, *b)
	e.sources = append(e.sources, b.Source)
}

// delete removes x and all its bindings. Those from x need not leave its matcher one by one.
func (e *edit) delete(x *Exchange) {
	x.to.each(func(b *Binding) bool {
		if b.Source != x.Name {
			e.unbind(b)
		}
		return true
	})
	x.from.each(func(b *Binding) bool {
		if id := b.identity(); b.Destination != x.Name || !b.ToExchange {
			e.changeTarget(b, func(to hamt[*Binding]) hamt[*Binding] { return to.without(id) })
		}
		e.removed = append(e.removed, *b)
		return true
	})
	e.exchanges = e.exchanges.without(x.Name)
	e.ids = e.ids.put(x.id)
}

// collapse deletes the auto-delete exchanges that have lost their last binding, until there are no more. An exchange that
// never had one is not among the sources and stays.
func (e *edit) collapse() {
	for i := 0; i < len(e.sources); i++ {
		x, ok := e.Exchange(e.sources[i])
		if !ok || !x.AutoDelete || x.Used() {
			continue
		}
		e.delete(x)
		e.gone = append(e.gone, x.Name)
	}
}
