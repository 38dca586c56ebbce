package perf

import (
	"context"
	"fmt"

	"github.com/warrenmq/warren/amqp"
)

// First consumes from a queue until one message has come, which it does not acknowledge, so that it goes back when First
// closes its connection.
func First(ctx context.Context, e Endpoint, queue string) error {
	c, err := dial(ctx, e, 0)
	if err != nil {
		return err
	}
	defer c.drop()
	if err := c.channel(1); err != nil {
		return err
	}
	if _, err := call[*amqp.BasicQosOk](c, 1, &amqp.BasicQos{PrefetchCount: 1}); err != nil {
		return err
	}
	if _, err := call[*amqp.BasicConsumeOk](c, 1, &amqp.BasicConsume{Queue: queue}); err != nil {
		return err
	}
	if _, err := wait[*amqp.BasicDeliver](c, 1); err != nil {
		return fmt.Errorf("first delivery from %s: %w", queue, err)
	}
	return nil
}
