package auth

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/warrenmq/warren/amqp"
)

// A Peer is what is known of a client before it says who it is.
type Peer struct {
	Addr netip.Addr           // the client's; an invalid one is not loopback
	TLS  *tls.ConnectionState // nil in the clear; complete, that is after the handshake
}

// cert returns the client's certificate if an authority that the listener trusts has signed it, or nil.
func (p Peer) cert() *x509.Certificate {
	if p.TLS == nil || len(p.TLS.VerifiedChains) == 0 {
		return nil
	}
	return p.TLS.PeerCertificates[0]
}

// A LoginError is a login refused. Error is for the log; the client is told no more than Reply says.
type LoginError struct {
	Reply  *amqp.Error
	User   string // as the client gave it; "" if it did not get that far
	Reason string
}

// Error returns the reason for the log.
func (e *LoginError) Error() string { return e.Reason }

// Unwrap returns Reply, so that errors.As finds what to send.
func (e *LoginError) Unwrap() error { return e.Reply }

func refuse(mechanism, user, reason string) *LoginError {
	return &LoginError{
		Reply: amqp.Errorf(amqp.AccessRefused,
			"Login was refused using authentication mechanism %s. For details see the broker logfile.", mechanism),
		User: user, Reason: reason,
	}
}

// malformed is for a response that the mechanism cannot read. RabbitMQ tells it apart from a wrong password by the code.
func malformed(reason string) *LoginError {
	return &LoginError{Reply: amqp.Errorf(amqp.SyntaxError, "%s", reason), Reason: reason}
}

// Mechanisms returns what connection.start offers to p, separated by spaces.
func (s *Store) Mechanisms(p Peer) string {
	var out []string
	for _, m := range s.mechanisms {
		if s.offers(m, p) {
			out = append(out, m)
		}
	}
	return strings.Join(out, " ")
}

func (s *Store) offers(mechanism string, p Peer) bool {
	return slices.Contains(s.mechanisms, mechanism) && (mechanism != external || p.cert() != nil)
}

const external = "EXTERNAL"

// Login answers a connection.start-ok: response is the mechanism's, from a client that is p. The error is a *LoginError.
// Nothing waits and nothing is logged here.
func (s *Store) Login(mechanism string, response []byte, p Peer) (*Session, error) {
	if !s.offers(mechanism, p) {
		reason := fmt.Sprintf("unknown authentication mechanism '%s'", mechanism)
		return nil, &LoginError{Reply: amqp.Errorf(amqp.CommandInvalid, "%s", reason), Reason: reason}
	}
	var user *User
	var err *LoginError
	switch mechanism {
	case "PLAIN":
		user, err = s.plain(response)
	case "AMQPLAIN":
		user, err = s.amqplain(response)
	case external:
		user, err = s.external(p.cert())
	}
	if err != nil {
		return nil, err
	}
	if s.loopback[user.Name] && !p.Addr.Unmap().IsLoopback() {
		return nil, refuse(mechanism, user.Name, fmt.Sprintf("user '%s' can only connect via localhost", user.Name))
	}
	return &Session{UserName: user.Name, Tags: user.Tags, store: s, mechanism: mechanism}, nil
}

// plain reads NUL, user, NUL, password. An authorization id in front of the first NUL is not taken, nor a third NUL.
// RFC 4616.
func (s *Store) plain(response []byte) (*User, *LoginError) {
	rest, ok := bytes.CutPrefix(response, []byte{0})
	name, password, ok2 := bytes.Cut(rest, []byte{0})
	if !ok || !ok2 || bytes.IndexByte(password, 0) >= 0 {
		return nil, malformed("response of mechanism PLAIN is not NUL, user, NUL, password")
	}
	return s.byPassword("PLAIN", string(name), string(password))
}

// amqplain reads a field table without its length, with LOGIN and PASSWORD.
func (s *Store) amqplain(response []byte) (*User, *LoginError) {
	t, err := amqp.ParseTable(response)
	if err != nil {
		return nil, malformed("response of mechanism AMQPLAIN is not a table")
	}
	login, _ := t.Lookup("LOGIN")
	secret, _ := t.Lookup("PASSWORD")
	name, ok := login.(string)
	password, ok2 := secret.(string)
	if !ok || !ok2 {
		return nil, malformed("AMQPLAIN auth info is missing LOGIN or PASSWORD field")
	}
	return s.byPassword("AMQPLAIN", name, password)
}

func (s *Store) byPassword(mechanism, name, password string) (*User, *LoginError) {
	user, known := s.snap.Load().users[name]
	if !known {
		user = &nobody
	}
	switch right := user.hasPassword(password); {
	case password == "":
		return nil, refuse(mechanism, name, fmt.Sprintf("user '%s' attempted to log in with a blank password", name))
	case !known || !right:
		return nil, refuse(mechanism, name, fmt.Sprintf("user '%s' - invalid credentials", name))
	}
	return user, nil
}

// external takes the user's name from the certificate; the TLS handshake has proved that it is the client's.
func (s *Store) external(cert *x509.Certificate) (*User, *LoginError) {
	name, err := certUser(cert, s.certName)
	if err != nil {
		return nil, refuse(external, "", err.Error())
	}
	user, known := s.snap.Load().users[name]
	if !known {
		return nil, refuse(external, name, fmt.Sprintf("user '%s', named by a client certificate, does not exist", name))
	}
	return user, nil
}
