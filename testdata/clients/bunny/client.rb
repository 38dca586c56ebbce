# Bunny, as Debian packages it. Usage: client.rb URL PREFIX

require 'bunny'
require 'timeout'

URL, PREFIX = ARGV
WAIT = 15 # seconds until a message counts as lost

def connect
  Bunny.new(URL, log_level: Logger::FATAL, automatically_recover: false).tap(&:start)
end

def expect(got, want, what)
  raise "#{what}: got #{got.inspect}, want #{want.inspect}" unless got == want
end

def exclusive(ch, name, arguments = {})
  ch.queue("#{PREFIX}.#{name}", exclusive: true, arguments: arguments)
end

# take consumes n messages of a queue; each is [delivery info, properties, body].
def take(queue, n, manual_ack: false)
  inbox = ::Queue.new
  consumer = queue.subscribe(manual_ack: manual_ack) { |*delivery| inbox << delivery }
  got = Timeout.timeout(WAIT) { Array.new(n) { inbox.pop } }
  consumer.cancel
  got
end

CHECKS = {
  'publish-consume' => lambda { |ch|
    queue = exclusive(ch, 'publish')
    200.times do |i|
      queue.publish("m#{i}", content_type: 'text/plain', correlation_id: i.to_s, message_id: "id#{i}", type: 'greeting',
                             app_id: 'interop', user_id: 'guest', timestamp: 1_700_000_000, priority: 3, persistent: true)
    end
    got = take(queue, 200)
    expect(got.map(&:last), Array.new(200) { |i| "m#{i}" }, 'bodies in order')
    p = got[7][1]
    expect([p.content_type, p.correlation_id, p.message_id, p.type, p.app_id, p.user_id, p.timestamp.to_i, p.priority, p.delivery_mode],
           ['text/plain', '7', 'id7', 'greeting', 'interop', 'guest', 1_700_000_000, 3, 2], 'properties')
  },

  'confirm' => lambda { |ch|
    queue = ch.queue("#{PREFIX}.confirm", durable: true)
    ch.confirm_select
    300.times { queue.publish('x' * 100, persistent: true) }
    expect(ch.wait_for_confirms, true, 'all confirmed')
    expect(ch.unconfirmed_set.size, 0, 'unconfirmed')
    expect(queue.message_count, 300, 'message count')
    queue.purge
    queue.delete
  },

  'return' => lambda { |ch|
    returned = ::Queue.new
    exchange = ch.direct('amq.direct', durable: true)
    exchange.on_return { |info, _, body| returned << [info.reply_code, info.reply_text, info.exchange, info.routing_key, body] }
    exchange.publish('lost', routing_key: "#{PREFIX}.nowhere", mandatory: true)
    expect(Timeout.timeout(WAIT) { returned.pop }, [312, 'NO_ROUTE', 'amq.direct', "#{PREFIX}.nowhere", 'lost'], 'basic.return')
  },

  'ttl' => lambda { |ch|
    dead = exclusive(ch, 'ttl.dead')
    to_dead = { 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => dead.name }
    exclusive(ch, 'ttl.queue', to_dead.merge('x-message-ttl' => 40)).publish('1')
    expect(take(dead, 1)[0][1].headers['x-death'][0]['reason'], 'expired', 'reason')
    exclusive(ch, 'ttl.message', to_dead).publish('2', expiration: 40)
    p = take(dead, 1)[0][1]
    expect([p.expiration, p.headers['x-death'][0]['original-expiration']], [nil, '40'], 'expiration')
  },

  'dead-letter' => lambda { |ch|
    dlx = ch.fanout("#{PREFIX}.dlx", auto_delete: true)
    dead = exclusive(ch, 'dlx.dead').bind(dlx)
    work = exclusive(ch, 'dlx.work', 'x-dead-letter-exchange' => dlx.name, 'x-max-length' => 2)
    %w[a b c].each { |body| work.publish(body) } # a leaves by x-max-length
    _, p, body = take(dead, 1)[0]
    expect([body, p.headers['x-death'][0]['reason']], %w[a maxlen], 'overflow')
    info, = work.pop(manual_ack: true)
    ch.reject(info.delivery_tag)
    _, p, body = take(dead, 1)[0]
    death = p.headers['x-death'][0]
    expect(death.delete('time').class, Time, 'time')
    expect([body, death], ['b', { 'count' => 1, 'reason' => 'rejected', 'queue' => work.name, 'exchange' => '',
                                  'routing-keys' => [work.name] }], 'x-death')
    expect(p.headers['x-first-death-queue'], work.name, 'x-first-death-queue')
  },

  'priority' => lambda { |ch|
    queue = exclusive(ch, 'priority', 'x-max-priority' => 10)
    [1, 9, 5, 9].each { |p| queue.publish(p.to_s, priority: p) }
    expect(Array.new(4) { queue.pop[2] }, %w[9 9 5 1], 'order')
  },

  'reply-to' => lambda { |ch|
    queue = exclusive(ch, 'rpc')
    queue.subscribe do |_, p, body|
      prefix = p.reply_to.start_with?('amq.rabbitmq.reply-to.') ? 're' : p.reply_to
      ch.default_exchange.publish("#{prefix}:#{body}", routing_key: p.reply_to, correlation_id: p.correlation_id)
    end
    other = connect
    call = other.create_channel
    replies = ::Queue.new
    consumer = Bunny::Consumer.new(call, 'amq.rabbitmq.reply-to', '', true)
    consumer.on_delivery { |_, p, body| replies << [p.correlation_id, body] }
    call.basic_consume_with(consumer)
    3.times do |i|
      call.default_exchange.publish(i.to_s, routing_key: queue.name, reply_to: 'amq.rabbitmq.reply-to', correlation_id: "c#{i}")
    end
    expect(Timeout.timeout(WAIT) { Array.new(3) { replies.pop } }, Array.new(3) { |i| ["c#{i}", "re:#{i}"] }, 'replies')
    other.close
  },

  'tx' => lambda { |ch|
    queue = exclusive(ch, 'tx')
    ch.tx_select
    queue.publish('kept')
    expect(queue.pop[2], nil, 'get before commit')
    ch.tx_commit
    queue.publish('dropped')
    ch.tx_rollback
    expect([queue.pop[2], queue.pop[2]], ['kept', nil], 'after rollback')
  },

  'errors' => lambda { |ch|
    refused = lambda { |&operation|
      begin
        operation.call(ch.connection.create_channel)
        raise 'no error came'
      rescue Bunny::ChannelLevelException => e
        [e.channel_close.reply_code, e.channel_close.reply_text]
      end
    }
    expect(refused.call { |c| c.queue("#{PREFIX}.missing", passive: true) },
           [404, "NOT_FOUND - no queue '#{PREFIX}.missing' in vhost '/'"], 'passive declare')
    queue = exclusive(ch, 'errors', 'x-max-length' => 5)
    expect(refused.call { |c| exclusive(c, 'errors', 'x-max-length' => 6) },
           [406, "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '#{queue.name}' in vhost '/': " \
                 "received '6' but current is '5'"], 'redeclare')
    queue.publish('alive')
    expect(take(queue, 1)[0][2], 'alive', 'after the errors')
  },

  'ack' => lambda { |ch|
    ch.prefetch(4)
    queue = exclusive(ch, 'ack')
    %w[1 2 3 4].each { |body| queue.publish(body) }
    tags = take(queue, 4, manual_ack: true).map { |info, _, _| info.delivery_tag }
    ch.ack(tags[0])
    ch.nack(tags[2], true, true) # 2 and 3
    ch.reject(tags[3], true)
    again = take(queue, 3, manual_ack: true)
    expect(again.map { |info, _, body| [body, info.redelivered?] }, [['2', true], ['3', true], ['4', true]], 'redelivery')
    ch.ack(again[2][0].delivery_tag, true)
    expect(queue.message_count, 0, 'left')
  },

  'headers' => lambda { |ch|
    exchange = ch.headers("#{PREFIX}.headers", auto_delete: true)
    queue = exclusive(ch, 'headers').bind(exchange, arguments: { 'x-match' => 'all', 'kind' => 'a', 'n' => 1 })
    sent = { 'kind' => 'a', 'n' => 1, 'big' => 2**40, 'negative' => -5, 'yes' => true, 'no' => false, 'void' => nil, 'double' => 1.5,
             'when' => Time.at(1_709_208_000), 'list' => [1, 'two', { 'three' => 3 }], 'table' => { 'deep' => { 'deeper' => 'x' } },
             'text' => 'gruesse' }
    [{ 'kind' => 'b', 'n' => 1 }, { 'kind' => 'a' }, { 'kind' => 'a', 'n' => '1' }, sent].each do |h|
      exchange.publish('h', headers: h)
    end
    expect(take(queue, 1)[0][1].headers, sent, 'headers')
  },

  'large-body' => lambda { |ch|
    queue = exclusive(ch, 'large')
    body = (0..255).to_a.pack('C*') * (5 * 1024 * 1024 / 256)
    queue.publish(body)
    raise '5 MiB came back changed' unless take(queue, 1)[0][2].b == body
  }
}.freeze

$stdout.sync = true
failed = false
CHECKS.each do |name, check|
  connection = connect
  check.call(connection.create_channel)
  connection.close
  puts "ok #{name}"
rescue StandardError, Timeout::Error => e
  failed = true
  warn e.full_message
  puts "FAIL #{name}: #{e.message}"
end
exit !failed
