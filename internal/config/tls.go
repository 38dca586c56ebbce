package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS is what the ssl_options say.
type TLS struct {
	CAFile          string // PEM, authorities of client certificates
	CertFile        string // PEM, the server's chain, its own certificate first
	KeyFile         string // PEM
	VerifyPeer      bool   // ask for a client's certificate and check it
	RequirePeerCert bool   // with VerifyPeer: refuse a client without one
	Depth           int    // intermediate certificates allowed in a client's chain
	MinVersion      uint16 // as in crypto/tls
	MaxVersion      uint16 // as in crypto/tls
}

// Open reads the files and returns what a TLS listener needs.
func (t TLS) Open() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load the server's certificate: %w", err)
	}
	c := &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   t.MinVersion,
		MaxVersion:   t.MaxVersion,
	}
	if !t.VerifyPeer {
		return c, nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("load the clients' authorities: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load the clients' authorities: %s holds no certificate", t.CAFile)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	if t.RequirePeerCert {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return nil
		}
		for _, chain := range s.VerifiedChains {
			if len(chain)-2 <= t.Depth { // the client's own and the authority's do not count
				return nil
			}
		}
		return errors.New("the client's certificate chain is deeper than ssl_options.depth")
	}
	return c, nil
}
