package crash

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	client "github.com/rabbitmq/amqp091-go"
)

// A scene is the queues of a crash test and the clients at work on them.
type scene struct {
	t      *testing.T
	p      *process
	topics []*topic

	stop    chan struct{} // ends publishers
	leave   chan struct{} // ends consumers
	writers sync.WaitGroup
	readers sync.WaitGroup
	conns   []*client.Connection
}

func newScene(t *testing.T, p *process) *scene {
	s := &scene{t: t, p: p}
	dead := func(name string, args client.Table) *topic {
		args["x-dead-letter-exchange"] = "crash.dead"
		args["x-dead-letter-routing-key"] = name + ".dead"
		return newTopic(name, "", name+".dead", args)
	}
	prio := newTopic("prio", "", "", client.Table{"x-max-priority": int32(4)})
	prio.priority = true
	s.topics = []*topic{
		newTopic("plain", "", "", nil),
		newTopic("held", "", "", nil),
		newTopic("tx", "", "", nil),
		newTopic("headers", "crash.headers", "", nil),
		newTopic("fan1", "crash.fan", "", nil),
		newTopic("fan2", "crash.fan", "", nil),
		prio,
		dead("limit", client.Table{"x-max-length": int32(100)}),
		dead("ttl", client.Table{"x-message-ttl": int32(100)}),
		dead("reject", client.Table{"x-delivery-limit": int32(3)}),
	}
	return s
}

// names of what a restart forgets.
const (
	goneQueue    = "crash.gone"
	goneExchange = "crash.gone"
)

// declare makes the definitions.
func (s *scene) declare() {
	c := s.p.dial()
	defer c.Close()
	ch := s.p.channel(c)
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	must(ch.ExchangeDeclare("crash.fan", "fanout", true, false, false, false, nil))
	must(ch.ExchangeDeclare("crash.headers", "headers", true, false, false, false, client.Table{"alternate-exchange": "crash.fan"}))
	must(ch.ExchangeDeclare("crash.dead", "direct", true, false, true, false, nil))
	must(ch.ExchangeDeclare(goneExchange, "direct", false, false, false, false, nil))
	_, err := ch.QueueDeclare(goneQueue, false, false, false, false, nil)
	must(err)
	for _, p := range s.topics {
		_, err := ch.QueueDeclare(p.name, true, false, false, false, p.args)
		must(err)
		switch p.exchange {
		case "crash.fan":
			must(ch.QueueBind(p.name, "", p.exchange, false, nil))
		case "crash.headers":
			must(ch.QueueBind(p.name, "", p.exchange, false, client.Table{"x-match": "all", "kind": "crash", "n": int32(7)}))
		}
		if p.dead != "" {
			_, err := ch.QueueDeclare(p.dead, true, false, false, false, nil)
			must(err)
			must(ch.QueueBind(p.dead, p.dead, "crash.dead", false, nil))
		}
	}
}

// checkDefinitions checks after a restart that what is durable is there as it was declared, and nothing else is. That
// bindings are there, shows by where messages go.
func (s *scene) checkDefinitions(c *client.Connection) {
	check := func(what string, there bool, f func(*client.Channel) error) {
		ch := s.p.channel(c)
		defer ch.Close()
		if err := f(ch); (err == nil) != there {
			s.t.Errorf("after the restart: %s: %v", what, err)
		}
	}
	for _, p := range s.topics {
		check("queue "+p.name, true, func(ch *client.Channel) error {
			_, err := ch.QueueDeclarePassive(p.name, true, false, false, false, nil)
			return err
		})
		check("the arguments of queue "+p.name, true, func(ch *client.Channel) error {
			_, err := ch.QueueDeclare(p.name, true, false, false, false, p.args)
			return err
		})
	}
	check("exchange crash.headers", true, func(ch *client.Channel) error {
		return ch.ExchangeDeclarePassive("crash.headers", "headers", true, false, false, false, nil)
	})
	check("the arguments of exchange crash.headers", true, func(ch *client.Channel) error {
		return ch.ExchangeDeclare("crash.headers", "headers", true, false, false, false, client.Table{"alternate-exchange": "crash.fan"})
	})
	check("transient queue", false, func(ch *client.Channel) error {
		_, err := ch.QueueDeclarePassive(goneQueue, false, false, false, false, nil)
		return err
	})
	check("transient exchange", false, func(ch *client.Channel) error {
		return ch.ExchangeDeclarePassive(goneExchange, "direct", false, false, false, false, nil)
	})
}

// check reads all queues and compares. With drain, what is there is acknowledged and gone, otherwise it goes back.
func (s *scene) check(end time.Time, clean, drain bool) {
	c := s.p.dial()
	defer c.Close()
	s.checkDefinitions(c)
	if !clean {
		end = time.Time{}
		for _, p := range s.topics {
			if p.safe.After(end) {
				end = p.safe
			}
		}
	}
	for _, p := range s.topics {
		ch := s.p.channel(c)
		found := read(s.t, ch, p.name, false, nil)
		if p.dead != "" {
			found = read(s.t, ch, p.dead, true, found)
			for late := time.Now().Add(5 * time.Second); p.missing(found) > 0 && time.Now().Before(late); {
				found = read(s.t, ch, p.dead, true, found) // letters may be on their way
			}
		}
		p.compare(s.t, found, end, clean)
		if drain && len(found) > 0 {
			if err := ch.Ack(0, true); err != nil {
				s.t.Fatal(err)
			}
			if _, err := ch.QueueDeclarePassive(p.name, true, false, false, false, nil); err != nil {
				s.t.Fatal(err)
			}
			for _, f := range found {
				p.ack(f.n)
			}
		}
		ch.Close()
		p.forget()
	}
}

