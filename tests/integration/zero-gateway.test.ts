import { describe, expect, it } from 'vitest'
import { takenOut } from '../../src/connectors/sinks/zero/change-frames.ts'
import type { TableSchema } from '../../src/core/table.ts'
import type { ColumnType } from '../../src/core/column-type.ts'
import {
  type Change,
  GatewayBench,
  GatewayConsumer,
  insert,
  type Message,
  remove,
  stateOf,
  update,
} from '../support/gateway-bench.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import { column, int, table } from '../support/memory-pipeline.ts'
import { seeded } from '../support/random.ts'
import { waitFor } from '../support/wait-for.ts'

const users = table('users')
const orders = table('orders')
const notes = table('notes')
const json: ColumnType = { kind: 'json' }
const user = (id: number, name = `user ${id}`, note: string | null = null) => ({ id, name, note })

const withoutMarks = (messages: readonly Message[]) =>
  messages.map((message) => ({ ...message, watermark: undefined, time: undefined }))
const types = (messages: readonly Message[]) => messages.map(({ type }) => type)

describe('a consumer without a watermark', () => {
  it('gets the rows as they are, and then each change as it comes', async () => {
    await using bench = await GatewayBench.start()
    await bench.copy(
      [users, orders],
      [insert(users, user(1)), insert(orders, user(7)), insert(users, user(2))],
    )
    const consumer = await bench.consume({ tables: ['users'] })
    await consumer.got('snapshot-end')
    expect(withoutMarks(consumer.messages)).toEqual([
      { type: 'snapshot-begin' },
      {
        type: 'schema',
        table: 'users',
        key: ['id'],
        columns: [
          { name: 'id', type: 'int4', json: 'number', nullable: expect.any(Boolean) as boolean },
          { name: 'name', type: 'text', json: 'string', nullable: true },
          { name: 'note', type: 'text', json: 'string', nullable: true },
        ],
      },
      { type: 'insert', table: 'users', key: { id: 1 }, row: user(1) },
      { type: 'insert', table: 'users', key: { id: 2 }, row: user(2) },
      { type: 'snapshot-end' },
    ])
    consumer.messages.length = 0
    await bench.write(
      insert(users, user(3)),
      insert(orders, user(8)),
      update(users, { id: 1, name: 'other' } as never),
      update(users, user(20), user(2)),
      remove(users, user(3)),
    )
    await consumer.got('commit')
    expect(withoutMarks(consumer.messages)).toEqual([
      { type: 'begin' },
      { type: 'insert', table: 'users', key: { id: 3 }, row: user(3) },
      // What is unchanged is left out, and the key that is given is the one before.
      { type: 'update', table: 'users', key: { id: 1 }, row: { id: 1, name: 'other' } },
      { type: 'update', table: 'users', key: { id: 2 }, row: user(20) },
      { type: 'delete', table: 'users', key: { id: 3 } },
      { type: 'commit' },
    ])
    const [begin, commit] = [consumer.messages[0]!, consumer.messages.at(-1)!]
    expect(begin.watermark).toBe(commit.watermark)
    expect(commit['time']).toBe(2000)
  })

  it('is kept waiting, not refused, until there is something', async () => {
    await using bench = await GatewayBench.start()
    const early = await bench.consume({ tables: ['users'] })
    const wrong = await bench.consume({ tables: ['usres'] })
    await bench.copy([users], [insert(users, user(1))])
    await early.got('snapshot-end')
    expect(stateOf(early.messages)).toEqual({ users: { '{"id":1}': user(1) } })
    expect((await wrong.end()).code).toBe(4400)
  })

  it('gets a snapshot that does not move while it is read', async () => {
    await using bench = await GatewayBench.start()
    const rows = Array.from({ length: 20_000 }, (_, id) => insert(users, user(id)))
    await bench.copy([users], rows)
    const consumer = await bench.consume({ tables: ['users'] })
    await consumer.got('insert', 10)
    consumer.socket.pause()
    for (let id = 0; id < 50; id++)
      await bench.write(remove(users, user(id)), insert(users, user(100_000 + id)))
    consumer.socket.resume()
    await consumer.got('commit', 50)
    const end = consumer.messages.findIndex(({ type }) => type === 'snapshot-end')
    expect(Object.keys(stateOf(consumer.messages.slice(0, end))['users']!)).toHaveLength(20_000)
    const after = stateOf(consumer.messages)['users']!
    expect(Object.keys(after)).toHaveLength(20_000)
    expect(after['{"id":49}']).toBeUndefined()
    expect(after['{"id":100049}']).toEqual(user(100_049))
  })
})

