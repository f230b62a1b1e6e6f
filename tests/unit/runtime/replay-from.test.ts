/** A sink that needs what the source's log had before the first start. */
import { describe, expect, it } from 'vitest'
import type { SinkResume } from '../../../src/core/sink.ts'
import type { SourceCapabilities, SourceContext } from '../../../src/core/source.ts'
import { MemorySink } from '../../../src/connectors/sinks/memory/sink.ts'
import { MemorySource } from '../../../src/connectors/sources/memory/source.ts'
import { runPipeline } from '../../../src/runtime/pipeline.ts'
import { memoryPipeline, table } from '../../support/memory-pipeline.ts'

/** What each attempt's source was told. */
let told: (number | undefined)[]

function pipeline(asked: readonly (number | undefined)[], replaysFrom: boolean) {
  const setup = memoryPipeline({ sinks: asked.map(() => ({})) })
  told = []
  class Source extends MemorySource {
    override capabilities(): SourceCapabilities {
      return replaysFrom ? { ...super.capabilities(), replaysFrom } : super.capabilities()
    }
    override async connect(context: SourceContext): Promise<void> {
      told.push(context.replayFrom)
      await super.connect(context)
    }
  }
  const sinks = setup.definition.sinks.map((sink, index) => ({
    ...sink,
    create() {
      const replayFrom = asked[index]
      return new (class extends MemorySink {
        override async connect(...args: Parameters<MemorySink['connect']>): Promise<SinkResume> {
          const resume = await super.connect(...args)
          return replayFrom === undefined ? resume : { ...resume, replayFrom }
        }
      })({ target: `${setup.definition.name}-${index}`, durable: 'write', flushInterval: 5 })
    },
  }))
  const source = {
    type: 'memory',
    create: () => new Source({ database: setup.definition.name, heartbeat: 20, partialUpdates: true }),
  }
  setup.database.createTable(table('users'))
  const run = () =>
    runPipeline({ ...setup.definition, source, sinks }, { log: setup.log, stopWhenCaughtUp: true })
  return { run }
}

describe('a sink that asks for a replay', () => {
  it('gets it at the first start, from the earliest time that any of them needs', async () => {
    const { run } = pipeline([undefined, 5000, 3000], true)
    await run()
    expect(told).toEqual([3000])
  })

  it('is not asked again once there is a position', async () => {
    const { run } = pipeline([5000], true)
    await run()
    await run()
    expect(told).toEqual([5000, undefined])
  })

  it('stops the start when the source cannot do that', async () => {
    await expect(pipeline([5000], false).run()).rejects.toMatchObject({ code: 'pipeline/no-replay-from' })
    expect(told).toEqual([])
  })

  it('may be there with a source that cannot, when it does not ask', async () => {
    await pipeline([undefined], false).run()
    expect(told).toEqual([undefined])
  })
})
