/**
 * The pipeline of `bench/zero.ts` in a process of its own: Postgres into the Zero sink. Usage: node zero-pipeline.ts
 * sluice <options as JSON>. Sends its address once it serves, and when asked where each row was at which time.
 */
import * as Schema from 'effect/Schema'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { ChangeLog } from '../../src/connectors/sinks/zero/change-log.ts'
import { unpackItems } from '../../src/connectors/sinks/zero/chunk-items.ts'
import { ZeroConfig } from '../../src/connectors/sinks/zero/config.ts'
import type { Request } from '../../src/connectors/sinks/zero/log-messages.ts'
import { ZeroWebSocketSink } from '../../src/connectors/sinks/zero/sink.ts'
import { PostgresConfig } from '../../src/connectors/sources/postgres/config.ts'
import { PostgresSource } from '../../src/connectors/sources/postgres/source.ts'
import type { RecordBatch } from '../../src/core/batch.ts'
import { MemoryCheckpointStore } from '../../src/runtime/checkpoint/memory.ts'
import { runPipeline } from '../../src/runtime/pipeline.ts'
import { nowMs } from '../zero/clock.ts'

export interface PipelineOptions {
  readonly url: string
  readonly path: string
}

/** When a row came from the source, was in the log on the disk, and was handed to the socket of zero-cache. */
export type Trace = readonly [id: number, batchMs: number, loggedMs: number, sentMs: number]

const [, , , json] = process.argv
const { url, path } = JSON.parse(json!) as PipelineOptions
const stop = new AbortController()
process.stdin.on('end', () => stop.abort()).resume()

const batched = new Map<number, number>()
const logged = new Map<number, number>()
const sent = new Map<number, number>()
/** Rows that are not in the log yet, in order. */
const written: number[] = []

const sink = new ZeroWebSocketSink(
  Schema.decodeUnknownSync(ZeroConfig)({ path, port: 0, permissions: 'allow-all-select' }),
)
traceSink()
traceSocket()
process.on('message', () => {
  const trace = [...sent].map(([id, at]): Trace => [id, batched.get(id)!, logged.get(id)!, at])
  process.send!(trace)
  for (const times of [batched, logged, sent]) times.clear()
})

const ignore = (): void => {}
const done = runPipeline(
  {
    name: 'bench',
    tables: ['public.*'],
    source: {
      type: 'postgres',
      create: () => new PostgresSource(Schema.decodeUnknownSync(PostgresConfig)({ url })),
    },
    sinks: [{ name: 'zero', type: 'zero', create: () => sink }],
    store: new MemoryCheckpointStore(),
  },
  { signal: stop.signal, log: { debug: ignore, info: ignore, warn: console.error, error: console.error } },
)
void done.then(
  () => process.disconnect(),
  (error: unknown) => {
    console.error(error)
    process.exit(1)
  },
)
while (sink.address === null) await delay(20)
process.send!(sink.address.port)

function traceSink(): void {
  const write = sink.writeBatch.bind(sink)
  sink.writeBatch = (batch, context) => {
    if (batch.origin === 'stream' && batch.rows !== null) noteBatch(batch, nowMs())
    return write(batch, context)
  }
  const request = ChangeLog.prototype.request
  ChangeLog.prototype.request = async function (asked: Request) {
    const answer = await request.call(this, asked)
    if (asked.kind === 'apply') {
      const at = nowMs()
      let start = 0
      for (const { end, origin } of unpackItems(asked.chunk.items)) {
        // Every transaction has one row; what has none is a heartbeat.
        if (end > start && origin === 'stream') logged.set(written.shift()!, at)
        start = end
      }
    }
    return answer
  }
}

function noteBatch({ rows }: RecordBatch, at: number): void {
  const { arena, cells, newImage, rowCount } = rows!
  for (let row = 0; row < rowCount; row++) {
    const cell = newImage[row]! * 2
    const id = Number(arena.latin1Slice(cells[cell]!, cells[cell]! + cells[cell + 1]!))
    batched.set(id, at)
    written.push(id)
  }
}

function traceSocket(): void {
  const send = WebSocket.prototype.send as (this: WebSocket, data: Buffer, ...rest: unknown[]) => void
  WebSocket.prototype.send = function (this: WebSocket, data: Buffer, ...rest: unknown[]) {
    // A row of the table: `["data",{"tag":"insert","relation":...,"new":{"id":1,...`
    const found = typeof data === 'string' ? null : /"new":\{"id":(\d+)/.exec(data.toString('latin1', 0, 200))
    if (found !== null) sent.set(Number(found[1]), nowMs())
    return send.call(this, data, ...rest)
  } as typeof WebSocket.prototype.send
}
