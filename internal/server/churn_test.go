package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	client "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/amqp"
)

// Consumers of every kind come and go, give messages back and lose their connections, with little room in every outbox:
// each message is acknowledged in the end, and no queue, consumer or publisher is left waiting for a wake-up.
func TestNothingIsLost(t *testing.T) {
	const publishers, each = 3, 1500
	h := start(t, func(o *Options) { o.OutboxMax = 8 << 10 })
	declare(t, h.channel(), "q", nil)

	var mu sync.Mutex
	acked := map[string]bool{}
	all := make(chan struct{})
	done := func(body string) {
		mu.Lock()
		defer mu.Unlock()
		if !acked[body] {
			acked[body] = true
			if len(acked) == publishers*each {
				close(all)
			}
		}
	}
	var workers sync.WaitGroup
	for p := range publishers {
		workers.Go(func() {
			conn := h.tryDial()
			if conn == nil {
				t.Error("a publisher cannot connect")
				return
			}
			defer conn.Close()
			ch, err := conn.Channel()
			if err != nil || ch.Confirm(false) != nil {
				t.Error("a publisher cannot begin")
				return
			}
			pad := strings.Repeat("x", 100*p)
			var last *client.DeferredConfirmation
			for i := range each {
				last, err = ch.PublishWithDeferredConfirm("", "q", false, false,
					client.Publishing{Body: []byte(fmt.Sprintf("%d %d %s", p, i, pad))})
				if err != nil {
					t.Error(err)
					return
				}
				if i%100 == 99 && !last.Wait() {
					t.Error("a publish was refused")
				}
			}
		})
	}
	for k := range 4 {
		workers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(k), 7))
			for {
				select {
				case <-all:
					return
				default:
				}
				consumeForAWhile(h, rnd, all, done)
			}
		})
	}
	workers.Wait()
	if mu.Lock(); len(acked) != publishers*each {
		t.Errorf("%d of %d messages were acknowledged", len(acked), publishers*each)
	}
	mu.Unlock()
}

// consumeForAWhile is one consumer's life: a connection, a prefetch of some kind or none, up to a few hundred deliveries
// settled in various ways, and an end of some kind.
func consumeForAWhile(h *host, rnd *rand.Rand, all chan struct{}, done func(string)) {
	var socket net.Conn
	conn, err := client.DialConfig("amqp://guest:guest@"+h.addr+"/", client.Config{Dial: func(_, addr string) (c net.Conn, err error) {
		socket, err = net.Dial("tcp", addr)
		return socket, err
	}})
	if err != nil {
		return
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return
	}
	if n := rnd.IntN(20); n > 0 {
		ch.Qos(n, 0, rnd.IntN(2) == 0)
	}
	deliveries, err := ch.Consume("q", "tag", false, false, false, false, nil)
	if err != nil {
		return
	}
	for range 1 + rnd.IntN(400) {
		var d client.Delivery
		ok := true
		select {
		case d, ok = <-deliveries:
		case <-all:
			return
		}
		if !ok {
			return
		}
		switch rnd.IntN(12) {
		case 0:
			d.Nack(true, true)
		case 1, 2:
			if rnd.IntN(10) == 0 {
				//lint:ignore SA1019 clients still do it
				ch.Recover(true)
			} else {
				d.Reject(true)
			}
		case 3: // kept, until the end
			if rnd.IntN(10) == 0 {
				return
			}
			d.Nack(false, true)
		default:
			if d.Ack(false) == nil {
				// It is acknowledged for certain when a round trip has followed: the connection may be lost now.
				if ch.Qos(rnd.IntN(20), 0, true) == nil {
					done(string(d.Body))
				}
			}
		}
	}
	switch rnd.IntN(3) {
	case 0:
		ch.Cancel("tag", false)
	case 1:
		ch.Close()
	case 2:
		socket.Close()
	}
}

func (h *host) tryDial() *client.Connection {
	conn, err := client.Dial("amqp://guest:guest@" + h.addr + "/")
	if err != nil {
		return nil
	}
	return conn
}

// Many clients do anything to the same few queues and exchanges at the same time. The server refuses what it must, in
// the ways it may, and is whole afterwards.
func TestChurn(t *testing.T) {
	h := start(t, func(o *Options) { o.OutboxMax = 8 << 10 })
	times := 1500
	if raceEnabled {
		times = 500
	}
	var clients sync.WaitGroup
	for k := range 6 {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(k), 3))
			var conn *client.Connection
			var ch *client.Channel
			for range times {
				if conn == nil || conn.IsClosed() {
					if conn = h.tryDial(); conn == nil {
						t.Error("a client cannot connect")
						return
					}
				}
				if ch == nil || ch.IsClosed() {
					ch, _ = conn.Channel()
					continue
				}
				var e *client.Error
				if err := anything(rnd, conn, ch); errors.As(err, &e) && e.Server {
					switch amqp.Code(e.Code) {
					case amqp.NotFound, amqp.PreconditionFailed, amqp.AccessRefused, amqp.ResourceLocked, amqp.NotAllowed:
					default:
						t.Errorf("refused with %v", err)
					}
				}
			}
			conn.Close()
		})
	}
	clients.Wait()
	settled(t, "all connections are gone", func() bool { return h.server.Connections() == 0 })
	must(t, probe(h))
}

func anything(rnd *rand.Rand, conn *client.Connection, ch *client.Channel) (err error) {
	queue := fmt.Sprint("q", rnd.IntN(4))
	exchange := fmt.Sprint("x", rnd.IntN(3))
	some := func() bool { return rnd.IntN(2) == 0 }
	switch rnd.IntN(22) {
	case 0, 1:
		_, err = ch.QueueDeclare(queue, false, queue == "q1", queue == "q2", false, nil)
	case 2:
		_, err = ch.QueueDelete(queue, some(), some(), false)
	case 3:
		_, err = ch.QueuePurge(queue, false)
	case 4:
		err = ch.ExchangeDeclare(exchange, "fanout", false, true, false, false, nil)
	case 5:
		err = ch.QueueBind(queue, "", exchange, false, nil)
	case 6:
		err = ch.QueueUnbind(queue, "", exchange, nil)
	case 7:
		err = ch.ExchangeDelete(exchange, some(), false)
	case 8, 9:
		var deliveries <-chan client.Delivery
		if deliveries, err = ch.Consume(queue, "", some(), false, false, false, nil); err == nil {
			go func() { // ends with the channel
				for d := range deliveries {
					if len(d.Body)%3 > 0 {
						d.Ack(len(d.Body)%2 == 0)
					}
				}
			}()
		}
	case 10:
		_, _, err = ch.Get(queue, some())
	case 11:
		err = ch.Qos(rnd.IntN(5), 0, some())
	case 12:
		//lint:ignore SA1019 clients still do it
		err = ch.Recover(true)
	case 13:
		if some() {
			err = ch.Confirm(false)
		} else {
			err = ch.Tx()
		}
	case 14:
		err = ch.TxCommit()
	case 15:
		err = ch.Close()
	case 16:
		if rnd.IntN(5) == 0 {
			err = conn.Close()
		}
	case 17, 18:
		err = ch.Publish(exchange, "", some(), false, client.Publishing{Body: make([]byte, rnd.IntN(20_000))})
	default:
		for range rnd.IntN(30) {
			err = ch.Publish("", queue, some(), false, client.Publishing{Body: make([]byte, rnd.IntN(300))})
		}
	}
	return err
}
