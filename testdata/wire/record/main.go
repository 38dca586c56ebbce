// Command record stands between an AMQP client and a broker and writes down what both say, frame by frame, in the format
// that README.md of the folder above describes. It is run by hand when a client's session is to be recorded anew:
//
//	go run ./testdata/wire/record -listen 127.0.0.1:5673 -broker 127.0.0.1:5672 -out session.wire -- client arguments...
//
// The client is started with AMQP_URL in its environment; the recording ends when the client does.
package main

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"sync"

	"github.com/warrenmq/warren/amqp"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:5673", "address to listen on")
	broker := flag.String("broker", "127.0.0.1:5672", "address of the broker")
	out := flag.String("out", "", "file to write")
	flag.Parse()
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	var t transcript
	ended := make(chan struct{})
	go func() { // ends with the session it relays
		defer close(ended)
		relay(ln, *broker, &t)
	}()
	cmd := exec.Command(flag.Arg(0), flag.Args()[1:]...)
	cmd.Env = append(os.Environ(), "AMQP_URL=amqp://guest:guest@"+*listen+"/")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		log.Fatal(err)
	}
	<-ended
	if err := os.WriteFile(*out, t.text.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

// relay serves one connection.
func relay(ln net.Listener, broker string, t *transcript) {
	client, err := ln.Accept()
	if err != nil {
		log.Fatal(err)
	}
	server, err := net.Dial("tcp", broker)
	if err != nil {
		log.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() { copyFrames(server, client, &side{name: "client", head: len(amqp.ProtocolHeader)}, t) })
	both.Go(func() { copyFrames(client, server, &side{name: "server"}, t) })
	both.Wait()
}

// copyFrames forwards from one end to the other until that closes.
func copyFrames(to, from net.Conn, s *side, t *transcript) {
	defer to.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		t.add(s, b[:n])
		to.Write(b[:n])
		if err == io.EOF || err != nil {
			return
		}
	}
}

// A side is what one end has said and the transcript does not hold yet.
type side struct {
	name    string
	head    int // bytes before the first frame
	pending []byte
}

// A transcript is the text of a recording.
type transcript struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (t *transcript) add(s *side, b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.pending = append(s.pending, b...)
	if s.head > 0 && len(s.pending) >= s.head {
		t.write(s.name+" protocol-header", s.pending[:s.head])
		s.pending, s.head = s.pending[s.head:], 0
	}
	for s.head == 0 && len(s.pending) >= 7 {
		p := s.pending
		size := int(p[3])<<24 | int(p[4])<<16 | int(p[5])<<8 | int(p[6])
		if len(p) < size+8 {
			return
		}
		t.write(fmt.Sprintf("%s channel=%d %s", s.name, int(p[1])<<8|int(p[2]), kind(p[0], p[7:7+size])), p[:size+8])
		s.pending = p[size+8:]
	}
}

// kind names a frame: its method, or header, body, heartbeat.
func kind(typ byte, payload []byte) string {
	switch typ {
	case amqp.FrameMethod:
		return amqp.PeekMethod(payload).String()
	case amqp.FrameHeader:
		return "header"
	case amqp.FrameBody:
		return "body"
	}
	return "heartbeat"
}

func (t *transcript) write(title string, b []byte) {
	fmt.Fprintln(&t.text, title)
	for ; len(b) > 32; b = b[32:] {
		fmt.Fprintf(&t.text, "\t%s\n", hex.EncodeToString(b[:32]))
	}
	fmt.Fprintf(&t.text, "\t%s\n", hex.EncodeToString(b))
}
