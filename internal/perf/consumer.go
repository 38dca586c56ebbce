package perf

import (
	"context"
	"fmt"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// A consumer reads deliveries on a connection of its own, one channel for each queue.
type consumer struct {
	run     *run
	c       *conn
	started chan struct{} // closed when the broker has confirmed all subscriptions

	// owned by the consumer's goroutine until the run's end
	scan scanner
}

// openConsumer connects consumer id and opens its channels. It does not consume yet.
func openConsumer(ctx context.Context, r *run, id int) (*consumer, error) {
	cfg := &r.cfg
	c, err := dial(ctx, cfg.Endpoint, id)
	if err != nil {
		return nil, err
	}
	k := &consumer{run: r, c: c, started: make(chan struct{})}
	k.scan.ackEvery, k.scan.stamps = cfg.AckEvery, stampSize(cfg.BodySize)
	for i, q := range share(id, cfg.Consumers, cfg.Queues) {
		ch := amqp.ChannelID(i + 1)
		if err := c.channel(ch); err != nil {
			return nil, err
		}
		if cfg.Prefetch > 0 {
			qos := &amqp.BasicQos{PrefetchCount: uint16(cfg.Prefetch)}
			if _, err := call[*amqp.BasicQosOk](c, ch, qos); err != nil {
				return nil, err
			}
		}
		k.scan.subs = append(k.scan.subs, subscription{queue: q})
	}
	return k, nil
}

// consume subscribes, and takes deliveries until cancel has been confirmed or the connection fails.
func (k *consumer) consume() error {
	var b []byte
	for i, sub := range k.scan.subs {
		b = amqp.AppendMethod(b, amqp.ChannelID(i+1), &amqp.BasicConsume{
			Queue: k.run.cfg.queueName(sub.queue), ConsumerTag: tagOf(sub.queue), NoAck: k.scan.ackEvery == 0,
		})
	}
	if _, err := k.c.nc.Write(b); err != nil {
		return err
	}
	buf := make([]byte, readBuffer)
	have, reported, started := 0, int64(0), false
	for !k.scan.ended() {
		n, err := k.c.nc.Read(buf[have:])
		if n == 0 && err != nil {
			return err
		}
		have += n
		k.scan.now, k.scan.measure = now(), k.run.measure.Load()
		used, err := k.scan.scan(buf[:have])
		if err != nil {
			return err
		}
		if used == 0 && have == len(buf) {
			return fmt.Errorf("perf: a frame of more than %d bytes", len(buf))
		}
		have = copy(buf, buf[used:have])
		if err := k.sendAcks(); err != nil {
			return err
		}
		if d := k.scan.delivered - reported; d > 0 {
			reported = k.scan.delivered
			k.run.delivered.Add(d)
			k.run.outstanding.release(d)
		}
		if !started && k.scan.started() {
			started = true
			close(k.started)
		}
	}
	k.scan.ackRest()
	if err := k.sendAcks(); err != nil {
		return err
	}
	return k.goodbye()
}

// goodbye closes the channels and then the connection, so that the broker has taken the last acks when it returns.
func (k *consumer) goodbye() error {
	for i := range k.scan.subs {
		ch := amqp.ChannelID(i + 1)
		if _, err := call[*amqp.ChannelCloseOk](k.c, ch, &amqp.ChannelClose{ReplyCode: 200}); err != nil {
			return err
		}
	}
	return k.c.close()
}

func (k *consumer) sendAcks() error {
	if len(k.scan.acks) == 0 {
		return nil
	}
	_, err := k.c.nc.Write(k.scan.acks)
	k.scan.acks = k.scan.acks[:0]
	return err
}

// cancel asks the broker to end the subscriptions; consume returns after its answers. Another goroutine calls it.
func (k *consumer) cancel() error {
	var b []byte
	for i, sub := range k.scan.subs {
		b = amqp.AppendMethod(b, amqp.ChannelID(i+1), &amqp.BasicCancel{ConsumerTag: tagOf(sub.queue)})
	}
	k.c.nc.SetReadDeadline(time.Now().Add(callTimeout))
	_, err := k.c.nc.Write(b)
	return err
}

func tagOf(queue int) string { return fmt.Sprintf("perf-%d", queue) }
