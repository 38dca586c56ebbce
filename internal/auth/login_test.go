package auth

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/config"
)

// clientCert returns testdata's client on a TLS connection, verified.
func clientCert(t *testing.T) Peer {
	t.Helper()
	b, err := os.ReadFile("../../testdata/tls/client_cert.pem")
	must(t, err)
	block, _ := pem.Decode(b)
	cert, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	chain := []*x509.Certificate{cert}
	return Peer{Addr: there.Addr, TLS: &tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}}
}

// amqplain returns a response of AMQPLAIN: a table without its length.
func amqplain(fields ...amqp.Field) string {
	return string(amqp.AppendTable(nil, amqp.Table(fields))[4:])
}

func TestLogin(t *testing.T) {
	const (
		refusedPlain    = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
		refusedAMQPlain = "ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN. For details see the broker logfile."
		notPlain        = "SYNTAX_ERROR - response of mechanism PLAIN is not NUL, user, NUL, password"
	)
	for _, tt := range []struct {
		rule, mechanism, response string
		peer                      Peer
		user, reply, reason       string // user if it succeeds
	}{
		{"the right password", "PLAIN", "\x00u\x00p", there, "u", "", ""},
		{"a wrong one", "PLAIN", "\x00u\x00q", there, "", refusedPlain, "user 'u' - invalid credentials"},
		{"a longer one", "PLAIN", "\x00u\x00pp", there, "", refusedPlain, "user 'u' - invalid credentials"},
		{"an unknown user", "PLAIN", "\x00x\x00p", there, "", refusedPlain, "user 'x' - invalid credentials"},
		{"no user", "PLAIN", "\x00\x00p", there, "", refusedPlain, "user '' - invalid credentials"},
		{"a blank password", "PLAIN", "\x00u\x00", there, "", refusedPlain, "user 'u' attempted to log in with a blank password"},
		{"a blank password of a user without one", "PLAIN", "\x00nopass\x00", there, "", refusedPlain, "user 'nopass' attempted to log in with a blank password"},
		{"any password of a user without one", "PLAIN", "\x00nopass\x00p", there, "", refusedPlain, "user 'nopass' - invalid credentials"},
		{"an authorization id", "PLAIN", "u\x00u\x00p", there, "", notPlain, ""},
		{"no NUL", "PLAIN", "up", there, "", notPlain, ""},
		{"one NUL", "PLAIN", "\x00up", there, "", notPlain, ""},
		{"three NULs", "PLAIN", "\x00u\x00p\x00", there, "", notPlain, ""},
		{"nothing", "PLAIN", "", there, "", notPlain, ""},

		{"guest from here", "PLAIN", "\x00guest\x00guest", here, "guest", "", ""},
		{"guest from here by IPv6", "PLAIN", "\x00guest\x00guest", Peer{Addr: netip.MustParseAddr("::1")}, "guest", "", ""},
		{"guest from here by mapped IPv4", "PLAIN", "\x00guest\x00guest", Peer{Addr: netip.MustParseAddr("::ffff:127.9.9.9")}, "guest", "", ""},
		{"guest from elsewhere", "PLAIN", "\x00guest\x00guest", there, "", refusedPlain, "user 'guest' can only connect via localhost"},
		{"guest from nowhere", "PLAIN", "\x00guest\x00guest", Peer{}, "", refusedPlain, "user 'guest' can only connect via localhost"},

		{"a table", "AMQPLAIN", amqplain(amqp.Field{Name: "LOGIN", Value: "u"}, amqp.Field{Name: "PASSWORD", Value: "p"}), there, "u", "", ""},
		{"a table with more, in another order", "AMQPLAIN", amqplain(amqp.Field{Name: "X", Value: true}, amqp.Field{Name: "PASSWORD", Value: "p"}, amqp.Field{Name: "LOGIN", Value: "u"}), there, "u", "", ""},
		{"a table with a wrong password", "AMQPLAIN", amqplain(amqp.Field{Name: "LOGIN", Value: "u"}, amqp.Field{Name: "PASSWORD", Value: "q"}), there, "", refusedAMQPlain, "user 'u' - invalid credentials"},
		{"a table without password", "AMQPLAIN", amqplain(amqp.Field{Name: "LOGIN", Value: "u"}), there, "", "SYNTAX_ERROR - AMQPLAIN auth info is missing LOGIN or PASSWORD field", ""},
		{"a table with a number", "AMQPLAIN", amqplain(amqp.Field{Name: "LOGIN", Value: "u"}, amqp.Field{Name: "PASSWORD", Value: int32(1)}), there, "", "SYNTAX_ERROR - AMQPLAIN auth info is missing LOGIN or PASSWORD field", ""},
		{"no table", "AMQPLAIN", "\x05LOGIN", there, "", "SYNTAX_ERROR - response of mechanism AMQPLAIN is not a table", ""},

		{"a certificate", "EXTERNAL", "", clientCert(t), "CN=client,O=Warren", "", ""},
		{"EXTERNAL in the clear", "EXTERNAL", "u", there, "", "COMMAND_INVALID - unknown authentication mechanism 'EXTERNAL'", ""},
		{"EXTERNAL without a certificate", "EXTERNAL", "u", Peer{TLS: &tls.ConnectionState{}}, "", "COMMAND_INVALID - unknown authentication mechanism 'EXTERNAL'", ""},
		{"an unknown mechanism", "ANONYMOUS", "", here, "", "COMMAND_INVALID - unknown authentication mechanism 'ANONYMOUS'", ""},
	} {
		c := config.Default()
		c.Mechanisms = append(c.Mechanisms, "EXTERNAL")
		s, err := NewWithDefaultUser(c)
		must(t, err)
		for _, u := range []User{{Name: "u", PasswordHash: HashPassword("p")}, {Name: "nopass"}, {Name: "CN=client,O=Warren"}} {
			must(t, s.PutUser(u))
		}
		session, err := s.Login(tt.mechanism, []byte(tt.response), tt.peer)
		if tt.reply == "" {
			if err != nil || session.UserName != tt.user {
				t.Errorf("%s: %v", tt.rule, err)
			}
			continue
		}
		var refused *LoginError
		var reply *amqp.Error
		if !errors.As(err, &refused) || !errors.As(err, &reply) || session != nil {
			t.Errorf("%s: got %v, %v", tt.rule, session, err)
		} else if reply.ReplyText() != tt.reply || tt.reason != "" && err.Error() != tt.reason {
			t.Errorf("%s: the client hears %q, the log %q; want %q, %q", tt.rule, reply.ReplyText(), err, tt.reply, tt.reason)
		}
	}
}

