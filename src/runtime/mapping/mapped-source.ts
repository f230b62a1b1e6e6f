import type { ConnectorContext } from '../../core/context.ts'
import { ConfigError, NotConnectedError, type Problem, toCoreError } from '../../core/error.ts'
import {
  changesOf,
  type MappedTable,
  mappedTable,
  type MappingChanges,
} from '../../core/mapping/rows/row-changes.ts'
import { planRows, type RowPlan } from '../../core/mapping/rows/rows-plan.ts'
import type { SourcePosition } from '../../core/position.ts'
import type { SourceReader } from '../../core/row-reader.ts'
import {
  type BatchWriter,
  type SnapshotProgress,
  Source,
  type SourceCapabilities,
  type SourceContext,
} from '../../core/source.ts'
import type { TableSchema } from '../../core/table.ts'
import { readMapped } from './mapped-position.ts'
import { MappedReader } from './mapped-reader.ts'
import { MappedStream, unmappable } from './mapped-stream.ts'
import {
  currentNames,
  mappedSelection,
  namedSelection,
  planTables,
  type Planned,
  reads,
  toProblems,
} from './mapped-tables.ts'
import { locateOf, type PipelineMapping } from './pipeline-mapping.ts'

/** Where a mapped source goes on. */
interface Start {
  readonly from: SourcePosition | null
  readonly known: readonly MappedTable[]
  readonly dropped: readonly MappedTable[]
}

/**
 * A source with tables of its own, of which others are made: renamed, with fewer or other columns, and of the rows that
 * pass a filter. Sinks see nothing else.
 */
export class MappedSource extends Source {
  readonly type: string
  readonly #inner: Source
  readonly #create: () => Source
  readonly #mapping: PipelineMapping
  #context: SourceContext | null = null
  #current: readonly TableSchema[] = []
  #stream: MappedStream | null = null
  #start: SourcePosition | null = null

  /** `create` makes the source that is mapped. */
  constructor(create: () => Source, mapping: PipelineMapping, inner: Source = create()) {
    super()
    this.#create = create
    this.#mapping = mapping
    this.#inner = inner
    this.type = inner.type
    if (inner.teardown !== undefined) this.teardown = () => inner.teardown!()
    if (inner.snapshotProgress !== undefined) this.snapshotProgress = () => inner.snapshotProgress!()
    if (inner.openReader !== undefined) this.openReader = (context) => this.#openReader(context)
  }

  declare snapshotProgress?: () => SnapshotProgress | null
  declare openReader?: (context: SourceContext) => Promise<SourceReader>
  declare teardown?: () => Promise<void>

  override capabilities(): SourceCapabilities {
    const inner = this.#inner.capabilities()
    const leaves = this.#mapping.tables.tables.some(({ filter }) => filter !== null)
    // An update may take a row out of a filter.
    return { ...inner, deletes: inner.deletes || (inner.updates && leaves) }
  }

