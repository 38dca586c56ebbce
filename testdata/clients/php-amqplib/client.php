<?php
// php-amqplib as Debian packages it. Usage: client.php URL PREFIX

require_once '/usr/share/php/PhpAmqpLib/autoload.php';

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

set_error_handler(function ($no, $text, $file, $line) {
    if (error_reporting() & $no & ~E_DEPRECATED) {
        throw new ErrorException($text, 0, $no, $file, $line);
    }
});

[, $url, $prefix] = $argv;
const WAIT = 15; // seconds until a message counts as lost

function connect()
{
    $u = parse_url($GLOBALS['url']);
    return new AMQPStreamConnection($u['host'], $u['port'], $u['user'], $u['pass'], rawurldecode(substr($u['path'], 1)));
}

function expect($got, $want, $what)
{
    if ($got !== $want) {
        throw new Exception("$what: got " . json_encode($got) . ', want ' . json_encode($want));
    }
}

function exclusive($ch, $name, $arguments = [])
{
    global $prefix;
    return $ch->queue_declare("$prefix.$name", false, false, true, false, false, new AMQPTable($arguments))[0];
}

function send($ch, $queue, $body, $properties = [])
{
    $ch->basic_publish(new AMQPMessage($body, $properties), '', $queue);
}

function take($ch, $queue, $n, $noAck = true)
{
    $got = [];
    $tag = $ch->basic_consume($queue, '', false, $noAck, false, false, function ($m) use (&$got) {
        $got[] = $m;
    });
    while (count($got) < $n) {
        $ch->wait(null, false, WAIT);
    }
    $ch->basic_cancel($tag);
    return $got;
}

function headersOf($message)
{
    return $message->get('application_headers')->getNativeData();
}

function publishConsume($ch)
{
    $queue = exclusive($ch, 'publish');
    for ($i = 0; $i < 200; $i++) {
        send($ch, $queue, "m$i", ['content_type' => 'text/plain', 'correlation_id' => "$i", 'message_id' => "id$i",
            'type' => 'greeting', 'app_id' => 'interop', 'user_id' => 'guest', 'timestamp' => 1700000000, 'priority' => 3]);
    }
    $got = take($ch, $queue, 200);
    foreach ($got as $i => $m) {
        expect($m->getBody(), "m$i", 'body in order');
    }
    $p = $got[7]->get_properties();
    expect([$p['content_type'], $p['correlation_id'], $p['message_id'], $p['type'], $p['app_id'], $p['user_id'],
        (int) $p['timestamp'], $p['priority']], ['text/plain', '7', 'id7', 'greeting', 'interop', 'guest', 1700000000, 3], 'properties');
}

function confirm($ch)
{
    global $prefix;
    $queue = "$prefix.confirm";
    $ch->queue_declare($queue, false, true, false, false);
    $ch->confirm_select();
    $acks = $nacks = 0;
    $ch->set_ack_handler(function () use (&$acks) {
        $acks++;
    });
    $ch->set_nack_handler(function () use (&$nacks) {
        $nacks++;
    });
    for ($i = 0; $i < 300; $i++) {
        $ch->batch_basic_publish(new AMQPMessage(str_repeat('x', 100), ['delivery_mode' => 2]), '', $queue);
    }
    $ch->publish_batch();
    $ch->wait_for_pending_acks(WAIT);
    expect([$acks, $nacks], [300, 0], 'acks and nacks');
    expect($ch->queue_declare($queue, true)[1], 300, 'message count');
    expect($ch->queue_purge($queue), 300, 'purged');
    $ch->queue_delete($queue);
}

function mandatoryReturn($ch)
{
    global $prefix;
    $returned = null;
    $ch->confirm_select();
    $ch->set_return_listener(function ($code, $text, $exchange, $key, $m) use (&$returned) {
        $returned = [$code, $text, $exchange, $key, $m->getBody()];
    });
    $ch->basic_publish(new AMQPMessage('lost'), 'amq.direct', "$prefix.nowhere", true);
    $ch->wait_for_pending_acks_returns(WAIT);
    expect($returned, [312, 'NO_ROUTE', 'amq.direct', "$prefix.nowhere", 'lost'], 'basic.return before the confirm');
}

