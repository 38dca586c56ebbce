//go:build ignore

// Command generate writes the certificates that Warren's tests use into its own directory: an authority, a server's
// certificate for localhost, and a client's. They are committed, and last until 2100; a file that exists is kept, unless
// -force is given. Nothing but tests may trust them: their keys are public.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

var (
	notBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

func main() {
	log.SetFlags(0)
	dir := flag.String("dir", "testdata/tls", "where to write")
	force := flag.Bool("force", false, "write new certificates over the old")
	flag.Parse()
	if _, err := os.Stat(filepath.Join(*dir, "ca_cert.pem")); err == nil && !*force {
		return
	}

	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Warren test authority"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	caKey := write(*dir, "ca", ca, ca, nil)
	write(*dir, "server", &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost", Organization: []string{"Warren"}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}, ca, caKey)
	write(*dir, "client", &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "client", Organization: []string{"Warren"}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, caKey)
}

// write makes a key and a certificate signed with parentKey, or with the key itself if that is nil.
func write(dir, name string, cert, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	cert.NotBefore, cert.NotAfter = notBefore, notAfter
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	if parentKey == nil {
		parentKey = key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	check(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	save(filepath.Join(dir, name+"_cert.pem"), "CERTIFICATE", der, 0o644)
	save(filepath.Join(dir, name+"_key.pem"), "PRIVATE KEY", keyDER, 0o600)
	return key
}

func save(file, kind string, der []byte, mode os.FileMode) {
	check(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
