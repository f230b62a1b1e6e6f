import { CommandError } from './errors.ts'
import type { Store } from './store.ts'
import { Transaction } from './transaction.ts'
import { Doc, isTrue, longOf, Scalar, type Value } from './value.ts'

/** A logical session: its transaction, or the statements of its last retryable write. */
export class Session {
  readonly lsid: Doc
  txnNumber = -1n
  transaction: Transaction | null = null
  /** What the statements of the retryable write under way gave, by statement number. */
  readonly done = new Map<number, unknown>()

  constructor(lsid: Doc) {
    this.lsid = lsid
  }
}

/** The sessions of a cluster, which outlive members and connections. */
export class Sessions {
  readonly #sessions = new Map<string, Session>()
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  /** The session that a command names, if it names one. */
  of(body: Doc): Session | null {
    const lsid = body.get('lsid')
    if (!(lsid instanceof Doc)) return null
    const key = sessionKey(lsid)!
    let session = this.#sessions.get(key)
    if (!session) this.#sessions.set(key, (session = new Session(lsid)))
    return session
  }

  /** Forgets sessions, and ends the transactions that are open in them. */
  end(lsids: Iterable<Value>): void {
    for (const lsid of lsids) {
      const session = this.#sessions.get(sessionKey(lsid)!)
      if (session?.transaction) this.#store.abort(session.transaction)
      this.#sessions.delete(sessionKey(lsid)!)
    }
  }

  /** Ends all open transactions, as a member does that is no longer primary. */
  abortAll(): void {
    for (const { transaction } of this.#sessions.values()) if (transaction) this.#store.abort(transaction)
  }

  /** Brings a session to the transaction or the retryable write that a command belongs to. */
  enter(session: Session, body: Doc, name: string): Transaction | null {
    const number = body.get('txnNumber')
    if (!(number instanceof Scalar)) return null
    const txnNumber = longOf(number)!
    const multiple = body.get('autocommit') !== undefined
    const starts = isTrue(body.get('startTransaction'))
    if (txnNumber < session.txnNumber)
      throw new CommandError(
        225,
        `Cannot start transaction ${txnNumber} on session because a newer transaction ${session.txnNumber} has already started`,
      )
    if (txnNumber > session.txnNumber) {
      if (session.transaction) this.#store.abort(session.transaction)
      session.transaction = null
      session.done.clear()
      if (multiple && !starts) throw unknown(txnNumber)
      session.txnNumber = txnNumber
    }
    if (!multiple) return null
    if (starts && session.transaction === null) {
      const concern = body.get('readConcern')
      const at = concern instanceof Doc ? longOf(concern.get('atClusterTime')) : undefined
      session.transaction = new Transaction(at ?? this.#store.clock.last, session.lsid, number)
      this.#store.open.add(session.transaction)
    }
    const { transaction } = session
    const ends = name === 'commitTransaction' || name === 'abortTransaction'
    if (transaction === null || (transaction.state !== 'open' && !ends)) throw unknown(txnNumber)
    return transaction
  }
}

function unknown(txnNumber: bigint): CommandError {
  return new CommandError(
    251,
    `Given transaction number ${txnNumber} does not match any in-progress transactions. The active transaction number is none`,
    ['TransientTransactionError'],
  )
}

/** What tells sessions apart. */
export function sessionKey(lsid: Value | undefined): string | null {
  const id = lsid instanceof Doc ? lsid.get('id') : undefined
  return id === undefined ? null : id.bytes.toString('hex')
}
