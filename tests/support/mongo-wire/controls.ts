import { CannedStream } from './canned.ts'
import type { Cluster } from './cluster.ts'
import type { Command } from './command.ts'
import type { Connection } from './connection.ts'
import { CommandError } from './errors.ts'
import { longOf, toJs, TYPE } from './value.ts'

/** A command that the server has taken. */
export interface SeenCommand {
  readonly name: string
  readonly database: string
  /** The collection or whatever else the first argument names. */
  readonly target: string | null
  readonly application: string
  readonly connection: number
  /** The whole command as JavaScript. */
  readonly body: Readonly<Record<string, unknown>>
}

export interface Fault {
  /** The name of the command. */
  readonly command: string
  /** Only those commands. */
  readonly where?: (command: SeenCommand) => boolean
  /** How many commands are let through first, and how many then fail; once unless told. */
  readonly skip?: number
  readonly times?: number
  /** The error to answer with, instead of doing anything. */
  readonly code?: number
  readonly message?: string
  /** The labels of the error; those that a server puts on it unless told. */
  readonly labels?: readonly string[]
  /** Cut the connection before the command is applied, or after it was but before the reply. */
  readonly cut?: 'before' | 'after'
}

/** A command that was stopped on its way in. */
export interface Hold {
  /** Resolves when a command has arrived. */
  readonly arrived: Promise<SeenCommand>
  /** Lets it go, and those after it. */
  release(): void
}

/** Bytes of one connection. */
export interface ConnectionTraffic {
  readonly connection: number
  readonly member: string
  readonly application: string
  readonly open: boolean
  readonly received: number
  readonly sent: number
  readonly sentBy: ReadonlyMap<string, number>
}

/** A `find` that was run. */
export interface SeenFind {
  readonly namespace: string
  readonly filter: unknown
  readonly min: unknown
  readonly max: unknown
  readonly limit: number
}

interface ActiveFault {
  readonly fault: Fault
  skip: number
  left: number
}

interface ActiveHold {
  readonly command: string
  readonly where: (command: SeenCommand) => boolean
  readonly arrive: (command: SeenCommand) => void
  readonly released: Promise<void>
}

const REMEMBERED = 20_000

/** What tests can do to the server, and see of it. */
export class Controls {
  readonly #cluster: Cluster
  #faults: ActiveFault[] = []
  #holds: (ActiveHold & { release(): void })[] = []
  #paused: { readonly done: Promise<void>; readonly resume: () => void } | null = null
  #seen: SeenCommand[] = []
  #connections: Connection[] = []
  #finds: SeenFind[] = []
  #canned: { readonly where: (command: SeenCommand) => boolean; readonly stream: () => CannedStream } | null =
    null
  #batches = 0
  /** How many events a batch of a cursor may have at most, whatever the client asks for. */
  batchLimit = Number.POSITIVE_INFINITY
  /** After how many seconds images expire, as the cluster parameter says. */
  expireAfterSeconds: number | null = null

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** The clock of the cluster: `freeze`, `thaw`, `advance`. */
  get clock() {
    return this.#cluster.store.clock
  }

  /** Makes commands fail or cuts their connections; gives what takes the fault away again. */
  fail(fault: Fault): () => void {
    const active = { fault, skip: fault.skip ?? 0, left: fault.times ?? 1 }
    this.#faults.push(active)
    return () => {
      this.#faults = this.#faults.filter((other) => other !== active)
    }
  }

  /** Stops the next command of that name on its way in, before it reads or writes anything. */
  hold(command: string, where: (command: SeenCommand) => boolean = () => true): Hold {
    let arrive!: (seen: SeenCommand) => void
    let release!: () => void
    const arrived = new Promise<SeenCommand>((resolve) => (arrive = resolve))
    const released = new Promise<void>((resolve) => (release = resolve))
    const held = {
      command,
      where,
      arrive,
      released,
      release: () => {
        this.#holds = this.#holds.filter((other) => other !== held)
        release()
      },
    }
    this.#holds.push(held)
    return { arrived, release: held.release }
  }

  /** Keeps all replies back until `resumeReplies`. */
  pauseReplies(): void {
    let resume!: () => void
    const done = new Promise<void>((resolve) => (resume = resolve))
    this.#paused ??= { done, resume }
  }

