/** For every law of sources, what breaks it: the proof that the laws see what they are about. */
import { MemoryDatabase } from '../../src/connectors/sources/memory/database.ts'
import { RecordBatch } from '../../src/core/batch.ts'
import type { ConnectorContext } from '../../src/core/context.ts'
import { AuthError, ConnectionError, InternalError, PositionLostError } from '../../src/core/error.ts'
import { CellState, Op } from '../../src/core/packed-rows.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import { selectTables } from '../../src/core/selection.ts'
import type { Source } from '../../src/core/source.ts'
import { tableName } from '../../src/core/table.ts'
import type { SourceHarness } from '../../src/testkit/source/harness.ts'
import {
  broken,
  edited,
  emptied,
  halves,
  handingOver,
  repositioned,
  streamingRows,
  withBench,
  writeAll,
} from './broken-source.ts'
import { memoryHarness } from './memory-source.harness.ts'
import { postgresHarness } from './postgres.harness.ts'

export interface Breakage {
  /** What the broken source does, as a sentence that starts with a verb. */
  readonly does: string
  readonly harness: SourceHarness
  /** What the law says about it. */
  readonly complaint: RegExp
}

type Break = Parameters<typeof broken>[1]

/** Over memory, which is fast. */
function memory(does: string, complaint: RegExp, methods: Break): Breakage {
  return { does, complaint, harness: broken(memoryHarness, methods) }
}

/** What is waited for in vain; a whole source takes a small part of this time. */
const SHORT: Pick<SourceHarness, 'patienceMs'> = { patienceMs: 4000 }

/** Over memory, where the law waits for something that does not come. */
function inVain(does: string, complaint: RegExp, methods: Break): Breakage {
  return { does, complaint, harness: broken({ ...memoryHarness, ...SHORT }, methods) }
}

/** Over Postgres, where memory has nothing to break: links, passwords, what it does not declare. */
function postgres(does: string, complaint: RegExp, methods: Break): Breakage {
  return { does, complaint, harness: broken({ ...postgresHarness, patienceMs: 6000 }, methods) }
}

