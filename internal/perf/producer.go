package perf

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/warrenmq/warren/amqp"
)

// A producer writes publishes on a connection of its own; its second goroutine reads what the broker says to that.
type producer struct {
	// immutable
	run      *run
	id       int
	c        *conn
	batch    *batch
	limit    int64    // messages; 0 is none
	pace     pace     // gap 0 is none
	confirms *window  // nil without confirms
	times    []uint64 // when message n was written, at n modulo its length, a power of two; 0: confirmed. Atomic.

	sent atomic.Int64 // written by the producer's goroutine

	// owned by the reading goroutine
	low, high uint64 // the lowest tag not known to be confirmed; the highest confirmed
	nacked    int64
	latency   Histogram
}

// openProducer connects producer id and encodes what it will write.
func openProducer(ctx context.Context, r *run, id int) (*producer, error) {
	cfg := &r.cfg
	c, err := dial(ctx, cfg.Endpoint, id)
	if err != nil {
		return nil, err
	}
	p := &producer{run: r, id: id, c: c, batch: newBatch(cfg, r.routes[id], c.frameMax), low: 1}
	if cfg.Messages > 0 {
		p.limit = cfg.Messages / int64(cfg.Producers)
		if int64(id) < cfg.Messages%int64(cfg.Producers) {
			p.limit++
		}
	}
	if cfg.Rate > 0 {
		p.pace.gap = 1e9 * float64(cfg.Producers) / cfg.Rate
	}
	if err := c.channel(1); err != nil {
		return nil, err
	}
	if cfg.Window == 0 {
		return p, nil
	}
	p.confirms = newWindow(int64(cfg.Window))
	size := 1
	for size < 4*(cfg.Window+p.batch.most) {
		size *= 2
	}
	p.times = make([]uint64, size)
	_, err = call[*amqp.ConfirmSelectOk](c, 1, &amqp.ConfirmSelect{})
	return p, err
}

// most returns how many messages are written at once: a full write, but no more than a quarter of what may be on its
// way, so that the broker always has something to do.
func (p *producer) most() int {
	k := min(p.batch.most, p.batch.slots())
	if p.confirms != nil {
		k = min(k, max(1, p.run.cfg.Window/4))
	}
	if lag := p.run.outstanding.limit; lag > 0 {
		each := max(1, p.batch.worth[p.batch.slots()]/p.batch.slots())
		k = min(k, max(1, int(lag)/(4*each*p.run.cfg.Producers)))
	}
	return k
}

// publish writes until the run is stopped, the limit is reached or the connection fails.
func (p *producer) publish() error {
	most, pos := p.most(), 0
	var back int64 // when the last write returned
	if p.pace.gap > 0 {
		runtime.LockOSThread() // sleepUntil blocks the thread
		defer runtime.UnlockOSThread()
		p.pace.start = now()
	}
	for sent := int64(0); !p.run.stop.Load() && (p.limit == 0 || sent < p.limit); {
		k := min(most, p.batch.slots()-pos)
		if p.limit > 0 {
			k = int(min(int64(k), p.limit-sent))
		}
		if p.pace.gap > 0 {
			due := p.pace.due(now(), sent)
			if due <= 0 {
				sleepUntil(p.pace.dueAt(sent))
				continue
			}
			k = int(min(int64(k), due))
		}
		if p.confirms != nil && !p.confirms.acquire(int64(k)) ||
			!p.run.outstanding.acquire(p.batch.deliveries(pos, k)) {
			return nil
		}
		at := now()
		id := uint64(p.id)<<48 | uint64(sent)
		if p.pace.gap == 0 {
			p.batch.stamp(pos, k, id, at)
		} else {
			p.stampPaced(pos, k, sent, at, back)
		}
		for n := range p.times[:min(k, len(p.times))] {
			atomic.StoreUint64(&p.times[int(sent+int64(n))&(len(p.times)-1)], uint64(at))
		}
		if _, err := p.c.nc.Write(p.batch.bytes(pos, k)); err != nil {
			return err
		}
		back = now()
		sent += int64(k)
		p.sent.Store(sent)
		p.run.published.Add(int64(k))
		if pos += k; pos == p.batch.slots() {
			pos = 0
		}
	}
	return nil
}

// stampPaced stamps messages that were due one by one. What was due while the last write was stuck counts from when it
// was due: a broker that does not read must not look fast. Oversleeping is the generator's own fault and does not count.
func (p *producer) stampPaced(pos, k int, sent, at, back int64) {
	for i := range k {
		n := sent + int64(i)
		stamp := at
		if due := p.pace.dueAt(n); due < back {
			stamp = due
		}
		p.batch.stamp(pos+i, 1, uint64(p.id)<<48|uint64(n), stamp)
	}
}

// listen reads what the broker sends to a producer until the connection is closed in order.
func (p *producer) listen() error {
	for {
		kind, ch, payload, err := p.c.next()
		if err != nil {
			return err
		}
		switch id := amqp.PeekMethod(payload); {
		case kind == amqp.FrameHeartbeat:
		case kind == amqp.FrameMethod && ch == 0 && id == amqp.IDConnectionCloseOk:
			return nil
		case kind == amqp.FrameMethod && ch == 1 && p.confirms != nil && len(payload) == 13 &&
			(id == amqp.IDBasicAck || id == amqp.IDBasicNack):
			n := p.confirm(binary.BigEndian.Uint64(payload[4:]), payload[12]&1 != 0)
			if id == amqp.IDBasicNack {
				p.nacked += n
			}
			p.confirms.release(n)
		default:
			return fmt.Errorf("producer %d: %w", p.id, unexpected(kind, payload))
		}
	}
}

// confirm takes a tag off the books, or all up to it, and returns how many those were. Tags count from 1.
func (p *producer) confirm(tag uint64, multiple bool) (n int64) {
	at := now()
	measure := p.run.measure.Load()
	from := tag
	if multiple {
		from = p.low
	}
	for t := from; t <= tag; t++ {
		if wrote := atomic.SwapUint64(p.slot(t), 0); wrote != 0 {
			n++
			if measure {
				p.latency.Add(at - int64(wrote))
			}
		}
	}
	p.high = max(p.high, tag)
	for p.low <= p.high && atomic.LoadUint64(p.slot(p.low)) == 0 {
		p.low++
	}
	return n
}

func (p *producer) slot(tag uint64) *uint64 { return &p.times[(tag-1)&uint64(len(p.times)-1)] }

// settled says that all it sent is confirmed.
func (p *producer) settled() bool {
	return p.confirms == nil || p.confirms.released.Load() >= p.sent.Load()
}
