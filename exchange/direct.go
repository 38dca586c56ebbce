package exchange

// A directMatcher leads a message to the bindings whose key is one of its own. Spec: 3.1.3.1.
type directMatcher struct{ byKey hamt[*destinations] }

func (d directMatcher) with(b *Binding, to destination, n int64) matcher {
	hash := hashOf(b.Key)
	var next destinations
	if old, ok := d.byKey.get(hash, b.Key); ok {
		next = *old
	}
	if next = next.with(to, n); next.empty() {
		return directMatcher{d.byKey.del(hash, b.Key)}
	}
	return directMatcher{d.byKey.put(hash, b.Key, &next)}
}

func (d directMatcher) match(r *Router, _ *Exchange, m *Msg) bool {
	matched := false
	for i := range m.keys() {
		if to, ok := d.byKey.at(m.key(i)); ok {
			matched = r.sendAll(to) || matched
		}
	}
	return matched
}

// A defaultMatcher is that of the default exchange: a key is the name of a queue. It needs no bindings, because the Table
// has all queues. Spec: 3.1.3.1.
type defaultMatcher struct{}

func (defaultMatcher) with(*Binding, destination, int64) matcher { return defaultMatcher{} }

func (defaultMatcher) match(r *Router, _ *Exchange, m *Msg) bool {
	matched := false
	for i := range m.keys() {
		if q, ok := r.table.queues.at(m.key(i)); ok {
			r.find(q.queue)
			matched = true
		}
	}
	return matched
}

// A fanoutMatcher leads every message to all bindings. Spec: 3.1.3.2.
type fanoutMatcher struct{ all destinations }

func (f fanoutMatcher) with(_ *Binding, to destination, n int64) matcher {
	return fanoutMatcher{f.all.with(to, n)}
}

func (f fanoutMatcher) match(r *Router, _ *Exchange, _ *Msg) bool { return r.sendAll(&f.all) }