describe('a consumer with a watermark (GS-1, GS-2)', () => {
  /** A random life of three tables: each transaction touches some of them. */
  function life(count: number): Change[][] {
    const random = seeded('a random life')
    const tables: readonly TableSchema[] = [users, orders, notes]
    const rows = new Map(tables.map((each) => [each, new Set<number>()]))
    return Array.from({ length: count }, () =>
      Array.from({ length: 1 + random.below(4) }, (): Change => {
        const of = tables[random.below(3)]!
        const ids = rows.get(of)!
        const id = random.below(40)
        if (!ids.has(id)) {
          ids.add(id)
          return insert(of, user(id, `n${random.below(1000)}`))
        }
        const kind = random.below(3)
        if (kind === 0) {
          ids.delete(id)
          return remove(of, user(id))
        }
        if (kind === 1) return update(of, { id, name: `n${random.below(1000)}` } as never)
        const other = 40 + random.below(40)
        if (ids.has(other)) return update(of, user(id, 'whole', 'row'))
        ids.delete(id)
        ids.add(other)
        return update(of, user(other, 'moved'), user(id))
      }),
    )
  }

  it('gets exactly the changes of its tables after it, in order, wherever it left off', async () => {
    await using bench = await GatewayBench.start()
    await bench.copy([users, orders, notes])
    const all = await bench.consume({ tables: ['*'] })
    const some = await bench.consume({ tables: ['users', 'public.notes'] })
    const transactions = life(400)
    for (let done = 0; done < transactions.length; done += 20)
      await bench.writeAll(transactions.slice(done, done + 20))
    await all.got('commit', transactions.length)

    // One commit for each transaction, with all of it.
    expect(all.messages.filter(({ type }) => type === 'commit')).toHaveLength(transactions.length)
    const shown = (change: Change) => [change.kind, change.table.name, change.row['id']]
    const told = all.messages.filter(
      ({ key, row }) => key !== undefined && (row ?? key) !== undefined && Array.isArray(key) === false,
    )
    expect(told.map(({ type, table: of, key, row }) => [type, of, (row ?? key)!['id']])).toEqual(
      transactions.flat().map(shown),
    )
    // Of some tables: what all got, without the rest, and without transactions that have nothing of them.
    const last = all.messages.findLast(({ table: of }) => of === 'users' || of === 'notes')!
    await waitFor('the last change of its tables came', () =>
      some.messages.some((message) => JSON.stringify(message) === JSON.stringify(last)),
    )
    await waitFor('its commit came', () => some.messages.at(-1)!.type === 'commit')
    const expected = all.messages.filter(({ table: of }) => of !== 'orders')
    const kept = expected.filter(
      ({ type }, index) =>
        !(type === 'begin' && expected[index + 1]!.type === 'commit') &&
        !(type === 'commit' && expected[index - 1]!.type === 'begin'),
    )
    expect(some.messages).toEqual(kept)
    expect(JSON.stringify(some.messages)).not.toContain('orders')

    // From every tenth place: no gap, no repeat.
    const marks = [...some.messages.entries()].filter(
      ([, { type }]) => type === 'commit' || type === 'snapshot-end',
    )
    for (const [index, { watermark }] of marks.filter((_, n) => n % 10 === 0)) {
      const rest = some.messages.slice(index + 1)
      const again = await bench.consume({ tables: ['users', 'notes'], watermark })
      await waitFor('the rest came', () => again.messages.length >= rest.length)
      expect(again.messages).toEqual(rest)
      again.socket.terminate()
    }
  })

  it('goes on after one that it got without changes of its own', async () => {
    await using bench = await GatewayBench.start({ gateway: { keepAliveMs: 40 } })
    await bench.copy([users, orders])
    const consumer = await bench.consume({ tables: ['users'] })
    await consumer.got('snapshot-end')
    await bench.write(insert(orders, user(1)))
    const [mark] = await consumer.got('watermark')
    expect(mark!.watermark! > consumer.messages[0]!.watermark!).toBe(true)
    await bench.write(insert(users, user(1)))
    const again = await bench.consume({ tables: ['users'], watermark: mark!.watermark })
    await again.got('commit')
    expect(types(again.messages)).toEqual(['begin', 'insert', 'commit'])
    // Told once, not over and over: another one hears meanwhile that nothing happens.
    await waitFor('all was told', () => consumer.watermark === again.watermark)
    const idle = await fetch(`${bench.url}?tables=users&watermark=${again.watermark}`)
    const comments = idle.body!.getReader()
    for (let heard = 0; heard < 5; heard++) await comments.read()
    await comments.cancel()
    expect(new Set(consumer.messages.map((message) => JSON.stringify(message))).size).toBe(
      consumer.messages.length,
    )
  })

  it('gets a transaction that is larger than any piece of work as one', async () => {
    await using bench = await GatewayBench.start()
    await bench.copy([users])
    const consumer = await bench.consume({ tables: ['users'] })
    await consumer.got('snapshot-end')
    const part = (first: number) =>
      Array.from({ length: 1000 }, (_, i) => insert(users, user(first + i, 'x'.repeat(200))))
    await bench.writeParts(Array.from({ length: 20 }, (_, index) => part(index * 1000)))
    await bench.write(insert(users, user(99_999)))
    await consumer.got('commit', 2)
    const marks = types(consumer.messages).flatMap((type, index) =>
      type === 'insert' ? [] : [[type, index]],
    )
    const at = (marks.find(([type]) => type === 'begin') as [string, number])[1]
    expect(marks.filter(([, index]) => (index as number) >= at)).toEqual([
      ['begin', at],
      ['commit', at + 20_001],
      ['begin', at + 20_002],
      ['commit', at + 20_004],
    ])
  })

  it('that is none of ours is told to begin anew', async () => {
    await using bench = await GatewayBench.start()
    await bench.copy([users])
    for (const watermark of ['00', 'zz', '0z', 'not a watermark', 'z'.repeat(50), '100.01', '99zzzzzzzzzz']) {
      const consumer = await bench.consume({ tables: ['users'], watermark })
      expect((await consumer.end()).code).toBe(4410)
      expect(consumer.messages).toEqual([{ type: 'reset', reason: expect.any(String) as string }])
    }
  })

  it('that the log does not reach back to is told to begin anew', async () => {
    await using bench = await GatewayBench.start({ sink: { retain: '1ms' } })
    await bench.copy([users])
    const first = await bench.consume({ tables: ['users'] })
    await first.got('snapshot-end')
    const { watermark } = first
    first.socket.terminate()
    await bench.write(insert(users, user(1)))
    await bench.write(insert(users, user(2)))
    let code = 0
    await waitFor('the log is cut', async () => {
      const late = await bench.consume({ tables: ['users'], watermark })
      await waitFor('an answer', () => late.closed !== null || late.messages.length > 0)
      await new Promise((resolve) => setImmediate(resolve))
      code = late.closed?.code ?? 0
      late.socket.terminate()
      return code === 4410
    })
    expect(code).toBe(4410)
  })
})

