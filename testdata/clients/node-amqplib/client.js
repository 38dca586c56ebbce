// amqplib for Node.js, promises, plain and confirm channels. Usage: client.js URL PREFIX

const assert = require('node:assert/strict');
const amqp = require('amqplib');

const [url, prefix] = process.argv.slice(2);
const wait = 15_000; // milliseconds until a message counts as lost

const exclusive = async (ch, name, options = {}) =>
  (await ch.assertQueue(`${prefix}.${name}`, { exclusive: true, durable: false, ...options })).queue;

const within = (promise, what) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), wait);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

// take consumes n messages of a queue.
async function take(ch, queue, n, options = { noAck: true }) {
  const got = [];
  let full;
  const done = new Promise((resolve) => (full = resolve));
  const { consumerTag } = await ch.consume(queue, (message) => {
    if (message && got.push(message) === n) full();
  }, options);
  await within(done, `message ${n} of ${queue}`);
  await ch.cancel(consumerTag);
  return got;
}

const text = (message) => message.content.toString();

async function publishConsume(connection) {
  const ch = await connection.createChannel();
  const queue = await exclusive(ch, 'publish');
  for (let i = 0; i < 200; i++) {
    ch.sendToQueue(queue, Buffer.from(`m${i}`), {
      contentType: 'text/plain', correlationId: `${i}`, messageId: `id${i}`, type: 'greeting', appId: 'interop',
      userId: 'guest', timestamp: 1700000000 + i, priority: 3, persistent: true,
    });
  }
  const got = await take(ch, queue, 200);
  assert.deepEqual(got.map(text), [...Array(200).keys()].map((i) => `m${i}`));
  const p = got[7].properties;
  assert.deepEqual(
    [p.contentType, p.correlationId, p.messageId, p.type, p.appId, p.userId, p.timestamp, p.priority, p.deliveryMode],
    ['text/plain', '7', 'id7', 'greeting', 'interop', 'guest', 1700000007, 3, 2]);
}

async function confirm(connection) {
  const ch = await connection.createConfirmChannel();
  const { queue } = await ch.assertQueue(`${prefix}.confirm`, { durable: true });
  let confirmed = 0;
  for (let i = 0; i < 500; i++) {
    ch.sendToQueue(queue, Buffer.alloc(100), { persistent: true }, (err) => { if (!err) confirmed++; });
  }
  await within(ch.waitForConfirms(), 'the last confirm');
  assert.equal(confirmed, 500);
  assert.equal((await ch.checkQueue(queue)).messageCount, 500);
  assert.equal((await ch.purgeQueue(queue)).messageCount, 500);
  await ch.deleteQueue(queue);
}

async function mandatoryReturn(connection) {
  const ch = await connection.createConfirmChannel();
  const order = [];
  ch.on('return', (m) => order.push([m.fields.replyCode, m.fields.replyText, m.fields.exchange, m.fields.routingKey, text(m)]));
  ch.publish('amq.direct', `${prefix}.nowhere`, Buffer.from('lost'), { mandatory: true }, () => order.push('ack'));
  await within(ch.waitForConfirms(), 'the confirm');
  assert.deepEqual(order, [[312, 'NO_ROUTE', 'amq.direct', `${prefix}.nowhere`, 'lost'], 'ack']);
}

async function ttl(connection) {
  const ch = await connection.createChannel();
  const dead = await exclusive(ch, 'ttl.dead');
  const toDead = { deadLetterExchange: '', deadLetterRoutingKey: dead };
  const byQueue = await exclusive(ch, 'ttl.queue', { messageTtl: 40, ...toDead });
  const byMessage = await exclusive(ch, 'ttl.message', toDead);
  ch.sendToQueue(byQueue, Buffer.from('1'));
  assert.equal((await take(ch, dead, 1))[0].properties.headers['x-death'][0].reason, 'expired');
  ch.sendToQueue(byMessage, Buffer.from('2'), { expiration: 40 });
  const { properties } = (await take(ch, dead, 1))[0];
  assert.deepEqual([properties.expiration, properties.headers['x-death'][0]['original-expiration']], [undefined, '40']);
}

async function deadLetter(connection) {
  const ch = await connection.createChannel();
  const { exchange } = await ch.assertExchange(`${prefix}.dlx`, 'fanout', { autoDelete: true, durable: false });
  const dead = await exclusive(ch, 'dlx.dead');
  await ch.bindQueue(dead, exchange, '');
  const work = await exclusive(ch, 'dlx.work', { deadLetterExchange: exchange, maxLength: 2 });
  for (const body of ['a', 'b', 'c']) ch.sendToQueue(work, Buffer.from(body)); // a leaves by maxLength
  const overflow = (await take(ch, dead, 1))[0];
  assert.deepEqual([text(overflow), overflow.properties.headers['x-death'][0].reason], ['a', 'maxlen']);
  ch.nack(await ch.get(work), false, false);
  const rejected = (await take(ch, dead, 1))[0];
  const { time, ...death } = rejected.properties.headers['x-death'][0];
  assert.equal(time['!'], 'timestamp');
  assert.deepEqual([text(rejected), death],
    ['b', { count: 1, reason: 'rejected', queue: work, exchange: '', 'routing-keys': [work] }]);
  assert.equal(rejected.properties.headers['x-first-death-queue'], work);
}

