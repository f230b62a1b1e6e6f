import type { RecordBatch } from '../core/batch.ts'
import type { CoreError } from '../core/error.ts'
import type { SourcePosition } from '../core/position.ts'

/** `copying` and `streaming` say what arrives; `retrying` is the wait before a new attempt. */
export type PipelinePhase = 'starting' | 'copying' | 'streaming' | 'draining' | 'retrying' | 'stopped'

export interface SinkStatus {
  readonly name: string
  /** `order` of the position up to which the sink is durable; null before the first one. */
  readonly durable: string | null
  /** Bytes that wait for this sink. */
  readonly queuedBytes: number
  /** Failures in a row of the call that is being repeated now; 0 when all is well. */
  readonly failures: number
}

/** How far the first copy is. Numbers except `rows` are estimates. */
export interface CopyStatus {
  readonly tablesDone: number
  readonly tablesTotal: number
  readonly rows: number
  readonly rowsTotal: number
}

export interface ErrorStatus {
  readonly code: string
  readonly message: string
  readonly atMs: number
}

/** What a pipeline is doing: for the CLI, and for metrics. Holds names and numbers only (law L14). */
export interface PipelineStatus {
  readonly pipeline: string
  readonly phase: PipelinePhase
  /** Null when no first copy runs. */
  readonly copy: CopyStatus | null
  /** Read from the source since the process started: rows of copies, rows of the log, commits, bytes of both. */
  readonly rowsCopied: number
  readonly changes: number
  readonly transactions: number
  readonly bytes: number
  /**
   * How far the slowest sink is behind the source, in milliseconds: with changes under way the age of the newest durable
   * one, else what it took, 0 after a heartbeat; null when unknown.
   */
  readonly lagMs: number | null
  /** From commit at the source to durable in the slowest sink, of the last changes; null without any. */
  readonly latencyMs: { readonly p50: number; readonly p99: number } | null
  /** `order` of the position that was saved last. */
  readonly saved: string | null
  readonly lastError: ErrorStatus | null
  /** When the next attempt is made, milliseconds since 1970 UTC; only while `phase` is `retrying`. */
  readonly nextRetryAtMs: number | null
  readonly attempts: number
  readonly sinks: readonly SinkStatus[]
}

/** What only the running attempt knows. */
export interface Gauges {
  readonly copy: CopyStatus | null
  readonly sinks: readonly SinkStatus[]
}

interface Passed {
  readonly order: string
  readonly timeMs: number | null
  readonly heartbeat: boolean
}

/** A source that has said nothing for so long, not even a heartbeat, counts as behind. */
const silenceMs = 30_000

/** Counts what passes, per batch. */
export class Telemetry {
  phase: PipelinePhase = 'starting'
  saved: string | null = null
  attempts = 0
  nextRetryAtMs: number | null = null
  #lastError: ErrorStatus | null = null
  #rowsCopied = 0
  #changes = 0
  #transactions = 0
  #bytes = 0
  /** Handed over and not yet durable everywhere, in log order. */
  #passed: Passed[] = []
  #durable = ''
  #newest: Passed | null = null
  /** When the newest one became durable everywhere. */
  #newestAtMs = 0
  readonly #latency = new Latency()

  /** A new attempt reads again what was not durable. */
  restart(): void {
    this.attempts++
    this.nextRetryAtMs = null
    this.#passed = []
  }

  failed(error: CoreError, nowMs: number): void {
    this.#lastError = { code: error.code, message: error.message, atMs: nowMs }
  }

  /** The source handed a batch over. */
  read(batch: RecordBatch): void {
    this.#bytes += batch.byteSize
    if (batch.origin === 'snapshot') {
      this.#rowsCopied += batch.rowCount
    } else {
      this.#changes += batch.rowCount
      for (const span of batch.spans) if (span.position !== null) this.#transactions++
    }
    if (batch.position === null) return
    const timeMs = batch.heartbeat?.timeMs ?? batch.commitTimeMs
    this.#passed.push({ order: batch.position.order, timeMs, heartbeat: batch.heartbeat !== null })
    // A heartbeat of an idle log repeats a position that is durable already.
    if (batch.heartbeat !== null) this.#settle(batch.heartbeat.timeMs)
  }

  /** Every sink is durable up to here. */
  durable(position: SourcePosition, nowMs: number): void {
    this.#durable = position.order
    this.#settle(nowMs)
  }

  status(pipeline: string, gauges: Gauges, nowMs: number): PipelineStatus {
    return {
      pipeline,
      phase: this.phase,
      copy: gauges.copy,
      rowsCopied: this.#rowsCopied,
      changes: this.#changes,
      transactions: this.#transactions,
      bytes: this.#bytes,
      lagMs: this.#lagMs(nowMs),
      latencyMs: this.#latency.percentiles(),
      saved: this.saved,
      lastError: this.#lastError,
      nextRetryAtMs: this.nextRetryAtMs,
      attempts: this.attempts,
      sinks: gauges.sinks,
    }
  }

  #settle(nowMs: number): void {
    let count = 0
    for (const passed of this.#passed) {
      if (passed.order > this.#durable) break
      count++
      this.#newest = passed
      this.#newestAtMs = nowMs
      if (passed.timeMs !== null && !passed.heartbeat) this.#latency.add(Math.max(0, nowMs - passed.timeMs))
    }
    this.#passed.splice(0, count)
  }

  #lagMs(nowMs: number): number | null {
    const newest = this.#newest
    if (newest === null || newest.timeMs === null) return null
    // With nothing under way it is what the newest commit took, until a heartbeat is overdue.
    const idle = this.#passed.length === 0 && nowMs - this.#newestAtMs < silenceMs
    if (idle) return newest.heartbeat ? 0 : Math.max(0, this.#newestAtMs - newest.timeMs)
    return Math.max(0, nowMs - newest.timeMs)
  }
}

/** The last samples of a duration, in milliseconds. */
class Latency {
  readonly #samples = new Float64Array(1024)
  #count = 0

  add(ms: number): void {
    this.#samples[this.#count++ % this.#samples.length] = ms
  }

  percentiles(): { readonly p50: number; readonly p99: number } | null {
    const size = Math.min(this.#count, this.#samples.length)
    if (size === 0) return null
    const sorted = this.#samples.slice(0, size).sort()
    return { p50: sorted[Math.floor(size * 0.5)]!, p99: sorted[Math.floor(size * 0.99)]! }
  }
}
