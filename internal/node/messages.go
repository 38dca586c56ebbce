package node

import (
	"fmt"
	"path/filepath"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/broker"
	"github.com/warrenmq/warren/internal/store"
)

// openMessages opens the message log, and says what it found damaged.
func (n *Node) openMessages() (*broker.Messages, error) {
	opt := store.Options{
		NewBuffer: func(size int) store.Buffer { return amqp.NewBuffer(size) },
		Alarm:     n.diskAlarm,
		Damaged:   n.damaged,
	}
	s, report, err := store.Open(store.OS, filepath.Join(n.cfg.DataDir, "messages"), opt)
	if err != nil {
		return nil, fmt.Errorf("open the message log: %w", err)
	}
	n.store = s
	if report.ManifestLost {
		n.log.Error("the message log's manifest is lost: messages that were settled long ago may be back")
	}
	for _, d := range report.Damaged {
		n.damaged(d)
	}
	return broker.NewMessages(s, n.cfg.CacheBytes), nil
}

// damaged is told of records that are lost.
func (n *Node) damaged(d store.Damage) {
	n.log.Error("the message log is damaged", "file", d.File, "queue", d.Queue, "messages", d.Messages, "bytes", d.Bytes, "error", d.Err)
}

// diskAlarm is told when writing begins to fail or to be slow, and when that is over.
// While it cannot write publishers are blocked: see checkDisk.
func (n *Node) diskAlarm(a store.Alarm) {
	switch a.Kind {
	case store.AlarmSpace:
		n.full.Store(a.On)
	case store.AlarmFailed:
		n.failed.Store(a.On)
	}
	if a.On {
		n.log.Error("disk alarm set", "alarm", a.Kind.String(), "error", a.Err)
	} else {
		n.log.Info("disk alarm cleared", "alarm", a.Kind.String())
	}
}
