#!/bin/sh
# librabbitmq through its command line tools. Usage: client.sh URL PREFIX
# The tools offer no confirms, returns, arguments, priorities or transactions.

url=$1
prefix=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

# tool NAME ARGS... runs one of the tools against the broker for at most 20 seconds.
tool() {
	name=$1
	shift
	timeout 20 "amqp-$name" --url="$url" "$@"
}

expect() { # GOT WANT WHAT
	[ "$1" = "$2" ] || {
		echo "$3: got '$1', want '$2'" >"$tmp/reason"
		return 1
	}
}

publish_consume() {
	q=$prefix.publish
	expect "$(tool declare-queue -q "$q")" "$q" declare-ok || return
	i=0
	while [ $i -lt 100 ]; do
		echo "line $i"
		i=$((i + 1))
	done >"$tmp/lines"
	tool publish -r "$q" -l <"$tmp/lines" || return
	tool consume -q "$q" -c 100 cat >"$tmp/got" || return
	expect "$(cat "$tmp/got")" "$(cat "$tmp/lines")" "lines in order" || return
	expect "$(tool delete-queue -q "$q")" 0 "messages deleted"
}

get() {
	q=$prefix.get
	tool declare-queue -q "$q" >"$tmp/out" || return
	tool publish -r "$q" -p -C text/plain -E utf-8 -t "$q.reply" -b one || return
	tool publish -r "$q" -b two || return
	expect "$(tool get -q "$q")" one "first get" || return
	expect "$(tool get -q "$q")" two "second get" || return
	tool get -q "$q"
	expect $? 2 "exit status of get-empty" || return
	tool delete-queue -q "$q" >"$tmp/out"
}

delete_conditions() {
	q=$prefix.delete
	expect "$(tool declare-queue -d -q "$q")" "$q" declare-ok || return
	tool publish -r "$q" -p -b kept || return
	if tool delete-queue -e -q "$q" 2>"$tmp/err"; then
		echo "if-empty deleted a queue with a message" >"$tmp/reason"
		return 1
	fi
	grep -q "406.*PRECONDITION_FAILED - queue '$q' in vhost '/' not empty" "$tmp/err" || {
		cp "$tmp/err" "$tmp/reason"
		return 1
	}
	expect "$(tool delete-queue --if-unused -q "$q")" 1 "messages deleted"
}

errors() {
	q=$prefix.errors
	tool get -q "$q.missing" 2>"$tmp/err" && return 1
	grep -q "404.*NOT_FOUND - no queue '$q.missing' in vhost '/'" "$tmp/err" || {
		cp "$tmp/err" "$tmp/reason"
		return 1
	}
	tool declare-queue -q "$q" >"$tmp/out" || return
	tool declare-queue -d -q "$q" 2>"$tmp/err" && return 1
	grep -q "406.*PRECONDITION_FAILED - inequivalent arg 'durable' for queue '$q' in vhost '/': received 'true' but current is 'false'" \
		"$tmp/err" || {
		cp "$tmp/err" "$tmp/reason"
		return 1
	}
	tool delete-queue -q "$q" >"$tmp/out"
}

# A message whose command fails is not acknowledged and comes again on the next connection.
ack() {
	q=$prefix.ack
	tool declare-queue -q "$q" >"$tmp/out" || return
	tool publish -r "$q" -b again || return
	tool publish -r "$q" -b later || return
	tool consume -q "$q" -p 1 -c 1 false
	expect "$(tool consume -q "$q" -p 1 -c 2 cat)" againlater "after a failed command" || return
	expect "$(tool delete-queue -q "$q")" 0 "messages deleted"
}

# An exclusive queue with a generated name, bound to a topic exchange; it lives as long as its consumer.
exchange() {
	: >"$tmp/got"
	timeout 20 amqp-consume --url="$url" -x -e amq.topic -r "$prefix.*.x" -c 1 cat >"$tmp/got" 2>"$tmp/err" &
	consumer=$!
	while kill -0 $consumer 2>/dev/null && [ ! -s "$tmp/got" ]; do # until the binding is there and a message comes
		tool publish -e amq.topic -r "$prefix.a.y" -b wrong -H "a: b" || return
		tool publish -e amq.topic -r "$prefix.a.x" -b right -H "a: b" || return
	done
	wait $consumer || return
	expect "$(cat "$tmp/got")" right "routed by amq.topic"
}

large_body() {
	q=$prefix.large
	tool declare-queue -q "$q" >"$tmp/out" || return
	head -c 5242880 /dev/urandom >"$tmp/body"
	tool publish -r "$q" <"$tmp/body" || return
	tool get -q "$q" >"$tmp/got" || return
	cmp "$tmp/body" "$tmp/got" >"$tmp/reason" || return
	tool delete-queue -q "$q" >"$tmp/out"
}

check() { # NAME FUNCTION
	: >"$tmp/reason"
	if $2; then
		echo "ok $1"
	else
		failed=1
		echo "FAIL $1: $(tr '\n' ' ' <"$tmp/reason")"
	fi
}

check publish-consume publish_consume
check get get
check delete-conditions delete_conditions
check errors errors
check ack ack
check exchange exchange
check large-body large_body
exit $failed