describe('changes of tables', () => {
  it('come in the order of the log, with what the columns are from there on', async () => {
    await using bench = await GatewayBench.start()
    await bench.copy([users], [insert(users, user(1))])
    const consumer = await bench.consume({ tables: ['users'] })
    await consumer.got('snapshot-end')
    consumer.messages.length = 0

    const age = column('age', int)
    const wider: TableSchema = { ...users, version: 1, columns: [...users.columns, age] }
    await bench.alter(users, { kind: 'add-column', column: age } as never, wider)
    await bench.write(insert(wider, { ...user(2), age: 7 }))
    await consumer.got('commit')
    const nick = { ...users.columns[1]!, name: 'nick' }
    const renamed: TableSchema = {
      ...wider,
      version: 2,
      columns: [wider.columns[0]!, nick, ...wider.columns.slice(2)],
    }
    await bench.alter(wider, { kind: 'rename-column', from: wider.columns[1]!, to: nick } as never, renamed)
    await bench.write(update(renamed, { id: 1, nick: 'n' } as never))
    await consumer.got('commit', 2)
    const narrower: TableSchema = { ...renamed, version: 3, columns: renamed.columns.slice(0, 3) }
    await bench.alter(renamed, { kind: 'drop-column', column: age } as never, narrower)
    await bench.write(remove(narrower, { id: 2, nick: 'x', note: null }))
    await consumer.got('commit', 3)
    await bench.alter(narrower, { kind: 'truncate' })
    await bench.write(insert(narrower, { id: 3, nick: 'x', note: null }))
    await consumer.got('commit', 4)

    const seen = consumer.messages.filter(({ type }) => type !== 'begin' && type !== 'commit')
    expect(types(seen)).toEqual([
      'schema',
      'insert',
      'schema',
      'update',
      'schema',
      'delete',
      'truncate',
      'insert',
    ])
    const names = (message: Message) => (message['columns'] as { name: string }[]).map(({ name }) => name)
    expect(names(seen[0]!)).toEqual(['id', 'name', 'note', 'age'])
    expect(names(seen[2]!)).toEqual(['id', 'nick', 'note', 'age'])
    expect(seen[2]!['renamed']).toEqual([{ from: 'name', to: 'nick' }])
    expect(names(seen[4]!)).toEqual(['id', 'nick', 'note'])
    expect(seen[1]!.row).toEqual({ ...user(2), age: 7 })
    // A late consumer gets the same rows.
    const late = await bench.consume({ tables: ['users'] })
    await late.got('snapshot-end')
    expect(stateOf(late.messages)['users']).toEqual(stateOf(consumer.messages)['users'])
  })

  it('bring a table that is dropped, and one of the same name that is made', async () => {
    await using bench = await GatewayBench.start()
    await bench.copy([users, orders], [insert(users, user(1))])
    const consumer = await bench.consume({ tables: ['users'] })
    await consumer.got('snapshot-end')
    await bench.alter(users, { kind: 'drop-table' } as never)
    await bench.write(insert(orders, user(1)))
    await consumer.got('drop')
    expect(consumer.messages.at(-2)).toEqual({ type: 'drop', table: 'users' })
  })
})

