package auth

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"
)

// A User is somebody who may log in.
type User struct {
	Name string
	// PasswordHash is the base64 of a salt of 4 bytes and the hash of salt and password, as RabbitMQ's definitions carry
	// it. "" is nobody's password: such a user logs in by certificate only.
	PasswordHash string
	Hashing      Hashing
	// Tags are words that open doors besides the permissions: administrator, monitoring, policymaker, management,
	// impersonator. Others mean nothing and are kept.
	Tags []string

	sum []byte // PasswordHash decoded, salt first; nil if there is none
}

// HasTag reports whether tag is among u's tags.
func (u *User) HasTag(tag string) bool { return slices.Contains(u.Tags, tag) }

// Hashing is the function that made a PasswordHash.
type Hashing uint8

// The functions that a RabbitMQ's definitions may name. New hashes are SHA256; the others are for users brought along.
const (
	SHA256 Hashing = iota
	SHA512
	MD5
)

var hashings = [...]struct {
	name string
	sum  func([]byte) []byte
}{
	SHA256: {"rabbit_password_hashing_sha256", func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }},
	SHA512: {"rabbit_password_hashing_sha512", func(b []byte) []byte { s := sha512.Sum512(b); return s[:] }},
	MD5:    {"rabbit_password_hashing_md5", func(b []byte) []byte { s := md5.Sum(b); return s[:] }},
}

// String returns the name that definitions call h by.
func (h Hashing) String() string { return hashings[h].name }

// ParseHashing returns the Hashing that definitions call name; "" is SHA256.
func ParseHashing(name string) (Hashing, error) {
	for h := range hashings {
		if hashings[h].name == name {
			return Hashing(h), nil
		}
	}
	if name == "" {
		return SHA256, nil
	}
	return 0, fmt.Errorf("unknown hashing algorithm '%s'", name)
}

const saltBytes = 4

// HashPassword returns a PasswordHash by SHA256 with a fresh salt. The salt keeps equal passwords from showing; one hash
// only is cheap enough for thousands of logins a second.
func HashPassword(password string) string {
	salt := make([]byte, saltBytes)
	rand.Read(salt)
	return base64.StdEncoding.EncodeToString(saltedSum(SHA256, salt, password))
}

// saltedSum returns the salt and behind it the hash of salt and password.
func saltedSum(h Hashing, salt []byte, password string) []byte {
	return slices.Concat(salt, hashings[h].sum(slices.Concat(salt, []byte(password))))
}

// parseHash fills u.sum from u.PasswordHash.
func (u *User) parseHash() error {
	if int(u.Hashing) >= len(hashings) {
		return fmt.Errorf("user '%s' has a password hash of an unknown kind, %d", u.Name, u.Hashing)
	}
	u.sum = nil
	if u.PasswordHash == "" {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(u.PasswordHash)
	if err != nil {
		return fmt.Errorf("the password hash of user '%s' is not base64: %w", u.Name, err)
	}
	if want := saltBytes + len(hashings[u.Hashing].sum(nil)); len(b) != want {
		return fmt.Errorf("the password hash of user '%s' has %d bytes, not the %d of %s", u.Name, len(b), want, u.Hashing)
	}
	u.sum = b
	return nil
}

// nobody stands for an unknown user, so that refusing one takes as long as refusing a password.
var nobody = User{sum: make([]byte, saltBytes+sha256.Size)}

// hasPassword reports whether password is u's, in a time that does not tell how much of it is right.
func (u *User) hasPassword(password string) bool {
	sum := u.sum
	if sum == nil {
		sum = nobody.sum
	}
	same := subtle.ConstantTimeCompare(sum, saltedSum(u.Hashing, sum[:saltBytes], password)) == 1
	return same && u.sum != nil && u != &nobody
}
