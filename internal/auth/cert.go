package auth

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
)

// certUser returns the name of the user that a certificate speaks for. from is Config.CertLoginFrom.
func certUser(cert *x509.Certificate, from string) (string, error) {
	var subject pkix.RDNSequence
	if rest, err := asn1.Unmarshal(cert.RawSubject, &subject); err != nil || len(rest) > 0 {
		return "", fmt.Errorf("the client certificate's subject cannot be read")
	}
	if from == "distinguished_name" {
		return distinguishedName(subject), nil
	}
	var names []string
	for _, set := range subject {
		for _, a := range set {
			if a.Type.String() == "2.5.4.3" {
				names = append(names, fmt.Sprint(a.Value))
			}
		}
	}
	if len(names) == 0 {
		return "", fmt.Errorf("the client certificate's subject has no common name")
	}
	return strings.Join(names, ","), nil
}

// attributeNames are the attribute types that RabbitMQ names; others are written as numbers.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "SERIALNUMBER", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "TITLE", "2.5.4.42": "GIVENNAME", "2.5.4.43": "INITIALS",
	"2.5.4.44": "GENERATIONQUALIFIER", "2.5.4.65": "PSEUDONYM", "0.9.2342.19200300.100.1.25": "DC",
	"0.9.2342.19200300.100.1.1": "UID", "1.2.840.113549.1.9.1": "EMAILADDRESS",
}

// distinguishedName writes a subject as RabbitMQ does, which is nearly RFC 4514: the last part first, and bytes beyond
// printable ASCII, ~ too, in hexadecimal. Users are called by this name, so it must agree to the letter.
func distinguishedName(subject pkix.RDNSequence) string {
	var parts []string
	for _, set := range slices.Backward(subject) {
		var both []string
		for _, a := range set {
			name, ok := attributeNames[a.Type.String()]
			if !ok {
				name = a.Type.String()
			}
			both = append(both, name+"="+escape(fmt.Sprint(a.Value)))
		}
		parts = append(parts, strings.Join(both, "+"))
	}
	return strings.Join(parts, ",")
}

func escape(value string) string {
	var b strings.Builder
	for i := range len(value) {
		c := value[i]
		switch {
		case strings.IndexByte(`,+"\<>;`, c) >= 0, c == '#' && i == 0, c == ' ' && (i == 0 || i == len(value)-1):
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= '~':
			fmt.Fprintf(&b, `\%02X`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
