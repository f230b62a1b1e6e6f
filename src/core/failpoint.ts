/**
 * Places where a test can hold, break or kill a running pipeline. Inert otherwise: nothing in src arms them, and no
 * option and no environment variable can.
 */
export const FAILPOINTS = [
  /** The lease is taken, perhaps after a runner that died; nothing is connected. */
  'lease-taken',
  /** A copy is planned: the slot is made and the tables are locked, nothing is announced. */
  'snapshot-plan',
  /** A part of a table is read; some of its rows may be with the sinks. */
  'snapshot-read',
  /** A table is copied; nothing says so. */
  'snapshot-record',
  /** Bytes of the source have arrived; nothing is decoded. */
  'source-read',
  /** The source has cut a batch; no lane has it. */
  'batch-cut',
  /** The rows of an insert are sent, the end of the request is not. */
  'sink-write',
  /** The server has stored an insert; nobody knows. */
  'sink-stored',
  /** What precedes a schema change is durable; the change is not made. */
  'schema-before',
  /** One statement of a schema change is done; more may follow. */
  'schema-step',
  /** A schema change is made; nobody knows. */
  'schema-after',
  /** Every sink is durable up to a position that is not stored. */
  'checkpoint-due',
  /** A position is stored; the source has not heard of it. */
  'checkpoint-saved',
] as const
export type Failpoint = (typeof FAILPOINTS)[number]

/** Called whenever a failpoint is passed. May wait, reject (the place then fails with that error), or end the process. */
export type FailpointHandler = (name: Failpoint) => void | Promise<void>

let armed: FailpointHandler | null = null

/** Arms all failpoints of this thread; null disarms them. For tests only. */
export function armFailpoints(handler: FailpointHandler | null): void {
  armed = handler
}

/** Marks a place, at most once per batch, read or request. Whoever gets a promise waits for it before going on. */
export function failpoint(name: Failpoint): void | Promise<void> {
  if (armed !== null) return armed(name)
}
