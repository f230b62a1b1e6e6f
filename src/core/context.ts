/** One line of log with structured fields. Fields hold names, numbers and positions, never values or secrets. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>

/** What every connector gets: time and logging come from here, so that tests can hold them still. */
export interface ConnectorContext {
  /** Name of the pipeline, unique in its checkpoint store; the base of derived names on servers. */
  readonly pipeline: string
  readonly log: Logger
  /** Milliseconds since 1970 UTC. */
  now(): number
  /**
   * A number that is larger at every start of the pipeline (the fencing number of its lease, 0 where there is none):
   * makes tokens of different runs different.
   */
  readonly run: number
  /**
   * Where a connector leaves what serves others between two attempts, for its next instance; disposed of when the run
   * ends. Absent where there is no next one.
   */
  readonly kept?: KeptThings
}

/** Things by name that outlive the instance which made them. */
export interface KeptThings {
  keep(name: string, thing: AsyncDisposable): void
  /** Gives it out, once; null when there is none. */
  take(name: string): AsyncDisposable | null
}
