import type { LogFields } from '../core/context.ts'
import type { PipelineStatus } from '../runtime/telemetry.ts'

/** Rates between two looks at the status. */
export class Rates {
  #atMs = 0
  #rows = 0
  #changes = 0
  rowsPerSecond = 0
  changesPerSecond = 0

  /** `nowMs` is milliseconds of any clock that does not jump. */
  update(status: PipelineStatus, nowMs: number): void {
    const seconds = (nowMs - this.#atMs) / 1000
    if (this.#atMs > 0 && seconds > 0) {
      this.rowsPerSecond = Math.round((status.rowsCopied - this.#rows) / seconds)
      this.changesPerSecond = Math.round((status.changes - this.#changes) / seconds)
    }
    this.#atMs = nowMs
    this.#rows = status.rowsCopied
    this.#changes = status.changes
  }
}

/** One line for somebody who watches. */
export function statusLine(status: PipelineStatus, rates: Rates): string {
  const parts: string[] = [status.phase]
  if (status.copy !== null) {
    const { tablesDone, tablesTotal, rows, rowsTotal } = status.copy
    parts.push(`${count(tablesDone)} of ${count(tablesTotal)} tables`)
    parts.push(
      `${count(rows)} of about ${count(Math.max(rows, rowsTotal))} rows`,
      `${count(rates.rowsPerSecond)} rows/s`,
    )
  }
  parts.push(`${count(status.changes)} changes`, `${count(rates.changesPerSecond)} changes/s`)
  if (status.lagMs !== null) parts.push(`lag ${time(status.lagMs)}`)
  if (status.phase === 'retrying' && status.lastError !== null)
    parts.push(status.lastError.message.split('\n')[0]!)
  return parts.join('  ')
}

/** The same as fields of a log line. */
export function statusFields(status: PipelineStatus, rates: Rates): LogFields {
  return {
    phase: status.phase,
    ...(status.copy === null
      ? {}
      : {
          tables: `${status.copy.tablesDone}/${status.copy.tablesTotal}`,
          rows: `${status.copy.rows}/${Math.max(status.copy.rows, status.copy.rowsTotal)}`,
          rowsPerSecond: rates.rowsPerSecond,
        }),
    changes: status.changes,
    changesPerSecond: rates.changesPerSecond,
    ...(status.lagMs === null ? {} : { lagMs: Math.round(status.lagMs) }),
  }
}

/** What happened, at the end. */
export function summary(status: PipelineStatus): string {
  return `${count(status.rowsCopied)} rows copied, ${count(status.changes)} changes in ${count(status.transactions)} transactions`
}

function count(value: number): string {
  return value.toLocaleString('en-US')
}

function time(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  return ms < 120_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`
}
