/** Child process of the chaos tests: a Zero sink that is fed a story as fast as it takes it. Arguments: path, seed. */
import { enableCompileCache, flushCompileCache } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// These processes are started often, and most of them are killed before they could keep their cache by themselves.
enableCompileCache(join(tmpdir(), 'sluice-chaos-cache'))

/** What the process says. */
export type Said =
  | { readonly kind: 'failed'; readonly code: string }
  /** Everything up to this step survives the end of the process. */
  | { readonly kind: 'durable'; readonly step: number }

const [path, seed, mode] = process.argv.slice(2) as [string, string, 'write' | 'hold']
const Schema = await import('effect/Schema')
const { ZeroConfig } = await import('../../src/connectors/sinks/zero/config.ts')
const { ZeroWebSocketSink } = await import('../../src/connectors/sinks/zero/sink.ts')
const { Random } = await import('./random.ts')
const { perform, Story } = await import('./zero-story.ts')
flushCompileCache()

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))

const sink = new ZeroWebSocketSink(Schema.decodeUnknownSync(ZeroConfig)({ path, port: 0 }))
const silent = () => {}
const log = { debug: silent, info: silent, warn: silent, error: silent }
try {
  const { position } = await sink.connect({ pipeline: 'chaos', log, now: Date.now, run: 1 })
  const story = Story.at(Number(seed), Number(position?.order ?? 0))
  await sink.createTable(story.schema)
  if (position !== null) await perform(sink, [story.heartbeat()], true)
  say({ kind: 'durable', step: story.step })
  const random = new Random(story.step)
  for (let durable = story.step; mode === 'write';) {
    const now = await perform(sink, story.next(), random.chance(0.2))
    if (now !== null && now > durable) say({ kind: 'durable', step: (durable = now) })
  }
} catch (error) {
  say({ kind: 'failed', code: (error as { code?: string }).code ?? String(error) })
}

function say(what: Said): void {
  process.send!(what)
}
