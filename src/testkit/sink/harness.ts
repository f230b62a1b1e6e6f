import type { Sink, SinkCapabilities } from '../../core/sink.ts'
import type { TableSchema } from '../../core/table.ts'
import type { TextRow } from '../change.ts'
import type { LawSubject } from '../law.ts'
import type { Address } from '../address.ts'

/** What a connector's tests write once, so that the kit can run every law against a real server. */
export interface SinkHarness extends LawSubject<SinkCapabilities> {
  /** A fresh, empty target on a real server. Each law opens its own; several may be open at once. */
  open(needs?: SinkNeeds): Promise<SinkBench>
}

/** What a law is going to do, for harnesses whose targets share one server. */
export interface SinkNeeds {
  /** Calls `crash`: the target needs a server that nobody else uses. */
  readonly crash?: boolean
}

export interface SinkOptions {
  /** Reach the server at this address instead of its own: a proxy of the kit. */
  readonly through?: Address
  /** Wait for answers a second or two at most; otherwise as long as a user's sink does. */
  readonly impatient?: boolean
  /** Log in with a wrong password. */
  readonly wrongPassword?: boolean
}

/** One target, and the means to look at it from outside of the connector. */
export interface SinkBench extends AsyncDisposable {
  readonly pipeline: string
  /** A new sink over this target, as a restart makes one. */
  create(options?: SinkOptions): Sink
  /**
   * The rows of a table as a reader of the target sees them, with the columns and the canonical text of `schema`,
   * without what the sink adds for itself. Not read through the connector. Rows that are deleted are not there; a cell
   * that the target does not have is left out.
   */
  rows(schema: TableSchema): Promise<readonly TextRow[]>
  /** Everything that a sink could have made on the target, by name: tables, columns, views, files. In any order. */
  inventory(): Promise<readonly string[]>
  /** Where the server listens; there when it is reached over TCP. */
  readonly address?: Address
  /** Ends the server as SIGKILL does and starts it again on the same data. */
  crash?(): Promise<void>
  /** Makes the target refuse one row that the kit names by table and key, until the function it returns is called. */
  refuseRow?(schema: TableSchema, key: TextRow): Promise<() => Promise<void>>
  /** What no message may hold: passwords and the like. The kit adds cell values of its own. */
  readonly secrets: readonly string[]
}