func TestExternal(t *testing.T) {
	for _, tt := range []struct{ from, user string }{{"distinguished_name", "CN=client,O=Warren"}, {"common_name", "client"}} {
		c := config.Default()
		c.Mechanisms, c.CertLoginFrom = []string{"EXTERNAL"}, tt.from
		s := New(c)
		if _, err := s.Login("EXTERNAL", nil, clientCert(t)); err == nil {
			t.Error("an unknown user is let in")
		}
		must(t, s.PutUser(User{Name: tt.user}))
		if session, err := s.Login("EXTERNAL", nil, clientCert(t)); err != nil || session.UserName != tt.user {
			t.Errorf("%s: got %v, %v, want %s", tt.from, session, err, tt.user)
		}
	}
	if _, err := certUser(&x509.Certificate{RawSubject: []byte{0x30, 0}}, "common_name"); err == nil {
		t.Error("a subject without common name has one")
	}
	if _, err := certUser(&x509.Certificate{RawSubject: []byte{0x30}}, "common_name"); err == nil {
		t.Error("a damaged subject is taken")
	}
}

func TestMechanisms(t *testing.T) {
	c := config.Default()
	if got := New(c).Mechanisms(clientCert(t)); got != "PLAIN AMQPLAIN" {
		t.Errorf("by default: %q", got)
	}
	c.Mechanisms = []string{"EXTERNAL", "PLAIN"}
	if got := New(c).Mechanisms(clientCert(t)); got != "EXTERNAL PLAIN" {
		t.Errorf("with a certificate: %q", got)
	}
	if got := New(c).Mechanisms(here); got != "PLAIN" {
		t.Errorf("in the clear: %q", got)
	}
}

