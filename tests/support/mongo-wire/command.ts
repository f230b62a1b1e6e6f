import { LATEST, type View } from './collection.ts'
import type { Connection } from './connection.ts'
import { CommandError } from './errors.ts'
import type { Member } from './member.ts'
import type { Session } from './sessions.ts'
import { Locked } from './store.ts'
import type { Transaction } from './transaction.ts'
import { Doc, type Fields, isTrue, List, longOf, numberOf, textOf, type Value } from './value.ts'

/** A command on its way: its arguments, and who asks whom. */
export class Command {
  readonly name: string
  readonly body: Doc
  readonly database: string
  readonly member: Member
  readonly connection: Connection
  /** Fires when the connection closes or the member goes down. */
  readonly signal: AbortSignal
  session: Session | null = null
  transaction: Transaction | null = null

  constructor(name: string, body: Doc, database: string, connection: Connection, signal: AbortSignal) {
    this.name = name
    this.body = body
    this.database = database
    this.connection = connection
    this.member = connection.member
    this.signal = signal
  }

  get store() {
    return this.member.cluster.store
  }

  /** The collection that the command names as its first argument. */
  get target(): string {
    return this.text(this.name)
  }

  value(name: string): Value | undefined {
    return this.body.get(name)
  }

  text(name: string): string {
    const text = textOf(this.body.get(name))
    if (text === undefined)
      throw new CommandError(
        14,
        `BSON field '${this.name}.${name}' is the wrong type, expected type 'string'`,
      )
    return text
  }

  number(name: string): number | undefined {
    return numberOf(this.body.get(name))
  }

  flag(name: string): boolean {
    return isTrue(this.body.get(name))
  }

  doc(name: string): Doc | undefined {
    const value = this.body.get(name)
    return value instanceof Doc ? value : undefined
  }

  list(name: string): readonly Value[] {
    const value = this.body.get(name)
    return value instanceof List ? value.items : []
  }

  docs(name: string): readonly Doc[] {
    return this.list(name).filter((item) => item instanceof Doc)
  }

  /** What a read of this command sees: its transaction, the state of a time, or always the newest state. */
  view(): View {
    if (this.transaction) return this.transaction
    const concern = this.doc('readConcern')
    const level = textOf(concern?.get('level'))
    const after = longOf(concern?.get('afterClusterTime'))
    const { clock, horizon, committed, majorityView } = this.store
    if (after !== undefined && after > clock.last)
      throw new CommandError(
        72,
        'readConcern afterClusterTime value must not be greater than the current clusterTime',
      )
    if (level === 'majority') return majorityView
    if (level !== 'snapshot') return LATEST
    const time = longOf(concern?.get('atClusterTime')) ?? committed
    if (time < horizon)
      throw new CommandError(
        239,
        `Read timestamp ${time >> 32n} is older than the oldest available timestamp.`,
      )
    if (time > clock.last)
      throw new CommandError(
        72,
        'readConcern atClusterTime value must not be greater than the current clusterTime',
      )
    return { time, transaction: null }
  }

  /** Waits until a majority has what the command wants to have happened before. */
  async settled(): Promise<void> {
    const concern = this.doc('readConcern')
    const level = textOf(concern?.get('level'))
    if (level !== 'majority' && level !== 'snapshot') return
    const after = longOf(concern?.get('afterClusterTime')) ?? longOf(concern?.get('atClusterTime')) ?? 0n
    const limit = this.number('maxTimeMS')
    const deadline = limit === undefined ? Number.POSITIVE_INFINITY : performance.now() + limit
    while (after > this.store.committed && after <= this.store.clock.last && !this.signal.aborted) {
      const left = Math.min(deadline - performance.now(), 1000)
      if (left <= 0) throw new CommandError(50, 'operation exceeded time limit')
      await this.store.log.wait(left, this.signal)
    }
  }

  /** Does a write; outside of a transaction it waits for those that hold the document. */
  async write<Result>(attempt: () => Result): Promise<Result> {
    for (;;) {
      try {
        return attempt()
      } catch (error) {
        if (!(error instanceof Locked)) throw error
        await this.store.transactionEnded(this.signal)
        if (this.signal.aborted) throw new CommandError(11601, 'operation was interrupted')
      }
    }
  }
}

/** What a handler gives: the fields of the reply, without those that every reply has. */
export type Reply = Fields

export type Handler = (command: Command) => Reply | Promise<Reply>
export type Handlers = { readonly [name: string]: Handler }