describe('values', () => {
  it('are JSON, documents as they are, and nothing loses a digit', async () => {
    const doc = column('doc', json)
    const big = column('big', { kind: 'int', bits: 64, unsigned: false })
    const docs: TableSchema = { ...table('docs'), columns: [column('id', int), doc, big] }
    await using bench = await GatewayBench.start()
    await bench.copy(
      [docs],
      [insert(docs, { id: 1, doc: '{ "a": [1, "ü\\n\\"", null]}', big: 9007199254740991n })],
    )
    const consumer = await bench.consume({ tables: ['docs'] })
    await consumer.got('snapshot-end')
    const row = { id: 1, doc: { a: [1, 'ü\n"', null] }, big: 9007199254740991 }
    expect(consumer.messages.find(({ type }) => type === 'insert')!.row).toEqual(row)
    await bench.write(insert(docs, { id: 2, doc: null, big: null }))
    await consumer.got('commit')
    expect(consumer.messages.at(-2)!.row).toEqual({ id: 2, doc: null, big: null })
  })

  it('that are documents keep their digits, and stay on one line', () => {
    const out = (text_: string) => {
      const bytes = Buffer.from(`x${text_}y`)
      return takenOut(bytes, 1, bytes.length - 1).toString()
    }
    expect(out(JSON.stringify('{"n": 12345678901234567890.12345678901234567890}'))).toBe(
      '{"n": 12345678901234567890.12345678901234567890}',
    )
    expect(out(JSON.stringify('{\r\n"a":\n"\\n"}'))).toBe('{  "a": "\\n"}')
    expect(out(JSON.stringify('"text"'))).toBe('"text"')
    expect(out('[1,2]')).toBe('[1,2]')
  })
})

