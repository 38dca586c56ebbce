package broker

import (
	"fmt"

	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/internal/meta"
)

// Restore fills a new broker with what the definitions hold. An error says which of them does not fit; the broker is of no
// use then. Definitions are not submitted again.
func (b *Broker) Restore(st *meta.State) error {
	tables := make(map[string]*exchange.Table)
	for _, r := range st.VHosts {
		b.vhosts[r.Name] = newVHost(b, r.Name)
		tables[r.Name] = b.vhosts[r.Name].Table()
	}
	// Each step is a function of the vhost's table, so that an error can be told with its name.
	step := func(vhost string, change func(*VHost, *exchange.Table) (*exchange.Table, error), what, name string) error {
		v := b.vhosts[vhost]
		if v == nil {
			return fmt.Errorf("restore %s '%s': there is no vhost '%s'", what, name, vhost)
		}
		next, err := change(v, tables[vhost])
		if err != nil {
			return fmt.Errorf("restore %s '%s' of vhost '%s': %w", what, name, vhost, err)
		}
		tables[vhost] = next
		return nil
	}
	for _, r := range st.Exchanges {
		s := exchange.Spec{Name: r.Name, Type: r.Type, Durable: true, AutoDelete: r.AutoDelete, Internal: r.Internal, Args: r.Args}
		err := step(r.VHost, func(_ *VHost, t *exchange.Table) (*exchange.Table, error) { return t.Declare(s) }, "exchange", r.Name)
		if err != nil {
			return err
		}
	}
	for _, r := range st.Queues {
		err := step(r.VHost, func(v *VHost, t *exchange.Table) (*exchange.Table, error) {
			cfg, set, err := v.configure(QueueSpec{Name: r.Name, Durable: true, AutoDelete: r.AutoDelete, Args: r.Args})
			if err != nil {
				return nil, err
			}
			return t.AddQueue(v.newQueue(cfg, set, nil, r.Number).target), nil
		}, "queue", r.Name)
		if err != nil {
			return err
		}
	}
	for _, r := range st.Bindings {
		err := step(r.VHost, func(_ *VHost, t *exchange.Table) (*exchange.Table, error) {
			next, _, err := t.Bind(exchange.Binding{Source: r.Source, Destination: r.Destination, ToExchange: r.ToExchange, Key: r.Key, Args: r.Args})
			return next, err
		}, "binding to", r.Destination)
		if err != nil {
			return err
		}
	}
	b.opt.Messages.dropUnknown()
	for name, t := range tables {
		b.vhosts[name].table.Store(t)
	}
	for _, t := range tables { // not before: what expired meanwhile goes to the exchanges and queues that are there now
		for q := range t.Queues() {
			q.Value.(*Queue).Start()
		}
	}
	return nil
}
