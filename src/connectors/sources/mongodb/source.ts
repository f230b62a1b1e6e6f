/** MongoDB as a source: wiring only. */
import type { MongoClient } from 'mongodb'
import { RecordBatch } from '../../../core/batch.ts'
import { ConfigError, NotConnectedError, PositionLostError, type Problem } from '../../../core/error.ts'
import type { DocumentMapping } from '../../../core/mapping/mapping.ts'
import { comparePositions, type SourcePosition } from '../../../core/position.ts'
import type { SourceReader } from '../../../core/row-reader.ts'
import {
  type BatchWriter,
  handOver,
  type SnapshotProgress,
  Source,
  type SourceCapabilities,
  type SourceContext,
} from '../../../core/source.ts'
import { tableName, type TableSchema } from '../../../core/table.ts'
import { CAPABILITIES } from './capabilities.ts'
import { ChangeCursor, type StreamStart } from './change-cursor.ts'
import { checkCollections, checkServer, readCollections } from './check.ts'
import { type MappedCollection, mappedCollections, type StreamStages, streamStages } from './collections.ts'
import { defaultUnits, type MongodbConfig, type Units } from './config.ts'
import { Copy } from './copy.ts'
import { isOutOfTime, mongodbError } from './errors.ts'
import { type FedCollection, FedCollections } from './fed-table.ts'
import { Follower } from './follower.ts'
import {
  formatHalves,
  parseTime,
  type Place,
  placeAt,
  placeOf,
  readResume,
  StreamPosition,
  type Surroundings,
} from './position.ts'
import { followMapping, uncopiedOf } from './tables.ts'
import { MongodbReader } from './reader.ts'
import { databaseOf, headTime, openClient, readServer, type ServerFacts } from './session.ts'

interface Connected {
  readonly context: SourceContext
  readonly client: MongoClient
  readonly server: ServerFacts
  readonly mapping: DocumentMapping
  readonly collections: readonly MappedCollection[]
  readonly stream: StreamStages
  readonly preImages: boolean
}

export class MongodbSource extends Source {
  readonly type = 'mongodb'
  readonly #config: MongodbConfig
  readonly #units: Units
  #connected: Connected | null = null
  #copy: Copy | null = null
  #position: SourcePosition | null = null
  readonly #clients = new Set<MongoClient>()

  constructor(config: MongodbConfig, units: Partial<Units> = {}) {
    super()
    this.#config = config
    this.#units = { ...defaultUnits, ...units }
  }

  override capabilities(): SourceCapabilities {
    return CAPABILITIES
  }

