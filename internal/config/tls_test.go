package config

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
)

//go:generate go run ../../testdata/tls/generate.go -dir ../../testdata/tls

const certs = "../../testdata/tls/"

// shake connects a client to a listener of t over a pipe and returns what the server says of the handshake.
func shake(t TLS, client *tls.Config) error {
	server, err := t.Open()
	if err != nil {
		return err
	}
	a, b := net.Pipe()
	done := make(chan struct{})
	defer func() {
		a.Close()
		<-done
	}()
	go func() {
		defer close(done)
		c := tls.Client(b, client)
		c.Handshake() // what the server says is what counts
		c.Read(make([]byte, 1))
		b.Close()
	}()
	return tls.Server(a, server).Handshake()
}

func TestTLSOpen(t *testing.T) {
	own, err := tls.LoadX509KeyPair(certs+"client_cert.pem", certs+"client_key.pem")
	if err != nil {
		t.Fatal(err)
	}
	with := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{own}}
	foreign, err := tls.LoadX509KeyPair(certs+"server_cert.pem", certs+"server_key.pem") // not for clients
	if err != nil {
		t.Fatal(err)
	}
	wrong := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{foreign}}
	without := &tls.Config{InsecureSkipVerify: true}
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}

	for _, tt := range []struct {
		name   string
		change func(*TLS)
		client *tls.Config
		want   string // in the error; "" is none
	}{
		{"no certificate asked for", func(s *TLS) { s.VerifyPeer = false }, without, ""},
		{"none is given and none needed", func(s *TLS) {}, without, ""},
		{"none is given and one needed", func(s *TLS) { s.RequirePeerCert = true }, without, "didn't provide a certificate"},
		{"one is given", func(s *TLS) { s.RequirePeerCert = true }, with, ""},
		{"one is given for another purpose", func(s *TLS) {}, wrong, "incompatible key usage"},
		{"no intermediates, none allowed", func(s *TLS) { s.Depth = 0 }, with, ""},
		{"a chain deeper than allowed", func(s *TLS) { s.Depth = -1 }, with, "deeper than"},
		{"an old version", func(s *TLS) {}, old, "unsupported versions"},
		{"no key", func(s *TLS) { s.KeyFile = "" }, with, "load the server's certificate"},
		{"no authorities", func(s *TLS) { s.CAFile = "none" }, with, "load the clients' authorities"},
		{"authorities without a certificate", func(s *TLS) { s.CAFile = certs + "ca_key.pem" }, with, "holds no certificate"},
	} {
		s := Default().TLS
		s.CAFile, s.CertFile, s.KeyFile = certs+"ca_cert.pem", certs+"server_cert.pem", certs+"server_key.pem"
		s.VerifyPeer = true
		tt.change(&s)
		err := shake(s, tt.client)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}
