// Package interop holds no code, only tests: it runs AMQP client libraries of many languages, and the programs that come
// with them, against a Warren on a real socket. `make interop` runs it.
//
// A client is a folder of testdata/clients: a manifest that pins the library's version, and a program that takes the
// broker's URL and a prefix for its names and prints "ok <check>" or "FAIL <check>: <reason>" for each of its checks. It
// knows nothing of Warren, so that it runs unchanged against RabbitMQ, whose answers are the ones it expects. The libraries
// are fetched by their languages' own tools into a cache, once; what a machine has no runtime for is skipped, and said.
//
// The environment decides the rest:
//
//	WARREN_INTEROP_ADDR  host:port of a broker to test, in place of one built from ./cmd/warren and started here
//	WARREN_CACHE         where libraries are kept, in place of .cache/interop at the repository's root
//	WARREN_INSTALL=1     missing Debian packages are installed by apt-get (as root)
package interop
