/** For every law of sinks a subject that breaks it, made of one that keeps it by one flaw. */
import { type Value, UNCHANGED } from '../../src/core/canonical.ts'
import type { Logger } from '../../src/core/context.ts'
import {
  AuthError,
  ConnectionError,
  CoreError,
  InternalError,
  PoisonRecordError,
  SchemaError,
} from '../../src/core/error.ts'
import { type Column, tableName, type TableSchema } from '../../src/core/table.ts'
import type { ValueRow } from '../../src/core/value-batch.ts'
import type { SinkHarness } from '../../src/testkit/index.ts'
import type { RowChange } from '../../src/testkit/sink/story.ts'
import { urlOf } from '../support/servers.ts'
import { broken, misreading, withBench } from './broken-sink.ts'
import { clickHouseHarness } from './clickhouse.harness.ts'
import { keepingSinkHarness, memorySinkHarness } from './memory-sink.harness.ts'

export interface Breakage {
  /** What is wrong with the sink. */
  readonly flaw: string
  readonly subject: () => SinkHarness
  /** What the law must say, so that it fails for the right reason. */
  readonly says: RegExp
}

const memory = (): SinkHarness => memorySinkHarness('write')
const clickHouse = (): SinkHarness => clickHouseHarness(() => urlOf('clickhouse'))