// begin sets publishers and consumers to work.
func (s *scene) begin() {
	s.stop, s.leave = make(chan struct{}), make(chan struct{})
	publish := func(f func(ch *client.Channel)) {
		c := s.p.dial()
		s.conns = append(s.conns, c)
		ch := s.p.channel(c)
		s.writers.Add(1)
		go func() { // ends when stop is closed and all is confirmed, or with the connection
			defer s.writers.Done()
			f(ch)
		}()
	}
	for _, p := range s.topics {
		switch p.name {
		case "tx":
			publish(func(ch *client.Channel) { s.commit(ch, p) })
		case "fan1":
			publish(func(ch *client.Channel) { s.publish(ch, p, s.topics[5]) })
		case "fan2":
		default:
			publish(func(ch *client.Channel) { s.publish(ch, p) })
		}
		if p.name != "held" {
			c := s.p.dial()
			s.conns = append(s.conns, c)
			ch := s.p.channel(c)
			s.readers.Add(1)
			go func() { // ends when leave is closed, or with the connection
				defer s.readers.Done()
				s.consume(ch, p)
			}()
		}
	}
}

// publishing makes message n of p.
func publishing(p *topic, n uint64, transient bool) client.Publishing {
	size := rand.IntN(2000)
	if rand.IntN(100) == 0 {
		size = rand.IntN(200_000)
	}
	m := client.Publishing{DeliveryMode: client.Persistent, Body: body(n, size)}
	if transient {
		m.DeliveryMode = client.Transient
	}
	if p.priority {
		m.Priority = uint8(rand.IntN(5))
	}
	if p.exchange == "crash.headers" {
		m.Headers = client.Table{"kind": "crash", "n": int32(7), "more": "x"}
	}
	return m
}

// publish publishes with confirms until it is told to stop, and then waits for the last of them.
func (s *scene) publish(ch *client.Channel, p *topic, also ...*topic) {
	const window = 200
	if ch.Confirm(false) != nil {
		return
	}
	confirms := ch.NotifyPublish(make(chan client.Confirmation, window))
	var numbers []uint64 // of messages that are not confirmed, in order
	confirmed := func(c client.Confirmation) {
		n := numbers[0]
		numbers = numbers[1:]
		p.confirm(n, c.Ack)
		for _, o := range also {
			o.confirm(n, c.Ack)
		}
	}
	for {
		select {
		case <-s.stop:
			for len(numbers) > 0 {
				c, ok := <-confirms
				if !ok {
					return
				}
				confirmed(c)
			}
			return
		case c, ok := <-confirms:
			if !ok {
				return
			}
			confirmed(c)
			continue
		default:
		}
		if len(numbers) == window {
			c, ok := <-confirms
			if !ok {
				return
			}
			confirmed(c)
		}
		transient := p.name == "plain" && rand.IntN(10) == 0
		n := p.published(transient)
		for _, o := range also {
			o.take(n)
		}
		numbers = append(numbers, n)
		key := p.name
		if p.exchange != "" {
			key = ""
		}
		if ch.Publish(p.exchange, key, false, false, publishing(p, n, transient)) != nil {
			return
		}
	}
}

// commit publishes in transactions until it is told to stop.
func (s *scene) commit(ch *client.Channel, p *topic) {
	if ch.Tx() != nil {
		return
	}
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		var numbers []uint64
		for range 1 + rand.IntN(20) {
			n := p.published(false)
			numbers = append(numbers, n)
			if ch.Publish("", p.name, false, false, publishing(p, n, false)) != nil {
				return
			}
		}
		if ch.TxCommit() != nil {
			return
		}
		for _, n := range numbers {
			p.confirm(n, true)
		}
	}
}

// consume acknowledges most of what it gets, gives some back, rejects some, and keeps some.
func (s *scene) consume(ch *client.Channel, p *topic) {
	if ch.Qos(20+rand.IntN(200), 0, false) != nil {
		return
	}
	list, err := ch.Consume(p.name, "", false, false, false, false, nil)
	if err != nil {
		return
	}
	kept := 0
	for {
		select {
		case <-s.leave:
			return
		case d, ok := <-list:
			if !ok {
				return
			}
			n, whole := number(d.Body)
			if !whole {
				s.t.Errorf("%s: a body of %d bytes is damaged", p.name, len(d.Body))
			}
			switch k := rand.IntN(100); {
			case k < 5:
				err = d.Nack(false, true)
			case k < 8 && kept < 10:
				kept++
			case k < 40 && p.name == "reject":
				err = d.Reject(false)
			default:
				p.ack(n)
				err = d.Ack(false)
			}
			if err != nil {
				return
			}
		}
	}
}

// rest has the publishers stop and wait for their confirms, and the consumers go.
func (s *scene) rest() {
	close(s.stop)
	s.writers.Wait()
	close(s.leave)
	s.readers.Wait()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

// abandon waits for clients whose broker is gone.
func (s *scene) abandon() {
	close(s.stop)
	close(s.leave)
	for _, c := range s.conns {
		c.Close()
	}
	s.writers.Wait()
	s.readers.Wait()
	s.conns = nil
}
