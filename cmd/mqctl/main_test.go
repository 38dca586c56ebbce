package main

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/warrenmq/warren/internal/perf"
)

func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		args, out, err string // out and err are the beginning of what is printed and of the error
	}{
		{"version", "mqctl ", ""},
		{"", "NAME:\n   mqctl - operate a Warren broker", ""},
		{"perf --help", "NAME:\n   mqctl perf - publish and consume", ""},
		{"perf --uri http://x", "", `"http://x" is not a URI`},
		{"perf --producers 0 --consumers 0", "", "perf: neither producers nor consumers"},
		{"perf --no-such-flag", "Incorrect Usage: flag provided but not defined: -no-such-flag", "flag provided but not defined"},
	} {
		var out bytes.Buffer
		err := app(&out).RunContext(context.Background(), append([]string{"mqctl"}, strings.Fields(tt.args)...))
		if !strings.HasPrefix(out.String(), tt.out) {
			t.Errorf("mqctl %s prints %q, want %q", tt.args, out.String(), tt.out)
		}
		if (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
			t.Errorf("mqctl %s: %v, want %q", tt.args, err, tt.err)
		}
	}
}

func TestVersion(t *testing.T) {
	if got := versionOr("v1"); got != "v1" {
		t.Errorf("the Makefile's version v1 shows as %q", got)
	}
	if versionOr("") == "" {
		t.Error("a version is empty")
	}
}

func TestEndpoint(t *testing.T) {
	for _, tt := range []struct {
		uris string
		want perf.Endpoint
	}{
		{"amqp://h", perf.Endpoint{Addrs: []string{"h:5672"}}},
		{"amqp://u:p%40@h:1/", perf.Endpoint{Addrs: []string{"h:1"}, User: "u", Password: "p@"}},
		{"amqp://u:p@[::1]:1/%2fv amqp://other", perf.Endpoint{Addrs: []string{"[::1]:1", "other:5672"}, User: "u", Password: "p", Vhost: "/v"}},
		{"amqp://h/%2f", perf.Endpoint{Addrs: []string{"h:5672"}, Vhost: "/"}},
	} {
		if got, err := endpoint(strings.Fields(tt.uris)); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("endpoint(%s) = %+v, %v, want %+v", tt.uris, got, err, tt.want)
		}
	}
}