describe('what cannot be had', () => {
  it('is refused with what is wrong', async () => {
    await using bench = await GatewayBench.start()
    await bench.copy([users])
    const mistakes: [unknown, string][] = [
      [{ tables: ['usres'] }, 'there is no table "usres", did you mean "users"?'],
      [{ tables: ['users', 'nothing-like-it'] }, 'there is no table "nothing-like-it"'],
      [{ tables: [] }, '`tables` must be a list of names, or ["*"]'],
      [{ tables: 'users' }, '`tables` must be a list of names, or ["*"]'],
      [{ tables: [1] }, '`tables` must be a list of names, or ["*"]'],
      [{ tables: Array.from({ length: 1001 }, () => 'users') }, '`tables` must be a list of names, or ["*"]'],
      [{ tables: ['users'], watermark: 5 }, '`watermark` must be text, or null for the rows as they are now'],
      [{ tables: ['users'], publications: 'x' }, '`publications` must be a list of names'],
      [{ tables: ['users'], publications: ['x'] }, 'there is no publication "x"'],
      [{ tables: ['users'], watermarks: 'x' }, 'there is no option "watermarks", did you mean "watermark"?'],
      [['users'], 'the first message must be a JSON object with `tables`'],
    ]
    for (const [request, message] of mistakes) {
      const consumer = await bench.consume(request as object)
      expect((await consumer.end()).code).toBe(4400)
      expect(consumer.messages).toEqual([{ type: 'error', message }])
    }
  })

  it('is refused where it is no JSON, and costs nobody else anything', async () => {
    await using bench = await GatewayBench.start()
    await bench.copy([users])
    const good = await bench.consume({ tables: ['users'] })
    const bad = await bench.consume(null)
    bad.socket.send('hello')
    expect((await bad.end()).code).toBe(4400)
    await bench.write(insert(users, user(1)))
    expect(await good.got('commit')).toHaveLength(1)
  })
})

describe('publications', () => {
  it('decide which tables, columns and rows are there', async () => {
    await using bench = await GatewayBench.start({
      publications: {
        public: {
          tables: ['public.users', 'public.orders'],
          columns: { 'public.users': ['id', 'name'] },
          rows: { 'public.orders': { name: 'open' } },
        },
      },
    })
    await bench.copy(
      [users, orders, notes],
      [
        insert(users, user(1, 'a', 'hidden')),
        insert(notes, user(1)),
        insert(orders, user(1, 'open')),
        insert(orders, user(2, 'closed')),
        insert(orders, user(3, 'open')),
      ],
    )
    const refused = await bench.consume({ tables: ['notes'], publications: ['public'] })
    expect((await refused.end()).code).toBe(4400)
    expect(refused.messages).toEqual([{ type: 'error', message: 'there is no table "notes"' }])
    const consumer = await bench.consume({ tables: ['*'], publications: ['public'] })
    await consumer.got('snapshot-end')
    const ids = (messages: readonly Message[]) =>
      messages.flatMap(({ type, table: of, key }) =>
        of === 'orders' && type !== 'schema' ? [[type, key!['id']]] : [],
      )
    expect(ids(consumer.messages)).toEqual([
      ['insert', 1],
      ['insert', 3],
    ])
    consumer.messages.length = 0
    // Hidden from this consumer as a whole.
    await bench.write(insert(notes, user(2)), update(orders, user(2, 'closed', 'x')))
    await bench.write(
      update(users, user(1, 'b', 'hidden')),
      update(orders, user(1, 'closed')),
      update(orders, user(2, 'open')),
      update(orders, user(30, 'open'), user(3, 'open')),
      update(orders, user(31, 'closed'), user(30, 'open')),
    )
    await consumer.got('commit')
    expect(types(consumer.messages)).toEqual([
      'begin',
      'update',
      'delete',
      'insert',
      'update',
      'delete',
      'commit',
    ])
    expect(ids(consumer.messages)).toEqual([
      ['delete', 1],
      ['insert', 2],
      ['update', 3],
      ['delete', 30],
    ])
    expect(JSON.stringify(consumer.messages.filter(({ table: of }) => of === 'users'))).not.toMatch(
      /hidden|note/,
    )
  })
})

describe('where a publication is required', () => {
  it('nobody gets everything', async () => {
    const publications = { public: { tables: ['public.users'] } }
    await using bench = await GatewayBench.start({ publications, sink: { requirePublication: true } })
    await bench.copy([users, orders], [insert(users, user(1)), insert(orders, user(1))])
    const greedy = await bench.consume({ tables: ['*'] })
    expect((await greedy.end()).code).toBe(4400)
    const modest = await bench.consume({ tables: ['*'], publications: ['public'] })
    await modest.got('snapshot-end')
    expect(Object.keys(stateOf(modest.messages))).toEqual(['users'])
  })
})