/** Each law by its id. */
export const BREAKAGES: Readonly<Record<string, readonly Breakage[]>> = {
  capabilities: [
    memory('declares something else than the harness', /capabilities\(\) differ/, (inner) => ({
      capabilities: () => ({ ...inner.capabilities(), deletes: false }),
    })),
    {
      does: 'leaves cells out and does not say so',
      complaint: /a cell that is left out, which the source does not declare/,
      harness: {
        ...broken(memoryHarness, (inner) => ({
          capabilities: () => ({ ...inner.capabilities(), unchangedCells: false }),
        })),
        capabilities: { ...memoryHarness.capabilities, unchangedCells: false },
      },
    },
  ],

  'validate-changes-nothing': [
    memory('writes while it validates', /has changed something/, (inner, bench) => ({
      validate: async (context) => {
        await bench.apply([{ kind: 'delete', table: 'a', key: { id: 0 } }])
        return inner.validate(context)
      },
    })),
    memory('finds fault with a good database', /finds errors/, () => ({
      validate: async () => [{ severity: 'error', code: 'test/fault', message: 'no', fix: 'none' }],
    })),
  ],

  'discovers-what-is-selected': [
    memory('discovers what is not selected', /other tables than/, (inner) => ({
      connect: (context) => inner.connect({ ...context, tables: selectTables([]) }),
    })),
    memory('hands over what is not selected', /of a table that is not selected/, (inner) => ({
      connect: (context) => inner.connect({ ...context, tables: selectTables([]) }),
      discover: async () => (await inner.discover()).filter(({ name }) => name !== 'left_out'),
    })),
  ],

  'announces-tables': [
    inVain('announces nothing after a restart', /has announced its tables/, (inner) =>
      handingOver(inner, (batch, from) => (from !== null && isChange(batch, 'create-table') ? [] : [batch])),
    ),
    memory('does not empty a table before it is copied', /does not begin with a truncate/, (inner) =>
      handingOver(inner, (batch) => (isChange(batch, 'truncate', 'snapshot') ? [] : [batch])),
    ),
    memory('announces a table after its rows', /before the table is announced/, (inner) => {
      let late: RecordBatch[] = []
      return handingOver(inner, (batch, from) => {
        if (from !== null && isChange(batch, 'create-table')) {
          late.push(batch)
          return []
        }
        const batches = [batch, ...late]
        late = []
        return batches
      })
    }),
  ],

  'follows-a-new-table': [
    inVain('knows only the tables that were there at its start', /never announced|differ/, (inner) => {
      let known: readonly string[] = []
      return {
        discover: async () => {
          const tables = await inner.discover()
          known = tables.map(tableName)
          return tables
        },
        ...handingOver(inner, (batch) => {
          if (batch.schemaChange !== null)
            return known.includes(tableName(batch.schemaChange.table)) ? [batch] : []
          return batch.tables.every((table) => known.includes(tableName(table))) ? [batch] : [emptied(batch)]
        }),
      }
    }),
  ],

  'stream-equals-the-tables': [
    memory('loses the deletes', /differ|nothing is stored/, (inner) =>
      handingOver(inner, (batch) => (batch.rows?.op[0] === Op.delete ? [emptied(batch)] : [batch])),
    ),
    memory('turns the rows of a transaction around', /differ|nothing is stored/, (inner) =>
      streamingRows(inner, ({ rows, spans }) => {
        for (const { firstRow, endRow } of spans)
          for (const array of [rows.op, rows.tableOf, rows.newImage, rows.oldImage])
            array.subarray(firstRow, endRow).reverse()
      }),
    ),
  ],

  'copy-and-stream-equal-the-tables': [
    memory('loses what is committed while it copies', /differ|nothing is stored/, (inner, bench) => {
      let missed = 0
      return handingOver(inner, (batch) => {
        const database = MemoryDatabase.named(bench.pipeline)
        if (batch.origin === 'snapshot') missed = database.head
        const number = Number(batch.spans[0]?.position?.resume ?? 0)
        return batch.origin === 'stream' && batch.rowCount > 0 && number <= missed
          ? [emptied(batch)]
          : [batch]
      })
    }),
    memory('copies all rows but one', /differ|nothing is stored/, (inner) =>
      handingOver(inner, (batch) => {
        if (batch.origin !== 'snapshot' || batch.rowCount < 2) return [batch]
        const last = batch.spans.at(-1)!
        return [
          edited(batch, (draft) => {
            draft.rows.rowCount--
            draft.spans = [...draft.spans.slice(0, -1), { ...last, endRow: last.endRow - 1 }]
          }),
        ]
      }),
    ),
  ],

  'copy-survives-restarts': [
    memory(
      'says in the middle of a copy that all of it is done',
      /differ|nothing is stored/,
      (inner, bench) =>
        handingOver(inner, (batch, from) => {
          if (from !== null || !isChange(batch, 'truncate', 'snapshot')) return [batch]
          const position = positionOf(MemoryDatabase.named(bench.pipeline).head)
          return [batch, RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position, timeMs: 0 })]
        }),
    ),
  ],

  'partial-until-consistent': [
    memory('says in the middle of its copy that it is whole', /although the copy goes on/, (inner, bench) =>
      handingOver(inner, (batch) => {
        if (!isChange(batch, 'truncate', 'snapshot')) return [batch]
        const position = positionOf(MemoryDatabase.named(bench.pipeline).head)
        return [batch, RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position, timeMs: 0 })]
      }),
    ),
    inVain('never says that the copy is whole', /a position that is not partial/, (inner) =>
      handingOver(inner, (batch) => [
        repositioned(batch, ({ order, resume }) => ({ order, resume, partial: true })),
      ]),
    ),
    postgres('never calls a position partial', /is not partial, (although|but)/, (inner) =>
      handingOver(inner, (batch) => [repositioned(batch, ({ order, resume }) => ({ order, resume }))]),
    ),
    postgres('calls only positions of copies partial', /the tables never were so/, (inner) =>
      handingOver(inner, (batch) => [
        repositioned(batch, ({ order, resume, partial }) =>
          order.endsWith('.00000000') ? { order, resume } : { order, resume, partial },
        ),
      ]),
    ),
  ],

  'resume-gives-the-rest': [
    memory('begins one transaction too late', /what follows .* differ/, (inner) => ({
      stream: (out, from) => inner.stream(out, from === null ? null : shifted(from, 1)),
    })),
    memory('begins one transaction too early', /what follows .* differ/, (inner) => ({
      stream: (out, from) => inner.stream(out, from === null ? null : shifted(from, -1)),
    })),
    memory('hands over positions that are one too high', /what follows .* differ/, (inner) =>
      handingOver(inner, (batch) => [
        repositioned(batch, ({ order, resume }) => ({ order, resume: Number(resume) + 1 })),
      ]),
    ),
  ],

  'positions-sort-as-the-log': [
    memory('does not pad the numbers in its positions', /comes after|beyond the end/, (inner) => ({
      ...handingOver(inner, (batch) => [
        repositioned(batch, ({ resume }) => ({ order: `0${Number(resume)}`, resume })),
      ]),
      currentPosition: () => {
        const current = inner.currentPosition()
        return current === null ? null : { ...current, order: `0${Number(current.resume)}` }
      },
    })),
    memory('does not know its position', /currentPosition\(\) is not/, () => ({
      currentPosition: () => null,
    })),
  ],

  'idle-progress': [
    {
      does: 'keeps its position while only other tables change',
      complaint: /the position moves on/,
      harness: keepsPosition(),
    },
  ],

  'checkpoint-releases': [
    memory('lets the server forget what it has handed over', /beyond/, (inner) =>
      handingOver(inner, (batch) => {
        if (batch.position !== null) void inner.checkpoint(batch.position)
        return [batch]
      }),
    ),
    memory('lets the server forget one transaction too many', /beyond/, (inner) => ({
      checkpoint: (position) => inner.checkpoint(shifted(position, 1)),
    })),
    inVain('never lets the server forget', /may forget what is checkpointed/, () => ({
      checkpoint: async () => {},
    })),
  ],

  'lost-history': [
    inVain('goes on from now', /the source fails/, (inner) => ({
      stream: async (out, from) => {
        try {
          await inner.stream(out, from)
        } catch {
          await inner.stream(out, await inner.headPosition())
        }
      },
    })),
    inVain('copies again by itself', /the source fails/, (inner) => ({
      stream: (out, from) => inner.stream(out, from).catch(() => inner.stream(out, null)),
    })),
    memory(
      'calls it a lost connection',
      /fails with ConnectionError/,
      failingStream(() => new ConnectionError('test/lost', 'the connection was lost', { fix: 'Wait.' })),
    ),
    memory(
      'does not say what to do',
      /what to do/,
      failingStream(() => new PositionLostError('test/lost', 'lost')),
    ),
  ],

  'refuses-foreign-positions': [
    inVain('takes a foreign position for none at all', /the source fails/, (inner) => ({
      stream: (out, from) => inner.stream(out, Number.isInteger(from?.resume) ? from : null),
    })),
    memory(
      'says that another try would do',
      /worth another try/,
      failingStream(() => new ConnectionError('test/lost', 'the connection was lost', { fix: 'Wait.' })),
    ),
  ],

  'transactions-nest': [
    memory('leaves out a commit', /begins inside of|has no end|in the middle of/, (inner) => {
      let count = 0
      return streamingRows(inner, (draft) => {
        draft.spans = draft.spans.map((span) => (++count % 7 === 0 ? { ...span, position: null } : span))
      })
    }),
    memory('hands over a position in the middle of a transaction', /in the middle of transaction/, (inner) =>
      handingOver(inner, (batch) => {
        const [first, second] = (batch.rows === null ? null : halves(batch)) ?? [batch]
        if (second === undefined) return [batch]
        const position = positionOf(Number(batch.spans[0]!.id))
        return [first, RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position, timeMs: 0 }), second]
      }),
    ),
    memory('makes one transaction of two', /rows of several transactions|commits, but/, (inner) => {
      let count = 0
      return streamingRows(inner, (draft) => {
        draft.spans = draft.spans.map((span) => {
          count++
          if (count % 7 === 1) return { ...span, position: null }
          return count % 7 === 2 ? { ...span, begins: false, id: String(Number(span.id) - 1) } : span
        })
      })
    }),
    memory(
      'says that a batch may be stored which ends in a transaction',
      /not that of its last commit/,
      (inner) =>
        handingOver(inner, (batch) => {
          const [first, second] = (batch.rows === null ? null : halves(batch)) ?? [batch]
          if (second === undefined) return [batch]
          return [edited(first, (draft) => void (draft.position = second.position)), second]
        }),
    ),
  ],

  'versions-rise': [
    memory('gives versions that fall', /comes after/, (inner) =>
      streamingRows(inner, (draft) => {
        draft.spans = draft.spans.map((span) => ({ ...span, version: (1n << 62n) - span.version }))
      }),
    ),
    memory('counts versions from its start', /others at a replay/, (inner) => {
      let count = 1n << 32n
      return streamingRows(inner, (draft) => {
        draft.spans = draft.spans.map((span) => ({ ...span, version: ++count << 16n }))
      })
    }),
    memory('gives a transaction the version of the one before it', /comes after/, (inner) =>
      streamingRows(inner, (draft) => {
        draft.spans = draft.spans.map((span) => ({ ...span, version: (span.version >> 18n) << 18n }))
      }),
    ),
  ],

  'values-are-the-servers': [
    memory('changes a value on its way through the stream', /column c13/, (inner) =>
      streamingRows(inner, ({ rows }) => {
        const cell = (rows.newImage[0]! + 13) * 2
        const [offset, length] = [rows.cells[cell]!, rows.cells[cell + 1]!]
        // The last digit of the microseconds.
        if (length > 4) rows.arena[offset + length - 4]! ^= 1
      }),
    ),
    memory('copies NULL for an empty text', /column c6/, (inner) =>
      handingOver(inner, (batch) => [
        batch.origin !== 'snapshot' || batch.rows === null
          ? batch
          : edited(batch, ({ rows }) => {
              const cell = (rows.newImage[0]! + 6) * 2
              if (rows.cells[cell + 1] === 0) rows.cells[cell + 1] = CellState.null
            }),
      ]),
    ),
  ],

  'unchanged-is-not-null': [
    memory('hands over NULL for what the log leaves out', /differ/, (inner) =>
      replacingUnchanged(inner, CellState.null),
    ),
    memory('hands over an empty text for it', /differ/, (inner) =>
      replacingUnchanged(inner, CellState.present),
    ),
    memory('hands over nothing for it', /is absent/, (inner) => replacingUnchanged(inner, CellState.absent)),
  ],

  'key-change-moves-the-row': [
    memory('does not say which key the row had', /differ/, (inner) =>
      streamingRows(inner, ({ rows }) => {
        for (let row = 0; row < rows.rowCount; row++) if (rows.op[row] === Op.update) rows.oldImage[row] = -1
      }),
    ),
    memory('deletes the old row and forgets the new one', /differ/, (inner) =>
      streamingRows(inner, ({ rows }) => {
        for (let row = 0; row < rows.rowCount; row++)
          if (rows.op[row] === Op.update && rows.oldImage[row]! >= 0) rows.op[row] = Op.delete
      }),
    ),
  ],

  truncate: [
    memory('leaves a truncate out', /differ/, (inner) =>
      handingOver(inner, (batch) => (isChange(batch, 'truncate', 'stream') ? [] : [batch])),
    ),
    memory('hands a truncate over after the rows that follow it', /differ/, lateChanges('truncate')),
  ],

  'add-column': [
    memory(
      'hands the column over after the first row that has it',
      /another shape/,
      lateChanges('add-column'),
    ),
    inVain('forgets the default of older rows', /differ/, (inner) =>
      handingOver(inner, (batch) => {
        const { schemaChange: record } = batch
        if (record?.change.kind !== 'add-column') return [batch]
        const plain = (column: (typeof record.table.columns)[number]): typeof column => ({
          ...column,
          addedDefault: null,
        })
        const table = { ...record.table, columns: record.table.columns.map(plain) }
        return [
          RecordBatch.ofSchemaChange({
            ...record,
            table,
            change: { kind: 'add-column', column: plain(record.change.column) },
          }),
        ]
      }),
    ),
  ],
  'drop-column': [
    memory(
      'hands it over after the first row without the column',
      /another shape/,
      lateChanges('drop-column'),
    ),
  ],
  'rename-column': [
    memory(
      'hands the name over after the first row that has it',
      /another shape/,
      lateChanges('rename-column'),
    ),
    inVain('makes a new column of it', /differ/, (inner) =>
      handingOver(inner, (batch) => {
        const { schemaChange: record } = batch
        if (record?.change.kind !== 'rename-column') return [batch]
        const { to } = record.change
        const columns = record.table.columns.map((column) =>
          column.id === to.id ? { ...column, id: 'new' } : column,
        )
        return [RecordBatch.ofSchemaChange({ ...record, table: { ...record.table, columns } })]
      }),
    ),
  ],
  'alter-column': [
    memory(
      'hands the type over after the first row that needs it',
      /another shape/,
      lateChanges('alter-column'),
    ),
  ],
  'change-key': [
    postgres('does not hand it over', /hands over the change-key/, (inner) =>
      handingOver(inner, (batch) => (isChange(batch, 'change-key') ? [] : [batch])),
    ),
  ],

  'drop-table': [
    inVain('keeps it for itself', /hands over the drop-table/, (inner) =>
      handingOver(inner, (batch) => (isChange(batch, 'drop-table') ? [] : [batch])),
    ),
    memory('hands a row over after it', /comes before the table is announced/, (inner) => {
      let last: RecordBatch | null = null
      return handingOver(inner, (batch) => {
        if (isChange(batch, 'drop-table') && last !== null) return [batch, last]
        if (batch.rowCount > 0) last = batch
        return [batch]
      })
    }),
    memory('does not empty the next table of the name', /before the table is emptied/, (inner) =>
      handingOver(inner, (batch) => (isChange(batch, 'truncate', 'stream') ? [] : [batch])),
    ),
    postgres('forgets what was dropped while it was down', /hands over that/, (inner) =>
      handingOver(inner, (batch, from) => (from !== null && isChange(batch, 'drop-table') ? [] : [batch])),
    ),
  ],

  'large-transaction': [
    memory('makes a batch that is larger than the budget', /is not cut/, (inner) => {
      let first = true
      return handingOver(inner, (batch) => {
        if (!first || batch.rowCount === 0 || batch.origin === 'snapshot') return [batch]
        first = false
        const more = Buffer.alloc(8 * 1024 * 1024)
        return [
          edited(batch, ({ rows }) => {
            rows.arena = Buffer.concat([rows.arena, more]) as typeof rows.arena
          }),
        ]
      })
    }),
    memory('makes a transaction of each batch', /does not arrive as one|differ/, (inner) =>
      streamingRows(inner, (draft) => {
        draft.spans = draft.spans.map((span) => {
          const position = span.position ?? positionOf(Number(span.id))
          draft.position = position
          return { ...span, begins: true, position }
        })
      }),
    ),
  ],

  'unread-stream-is-bounded': [
    memory('does not wait for room', /were handed over although/, unwaited),
    postgres('goes on with its heartbeats', /batches were handed over although/, (inner) => ({
      stream: (out, from) => {
        const beat = setInterval(() => {
          const position = inner.currentPosition()
          if (position !== null)
            void out.write(RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position, timeMs: 0 }))
        }, 20)
        return inner.stream(out, from).finally(() => clearInterval(beat))
      },
    })),
  ],
  'unread-copy-is-bounded': [memory('does not wait for room', /were handed over although/, unwaited)],
  'unread-rows-stay-on-the-server': [
    postgres('takes everything from the server and keeps it', /bytes were read from the server/, (inner) => ({
      stream: (out, from) => {
        let last: Promise<void> = Promise.resolve()
        const write = (batch: RecordBatch): void => void (last = last.then(() => out.write(batch)))
        return inner.stream({ signal: out.signal, write }, from)
      },
    })),
  ],

  'abort-ends-a-copy': [inVain('copies to the end', /stream goes on/, deafTo('snapshot'))],
  'abort-ends-a-stream': [inVain('follows the log for ever', /stream goes on/, deafTo('stream'))],
  'abort-ends-a-held-write': [
    inVain('waits for room for ever', /stream goes on/, (inner) => ({
      stream: async (out, from) => {
        const rooms: Promise<void>[] = []
        const write = (batch: RecordBatch): Promise<void> => {
          const room = Promise.resolve(out.write(batch))
          rooms.push(room)
          return room
        }
        await inner.stream({ signal: out.signal, write }, from)
        await Promise.all(rooms)
      },
    })),
  ],
  'leaves-no-connection': [
    inVain('leaks a connection', /no connection is left/, (inner, bench) => ({
      connect: async (context) => {
        await inner.connect(context)
        void MemoryDatabase.named(bench.pipeline).changed(new AbortController().signal)
      },
    })),
  ],
  'disconnect-is-safe': [
    memory('cannot be disconnected before it is connected', /not connected/, (inner) => {
      let connected = false
      return {
        connect: async (context) => {
          connected = true
          await inner.connect(context)
        },
        disconnect: async () => {
          if (!connected) throw new InternalError('test/not-connected', 'not connected')
        },
      }
    }),
    inVain('waits for its stream', /does not come back/, (inner) => {
      let streaming: Promise<void> = Promise.resolve()
      return {
        stream: (out, from) => (streaming = inner.stream(out, from)),
        disconnect: () => streaming,
      }
    }),
    memory('makes its stream fail with a bug', /makes the stream fail/, (inner) => {
      let fail: (error: unknown) => void = () => {}
      return {
        stream: (out, from) =>
          Promise.race([inner.stream(out, from), new Promise<never>((_, reject) => (fail = reject))]),
        disconnect: async () => fail(new TypeError('cannot read properties of null')),
      }
    }),
    {
      does: 'removes what it has made',
      complaint: /something is gone/,
      harness: removesOnDisconnect(),
    },
  ],

  'cut-link-is-retryable': [
    postgres('says nothing of a lost link', /the source fails/, (inner) => ({
      stream: (out, from) =>
        inner
          .stream(out, from)
          .catch(() => new Promise((resolve) => out.signal.addEventListener('abort', () => resolve()))),
    })),
    postgres(
      'calls a lost link a bug',
      /not to be worth another try/,
      failingStream((error) => new InternalError('test/bug', 'unexpected', { cause: error })),
    ),
  ],
  'unreachable-is-retryable': [
    postgres('gives up at once', /not to be worth another try/, (inner) => ({
      connect: (context) =>
        inner.connect(context).catch((error: unknown) => {
          throw new InternalError('test/bug', 'unexpected', { cause: error })
        }),
    })),
  ],
  'wrong-password-is-auth-error': [
    postgres(
      'calls it a lost connection',
      /connect fails with ConnectionError/,
      failingConnect(() => new ConnectionError('test/lost', 'the connection was lost', { fix: 'Wait.' })),
    ),
    postgres(
      'says that another try would do',
      /worth another try/,
      failingConnect(() => new AuthError('test/auth', 'refused', { fix: 'Wait.', retryable: true })),
    ),
    memory('lets anybody in', /connect succeeds/, () => ({})),
  ],

  'messages-hold-no-values': [
    memory(
      'logs the rows',
      /a log line \(debug\) holds the value of a cell/,
      logging((batch) => JSON.stringify(Buffer.from(batch.rows?.arena ?? '').toString('utf8'))),
    ),
    memory(
      'quotes a row in an error',
      /the error test\/quoted holds the value of a cell/,
      quoting((text) => new ConnectionError('test/quoted', `cannot read the row ${text}`)),
    ),
    memory(
      'quotes a row in the cause of an error',
      /the error test\/quoted holds the value of a cell/,
      quoting(
        (text) =>
          new ConnectionError('test/quoted', 'cannot read a row', {
            cause: new Error(`no such row: ${text}`),
          }),
      ),
    ),
    memory(
      'quotes a row in the advice',
      /the error test\/quoted holds the value of a cell/,
      quoting((text) => new ConnectionError('test/quoted', 'cannot read a row', { fix: `Delete ${text}.` })),
    ),
    {
      does: 'logs the password',
      complaint: /holds a secret/,
      harness: withBench(
        broken(
          memoryHarness,
          logging(() => 'connected with hunter2-hunter2'),
        ),
        () => ({
          secrets: ['hunter2-hunter2'],
        }),
      ),
    },
    memory('shows a value in a problem', /the problem test\/value holds the value of a cell/, () => ({
      validate: async () => [
        { severity: 'warning', code: 'test/value', message: 'a row has the value kit-cell', fix: 'none' },
      ],
    })),
  ],
}

