package meta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/warrenmq/warren/amqp"
)

// State is all definitions, each kind in the order of its vhosts and names.
type State struct {
	VHosts           []VHost
	Users            []User
	Permissions      []Permission
	TopicPermissions []TopicPermission
	Exchanges        []Exchange
	Queues           []Queue
	Bindings         []Binding
}

// add decodes one record.
func (s *State) add(key, value []byte) error {
	fields, ok := unseal(key, value)
	if !ok {
		return errors.New("its checksum does not fit")
	}
	v := reader{rest: fields}
	if n := v.octet(); v.err == nil && n != version {
		return fmt.Errorf("it is of version %d, and this Warren reads %d", n, version)
	}
	k := reader{rest: key}
	r, err := decode(&k, &v)
	if err == nil {
		err = errors.Join(k.err, v.err)
	}
	switch {
	case err != nil:
		return err
	case len(v.rest) > 0:
		return fmt.Errorf("%d bytes follow its last field", len(v.rest))
	case !bytes.Equal(r.key(nil), key):
		return errors.New("its key and its contents disagree")
	}
	switch r := r.(type) {
	case VHost:
		s.VHosts = append(s.VHosts, r)
	case User:
		s.Users = append(s.Users, r)
	case Permission:
		s.Permissions = append(s.Permissions, r)
	case TopicPermission:
		s.TopicPermissions = append(s.TopicPermissions, r)
	case Exchange:
		s.Exchanges = append(s.Exchanges, r)
	case Queue:
		s.Queues = append(s.Queues, r)
	case Binding:
		s.Bindings = append(s.Bindings, r)
	}
	return nil
}

// decode reads a record's key and fields. What the readers lack they say themselves.
func decode(k, v *reader) (Record, error) {
	switch scope := k.octet(); scope {
	case scopeUser:
		r := User{Name: k.name(), PasswordHash: v.string(), Hashing: v.octet()}
		for n := v.uvarint(); n > 0 && v.err == nil; n-- {
			r.Tags = append(r.Tags, v.string())
		}
		return r, nil
	case scopeVHost:
	default:
		return nil, fmt.Errorf("its scope is %d, which this Warren does not know", scope)
	}
	vhost := k.name()
	switch kind := k.octet(); kind {
	case kindVHost:
		return VHost{vhost}, nil
	case kindExchange:
		flags := v.octet()
		return Exchange{VHost: vhost, Name: k.name(), AutoDelete: flags&1 != 0, Internal: flags&2 != 0, Type: v.string(),
			Args: v.table()}, nil
	case kindQueue:
		return Queue{VHost: vhost, Name: k.name(), AutoDelete: v.octet()&1 != 0, Number: v.uvarint(), Args: v.table()}, nil
	case kindBinding:
		return Binding{VHost: vhost, ToExchange: v.octet()&1 != 0, Source: v.string(), Destination: v.string(), Key: v.string(),
			Args: v.table()}, nil
	case kindPermission:
		return Permission{VHost: vhost, User: k.name(), Configure: v.string(), Write: v.string(), Read: v.string()}, nil
	case kindTopicPermission:
		return TopicPermission{VHost: vhost, User: k.name(), Exchange: k.name(), Write: v.string(), Read: v.string()}, nil
	default:
		return nil, fmt.Errorf("its kind is %d, which this Warren does not know", kind)
	}
}

// A reader walks a key or a value. The first fault sticks and every later read returns a zero.
type reader struct {
	rest []byte
	err  error
}

var errShort = errors.New("it ends early")

// take returns the next n bytes, not copied, or nil after a fault.
func (r *reader) take(n uint64) []byte {
	if r.err == nil && n > uint64(len(r.rest)) {
		r.err = errShort
	}
	if r.err != nil {
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) octet() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.rest, size = nil, 1
	}
	r.take(uint64(size))
	return n
}

func (r *reader) string() string { return string(r.take(r.uvarint())) }

// name reads what appendName has written.
func (r *reader) name() string {
	var s []byte
	for r.err == nil {
		c := r.octet()
		if c != 0 {
			s = append(s, c)
			continue
		}
		switch r.octet() {
		case 0xff:
			s = append(s, 0)
		case 1:
			return string(s)
		default:
			if r.err == nil {
				r.err = errors.New("a name in its key is not well formed")
			}
		}
	}
	return ""
}

func (r *reader) table() amqp.Table {
	var n uint32
	if b := r.take(4); b != nil {
		n = binary.BigEndian.Uint32(b)
	}
	b := r.take(uint64(n))
	if r.err != nil {
		return nil
	}
	t, err := amqp.ParseTable(b)
	if err != nil {
		r.err = fmt.Errorf("its arguments: %w", err)
	}
	return t
}
