import { normalizeMapping } from '../../src/core/mapping/normalize.ts'
import type { NormalizedMapping } from '../../src/core/mapping/normalized.ts'
import type { Json } from '../../src/core/position.ts'
import { MappedSource } from '../../src/runtime/mapping/mapped-source.ts'
import type { KitChange } from '../../src/testkit/change.ts'
import type { SourceBench, SourceHarness } from '../../src/testkit/source/harness.ts'

/** The tables that the kit has made so far, each through a filter that all rows pass. */
class Everything implements NormalizedMapping {
  readonly #mappings: { [name: string]: Json } = {}
  #tables: NormalizedMapping['tables'] = []

  get tables(): NormalizedMapping['tables'] {
    return this.#tables
  }

  /** `namespace.name`; what a law leaves out of its selection is not mapped either. */
  add(collection: string): void {
    const name = collection.slice(collection.indexOf('.') + 1)
    if (name === 'left_out' || Object.hasOwn(this.#mappings, name)) return
    this.#mappings[name] = { collection, filter: { $or: [{}, {}] } }
    const { mapping, mistakes } = normalizeMapping({ schema: null, mappings: this.#mappings })
    if (mapping === null) throw new Error(JSON.stringify(mistakes))
    this.#tables = mapping.tables
  }
}

/** Sources of another harness behind a mapping that changes nothing: it must keep every law that they keep. */
export function mapped(harness: SourceHarness): SourceHarness {
  return {
    ...harness,
    async open() {
      const bench = await harness.open()
      const tables = new Everything()
      const own: Partial<SourceBench> = {
        create: (options) => new MappedSource(() => bench.create(options), { tables, breaking: 'apply' }),
        async apply(changes: readonly KitChange[]) {
          for (const change of changes)
            if (change.kind === 'create-table') tables.add(bench.nameOf(change.table))
          await bench.apply(changes)
        },
        ...(bench.types === undefined
          ? {}
          : {
              types: {
                ...bench.types,
                create: async () => {
                  for (const table of bench.types!.tables) tables.add(bench.nameOf(table))
                  await bench.types!.create()
                },
              },
            }),
      }
      return new Proxy(bench, {
        get(target, name) {
          if (Object.hasOwn(own, name)) return own[name as keyof SourceBench]
          const value: unknown = Reflect.get(target, name)
          return typeof value === 'function' ? (value.bind(target) as unknown) : value
        },
      })
    },
  }
}