// What RabbitMQ 3.10.8 makes of the same subjects.
func TestDistinguishedName(t *testing.T) {
	type a = struct{ oid, value string }
	for _, tt := range []struct {
		subject [][]a
		want    string
	}{
		{[][]a{{{"2.5.4.6", "DE"}}, {{"2.5.4.10", "Warren, Inc."}}, {{"1.2.840.113549.1.9.1", "a@b.c"}}, {{"0.9.2342.19200300.100.1.1", "7"}},
			{{"2.5.4.4", "Sur"}}, {{"2.5.4.42", "Giv"}}, {{"2.5.4.12", "T"}}, {{"0.9.2342.19200300.100.1.25", "org"}}, {{"2.5.4.5", "12"}},
			{{"2.5.4.9", "s"}}, {{"2.5.4.46", "q"}}, {{"2.5.4.17", "9"}}, {{"2.5.4.8", "Ba"}}, {{"2.5.4.7", "Mu"}}},
			`L=Mu,ST=Ba,2.5.4.17=9,2.5.4.46=q,2.5.4.9=s,SERIALNUMBER=12,DC=org,TITLE=T,GIVENNAME=Giv,SN=Sur,UID=7,EMAILADDRESS=a@b.c,O=Warren\, Inc.,C=DE`},
		{[][]a{{{"2.5.4.10", "#hash"}}, {{"2.5.4.3", "a"}, {"2.5.4.11", "b=c"}}, {{"2.5.4.3", "Käse"}}}, `CN=K\C3\A4se,CN=a+OU=b=c,O=\#hash`},
		{[][]a{{{"2.5.4.10", "a+b"}}, {{"2.5.4.3", ` bunny "a";<b>#\ `}}, {{"2.5.4.11", " "}}, {{"2.5.4.7", "#"}}, {{"2.5.4.3", "x/y=~ z"}}},
			`CN=x/y=\7E z,L=\#,OU=\ ,CN=\ bunny \"a\"\;\<b\>#\\\ ,O=a\+b`},
		{nil, ""},
	} {
		var subject pkix.RDNSequence
		for _, set := range tt.subject {
			var rdn pkix.RelativeDistinguishedNameSET
			for _, x := range set {
				rdn = append(rdn, pkix.AttributeTypeAndValue{Type: oid(x.oid), Value: x.value})
			}
			subject = append(subject, rdn)
		}
		if got := distinguishedName(subject); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// oid reads dotted numbers.
func oid(s string) (out asn1.ObjectIdentifier) {
	n := 0
	for _, c := range s + "." {
		if c == '.' {
			out, n = append(out, n), 0
		} else {
			n = n*10 + int(c-'0')
		}
	}
	return out
}

// What RabbitMQ 3.10.8 makes of the password test12 with the salt "salt".
func TestPasswordHash(t *testing.T) {
	for _, u := range []User{
		{Hashing: SHA256, PasswordHash: "c2FsdCVlAK/p2SVogi0jhP/YQYshPAtvSpy2tw1+Ec/Dgd96"},
		{Hashing: SHA512, PasswordHash: "c2FsdPag9wkKIC5LCZbCc/EFFTlYm3n4cZgXJZNxqVzUrXGfZvnfclvoe/oEeRUwp3tDktmGTHu7xqqYqziRkVmy3xo="},
		{Hashing: MD5, PasswordHash: "c2FsdNx76ggKI4dTMW+A9Ya+WjY="},
	} {
		must(t, u.parseHash())
		if !u.hasPassword("test12") || u.hasPassword("test1") || u.hasPassword("") {
			t.Errorf("%s: the wrong passwords are right", u.Hashing)
		}
		if got, err := ParseHashing(u.Hashing.String()); got != u.Hashing || err != nil {
			t.Errorf("ParseHashing(%s) = %v, %v", u.Hashing, got, err)
		}
	}
	if h, err := ParseHashing(""); h != SHA256 || err != nil {
		t.Error("SHA256 is not the default")
	}
	if _, err := ParseHashing("rot13"); err == nil {
		t.Error("rot13 is taken")
	}
	if first, second := HashPassword("p"), HashPassword("p"); first == second {
		t.Error("equal passwords have equal hashes")
	}
}

func TestRenew(t *testing.T) {
	s := newStore(t)
	u := login(t, s)
	must(t, u.Renew([]byte("anything")))
	s.DeleteUser("u")
	var refused *LoginError
	if err := u.Renew([]byte("p")); !errors.As(err, &refused) || refused.Reply.Code != amqp.AccessRefused {
		t.Errorf("a deleted user's secret is taken: %v", err)
	}
}

// Whatever a client answers, it is refused or it is somebody we know.
func FuzzLogin(f *testing.F) {
	f.Add("PLAIN", []byte("\x00u\x00p"))
	f.Add("AMQPLAIN", []byte(amqplain(amqp.Field{Name: "LOGIN", Value: "u"}, amqp.Field{Name: "PASSWORD", Value: "p"})))
	s := newStore(f)
	f.Fuzz(func(t *testing.T, mechanism string, response []byte) {
		session, err := s.Login(mechanism, response, there)
		if (session == nil) == (err == nil) || session != nil && session.UserName != "u" {
			t.Errorf("%s %q: %v, %v", mechanism, response, session, err)
		}
	})
}

func BenchmarkLogin(b *testing.B) {
	s := newStore(b)
	for b.Loop() {
		s.Login("PLAIN", []byte("\x00u\x00p"), there)
	}
}