async function priority(connection) {
  const ch = await connection.createChannel();
  const queue = await exclusive(ch, 'priority', { maxPriority: 10 });
  for (const p of [1, 9, 5, 9]) ch.sendToQueue(queue, Buffer.from(`${p}`), { priority: p });
  const order = [];
  for (let i = 0; i < 4; i++) order.push(text(await ch.get(queue, { noAck: true })));
  assert.deepEqual(order, ['9', '9', '5', '1']);
}

async function replyTo(connection) {
  const ch = await connection.createChannel();
  const queue = await exclusive(ch, 'rpc');
  await ch.consume(queue, (m) => {
    assert.match(m.properties.replyTo, /^amq\.rabbitmq\.reply-to\../);
    ch.sendToQueue(m.properties.replyTo, Buffer.from(`re:${text(m)}`), { correlationId: m.properties.correlationId });
  }, { noAck: true });
  const other = await amqp.connect(url);
  try {
    const call = await other.createChannel();
    const replies = [];
    let full;
    const done = new Promise((resolve) => (full = resolve));
    await call.consume('amq.rabbitmq.reply-to', (m) => {
      if (replies.push([m.properties.correlationId, text(m)]) === 5) full();
    }, { noAck: true });
    for (let i = 0; i < 5; i++) {
      call.sendToQueue(queue, Buffer.from(`${i}`), { replyTo: 'amq.rabbitmq.reply-to', correlationId: `c${i}` });
    }
    await within(done, 'the last reply');
    assert.deepEqual(replies, [0, 1, 2, 3, 4].map((i) => [`c${i}`, `re:${i}`]));
  } finally {
    await other.close();
  }
}

async function errors(connection) {
  const fails = async (operation) => {
    const ch = await connection.createChannel();
    const emitted = new Promise((resolve) => ch.on('error', resolve));
    await assert.rejects(operation(ch));
    const e = await within(emitted, 'channel.close');
    return [e.code, e.message.replace(/.*with message "(.*)"$/, '$1')];
  };
  assert.deepEqual(await fails((ch) => ch.checkQueue(`${prefix}.missing`)),
    [404, `NOT_FOUND - no queue '${prefix}.missing' in vhost '/'`]);
  const ch = await connection.createChannel();
  const queue = await exclusive(ch, 'errors', { maxLength: 5 });
  assert.deepEqual(await fails((other) => exclusive(other, 'errors', { maxLength: 6 })),
    [406, `PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '${queue}' in vhost '/': received '6' but current is '5'`]);
  ch.sendToQueue(queue, Buffer.from('alive'));
  assert.equal(text((await take(ch, queue, 1))[0]), 'alive');
}

async function acknowledge(connection) {
  const ch = await connection.createChannel();
  await ch.prefetch(4);
  const queue = await exclusive(ch, 'ack');
  for (const body of ['1', '2', '3', '4']) ch.sendToQueue(queue, Buffer.from(body));
  const first = await take(ch, queue, 4, { noAck: false });
  ch.ack(first[0]);
  ch.nack(first[2], true, true); // 2 and 3
  ch.reject(first[3], true);
  const again = await take(ch, queue, 3, { noAck: false });
  assert.deepEqual(again.map((m) => [text(m), m.fields.redelivered]), [['2', true], ['3', true], ['4', true]]);
  ch.ackAll();
  assert.equal((await ch.checkQueue(queue)).messageCount, 0);
}

async function headers(connection) {
  const ch = await connection.createChannel();
  const { exchange } = await ch.assertExchange(`${prefix}.headers`, 'headers', { autoDelete: true, durable: false });
  const queue = await exclusive(ch, 'headers');
  await ch.bindQueue(queue, exchange, '', { 'x-match': 'all', kind: 'a', n: 1 });
  const sent = {
    kind: 'a', n: 1, big: 2 ** 40, negative: -5, yes: true, no: false, void: null, double: 1.5,
    when: { '!': 'timestamp', value: 1709208000 }, list: [1, 'two', { three: 3 }],
    table: { deep: { deeper: 'x' } }, bytes: Buffer.from([0, 255]), text: 'gr\u00fc\u00dfe',
  };
  for (const h of [{ kind: 'b', n: 1 }, { kind: 'a' }, { kind: 'a', n: '1' }, sent]) {
    ch.publish(exchange, '', Buffer.from('h'), { headers: h });
  }
  assert.deepEqual({ ...(await take(ch, queue, 1))[0].properties.headers }, sent);
}

async function largeBody(connection) {
  const ch = await connection.createChannel();
  const queue = await exclusive(ch, 'large');
  const body = Buffer.from(Uint8Array.from({ length: 5 * 1024 * 1024 }, (_, i) => i % 251));
  ch.sendToQueue(queue, body);
  assert.ok((await take(ch, queue, 1))[0].content.equals(body), '5 MiB came back changed');
}

const checks = {
  'publish-consume': publishConsume, confirm, return: mandatoryReturn, ttl, 'dead-letter': deadLetter, priority,
  'reply-to': replyTo, errors, ack: acknowledge, headers, 'large-body': largeBody,
}; // no tx: amqplib has no transactions

(async () => {
  for (const [name, check] of Object.entries(checks)) {
    try {
      const connection = await amqp.connect(url);
      connection.on('error', (e) => console.error(e));
      await check(connection);
      await connection.close();
      console.log(`ok ${name}`);
    } catch (e) {
      console.error(e);
      console.log(`FAIL ${name}: ${e.message.replaceAll('\n', ' ')}`);
      process.exitCode = 1;
    }
  }
  process.exit();
})();