describe('server-sent events', () => {
  /** Reads events until `enough`. */
  async function events(
    url: string,
    headers: Record<string, string>,
    enough: (events: readonly { id?: string; data: Message }[]) => boolean,
  ): Promise<{ id?: string; data: Message }[]> {
    const aborted = new AbortController()
    const response = await fetch(url, { headers, signal: aborted.signal })
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    const seen: { id?: string; data: Message }[] = []
    let rest = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body!) {
      rest += decoder.decode(chunk as Uint8Array, { stream: true })
      const blocks = rest.split('\n\n')
      rest = blocks.pop()!
      for (const block of blocks) {
        const id = /^id: (.*)$/m.exec(block)?.[1]
        const data = /^data: (.*)$/m.exec(block)?.[1]
        if (data !== undefined)
          seen.push({ ...(id !== undefined && { id }), data: JSON.parse(data) as Message })
      }
      if (enough(seen)) break
    }
    aborted.abort()
    return seen
  }
  const has =
    (type: string, count = 1) =>
    (seen: readonly { data: Message }[]) =>
      seen.filter(({ data }) => data.type === type).length >= count

  it('bring the same, and go on after the last id', async () => {
    await using bench = await GatewayBench.start()
    await bench.copy([users, orders], [insert(users, user(1))])
    const first = await events(`${bench.url}?tables=users,orders`, {}, has('snapshot-end'))
    expect(types(first.map(({ data }) => data))).toEqual([
      'snapshot-begin',
      'schema',
      'schema',
      'insert',
      'snapshot-end',
    ])
    const { id, data } = first.at(-1)!
    expect(id).toBe(data.watermark)
    expect(first.slice(0, -1).every((event) => event.id === undefined)).toBe(true)
    await bench.write(insert(users, user(2)), insert(orders, user(2)))
    await bench.write(insert(users, user(3)))
    const url = `${bench.url}?tables=users&watermark=${data.watermark}`
    const second = await events(url, {}, has('commit', 2))
    expect(second.map(({ data: { type, row } }) => [type, row?.['id']])).toEqual([
      ['begin', undefined],
      ['insert', 2],
      ['commit', undefined],
      ['begin', undefined],
      ['insert', 3],
      ['commit', undefined],
    ])
    // The browser sends the id with the address that it had at first.
    const third = await events(url, { 'last-event-id': second[2]!.id! }, has('commit'))
    expect(third).toEqual(second.slice(3))
  })

  it('are accepted at once, also where nothing is to be said', async () => {
    await using bench = await GatewayBench.start({ gateway: { keepAliveMs: 600_000 } })
    const early = await fetch(`${bench.url}?tables=users`)
    expect(early.status).toBe(200)
    await early.body!.cancel()
  })

  it('show now and then that the connection is open', async () => {
    await using bench = await GatewayBench.start({ gateway: { keepAliveMs: 30 } })
    const early = await fetch(`${bench.url}?tables=users`)
    const reader = early.body!.getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toMatch(/^:\n\n/)
    await reader.cancel()
  })

  it('are refused with a status', async () => {
    await using bench = await GatewayBench.start()
    await bench.copy([users])
    const answer = async (query: string) => {
      const response = await fetch(`${bench.url}${query}`)
      return [response.status, await response.json()]
    }
    expect(await answer('')).toMatchObject([400, { type: 'error' }])
    expect(await answer('?tables=usres')).toEqual([
      400,
      { type: 'error', message: 'there is no table "usres", did you mean "users"?' },
    ])
    expect(await answer('?tables=users&watermark=0z')).toMatchObject([410, { type: 'reset' }])
  })
})

describe('the sink', () => {
  it('serves it beside the stream for Zero, and ends with open consumers', async () => {
    const bench = await GatewayBench.start()
    await bench.copy([users], [insert(users, user(1))])
    const consumer = new GatewayConsumer(`ws://127.0.0.1:${bench.address.port}/v1/changes?tables=users`)
    await consumer.got('snapshot-end')
    await bench.write(insert(users, user(2)))
    await consumer.got('commit')
    expect(Object.keys(stateOf(consumer.messages)['users']!)).toHaveLength(2)
    await bench[Symbol.asyncDispose]()
    expect((await consumer.end()).code).toBe(1001)
    expect(bench.log.lines.filter(({ level }) => level === 'error')).toEqual([])
  })
})

