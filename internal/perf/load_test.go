package perf

import (
	"os"
	"testing"
	"time"
)

// TestLoad runs small loads of each kind against the broker that WARREN_PERF_ADDR names (host:port).
func TestLoad(t *testing.T) {
	addr := os.Getenv("WARREN_PERF_ADDR")
	if addr == "" {
		t.Skip("WARREN_PERF_ADDR names no broker")
	}
	at := Endpoint{Addrs: []string{addr}}
	for _, tt := range []struct {
		name string
		cfg  Config
	}{
		{"automatic acks", Config{Producers: 1, Consumers: 1, BodySize: 16, Messages: 20000}},
		{"four by four", Config{Producers: 4, Consumers: 4, Queues: 4, BodySize: 64, Messages: 20001, Lag: 1000}},
		{"two producers over four queues", Config{Producers: 2, Consumers: 1, Queues: 4, BodySize: 16, Messages: 5000}},
		{"three consumers of one queue", Config{Producers: 1, Consumers: 3, BodySize: 16, Messages: 5000,
			AckEvery: 7, Prefetch: 20}},
		{"confirms and manual acks", Config{Producers: 2, Consumers: 2, Queues: 2, BodySize: 1024, Persistent: true,
			Durable: true, Window: 64, AckEvery: 10, Prefetch: 100, Messages: 5000}},
		{"fanout", Config{Producers: 1, Consumers: 3, Queues: 3, Exchange: "fanout", BodySize: 100, Messages: 5000,
			Lag: 3000}},
		{"topic", Config{Producers: 1, Consumers: 2, Queues: 3, Exchange: "topic", BodySize: 16, Messages: 5000,
			Bindings: []Binding{{0, "a.*"}, {1, "#.b"}, {2, "c.#"}, {2, "#.d"}},
			Keys:     []string{"a.b", "c.x.d", "none", "c", "a.d"}}},
		{"a paced rate by time", Config{Producers: 1, Consumers: 1, BodySize: 100, Rate: 2000,
			Duration: 300 * time.Millisecond, Warmup: 50 * time.Millisecond}},
		{"bodies over a frame", Config{Producers: 1, Consumers: 1, BodySize: 300000, Messages: 50}},
		{"no bodies", Config{Producers: 1, Consumers: 1, Messages: 1000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Endpoint = at
			res, err := Run(t.Context(), tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if !res.Exact() || res.Arrived == 0 {
				t.Errorf("%+v: %s", tt.cfg, &res)
			}
			if tt.cfg.Messages > 0 && res.Sent != tt.cfg.Messages {
				t.Errorf("sent %d of %d", res.Sent, tt.cfg.Messages)
			}
			if testing.Verbose() {
				t.Logf("\n%s", &res)
			}
		})
	}
}

// TestFillAndDrain leaves messages in a queue and takes them with another run.
func TestFillAndDrain(t *testing.T) {
	addr := os.Getenv("WARREN_PERF_ADDR")
	if addr == "" {
		t.Skip("WARREN_PERF_ADDR names no broker")
	}
	cfg := Config{Endpoint: Endpoint{Addrs: []string{addr}}, Producers: 1, BodySize: 64, Messages: 3000, Window: 100,
		Queue: "filled", Keep: true}
	if res, err := Run(t.Context(), cfg); err != nil || res.Sent != cfg.Messages {
		t.Fatalf("fill: %v, %d sent", err, res.Sent)
	}
	if err := First(t.Context(), cfg.Endpoint, cfg.Queue+"-0"); err != nil {
		t.Fatal(err)
	}
	cfg.Producers, cfg.Consumers, cfg.UseThere, cfg.AckEvery, cfg.Prefetch = 0, 1, true, 50, 200
	res, err := Run(t.Context(), cfg)
	if err != nil || !res.Exact() || res.Arrived != cfg.Messages {
		t.Fatalf("drain: %v\n%s", err, &res)
	}
}
