package node

import (
	"fmt"

	"github.com/warrenmq/warren/internal/auth"
	"github.com/warrenmq/warren/internal/broker"
	"github.com/warrenmq/warren/internal/meta"
)

// restore fills the broker and users with the definitions. A store that was just made gets the default user and vhost, in
// one step: one that lacks them later does so by somebody's will.
func (n *Node) restore(users *auth.Store) error {
	st := n.meta.Load()
	entries := broker.UserEntries(st)
	fresh := n.meta.Fresh()
	if fresh {
		entries = auth.Defaults(n.cfg)
		st.VHosts = []meta.VHost{{Name: n.cfg.DefaultVhost}}
	}
	if err := users.Restore(broker.UserJournal{Definitions: n.meta}, entries...); err != nil {
		if fresh {
			return fmt.Errorf("make the default user: %w", err)
		}
		return fmt.Errorf("restore users and permissions: %w", err)
	}
	if err := n.broker.Restore(st); err != nil || !fresh {
		return err
	}
	if err := n.meta.Commit(append(broker.UserChanges(entries, nil), meta.Put(st.VHosts[0]))...); err != nil {
		return fmt.Errorf("make the default user and vhost: %w", err)
	}
	return nil
}

// stuck is told when no definition can be changed any more. Messages still flow; changes are refused with the same text.
func (n *Node) stuck(err error) {
	n.log.Error("definitions are read-only until a restart", "error", err)
}
