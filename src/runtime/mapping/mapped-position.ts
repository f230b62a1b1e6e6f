/** Positions of a mapped source: where it is, and what its tables were mapped to there. */
import { ConfigError } from '../../core/error.ts'
import type { MappedTable } from '../../core/mapping/rows/row-changes.ts'
import type { Json, SourcePosition } from '../../core/position.ts'

const KEY = 'mapped'

/** Made per transaction, formatted only when somebody looks. */
export class MappedPosition implements SourcePosition {
  readonly #inner: SourcePosition
  readonly #tables: readonly MappedTable[]

  constructor(inner: SourcePosition, tables: readonly MappedTable[]) {
    this.#inner = inner
    this.#tables = tables
  }

  get order(): string {
    return this.#inner.order
  }

  get partial(): true | undefined {
    return this.#inner.partial
  }

  get resume(): Json {
    return { [KEY]: this.#tables, source: this.#inner.resume } as unknown as Json
  }

  toJSON(): SourcePosition {
    const { order, resume, partial } = this
    return partial === true ? { order, resume, partial } : { order, resume }
  }
}

/** What a position was made of; null when it is not one of a mapped source. */
export function readMapped(
  position: SourcePosition,
): { readonly inner: SourcePosition; readonly tables: readonly MappedTable[] } | null {
  const { order, resume, partial } = position
  if (typeof resume !== 'object' || resume === null || !Object.hasOwn(resume, KEY)) return null
  const { [KEY]: tables, source } = resume as unknown as {
    readonly [KEY]: readonly MappedTable[]
    readonly source: Json
  }
  return { inner: { order, resume: source, ...(partial === true ? { partial } : {}) }, tables }
}

/** The position is one of a mapped source, and the mapping is gone. */
export function mappingGone(): ConfigError {
  return new ConfigError(
    'mapping/gone',
    'the checkpoint of this pipeline was written with a mapping, and the config has none',
    { fix: 'Put `mapping` back, or give the pipeline another name, so that it copies everything.' },
  )
}