  override async validate(context: SourceContext): Promise<readonly Problem[]> {
    const client = await this.#open(context)
    try {
      const server = await readServer(client)
      const problems = checkServer(server)
      if (problems.length > 0) return problems
      const { collections, stream, preImages } = this.#plan(context, client, server)
      const found = await readCollections(client, collections)
      const start: StreamStart = { kind: 'time', at: await headTime(client) }
      // Whether the user may follow them shows when it is tried.
      await this.#probe({ client, stream, preImages }, start)
      return checkCollections(collections, found, this.#config)
    } catch (error) {
      throw mongodbError(error, 'check the server')
    } finally {
      await this.#close(client)
    }
  }

  override async connect(context: SourceContext): Promise<void> {
    const client = await this.#open(context)
    try {
      const server = await readServer(client)
      this.#connected = { context, client, server, ...this.#plan(context, client, server) }
    } catch (error) {
      throw mongodbError(error, 'read the state of the server')
    }
  }

  override async discover(): Promise<readonly TableSchema[]> {
    const { collections } = this.#require()
    return collections.flatMap(({ tables }) => tables.map(({ table }) => table))
  }

  override async stream(out: BatchWriter, from: SourcePosition | null): Promise<void> {
    const isOver = out.signal.aborted
    try {
      const work = this.#run(this.#tracking(out), from)
      await (isOver ? work : orAborted(out.signal, work))
    } catch (error) {
      if (out.signal.aborted && !isOver) return
      throw mongodbError(error, 'replicate')
    }
  }

  /** Nothing to tell: an oplog keeps what it keeps. */
  override async checkpoint(): Promise<void> {}

  override currentPosition(): SourcePosition | null {
    return this.#position
  }

  override async headPosition(): Promise<SourcePosition | null> {
    const { client } = this.#require()
    try {
      const place = { ...placeAt(parseTime(await headTime(client))), isBehind: true }
      return new StreamPosition(place, { ...NOTHING, wholeFrom: '' })
    } catch (error) {
      throw mongodbError(error, 'read the end of the oplog')
    }
  }

  override snapshotProgress(): SnapshotProgress | null {
    return this.#copy?.progress ?? null
  }

  override async disconnect(): Promise<void> {
    this.#connected = null
    await Promise.all([...this.#clients].map((client) => this.#close(client)))
  }

  /** Over a client of its own. */
  override async openReader(context: SourceContext): Promise<SourceReader> {
    const client = await openClient(this.#config, context)
    try {
      const { collections } = this.#plan(context, client, await readServer(client))
      return new MongodbReader({
        client,
        collections,
        config: this.#config,
        units: this.#units,
        log: context.log,
      })
    } catch (error) {
      await client.close(true).catch(() => {})
      throw mongodbError(error, 'read the state of the server')
    }
  }

  async #run(out: BatchWriter, from: SourcePosition | null): Promise<void> {
    const { client, context, server, stream } = this.#require()
    let place: Place
    let surroundings: Surroundings = { ...NOTHING, stages: stream.fingerprint, cluster: server.cluster }
    let start: StreamStart | null = null
    if (from === null) {
      const head = parseTime(await headTime(client))
      const replayFrom = context.replayFrom === undefined ? head : BigInt(context.replayFrom / 1000) << 32n
      place = placeAt(replayFrom < head ? replayFrom : head)
      if (context.replayFrom !== undefined) surroundings = { ...surroundings, replays: true }
    } else {
      const resume = readResume(from)
      requireCluster(resume.cluster, server.cluster)
      place = placeOf(from)
      const { tables, copies, wholeFrom, replays } = resume
      surroundings = { ...surroundings, tables, copies, wholeFrom, ...(replays ? { replays } : {}) }
      // Another selection of events: the token may be of an event that the server leaves out now. Not to be kept with it.
      if (resume.stages !== stream.fingerprint) place = { ...place, token: null, invalidated: false }
      this.#position = from
      // Nothing is wanted, but a position that is lost is told of all the same.
      if (out.signal.aborted) return this.#probe(this.#require(), startAt(place))
    }
    const { mapping, collections: mapped } = this.#require()
    const changed = followMapping(mapping, mapped, surroundings)
    const tell = async (what: Surroundings): Promise<void> => {
      place = { ...place, step: place.step + 1 }
      const position = new StreamPosition(place, what)
      await out.write(RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position, timeMs: context.now() }))
    }
    if (changed.warning !== null) await tell(changed.warning)
    let changes = 0
    for (const batch of changed.batches) {
      const change = batch.schemaChange!
      if (change.change.kind !== 'create-table') {
        changes++
        context.log.info('the mapping changed', {
          table: tableName(change.table),
          change: change.change.kind,
        })
      }
      await out.write(batch)
    }
    // From here on the tables are known as they are now.
    if (changes > 0) await tell(changed.surroundings)
    surroundings = changed.surroundings
    while (!out.signal.aborted) {
      const collections = new FedCollections(
        this.#require().collections,
        surroundings.tables,
        this.#config,
        context.log,
      )
      start ??= startAt(place)
      const uncopied = uncopiedOf(collections, surroundings.tables)
      if (uncopied.length > 0) {
        const copied = await this.#copyAll(out, uncopied, place, surroundings, start)
        if (out.signal.aborted) return
        place = copied.place
        surroundings = copied.surroundings
        continue
      }
      if (surroundings.wholeFrom === null) surroundings = { ...surroundings, wholeFrom: '' }
      const follower = new Follower({
        ...this.#require(),
        config: this.#config,
        units: this.#units,
        isSharded: server.isSharded,
        collections,
        from: place,
        start,
        surroundings,
        owesWhole: this.#position === null || this.#position.partial === true,
        out,
        log: context.log,
        now: context.now,
      })
      context.log.info('streaming', { from: formatHalves(place.seconds, place.counter) })
      await follower.run()
      place = follower.place
      surroundings = follower.surroundings
      start = null
    }
  }

  async #copyAll(
    out: BatchWriter,
    collections: readonly FedCollection[],
    place: Place,
    surroundings: Surroundings,
    start: StreamStart,
  ): Promise<{ readonly place: Place; readonly surroundings: Surroundings }> {
    const connected = this.#require()
    const { client, context } = connected
    // What came before the copy may be of documents that this mapping was not made for.
    const replays =
      surroundings.replays === true &&
      start.kind === 'time' &&
      Object.values(surroundings.tables).every(({ copiedAt }) => copiedAt === null)
    const at = replays
      ? (BigInt(place.seconds) << 32n) | BigInt(place.counter)
      : parseTime(await headTime(client))
    context.log.info('copy started', {
      collections: collections.length,
      at: formatHalves(place.seconds, place.counter),
    })
    this.#copy = new Copy({
      client,
      config: this.#config,
      units: this.#units,
      collections,
      place,
      surroundings,
      at,
      requireHistory: () => this.#probe(connected, start),
      out,
      now: context.now,
    })
    const reached = await this.#copy.run()
    if (!out.signal.aborted)
      context.log.info('copy finished', {
        rows: this.#copy.progress.rowsCopied,
        tables: this.#copy.progress.tablesDone,
      })
    return { place: this.#copy.place, surroundings: reached }
  }

  /**
   * Opens the stream and closes it again: the oplog reaches back to here, and the user may read it. The server looks for
   * the place only when it has to find an event; whether there is one does not matter, so it need not look for long.
   */
  async #probe(
    { client, stream, preImages }: Pick<Connected, 'client' | 'stream' | 'preImages'>,
    start: StreamStart,
  ): Promise<void> {
    try {
      const cursor = await ChangeCursor.open({
        client,
        stream,
        preImages,
        start,
        eventsPerReply: 1,
        awaitMs: 1,
        transactionMs: 1,
        firstMs: 1000,
      })
      await cursor.close()
    } catch (error) {
      if (!isOutOfTime(error)) throw error
    }
  }

  #plan(
    context: SourceContext,
    client: MongoClient,
    server: ServerFacts,
  ): Pick<Connected, 'mapping' | 'collections' | 'stream' | 'preImages'> {
    const mapping = context.mapping ?? null
    if (mapping === null) {
      throw new ConfigError(
        'mongodb/no-mapping',
        'a mongodb source needs a mapping of collections to tables',
        {
          fix: 'Add mapping.tables to the config, see docs/mapping.md.',
        },
      )
    }
    const collections = mappedCollections(mapping, context.tables, databaseOf(this.#config, client))
    if (collections.length === 0) {
      throw new ConfigError('mongodb/no-tables', 'no table of the mapping is selected', {
        fix: 'Name tables of the mapping in tables, as in public.orders, or leave it out.',
      })
    }
    const preImages = collections.some(({ needsPreImage }) => needsPreImage !== null)
    const [major, minor, patch] = server.version
    const splits = major >= 7 || (major === 6 && (minor > 0 || patch >= 9))
    return { mapping, collections, preImages, stream: streamStages(collections, { preImages, splits }) }
  }

  /** Nothing waits for room, and nothing more is handed over, once the source shall stop. */
  #tracking(out: BatchWriter): BatchWriter {
    return {
      signal: out.signal,
      write: (batch) => {
        if (out.signal.aborted) return
        const { position } = batch
        if (position !== null && (this.#position === null || comparePositions(this.#position, position) <= 0))
          this.#position = position
        return handOver(out, batch)
      },
    }
  }

  async #open(context: SourceContext): Promise<MongoClient> {
    const client = await openClient(this.#config, context)
    this.#clients.add(client)
    return client
  }

  async #close(client: MongoClient): Promise<void> {
    this.#clients.delete(client)
    await client.close(true).catch(() => {})
  }

  #require(): Connected {
    if (this.#connected === null)
      throw new NotConnectedError('mongodb/not-connected', 'the source is not connected')
    return this.#connected
  }
}

const NOTHING: Surroundings = { stages: '', cluster: '', tables: {}, copies: {}, wholeFrom: null }

function startAt({ token, invalidated, seconds, counter }: Place): StreamStart {
  return token === null
    ? { kind: 'time', at: formatHalves(seconds, counter) }
    : { kind: 'token', token, invalidated }
}

/** Resolves at the abort, whatever a server keeps waiting; what fails after it concerns nobody. */
function orAborted(signal: AbortSignal, work: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => resolve()
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}

/** A cluster time of another cluster means nothing. Without the role clusterMonitor only names can be compared. */
function requireCluster(stored: string, actual: string): void {
  const [storedName, storedId] = stored.split('/')
  const [name, id] = actual.split('/')
  if (storedName === name && (storedId === undefined || id === undefined || storedId === id)) return
  throw new PositionLostError(
    'mongodb/other-cluster',
    'the server belongs to another cluster than the stored position',
    {
      fix: 'Check source.url. If the data was moved to a new cluster, copy again: stop, remove the checkpoint of the pipeline, start.',
    },
  )
}