/** The means of a bench that laws need, and a law that needs it. */
export const MEANS = {
  types: 'values-are-the-servers',
  address: 'cut-link-is-retryable',
  connections: 'leaves-no-connection',
  released: 'checkpoint-releases',
  unrelated: 'idle-progress',
  loseHistory: 'lost-history',
} as const

function isChange(batch: RecordBatch, kind: string, origin?: string): boolean {
  const { schemaChange } = batch
  return schemaChange?.change.kind === kind && (origin === undefined || schemaChange.origin === origin)
}

function positionOf(number: number): SourcePosition {
  return { order: String(number).padStart(16, '0'), resume: number }
}

/** A position of memory, some transactions further on. */
function shifted(position: SourcePosition, by: number): SourcePosition {
  return positionOf(Math.max(0, Number(position.resume) + by))
}

/** Fails in place of whatever `stream` fails with. */
function failingStream(make: (error: unknown) => Error): Break {
  return (inner) => ({
    stream: (out, from) =>
      inner.stream(out, from).catch((error: unknown) => {
        throw make(error)
      }),
  })
}

function failingConnect(make: () => Error): Break {
  return (inner) => ({
    connect: (context) =>
      inner.connect(context).catch(() => {
        throw make()
      }),
  })
}

/** Schema changes of the stream come after the next batch of rows. */
function lateChanges(kind: string): Break {
  return (inner) => {
    let late: RecordBatch[] = []
    return handingOver(inner, (batch) => {
      if (isChange(batch, kind, 'stream')) {
        late.push(batch)
        return []
      }
      if (batch.rowCount === 0) return [batch]
      const batches = [batch, ...late]
      late = []
      return batches
    })
  }
}