  resumeReplies(): void {
    this.#paused?.resume()
    this.#paused = null
  }

  /** Takes all faults, holds and pauses away. */
  release(): void {
    this.#faults = []
    for (const hold of this.#holds) hold.release()
    this.releaseMajority()
    this.resumeReplies()
  }

  /** The primary gives up; its streams that wait fail with that code and the label that belongs to it. */
  stepDown(code?: number): void {
    this.#cluster.stepDown(code)
  }

  /** Closes a member's port, and its connections; data is kept. */
  stopMember(index: number): Promise<void> {
    return this.#cluster.stop(index)
  }

  startMember(index: number): Promise<void> {
    return this.#cluster.start(index)
  }

  restartMember(index: number): Promise<void> {
    return this.#cluster.restart(index)
  }

  /** The place of the primary among the members, or -1. */
  get primary(): number {
    return this.#cluster.members.findIndex((member) => member.isPrimary)
  }

  /** Forgets the log up to now: earlier tokens and times are lost. */
  cutLog(): void {
    const { store } = this.#cluster
    store.append({ kind: 'noop' })
    store.log.cut(store.log.end - 1)
  }

  /** Writes the no-op that an idle cluster writes every few seconds. */
  writeNoop(): void {
    this.#cluster.store.append({ kind: 'noop' })
  }

  /** From now on writes stay on the primary alone: neither streams nor majority reads see them. */
  holdMajority(): void {
    this.#cluster.store.holdMajority()
  }

  /** The other members get what they lack. */
  releaseMajority(): void {
    this.#cluster.store.releaseMajority()
  }

  /** The primary is lost with what it alone had: those writes are undone, and another one takes over. */
  rollBack(): void {
    this.#cluster.store.rollBack()
    this.#cluster.stepDown()
  }

  /** Lets the recorded pre- and post-images of all events so far expire. */
  expireImages(): void {
    for (const entry of this.#cluster.store.log.entries()) entry.images = false
  }

  /** How far back snapshots may read, in milliseconds. */
  keepHistory(milliseconds: number): void {
    this.#cluster.store.historyMs = milliseconds
  }

  /** Ends batches after so many events, for example in the middle of a transaction; `null` lifts it. */
  limitBatches(events: number | null): void {
    this.batchLimit = events ?? Number.POSITIVE_INFINITY
  }

  /** Puts only so many operations of a transaction into one entry of the log, as if they were large; `null` lifts it. */
  splitTransactions(operations: number | null): void {
    this.#cluster.store.transactionEntry = operations ?? Number.POSITIVE_INFINITY
  }

  /** Moves the documents that satisfy the condition to another shard, as a chunk migration does. */
  migrate(
    database: string,
    collection: string,
    to: number,
    where: (document: Readonly<Record<string, unknown>>) => boolean = () => true,
  ): number {
    const { store } = this.#cluster
    return store.migrate(store.find(database, collection)!, (document) => where(toJs(document)), to)
  }

  /** Forgets all open cursors of all members, so that the next getMore fails with 43. */
  dropCursors(): void {
    for (const member of this.#cluster.members) member.cursors.clear()
  }

  /** Closes the open connections, or those of which the condition is true; or resets them. */
  cutConnections(where: (traffic: ConnectionTraffic) => boolean = () => true, reset = false): number {
    const open = this.#connections.filter(
      (connection) => !connection.signal.aborted && where(traffic(connection)),
    )
    for (const connection of open) connection.cut(reset)
    return open.length
  }

  /** All connections so far, with what went over them. */
  connections(): readonly ConnectionTraffic[] {
    return this.#connections.map(traffic)
  }

  openConnections(): readonly ConnectionTraffic[] {
    return this.connections().filter(({ open }) => open)
  }

  /** Bytes that the server has sent for commands of that name, or for all. */
  bytesSent(command?: string): number {
    return this.#connections.reduce(
      (sum, connection) =>
        sum + (command === undefined ? connection.traffic.sent : (connection.sentBy.get(command) ?? 0)),
      0,
    )
  }

  /** The commands so far, by name. */
  commands(name?: string): readonly SeenCommand[] {
    return name === undefined ? this.#seen : this.#seen.filter((command) => command.name === name)
  }

  /** The finds so far, of one collection or of all. */
  finds(namespace?: string): readonly SeenFind[] {
    return this.#finds.filter((find) => namespace === undefined || find.namespace === namespace)
  }

  /** How many batches of open cursors were asked for. */
  get batches(): number {
    return this.#batches
  }

  /** Forgets which commands and finds were seen. */
  forget(): void {
    this.#seen = []
    this.#finds = []
    this.#batches = 0
  }

  /** Answers the change streams that satisfy the condition with replies that were prepared. */
  serveCanned(stream: () => CannedStream, where: (command: SeenCommand) => boolean = () => true): void {
    this.#canned = { stream, where }
  }

  // What follows is for the server itself.

  record(command: Command): void {
    if (this.#seen.length >= REMEMBERED) this.#seen.splice(0, REMEMBERED / 2)
    this.#seen.push(seen(command))
  }

  countConnection(connection: Connection): void {
    this.#connections.push(connection)
  }

  countFind(command: Command): void {
    const { filter = {}, min, max, limit = 0 } = seen(command).body
    const namespace = `${command.database}.${command.target}`
    if (this.#finds.length >= REMEMBERED) this.#finds.splice(0, REMEMBERED / 2)
    this.#finds.push({ namespace, filter, min, max, limit: Number(limit) })
  }

  countBatch(_command: Command): void {
    this.#batches++
  }

  async before(command: Command): Promise<'cut' | null> {
    const what = seen(command)
    const held = this.#holds.find((hold) => hold.command === command.name && hold.where(what))
    if (held) {
      held.arrive(what)
      await Promise.race([held.released, aborted(command.signal)])
    }
    const fault = this.#take(what, ({ cut }) => cut !== 'after')
    if (!fault) return null
    if (fault.cut === 'before') return 'cut'
    throw new CommandError(
      fault.code ?? 8,
      fault.message ?? `Failing command via 'failCommand' failpoint`,
      fault.labels ?? [],
      {},
      fault.labels !== undefined,
    )
  }

  after(command: Command): 'cut' | null {
    return this.#take(seen(command), ({ cut }) => cut === 'after') ? 'cut' : null
  }

  async replyGate(signal: AbortSignal): Promise<void> {
    while (this.#paused && !signal.aborted) await Promise.race([this.#paused.done, aborted(signal)])
  }

  cannedFor(command: Command): CannedStream | null {
    return this.#canned?.where(seen(command)) ? this.#canned.stream() : null
  }

  rawReply(command: Command): Promise<readonly Buffer[]> | null {
    if (this.#canned === null || command.name !== 'getMore') return null
    const id = longOf(command.value('getMore'))!
    const cursor = command.member.cursors.list().find((open) => open.id === id)
    if (!(cursor?.source instanceof CannedStream)) return null
    return cursor.source.next(id, command.number('maxTimeMS') ?? 1000)
  }

  #take(command: SeenCommand, kind: (fault: Fault) => boolean): Fault | null {
    const active = this.#faults.find(
      ({ fault }) => kind(fault) && fault.command === command.name && (fault.where?.(command) ?? true),
    )
    if (!active) return null
    if (active.skip > 0) {
      active.skip--
      return null
    }
    if (--active.left <= 0) this.#faults = this.#faults.filter((other) => other !== active)
    return active.fault
  }
}

const SEEN = new WeakMap<Command, SeenCommand>()

/** What a test sees of a command; its body is decoded only when it is looked at. */
function seen(command: Command): SeenCommand {
  const known = SEEN.get(command)
  if (known) return known
  const first = command.value(command.name)
  let body: Readonly<Record<string, unknown>> | null = null
  const { body: document, connection } = command
  const what: SeenCommand = {
    name: command.name,
    database: command.database,
    target:
      first?.type === TYPE.string
        ? command.target
        : command.name === 'getMore'
          ? command.text('collection')
          : null,
    application: connection.applicationName,
    connection: connection.id,
    get body() {
      return (body ??= toJs(document))
    },
  }
  SEEN.set(command, what)
  return what
}

function traffic(connection: Connection): ConnectionTraffic {
  return {
    connection: connection.id,
    member: connection.member.address,
    application: connection.applicationName,
    open: !connection.signal.aborted,
    received: connection.traffic.received,
    sent: connection.traffic.sent,
    sentBy: connection.sentBy,
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
