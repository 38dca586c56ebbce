package meta

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/warrenmq/warren/amqp"
)

// A key is a kind, names, each ended so that the order of keys is the order of names, and for what belongs to a vhost the
// vhost comes first: all of a vhost is one prefix.
//
//	00 's'                    the schema
//	00 'p'                    the position, and the ceiling of the queues' numbers
//	00 'j' n, 00 'k'          the journal, see journal.go
//	01 user                   User
//	02 vhost 00               VHost
//	02 vhost 01 exchange      Exchange
//	02 vhost 02 queue         Queue
//	02 vhost 03 hash          Binding: names, key and arguments may be longer than a key can be
//	02 vhost 04 user          Permission
//	02 vhost 05 user exchange TopicPermission
const (
	scopeStore byte = iota
	scopeUser
	scopeVHost
)

const (
	kindVHost byte = iota
	kindExchange
	kindQueue
	kindBinding
	kindPermission
	kindTopicPermission
)

var (
	schemaKey   = []byte{scopeStore, 's'}
	positionKey = []byte{scopeStore, 'p'}
	chunkPrefix = []byte{scopeStore, 'j'}
	decidedKey  = []byte{scopeStore, 'k'}
)

// schema is the number of the layout of keys. A store with a greater one is refused.
const schema = 1

// version begins each value: how the fields behind it are encoded.
const version = 1

// A value is version, fields and the checksum of all that and the key. Strings have their length in front as a uvarint,
// arguments are as on the wire with a length of four bytes.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sumBytes = 4

// seal appends the checksum of key and value to value.
func seal(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return binary.BigEndian.AppendUint32(value, sum)
}

// unseal returns value without its checksum; ok is false if that does not fit.
func unseal(key, value []byte) (_ []byte, ok bool) {
	n := len(value) - sumBytes
	if n < 0 {
		return nil, false
	}
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value[:n])
	return value[:n], sum == binary.BigEndian.Uint32(value[n:])
}

// appendName appends s so that no name's encoding begins another's: 00 becomes 00 FF, and 00 01 ends it.
func appendName(b []byte, s string) []byte {
	for i := range len(s) {
		if b = append(b, s[i]); s[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 1)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func bit(v bool, at uint) byte {
	if v {
		return 1 << at
	}
	return 0
}

func inVHost(b []byte, vhost string, kind byte) []byte {
	return append(appendName(append(b, scopeVHost), vhost), kind)
}

func (r VHost) key(b []byte) []byte   { return inVHost(b, r.Name, kindVHost) }
func (r VHost) value(b []byte) []byte { return b }

func (r User) key(b []byte) []byte { return appendName(append(b, scopeUser), r.Name) }

func (r User) value(b []byte) []byte {
	b = append(appendString(b, r.PasswordHash), r.Hashing)
	b = binary.AppendUvarint(b, uint64(len(r.Tags)))
	for _, t := range r.Tags {
		b = appendString(b, t)
	}
	return b
}

func (r Permission) key(b []byte) []byte {
	return appendName(inVHost(b, r.VHost, kindPermission), r.User)
}

func (r Permission) value(b []byte) []byte {
	return appendString(appendString(appendString(b, r.Configure), r.Write), r.Read)
}

func (r TopicPermission) key(b []byte) []byte {
	return appendName(appendName(inVHost(b, r.VHost, kindTopicPermission), r.User), r.Exchange)
}

func (r TopicPermission) value(b []byte) []byte {
	return appendString(appendString(b, r.Write), r.Read)
}

func (r Exchange) key(b []byte) []byte { return appendName(inVHost(b, r.VHost, kindExchange), r.Name) }

func (r Exchange) value(b []byte) []byte {
	b = append(b, bit(r.AutoDelete, 0)|bit(r.Internal, 1))
	return amqp.AppendTable(appendString(b, r.Type), r.Args)
}

func (r Queue) key(b []byte) []byte { return appendName(inVHost(b, r.VHost, kindQueue), r.Name) }

func (r Queue) value(b []byte) []byte {
	b = append(b, bit(r.AutoDelete, 0))
	return amqp.AppendTable(binary.AppendUvarint(b, r.Number), r.Args)
}

func (r Binding) key(b []byte) []byte {
	id := appendString(appendString(appendString([]byte{bit(r.ToExchange, 0)}, r.Source), r.Destination), r.Key)
	args := r.Args
	if len(args) > 1 {
		args = slices.Clone(args)
		slices.SortStableFunc(args, func(a, b amqp.Field) int { return strings.Compare(a.Name, b.Name) })
	}
	hash := sha256.Sum256(amqp.AppendTable(id, args))
	return append(inVHost(b, r.VHost, kindBinding), hash[:]...)
}

func (r Binding) value(b []byte) []byte {
	b = append(b, bit(r.ToExchange, 0))
	b = appendString(appendString(appendString(b, r.Source), r.Destination), r.Key)
	return amqp.AppendTable(b, r.Args)
}