function ttl($ch)
{
    $dead = exclusive($ch, 'ttl.dead');
    $toDead = ['x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $dead];
    $byQueue = exclusive($ch, 'ttl.queue', $toDead + ['x-message-ttl' => 40]);
    $byMessage = exclusive($ch, 'ttl.message', $toDead);
    send($ch, $byQueue, '1');
    expect(headersOf(take($ch, $dead, 1)[0])['x-death'][0]['reason'], 'expired', 'reason');
    send($ch, $byMessage, '2', ['expiration' => '40']);
    $m = take($ch, $dead, 1)[0];
    expect($m->has('expiration'), false, 'expiration after dead-lettering');
    expect(headersOf($m)['x-death'][0]['original-expiration'], '40', 'original-expiration');
}

function deadLetter($ch)
{
    global $prefix;
    $dead = exclusive($ch, 'dlx.dead');
    $ch->exchange_declare("$prefix.dlx", 'fanout', false, false, true);
    $ch->queue_bind($dead, "$prefix.dlx");
    $work = exclusive($ch, 'dlx.work', ['x-dead-letter-exchange' => "$prefix.dlx", 'x-max-length' => 2]);
    foreach (['a', 'b', 'c'] as $body) { // a leaves by x-max-length
        send($ch, $work, $body);
    }
    $m = take($ch, $dead, 1)[0];
    expect([$m->getBody(), headersOf($m)['x-death'][0]['reason']], ['a', 'maxlen'], 'overflow');
    $ch->basic_get($work)->reject(false);
    $m = take($ch, $dead, 1)[0];
    $death = headersOf($m)['x-death'][0];
    $got = [];
    foreach (['count', 'reason', 'queue', 'exchange', 'routing-keys'] as $key) {
        $got[] = $death[$key];
    }
    expect([$m->getBody(), $got], ['b', [1, 'rejected', $work, '', [$work]]], 'x-death');
    expect(headersOf($m)['x-first-death-queue'], $work, 'x-first-death-queue');
}

function priority($ch)
{
    $queue = exclusive($ch, 'priority', ['x-max-priority' => 10]);
    foreach ([1, 9, 5, 9] as $p) {
        send($ch, $queue, "$p", ['priority' => $p]);
    }
    $order = '';
    for ($i = 0; $i < 4; $i++) {
        $order .= $ch->basic_get($queue, true)->getBody();
    }
    expect($order, '9951', 'order');
}

function replyTo($ch)
{
    $queue = exclusive($ch, 'rpc');
    $other = connect();
    $call = $other->channel();
    $replies = [];
    $call->basic_consume('amq.rabbitmq.reply-to', '', false, true, false, false, function ($m) use (&$replies) {
        $replies[$m->get('correlation_id')] = $m->getBody();
    });
    for ($i = 0; $i < 3; $i++) {
        send($call, $queue, "$i", ['reply_to' => 'amq.rabbitmq.reply-to', 'correlation_id' => "c$i"]);
    }
    foreach (take($ch, $queue, 3) as $m) {
        expect(strpos($m->get('reply_to'), 'amq.rabbitmq.reply-to.'), 0, 'reply_to');
        send($ch, $m->get('reply_to'), 're:' . $m->getBody(), ['correlation_id' => $m->get('correlation_id')]);
    }
    while (count($replies) < 3) {
        $call->wait(null, false, WAIT);
    }
    expect($replies, ['c0' => 're:0', 'c1' => 're:1', 'c2' => 're:2'], 'replies');
    $other->close();
}

function tx($ch)
{
    $queue = exclusive($ch, 'tx');
    $ch->tx_select();
    send($ch, $queue, 'kept');
    expect($ch->basic_get($queue), null, 'get before commit');
    $ch->tx_commit();
    send($ch, $queue, 'dropped');
    $ch->tx_rollback();
    expect($ch->basic_get($queue, true)->getBody(), 'kept', 'after rollback');
    expect($ch->basic_get($queue, true), null, 'after that');
}

function refused($operation)
{
    try {
        $operation();
    } catch (AMQPProtocolChannelException $e) {
        return [$e->amqp_reply_code, $e->amqp_reply_text];
    }
    throw new Exception('no error came');
}

function errors($ch)
{
    global $prefix;
    $connection = $ch->getConnection();
    expect(refused(function () use ($connection, $prefix) {
        $connection->channel()->queue_declare("$prefix.missing", true);
    }), [404, "NOT_FOUND - no queue '$prefix.missing' in vhost '/'"], 'passive declare');
    $queue = exclusive($ch, 'errors', ['x-max-length' => 5]);
    expect(refused(function () use ($connection) {
        exclusive($connection->channel(), 'errors', ['x-max-length' => 6]);
    }), [406, "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '$queue' in vhost '/': received '6' but current is '5'"],
        'redeclare');
    send($ch, $queue, 'alive');
    expect(take($ch, $queue, 1)[0]->getBody(), 'alive', 'after the errors');
}

function acknowledge($ch)
{
    $queue = exclusive($ch, 'ack');
    $ch->basic_qos(0, 4, false);
    foreach (['1', '2', '3', '4'] as $body) {
        send($ch, $queue, $body);
    }
    $first = take($ch, $queue, 4, false);
    $first[0]->ack();
    $first[2]->nack(true, true); // 2 and 3
    $first[3]->reject(true);
    $again = take($ch, $queue, 3, false);
    expect(array_map(function ($m) {
        return [$m->getBody(), $m->isRedelivered()];
    }, $again), [['2', true], ['3', true], ['4', true]], 'redelivery');
    $again[2]->ack(true);
    expect($ch->queue_declare($queue, true)[1], 0, 'left');
}

function headers($ch)
{
    global $prefix;
    $queue = exclusive($ch, 'headers');
    $ch->exchange_declare("$prefix.headers", 'headers', false, false, true);
    $ch->queue_bind($queue, "$prefix.headers", '', false, new AMQPTable(['x-match' => 'all', 'kind' => 'a', 'n' => 1]));
    $sent = ['kind' => 'a', 'n' => 1, 'big' => 2 ** 40, 'negative' => -5, 'yes' => true, 'no' => false, 'void' => null,
        'list' => [1, 'two', ['three' => 3]], 'table' => ['deep' => ['deeper' => 'x']], 'text' => "gr\u{fc}\u{df}e"];
    foreach ([['kind' => 'b', 'n' => 1], ['kind' => 'a'], ['kind' => 'a', 'n' => '1'], $sent] as $h) {
        $ch->basic_publish(new AMQPMessage('h', ['application_headers' => new AMQPTable($h)]), "$prefix.headers");
    }
    expect(headersOf(take($ch, $queue, 1)[0]), $sent, 'headers');
}

function largeBody($ch)
{
    $queue = exclusive($ch, 'large');
    $body = str_repeat(implode(array_map('chr', range(0, 255))), 5 * 1024 * 1024 / 256);
    send($ch, $queue, $body);
    if (take($ch, $queue, 1)[0]->getBody() !== $body) {
        throw new Exception('5 MiB came back changed');
    }
}

$checks = ['publish-consume' => 'publishConsume', 'confirm' => 'confirm', 'return' => 'mandatoryReturn', 'ttl' => 'ttl',
    'dead-letter' => 'deadLetter', 'priority' => 'priority', 'reply-to' => 'replyTo', 'tx' => 'tx', 'errors' => 'errors',
    'ack' => 'acknowledge', 'headers' => 'headers', 'large-body' => 'largeBody'];

$failed = 0;
foreach ($checks as $name => $check) {
    try {
        $connection = connect();
        $check($connection->channel());
        $connection->close();
        echo "ok $name\n";
    } catch (Throwable $e) {
        $failed = 1;
        fwrite(STDERR, "$e\n");
        echo "FAIL $name: ", $e->getMessage(), "\n";
    }
}
exit($failed);
