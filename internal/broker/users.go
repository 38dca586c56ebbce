package broker

import (
	"fmt"

	"github.com/warrenmq/warren/internal/auth"
	"github.com/warrenmq/warren/internal/meta"
)

// A UserJournal is the auth.Journal of a node that has Definitions.
type UserJournal struct{ Definitions Definitions }

// Keep implements auth.Journal.
func (j UserJournal) Keep(put, gone []auth.Entry) error {
	at, err := j.Definitions.Submit(UserChanges(put, gone)...)
	if err != nil {
		return err
	}
	return j.Definitions.Wait(at)
}

// UserChanges are the changes that put users and permissions and remove those that are gone.
func UserChanges(put, gone []auth.Entry) (out []meta.Change) {
	for _, e := range gone {
		out = append(out, meta.Delete(entryRecord(e)))
	}
	for _, e := range put {
		out = append(out, meta.Put(entryRecord(e)))
	}
	return out
}

func entryRecord(e auth.Entry) meta.Record {
	switch e := e.(type) {
	case auth.User:
		return meta.User{Name: e.Name, PasswordHash: e.PasswordHash, Hashing: uint8(e.Hashing), Tags: e.Tags}
	case auth.PermissionEntry:
		return meta.Permission{VHost: e.Vhost, User: e.User, Configure: e.Configure, Write: e.Write, Read: e.Read}
	case auth.TopicPermissionEntry:
		return meta.TopicPermission{VHost: e.Vhost, User: e.User, Exchange: e.Exchange, Write: e.Write, Read: e.Read}
	}
	panic(fmt.Sprintf("broker: no record for an entry of type %T", e))
}

// UserEntries are the users and permissions of st, for auth.Store.Restore.
func UserEntries(st *meta.State) (out []auth.Entry) {
	for _, r := range st.Users {
		out = append(out, auth.User{Name: r.Name, PasswordHash: r.PasswordHash, Hashing: auth.Hashing(r.Hashing), Tags: r.Tags})
	}
	for _, r := range st.Permissions {
		out = append(out, auth.PermissionEntry{User: r.User, Vhost: r.VHost,
			Permission: auth.Permission{Configure: r.Configure, Write: r.Write, Read: r.Read}})
	}
	for _, r := range st.TopicPermissions {
		out = append(out, auth.TopicPermissionEntry{User: r.User, Vhost: r.VHost, Exchange: r.Exchange,
			TopicPermission: auth.TopicPermission{Write: r.Write, Read: r.Read}})
	}
	return out
}