function unwaited(inner: Source): ReturnType<Break> {
  return {
    stream: (out, from) => {
      const write = (batch: RecordBatch): void => void out.write(batch)
      return inner.stream({ signal: out.signal, write }, from)
    },
  }
}

/** Does not hear the abort while batches of this origin are under way. */
function deafTo(origin: RecordBatch['origin']): Break {
  return (inner) => ({
    stream: (out, from) => {
      const controller = new AbortController()
      let deaf = origin === 'stream'
      out.signal.addEventListener('abort', () => {
        if (!deaf) controller.abort()
      })
      const write = (batch: RecordBatch): void | Promise<void> => {
        deaf ||= batch.origin === origin && batch.rowCount > 0
        return out.write(batch)
      }
      return inner.stream({ signal: controller.signal, write }, from)
    },
  })
}

function replacingUnchanged(inner: Source, state: number): ReturnType<Break> {
  return streamingRows(inner, ({ rows }) => {
    for (let cell = 1; cell < rows.cellCount * 2; cell += 2)
      if (rows.cells[cell] === CellState.unchanged) rows.cells[cell] = state
  })
}

/** Hands over no position of its own from the first unrelated change on. */
function keepsPosition(): SourceHarness {
  const idle = new Set<string>()
  const harness = broken({ ...memoryHarness, ...SHORT }, (inner, bench) =>
    handingOver(inner, (batch) => (idle.has(bench.pipeline) && batch.rowCount === 0 ? [] : [batch])),
  )
  return withBench(harness, (bench) => ({
    unrelated: async () => {
      idle.add(bench.pipeline)
      await bench.unrelated?.()
    },
  }))
}

