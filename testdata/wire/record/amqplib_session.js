// The session that amqplib.wire records: node amqplib_session.js, with AMQP_URL set.
const amqp = require('amqplib')

async function main() {
  const connection = await amqp.connect(process.env.AMQP_URL)
  const channel = await connection.createConfirmChannel()
  await channel.assertExchange('wire-node', 'headers', { durable: false, autoDelete: true })
  await channel.assertQueue('wire-node', { exclusive: true, maxLength: 5, deadLetterExchange: 'amq.fanout' })
  await channel.bindQueue('wire-node', 'wire-node', '', { 'x-match': 'any', colour: 'red', size: 3 })
  await channel.prefetch(4)
  channel.publish('wire-node', 'key', Buffer.from('every property'), {
    contentType: 'text/plain', contentEncoding: 'utf-8', persistent: true, priority: 3, correlationId: 'corr-1',
    replyTo: 'reply-here', expiration: 60000, messageId: 'msg-1', timestamp: 1700000000, type: 'kind', userId: 'guest',
    appId: 'wire', mandatory: true,
    headers: {
      colour: 'red', bool: false, byte: 5, short: -300, int: 70000, long: 2 ** 40, double: 1.5, nothing: null,
      list: [1, 'two', [3], { four: 4 }], table: { x: { y: 'deep' } }, buffer: Buffer.from([0, 255]), empty: {},
      float: { '!': 'float', value: 0.25 }, decimal: { '!': 'decimal', value: { digits: 314, places: 2 } },
      when: { '!': 'timestamp', value: 1700000000 }
    }
  })
  channel.publish('', 'wire-node', Buffer.alloc(0))
  channel.publish('wire-node', 'nobody', Buffer.from('returned'), { mandatory: true })
  await channel.waitForConfirms()
  let seen = 0
  await new Promise(resolve => {
    channel.consume('wire-node', m => {
      channel.ack(m)
      if (++seen === 2) resolve()
    }, { consumerTag: 'wire-consumer', priority: 2 })
  })
  await channel.cancel('wire-consumer')
  await channel.get('wire-node', { noAck: true })
  await channel.recover()
  await channel.checkQueue('wire-node')
  await channel.unbindQueue('wire-node', 'wire-node', '', { 'x-match': 'any', colour: 'red', size: 3 })
  await channel.purgeQueue('wire-node')
  await channel.deleteQueue('wire-node')
  await channel.close()
  await connection.close()
}

main().catch(err => { console.error(err); process.exit(1) })