  override async validate(context: SourceContext): Promise<readonly Problem[]> {
    const selection = mappedSelection(this.#mapping.tables, context.tables)
    let planned: Planned
    let read: readonly TableSchema[]
    try {
      const tables = await this.#tablesOf(context)
      planned = planTables(this.#mapping.tables, tables)
      read = tables.filter((source) => this.#mapping.tables.tables.some((table) => reads(table, source)))
    } catch (error) {
      // The source itself says better why it cannot be asked.
      const problems = await this.#inner.validate({ ...context, tables: selection })
      if (problems.some(({ severity }) => severity === 'error')) return problems
      throw toCoreError(error)
    }
    const { plans, problems } = planned
    const found = await this.#inner.validate({
      ...context,
      // Only what the mapping reads, as nobody has to mend other tables for it. What is missing is said by name below.
      tables: { ...selection, patterns: namedSelection(read).patterns },
      oldImages: needingOldRows(plans),
    })
    return [...found, ...toProblems(problems, locateOf(this.#mapping))]
  }

  override async connect(context: SourceContext): Promise<void> {
    this.#context = { ...context, tables: mappedSelection(this.#mapping.tables, context.tables) }
    await this.#inner.connect(this.#context)
  }

  /** The tables as sinks see them. What the mapping does not fit is said by `validate`, and by the log when it comes there. */
  override async discover(): Promise<readonly TableSchema[]> {
    this.#current = await this.#inner.discover()
    return planTables(this.#mapping.tables, this.#current).plans.map(({ target }) => target)
  }

  override async stream(out: BatchWriter, from: SourcePosition | null): Promise<void> {
    const context = this.#require()
    if (this.#current.length === 0) this.#current = await this.#inner.discover()
    const start = this.#startAt(from)
    this.#start = from
    this.#stream = new MappedStream({
      mapping: this.#mapping.tables,
      locate: locateOf(this.#mapping),
      current: this.#current,
      known: start.known,
      out,
      now: () => context.now(),
    })
    await this.#stream.drop(start.dropped)
    await this.#inner.stream(this.#stream, start.from)
  }

  override async checkpoint(position: SourcePosition): Promise<void> {
    await this.#inner.checkpoint(innerOf(position))
  }

  override currentPosition(): SourcePosition | null {
    return this.#stream?.position ?? this.#start
  }

  override headPosition(): Promise<SourcePosition | null> {
    return this.#inner.headPosition()
  }

  override disconnect(): Promise<void> {
    return this.#inner.disconnect()
  }

  /** What would change for sinks if the mapping took the place of another; both as the source's tables are now. */
  async changesFrom(before: PipelineMapping, context: SourceContext): Promise<MappingChanges> {
    const tables = await this.#tablesOf(context)
    const mapped = (mapping: PipelineMapping): readonly MappedTable[] =>
      planTables(mapping.tables, tables).plans.map(mappedTable)
    return changesOf(mapped(before), mapped(this.#mapping))
  }

  /** Can the source copy tables again that it has copied already? */
  get copiesAgain(): boolean {
    return this.#inner.copyAgain !== undefined
  }

  /** All selected tables of the source, by an instance of its own. */
  async #tablesOf(
    context: ConnectorContext & Pick<SourceContext, 'tables'>,
  ): Promise<readonly TableSchema[]> {
    const probe = this.#create()
    try {
      await probe.connect(context)
      return await probe.discover()
    } finally {
      await probe.disconnect()
    }
  }

  /** Compares what was mapped up to the position with what is mapped now. */
  #startAt(from: SourcePosition | null): Start {
    if (from === null) return { from: null, known: [], dropped: [] }
    const stored = readMapped(from)
    if (stored === null) throw unmappedBefore()
    const after = this.#after(stored.tables)
    const changes = changesOf(stored.tables, after)
    if (changes.breaking.length > 0 && this.#mapping.breaking === 'refuse') throw refused(changes.breaking)
    for (const change of changes.list) this.#require().log.info(`the mapping was changed: ${change}`)
    const known = stored.tables.filter((table) => !changes.dropped.includes(table))
    if (changes.copies.length === 0) return { from: stored.inner, known, dropped: changes.dropped }
    if (this.#inner.copyAgain === undefined) throw notCopiedAgain(this.type, changes)
    return { from: this.#inner.copyAgain(stored.inner, changes.copies), known, dropped: changes.dropped }
  }

  /** What the tables are mapped to now: as they were at the position, where that is possible. */
  #after(stored: readonly MappedTable[]): readonly MappedTable[] {
    return this.#mapping.tables.tables.flatMap((mapping) => {
      const current = this.#current.find((table) => reads(mapping, table))
      const known = stored.find(({ source }) => reads(mapping, source))?.source
      const plans = [known, current].flatMap((source) =>
        source === undefined
          ? []
          : [
              planRows(
                mapping,
                source,
                source.namespace,
                current === undefined ? null : currentNames(current),
              ),
            ],
      )
      const plan = plans.find((planned) => planned.plan !== null)?.plan
      if (plan !== undefined && plan !== null) return [mappedTable(plan)]
      // A table that is gone says so itself.
      if (current === undefined) return []
      throw unmappable(current, plans.at(-1)!.problems!, locateOf(this.#mapping))
    })
  }

  async #openReader(context: SourceContext): Promise<SourceReader> {
    const tables = mappedSelection(this.#mapping.tables, context.tables)
    return new MappedReader(await this.#inner.openReader!({ ...context, tables }), this.#mapping)
  }

  #require(): SourceContext {
    if (this.#context === null)
      throw new NotConnectedError('mapping/not-connected', 'the mapped source is not connected')
    return this.#context
  }
}

function needingOldRows(plans: readonly RowPlan[]) {
  return namedSelection(plans.filter(({ needsOldRow }) => needsOldRow).map(({ source }) => source))
}

function innerOf(position: SourcePosition): SourcePosition {
  return readMapped(position)?.inner ?? position
}

function unmappedBefore(): ConfigError {
  return new ConfigError(
    'mapping/other-pipeline',
    'the checkpoint of this pipeline was written without a mapping, so nobody knows what the sinks have',
    { fix: 'Give the pipeline another name, so that it copies everything, or take the mapping out.' },
  )
}

function refused(changes: readonly string[]): ConfigError {
  return new ConfigError(
    'mapping/breaking',
    `the mapping was changed in a way that takes something from those who read the sinks: ${changes.join('; ')}`,
    { fix: 'Set `mapping.breaking: apply` to make the change, or undo it.' },
  )
}

function notCopiedAgain(type: string, { list, copies }: MappingChanges): ConfigError {
  return new ConfigError(
    'mapping/needs-copy',
    `the mapping was changed: ${list.join('; ')}. That needs a new copy of ${copies.join(', ')}, and a source of type "${type}" cannot copy a table again`,
    { fix: 'Give the pipeline another name, so that it copies everything, or undo the change.' },
  )
}