/** There is a slot from the first stream to the first disconnect. */
function removesOnDisconnect(): SourceHarness {
  const slots = new Set<string>()
  const harness = broken(memoryHarness, (inner, bench) => ({
    stream: async (out, from) => {
      await inner.stream(out, from)
      slots.add(bench.pipeline)
    },
    disconnect: async () => {
      if (slots.size > 1) slots.delete(bench.pipeline)
      slots.add(`${bench.pipeline} was here`)
      await inner.disconnect()
    },
  }))
  return withBench(harness, (bench) => ({
    objects: async () => [...slots].filter((name) => name === bench.pipeline),
  }))
}

function logging(text: (batch: RecordBatch) => string): Break {
  return (inner) => {
    let log: ConnectorContext['log'] | null = null
    return {
      connect: async (context) => {
        log = context.log
        await inner.connect(context)
      },
      ...handingOver(inner, (batch) => {
        log?.debug('handed over', { batch: text(batch) })
        return [batch]
      }),
    }
  }
}

/** Fails with the text of the last row when whoever takes the rows fails. */
function quoting(make: (text: string) => Error): Break {
  return (inner) => ({
    stream: async (out, from) => {
      let text = ''
      const write = (batch: RecordBatch): void | Promise<void> => {
        text = Buffer.from(batch.rows?.arena ?? '').toString('utf8')
        return writeAll(out, [batch])
      }
      await inner.stream({ signal: out.signal, write }, from).catch(() => {
        throw make(text)
      })
    },
  })
}
