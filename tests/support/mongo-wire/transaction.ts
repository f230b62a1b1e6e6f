import type { Collection, Slot, View } from './collection.ts'
import type { ChangeKind, UpdateDescription } from './log.ts'
import type { Doc, Scalar, Value } from './value.ts'

/** One write of one document. */
export interface Change {
  readonly kind: ChangeKind
  readonly collection: Collection
  readonly id: Value
  readonly before: Doc | null
  readonly after: Doc | null
  readonly update: UpdateDescription | null
}

/** A transaction over several documents: it reads one state, and its writes wait for the commit. */
export class Transaction implements View {
  readonly time: bigint
  readonly transaction = this
  readonly lsid: Doc
  readonly txnNumber: Scalar
  readonly changes: Change[] = []
  readonly slots = new Set<Slot>()
  state: 'open' | 'committed' | 'aborted' = 'open'
  commitTime: bigint | null = null

  constructor(time: bigint, lsid: Doc, txnNumber: Scalar) {
    this.time = time
    this.lsid = lsid
    this.txnNumber = txnNumber
  }
}