/** By law: the first one is the plainest, others show further sides of it. */
export const breakages: Readonly<Record<string, readonly [Breakage, ...Breakage[]]>> = {
  inserts: [
    {
      flaw: 'forgets the last row of a first copy',
      subject: () =>
        misreading(memory(), {
          changes: (changes, { origin }) => (origin === 'snapshot' ? changes.slice(0, -1) : changes),
        }),
      says: /the row .* is missing/,
    },
  ],
  'order-per-key': [
    {
      flaw: 'applies the rows of a transaction in another order',
      subject: () => misreading(memory(), { changes: (changes) => changes.toReversed() }),
      says: /after \d+ transactions of the same keys/,
    },
  ],
  'key-change': [
    {
      flaw: 'ignores the old key',
      subject: () =>
        misreading(memory(), {
          changes: each((change) => (change.op === 'update' ? { ...change, before: null } : change)),
        }),
      says: /is there and should not be/,
    },
  ],
  'unchanged-kept': [
    {
      flaw: 'writes NULL for unchanged',
      subject: () => misreading(memory(), { changes: cells((cell) => (cell === UNCHANGED ? null : cell)) }),
      says: /is NULL instead of/,
    },
    {
      flaw: 'keeps unchanged values except when the key changes',
      subject: () =>
        misreading(memory(), {
          changes: each((change) =>
            change.op === 'update' && change.before !== null && change.before['id'] !== change.row['id']
              ? { ...change, row: { ...nulls(change.table), ...withoutUnchanged(change.row) } }
              : change,
          ),
        }),
      says: /is NULL instead of/,
    },
  ],
  'absent-null-unchanged': [
    {
      flaw: 'writes NULL for absent',
      subject: () =>
        misreading(memory(), {
          changes: each((change) =>
            change.op === 'insert' ? { ...change, row: { ...nulls(change.table), ...change.row } } : change,
          ),
        }),
      says: /a cell that the row did not have is shown/,
    },
  ],
  'batch-twice': [
    {
      flaw: 'appends a row that comes again',
      subject: appending,
      says: /is there twice/,
    },
  ],
  'replay-converges': [
    {
      flaw: 'adds to a number that comes again, instead of setting it',
      subject: () => {
        const seen = new Set<string>()
        const again = (row: ValueRow): boolean => {
          const words = Object.values(row).map(String).join(' ')
          return seen.size === seen.add(words).size
        }
        return misreading(memory(), {
          changes: each((change) => {
            if (change.op === 'delete' || !again(change.row)) return change
            const { amount } = change.row
            return typeof amount === 'number'
              ? { ...change, row: { ...change.row, amount: amount + 1 } }
              : change
          }),
        })
      },
      says: /after (replays|a replay)/,
    },
  ],
  'replay-partial-moves': [
    {
      flaw: 'has no versions of rows',
      subject: memory,
      says: /after (replays|a replay)/,
    },
  ],
  truncate: [
    {
      flaw: 'forgets to truncate',
      subject: () =>
        broken(memory(), (inner) => ({
          alterTable: async (before, change) =>
            change.change.kind === 'truncate' ? 'applied' : inner.alterTable(before, change),
        })),
      says: /is there and should not be/,
    },
  ],
  'drop-table': [
    {
      flaw: 'cannot do what it declares',
      subject: () =>
        broken(memory(), (inner) => ({
          alterTable: async (before, change) =>
            change.change.kind === 'drop-table' ? 'unsupported' : inner.alterTable(before, change),
        })),
      says: /the change drop-table was not applied/,
    },
    {
      flaw: 'knows only tables that were announced to it',
      subject: () =>
        broken(memory(), (inner) => {
          const known = new Set<string>()
          return {
            createTable: async (schema) => {
              known.add(tableName(schema))
              await inner.createTable(schema)
            },
            alterTable: async (before, change) => {
              if (!known.has(tableName(before))) throw new SchemaError('test/unknown', 'never heard of it')
              return inner.alterTable(before, change)
            },
          }
        }),
      says: /never heard of it/,
    },
  ],
  'add-column': [
    {
      flaw: 'ignores the default of a new column',
      subject: () =>
        misreading(memory(), { schema: columns((column) => ({ ...column, addedDefault: null })) }),
      says: /is NULL instead of/,
    },
  ],
  'drop-column': [
    {
      flaw: 'makes the table again when a column is dropped',
      subject: () =>
        misreading(memory(), {
          operation: (operation) => (operation.kind === 'drop-column' ? { kind: 'truncate' } : operation),
        }),
      says: /played once, .* differs/,
    },
  ],
  'rename-column': [
    {
      flaw: 'takes a renamed column for a new one',
      subject: () => misreading(memory(), { schema: columns((column) => ({ ...column, id: column.name })) }),
      says: /is NULL instead of/,
    },
  ],
  'alter-column': [
    {
      flaw: 'makes a column again when its type becomes wider',
      subject: () =>
        misreading(memory(), {
          schema: columns((column) => ({ ...column, id: JSON.stringify([column.id, column.type]) })),
        }),
      says: /is NULL instead of/,
    },
  ],
  'change-key': [
    {
      flaw: 'goes on with the old key',
      subject: () => misreading(keyChanging(), { schema: (schema) => ({ ...schema, key: [0] }) }),
      says: /played once, .* differs/,
    },
  ],
  'column-again': [
    {
      flaw: 'tells columns apart by name',
      subject: () => misreading(memory(), { schema: columns((column) => ({ ...column, id: column.name })) }),
      says: /column (old_)?name is/,
    },
  ],
  'undeclared-schema-change': [
    {
      flaw: 'says that it has made a change which it does not know',
      subject: () => broken(memory(), () => ({ alterTable: async () => 'applied' })),
      says: /change-key is not declared, and was answered with applied/,
    },
  ],
  'types-exact': [
    {
      flaw: 'carries large integers as floating point numbers',
      subject: () =>
        misreading(memory(), {
          changes: cells((cell) => (typeof cell === 'bigint' ? BigInt(Number(cell)) : cell)),
        }),
      says: /is "9007199254740992" instead of "9007199254740993"|instead of "-?\d{19,20}"/,
    },
    {
      flaw: 'loses the last column',
      subject: () =>
        misreading(memory(), {
          changes: cells((cell, column, table) => (column === table.columns.at(-1) ? null : cell)),
        }),
      says: /is NULL instead of/,
    },
    {
      flaw: 'refuses a value without saying in which column',
      subject: () =>
        misreading(memory(), {
          changes: cells((cell) => {
            if (cell !== 'infinity') return cell
            throw new PoisonRecordError('kit/refused', 'a value of a table cannot be kept')
          }),
        }),
      says: /a refusal names 0 columns instead of one/,
    },
    {
      flaw: 'refuses a value with another kind of error',
      subject: () =>
        misreading(memory(), {
          changes: cells((cell, { name }, table) => {
            if (cell !== 'infinity') return cell
            throw new SchemaError('kit/refused', `a value of ${name} of ${table.name} cannot be kept`)
          }),
        }),
      says: /a value was refused with SchemaError/,
    },
  ],
  'types-nullable': [
    {
      flaw: 'writes the empty text for NULL',
      subject: () =>
        misreading(memory(), {
          changes: cells((cell, { type }) => (cell === null && type.kind === 'text' ? '' : cell)),
        }),
      says: /is "" instead of NULL/,
    },
  ],
  'types-as-key': [
    {
      flaw: 'ignores spaces at the end of keys, as some collations do',
      subject: () =>
        misreading(memory(), {
          changes: cells((cell) => (typeof cell === 'string' ? cell.trimEnd() : cell)),
        }),
      says: /with keys of type text/,
    },
  ],
  'hostile-names': [
    {
      flaw: 'folds upper case in names',
      subject: () =>
        misreading(memory(), { schema: (schema) => ({ ...schema, name: schema.name.toLowerCase() }) }),
      says: /with the names \["CamelCase"/,
    },
    {
      flaw: 'folds columns that differ in case only',
      subject: () =>
        misreading(memory(), {
          schema: columns((column) => ({ ...column, name: column.name.toLowerCase() })),
        }),
      says: /with the names/,
    },
  ],
  'same-name-two-schemas': [
    {
      flaw: 'ignores the schema of a table',
      subject: () => misreading(memory(), { schema: (schema) => ({ ...schema, namespace: 'public' }) }),
      says: /with the same name in two schemas/,
    },
  ],
  'empty-batches': [
    {
      flaw: 'says that a transaction without rows is durable while rows before it wait',
      subject: () =>
        broken(memorySinkHarness('flush'), (inner) => ({
          writeBatch: async (batch, context) => {
            const result = await inner.writeBatch(batch, context)
            return batch.rowCount === 0 ? { durable: batch.position } : result
          },
        })),
      says: /said to be durable, .* is missing/,
    },
  ],
  'large-batches': [
    {
      flaw: 'cuts long values off',
      subject: () =>
        misreading(memory(), {
          changes: cells((cell) =>
            typeof cell === 'string' && cell.length > 1e6 ? cell.slice(0, 1e6) : cell,
          ),
        }),
      says: /column body is/,
    },
  ],
  'rejected-row': [
    {
      flaw: 'swallows what the target refuses',
      subject: () =>
        broken(memory(), (inner) => ({
          writeBatch: (batch, context) =>
            inner.writeBatch(batch, context).catch(() => ({ durable: batch.position })),
        })),
      says: /the refused row, or what is behind it, is said to be durable/,
    },
  ],
  'partial-success': [
    {
      flaw: 'takes a batch for stored that it has tried to store',
      subject: () => {
        const tried = new WeakMap<object, Set<string>>()
        return broken(memory(), (inner, bench) => ({
          writeBatch: async (batch, context) => {
            const known = tried.get(bench) ?? new Set()
            tried.set(bench, known)
            if (known.has(batch.position!.order)) return { durable: batch.position }
            known.add(batch.position!.order)
            return inner.writeBatch(batch, context)
          },
        }))
      },
      says: /had refused a part of a batch, .* is missing/,
    },
  ],
  'durable-survives-crash': [
    {
      flaw: 'says durable what only it has',
      subject: boasting,
      says: /after (a crash|crashes of the server), .* is missing/,
    },
  ],
  'durable-survives-disconnect': [
    {
      flaw: 'says durable what only it has',
      subject: boasting,
      says: /after (a run that|runs that) ended .* is missing/,
    },
    {
      flaw: 'says that less is durable than before',
      subject: () => {
        let calls = 0
        return broken(memory(), (inner) => ({
          writeBatch: async (batch, context) => {
            const { durable } = await inner.writeBatch(batch, context)
            const early = { order: '00000001', resume: null }
            return {
              durable: durable !== null && durable.order > '00000003' && ++calls % 5 === 0 ? early : durable,
            }
          },
        }))
      },
      says: /is (earlier than|no commit)/,
    },
    {
      flaw: 'says durable what is no commit',
      subject: () =>
        broken(memory(), (inner) => ({
          writeBatch: async (batch, context) => {
            const { durable } = await inner.writeBatch(batch, context)
            return { durable: durable === null ? null : { ...durable, order: `${durable.order}-1` } }
          },
        })),
      says: /is no commit that it was given/,
    },
  ],
  'position-with-rows': [
    {
      flaw: 'keeps the position of the batch before',
      subject: () => {
        const positions = new WeakMap<object, { last: string | null; before: string | null }>()
        return broken(keepingSinkHarness(), (inner, bench) => ({
          writeBatch: async (batch, context) => {
            const { last } = positions.get(bench) ?? { last: null }
            if (batch.position !== null) positions.set(bench, { last: batch.position.order, before: last })
            return inner.writeBatch(batch, context)
          },
          connect: async (context) => {
            const { position } = await inner.connect(context)
            const order = positions.get(bench)?.before ?? null
            return { position: position === null || order === null ? null : { ...position, order } }
          },
        }))
      },
      says: /with the position of step|connect returned another position/,
    },
  ],
  'newest-version-wins': [
    {
      flaw: 'lets win what comes last',
      subject: () => declaring(memory(), { keepsNewestVersion: true }),
      says: /when older rows came/,
    },
  ],
  'attach-table': [
    {
      flaw: 'makes the table that it is to take as it stands',
      subject: () =>
        broken(clickHouse(), (inner) => ({ attachTable: (schema) => inner.createTable(schema) })),
      says: /attaching another table did not fail/,
    },
  ],
  capabilities: [
    {
      flaw: 'declares other capabilities when it is connected',
      subject: () =>
        broken(memory(), (inner) => {
          let connected = false
          return {
            connect: (context) => {
              connected = true
              return inner.connect(context)
            },
            capabilities: () => ({ ...inner.capabilities(), flushIntervalMs: connected ? 1 : 1000 }),
          }
        }),
      says: /after connect the capabilities are others/,
    },
  ],
  'validate-changes-nothing': [
    {
      flaw: 'tries in its check whether it can make a table',
      subject: () =>
        broken(memory(), (inner) => ({
          validate: async (context) => {
            await inner.createTable({ namespace: 'public', name: 'try', columns: [], key: [], version: 1 })
            await inner.createTable({
              namespace: 'public',
              name: 'try',
              columns: [{ id: '1', name: 'id', type: { kind: 'bool' }, nullable: false, native: '' }],
              key: [0],
              version: 1,
            })
            return inner.validate(context)
          },
        })),
      says: /the check of an empty target changed the target/,
    },
  ],
  'create-table-again': [
    {
      flaw: 'makes a table anew that is announced again',
      subject: () =>
        broken(memory(), (inner) => ({
          createTable: async (table) => {
            await inner.createTable(table)
            await inner.alterTable(table, {
              _tag: 'SchemaChange',
              before: table,
              table,
              change: { kind: 'truncate' },
              origin: 'stream',
            })
          },
        })),
      says: /after the tables were announced again, .* is missing/,
    },
  ],
  'disconnect-any-time': [
    {
      flaw: 'takes rows after it was disconnected',
      subject: () =>
        broken(memory(), (inner) => ({
          disconnect: async () => {
            await inner.disconnect()
            await inner.connect({} as Parameters<typeof inner.connect>[0])
          },
        })),
      says: /a write after disconnect .* (failed|did not fail)/,
    },
  ],
  'aborted-call': [
    {
      flaw: 'hangs when it is aborted',
      subject: () =>
        broken(memory(), (inner) => ({
          writeBatch: (batch, context) =>
            context.signal.aborted ? new Promise(() => {}) : inner.writeBatch(batch, context),
        })),
      says: /a call with an aborted signal did not end/,
    },
  ],
  'cut-during-write': [
    {
      flaw: 'gives up for good when its connection is cut',
      subject: () => failingForGood(clickHouse()),
      says: /no connection to the server/,
    },
  ],
  'slow-answer': [
    {
      flaw: 'gives up for good when an answer is late',
      subject: () => failingForGood(clickHouse()),
      says: /a write without an answer failed for good/,
    },
  ],
  'abort-during-call': [
    {
      flaw: 'waits on when it is aborted',
      subject: () => {
        const { signal } = new AbortController()
        return broken(clickHouse(), (inner) => ({
          writeBatch: (batch, context) => inner.writeBatch(batch, { ...context, signal }),
          flush: (context) => inner.flush!({ ...context, signal }),
        }))
      },
      says: /a write that was aborted did not end/,
    },
  ],
  unreachable: [
    {
      flaw: 'gives up for good when its server is not there',
      subject: () => failingForGood(clickHouse()),
      says: /a server that is not there failed for good/,
    },
  ],
  'wrong-password': [
    {
      flaw: 'takes a wrong password for a connection that failed',
      subject: () =>
        broken(clickHouse(), (inner) => ({
          connect: (context) =>
            inner.connect(context).catch((error: unknown) => {
              throw error instanceof AuthError ? new ConnectionError(error.code, error.message) : error
            }),
        })),
      says: /a wrong password failed with ConnectionError/,
    },
  ],
  'no-secret-no-value': [
    {
      flaw: 'quotes the row that was refused',
      subject: () =>
        broken(memory(), (inner) => ({
          writeBatch: async (batch, context) => {
            try {
              return await inner.writeBatch(batch, context)
            } catch {
              const text = Buffer.from(batch.rows!.arena).toString()
              throw new InternalError('kit/refused', `the row ${text} was refused`)
            }
          },
        })),
      says: /a message holds a secret or a cell value/,
    },
    {
      flaw: 'logs the rows that it writes',
      subject: () =>
        broken(memory(), (inner) => {
          let log: Logger | null = null
          return {
            connect: (context) => {
              log = context.log
              return inner.connect(context)
            },
            writeBatch: (batch, context) => {
              log!.debug('writing', { first: Buffer.from(batch.rows!.arena).toString() })
              return inner.writeBatch(batch, context)
            },
          }
        }),
      says: /a message holds a secret or a cell value/,
    },
    {
      flaw: 'hides a value in the cause of an error',
      subject: () =>
        broken(memory(), (inner) => ({
          writeBatch: (batch, context) =>
            inner.writeBatch(batch, context).catch(() => {
              const cause = new Error(`cannot read ${Buffer.from(batch.rows!.arena).toString()}`)
              throw new InternalError('kit/refused', 'a row was refused', { cause })
            }),
        })),
      says: /a message holds a secret or a cell value/,
    },
  ],
}

function each(edit: (change: RowChange) => RowChange) {
  return (changes: readonly RowChange[]): readonly RowChange[] => changes.map(edit)
}

/** Edits the cells of new images, and of keys. */
function cells(edit: (cell: Value, column: Column, table: TableSchema) => Value) {
  const edited = (table: TableSchema, row: ValueRow): ValueRow => {
    const known = table.columns.filter(({ name }) => Object.hasOwn(row, name))
    return Object.fromEntries(known.map((column) => [column.name, edit(row[column.name], column, table)]))
  }
  return each((change) =>
    change.op === 'delete'
      ? { ...change, before: edited(change.table, change.before) }
      : { ...change, row: edited(change.table, change.row) },
  )
}

function columns(edit: (column: Column) => Column) {
  return (schema: TableSchema): TableSchema => ({ ...schema, columns: schema.columns.map(edit) })
}

function withoutUnchanged(row: ValueRow): ValueRow {
  return Object.fromEntries(Object.entries(row).filter(([, cell]) => cell !== UNCHANGED))
}

function nulls(table: TableSchema): ValueRow {
  return Object.fromEntries(table.columns.map(({ name }) => [name, null]))
}

function declaring(harness: SinkHarness, more: Partial<SinkHarness['capabilities']>): SinkHarness {
  const capabilities = { ...harness.capabilities, ...more }
  return broken({ ...harness, capabilities }, () => ({ capabilities: () => capabilities }))
}

/** The memory sink, with changes of the key, which are all the same to it. */
export function keyChanging(): SinkHarness {
  const declared = memory().capabilities.schemaChanges
  return misreading(declaring(memory(), { schemaChanges: [...declared, 'change-key'] }), {
    operation: (operation) => (operation.kind === 'change-key' ? { kind: 'truncate' } : operation),
  })
}

/** A target that shows a row as often as it was inserted since it was deleted last. */
function appending(): SinkHarness {
  const inserted = new Map<string, number>()
  const keyOf = ({ name, key, columns: all }: TableSchema, row: ValueRow): string =>
    [name, ...key.map((index) => String(row[all[index]!.name]))].join(' ')
  const harness = misreading(memory(), {
    changes: each((change) => {
      const key = keyOf(change.table, change.op === 'delete' ? change.before : change.row)
      if (change.op === 'delete') inserted.delete(key)
      else if (change.op === 'insert') inserted.set(key, (inserted.get(key) ?? 0) + 1)
      return change
    }),
  })
  return withBench(harness, (bench) => ({
    rows: async (schema) =>
      (await bench.rows(schema)).flatMap((row) =>
        Array.from({ length: inserted.get(keyOf(schema, row)) ?? 1 }, () => row),
      ),
  }))
}

/** Keeps everything to itself and says that it is durable. */
function boasting(): SinkHarness {
  return broken(memorySinkHarness('flush'), (inner) => {
    let durable: Awaited<ReturnType<typeof inner.writeBatch>>['durable'] = null
    return {
      writeBatch: async (batch, context) => {
        await inner.writeBatch(batch, context)
        durable = batch.position ?? durable
        return { durable }
      },
      flush: async () => ({ durable }),
    }
  })
}

/** Says of nothing that it passes. */
function failingForGood(harness: SinkHarness): SinkHarness {
  const forGood = (error: unknown): never => {
    throw error instanceof CoreError ? new InternalError(error.code, error.message) : error
  }
  return broken(harness, (inner) => ({
    connect: (context) => inner.connect(context).catch(forGood),
    writeBatch: (batch, context) => inner.writeBatch(batch, context).catch(forGood),
    flush: (context) => inner.flush!(context).catch(forGood),
  }))
}