describe('many consumers (GS-3)', () => {
  it('are served although some read nothing; those are cut and can go on', async () => {
    const stallTimeoutMs = 1500
    await using bench = await GatewayBench.start({ gateway: { stallTimeoutMs } })
    await bench.copy([users, orders])
    const connect = (tables: readonly string[], count: number) =>
      Promise.all(Array.from({ length: count }, () => bench.consume({ tables })))
    const others = await connect(['users'], 990)
    const stalled = await connect(['users', 'orders'], 10)
    const [reader] = await connect(['orders'], 1)
    await Promise.all([...others, ...stalled, reader!].map((consumer) => consumer.got('snapshot-end')))

    let next = 0
    /** Milliseconds from a commit until all others have it, on average. */
    const latency = async (rounds: number): Promise<number> => {
      const since = performance.now()
      for (let round = 0; round < rounds; round++) {
        const id = next++
        for (const { messages } of others) messages.length = 0
        await bench.write(insert(users, user(id)))
        await waitFor('all of them have it', () =>
          others.every(({ messages }) => messages.at(-1)?.type === 'commit'),
        )
        expect(others.every(({ messages }) => messages[1]!.key!['id'] === id)).toBe(true)
      }
      return (performance.now() - since) / rounds
    }
    const before = await latency(20)
    for (const { socket } of stalled) socket.pause()
    collectGarbage()
    const memory = process.memoryUsage().arrayBuffers
    // More than the kernel holds for who does not read.
    const wide = 'x'.repeat(100_000)
    for (let id = 0; id < 800; id += 5)
      await bench.write(...Array.from({ length: 5 }, (_, i) => insert(orders, user(id + i, wide))))
    await reader!.got('insert', 800)
    collectGarbage()
    const held = process.memoryUsage().arrayBuffers - memory
    const during = await latency(20)
    console.log(
      `${before.toFixed(1)} ms to 990 consumers, ${during.toFixed(1)} ms while 10 more read nothing, ${held} bytes held`,
    )
    const cut = () => bench.log.lines.filter(({ message }) => message.includes('too slow')).length
    await waitFor('the stalled ones were noticed', () => cut() === 10)
    expect(others.every(({ closed }) => closed === null)).toBe(true)
    // 80 MB were written.
    expect(held).toBeLessThan(30_000_000)

    // Reading on, they find out why, and go on without a gap.
    for (const { socket } of stalled) socket.resume()
    for (const consumer of stalled) expect(await consumer.end()).toMatchObject({ code: 4408 })
    const [first] = stalled
    const again = await bench.consume({ tables: ['users', 'orders'], watermark: first!.watermark })
    await waitFor('the last change came', () =>
      again.messages.some(({ table: of, key }) => of === 'users' && key!['id'] === next - 1),
    )
    const rows = stateOf([...first!.messages, ...again.messages])
    expect(Object.keys(rows['users']!)).toHaveLength(next)
    expect(Object.keys(rows['orders']!)).toHaveLength(800)
  })

  it('that leave in the middle of their snapshot hold nobody up', async () => {
    await using bench = await GatewayBench.start()
    const rows = Array.from({ length: 500 }, (_, id) => insert(users, user(id, 'x'.repeat(100_000))))
    await bench.copy([users], rows)
    for (let round = 0; round < 6; round++) {
      const one = await bench.consume({ tables: ['users'] })
      await one.got('insert')
      expect(types(one.messages)).not.toContain('snapshot-end')
      one.socket.terminate()
      await waitFor('it is gone', () => bench.listener.connections === 0)
    }
    const last = await bench.consume({ tables: ['users'] })
    expect(await last.got('snapshot-end')).toHaveLength(1)
  })

  it('leave nothing behind', async () => {
    await using bench = await GatewayBench.start()
    await bench.copy([users], [insert(users, user(1))])
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const before = timers()
    for (let round = 0; round < 5; round++) {
      const some = await Promise.all(Array.from({ length: 40 }, () => bench.consume({ tables: ['users'] })))
      await Promise.all(some.slice(0, 20).map((consumer) => consumer.got('snapshot-end')))
      for (const { socket } of some) socket.terminate()
      const aborted = new AbortController()
      await fetch(`${bench.url}?tables=users`, { signal: aborted.signal })
      aborted.abort()
      await waitFor('all are gone', () => bench.listener.connections === 0)
    }
    expect(bench.published.listeners).toBe(0)
    await waitFor('no timer is left', () => timers() <= before)
  })
})
