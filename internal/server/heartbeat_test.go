package server

import (
	"testing"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// The server sends heartbeats to a client that hears nothing else, and cuts one that says nothing for two intervals. The
// intervals are seconds, the least that the protocol has, so that this test takes some.
func TestHeartbeats(t *testing.T) {
	h := start(t, nil)
	silent, err := h.connect(amqp.ConnectionTuneOk{ChannelMax: 10, FrameMax: 4096, Heartbeat: 1})
	must(t, err)
	defer silent.c.Close()
	live, err := h.connect(amqp.ConnectionTuneOk{ChannelMax: 10, FrameMax: 4096, Heartbeat: 1})
	must(t, err)
	defer live.c.Close()
	silent.c.SetReadDeadline(time.Now().Add(patience))
	beats := 0
	for {
		f, err := silent.tryFrame()
		if err != nil {
			break // cut
		}
		if f.Type != amqp.FrameHeartbeat {
			t.Fatalf("got a frame of type %d", f.Type)
		}
		beats++
		live.out = amqp.AppendHeartbeat(live.out)
		must(t, live.tryFlush())
	}
	if beats < 2 {
		t.Errorf("%d heartbeats before the end", beats)
	}
	live.t = t
	live.open(1) // it is still there
}

// A client that the server does not listen to, because it has not read what it asked for, is not taken for silent: when it
// has read, it goes on.
func TestHeartbeatsWhileNotRead(t *testing.T) {
	h := start(t, func(o *Options) { o.OutboxMax = 4096 })
	r, err := h.connect(amqp.ConnectionTuneOk{ChannelMax: 10, FrameMax: 131072, Heartbeat: 1})
	must(t, err)
	defer r.c.Close()
	r.t = t
	r.open(1)
	r.call(1, &amqp.QueueDeclare{Queue: "q"}, &amqp.QueueDeclareOk{})
	big := make([]byte, 16<<20) // more than the sockets hold
	r.publish(1, "", "q", false, "")
	r.send(1, &amqp.BasicPublish{RoutingKey: "q"})
	r.out = amqp.AppendFrame(r.out, amqp.FrameHeader, 1, amqp.AppendHeader(nil, &amqp.Properties{}, uint64(len(big))))
	for b := big; len(b) > 0; {
		n := min(len(b), 131072-amqp.FrameOverhead)
		r.out = amqp.AppendFrame(r.out, amqp.FrameBody, 1, b[:n])
		b = b[n:]
	}
	r.send(1, &amqp.BasicGet{Queue: "q", NoAck: true})
	r.send(1, &amqp.BasicGet{Queue: "q", NoAck: true})
	r.flush()
	for range 8 { // four seconds: more than two intervals and a sweep
		time.Sleep(500 * time.Millisecond)
		r.out = amqp.AppendHeartbeat(r.out)
		r.flush()
	}
	r.until(1, &amqp.BasicGetOk{})
	r.until(1, &amqp.BasicGetOk{})
	r.call(1, &amqp.QueueDelete{Queue: "q"}, &amqp.QueueDeleteOk{})
}
