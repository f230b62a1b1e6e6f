import type { DocumentMapping } from '../../core/mapping/mapping.ts'
import type { Source, SourceCapabilities } from '../../core/source.ts'
import type { KitChange, TextRow } from '../change.ts'
import type { LawSubject } from '../law.ts'
import type { Address } from '../address.ts'

/** What a connector's tests write once, so that the kit can run every law against a real server. */
export interface SourceHarness extends LawSubject<SourceCapabilities> {
  /** A fresh, empty database on a real server. Each law opens its own; several may be open at once. */
  open(): Promise<SourceBench>
  /** How long laws wait for what must happen, in milliseconds. Default 20 s. */
  readonly patienceMs?: number
}

export interface SourceOptions {
  /** Reach the server at this address instead of its own: a proxy of the kit. */
  readonly through?: Address
  /** Log in with a wrong password. */
  readonly wrongPassword?: boolean
}

/** One database, and the means to look at it from outside of the connector. */
export interface SourceBench extends AsyncDisposable {
  /** Unique on the server: names on it are derived from this. The same for all sources of this bench. */
  readonly pipeline: string
  /** Patterns that select the tables of this database, as in a config. */
  readonly tables: readonly string[]
  /**
   * For sources that declare `needsMapping`: what makes the kit's tables of what the database has now, another object
   * whenever `apply` has changed it. Running sources are then started again, as a reload does it.
   */
  mapping?(): DocumentMapping
  /** A new source over this database, as a restart makes one. Short heartbeats and polls: laws wait for them. */
  create(options?: SourceOptions): Source
  /** Name of a kit table as it stands in `TableSchema`: `namespace.name`. */
  nameOf(table: string): string
  /**
   * Makes the changes in order, in one transaction where the database has transactions and can change schemas inside
   * them. All of it is committed when the promise resolves. May be called concurrently.
   */
  apply(changes: readonly KitChange[]): Promise<void>
  /**
   * What sources of this bench have made on the server (slots, publications, triggers and the like), by name. Empty at
   * first.
   */
  objects(): Promise<readonly string[]>
  /** The rows of a table as the server itself renders them: the oracle. Not read through the connector. */
  rows(table: string): Promise<readonly TextRow[]>
  /** Values of every type of the database. Tables have an integer key column `id`, which tells the rows apart. */
  readonly types?: TypeSamples
  /** Where the server listens; there when it is reached over TCP. */
  readonly address?: Address
  /** Connections that sources of this bench hold on the server now. */
  connections?(): Promise<number>
  /** `order` of the position up to which the server has forgotten, or may forget; null when it knows none. */
  released?(): Promise<string | null>
  /** Makes something happen in the log that is none of the selected tables' business. */
  unrelated?(): Promise<void>
  /** Takes away the history that a stopped source would need to resume. */
  loseHistory?(): Promise<void>
  /** What no message may hold: passwords and the like. The kit adds cell values of its own. */
  readonly secrets: readonly string[]
}

export interface TypeSamples {
  readonly tables: readonly string[]
  /** Makes the tables, without rows. */
  create(): Promise<void>
  /** Inserts the same samples again, with `id`s from `first` on, in the same order. */
  insert(first: number): Promise<void>
}
