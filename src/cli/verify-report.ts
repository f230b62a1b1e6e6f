import type { Example, TableReport, VerifyProgress, VerifyReport } from '../runtime/verify/report.ts'

const BAR_WIDTH = 20

/** One line for somebody who watches. */
export function progressLine(progress: VerifyProgress, elapsedMs: number): string {
  const { phase, tablesDone, tablesTotal, rows, rowsTotal } = progress
  const part = rowsTotal === 0 ? 0 : Math.min(1, rows / rowsTotal)
  const filled = Math.round(part * BAR_WIDTH)
  const bar = `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}]`
  const what = {
    waiting: 'waiting for the pipeline',
    comparing: 'comparing',
    settling: 'looking again at rows that differ',
    repairing: 'writing rows again',
  }[phase]
  const speed = elapsedMs < 1000 ? '' : `  ${count(Math.round((rows * 1000) / elapsedMs))} rows/s`
  const of = rowsTotal === 0 ? '' : ` of about ${count(Math.max(rows, rowsTotal))}`
  return `${bar} ${what}  ${tablesDone} of ${tablesTotal} tables  ${count(rows)}${of} rows${speed}`
}

/** The result for people: a table of what differs, and what it comes to. */
export function reportLines(report: VerifyReport): readonly string[] {
  const isRepair = report.tables.some(({ repaired }) => repaired !== undefined)
  const shown = report.tables.filter((table) => !table.equal || table.repaired !== undefined)
  const heads = [
    'table',
    'rows',
    'missing',
    'extra',
    'different',
    'unsettled',
    ...(isRepair ? ['repaired'] : []),
    'columns',
  ]
  const rows = shown.map((table) => cellsOf(table, isRepair))
  return [...(rows.length === 0 ? [] : aligned([heads, ...rows])), ...shown.flatMap(notesOf), verdict(report)]
}

function cellsOf(table: TableReport, isRepair: boolean): readonly string[] {
  const bound = table.stopped ? 'at least ' : ''
  const counts = [table.missing, table.extra, table.different].map(
    (value) => `${value > 0 ? bound : ''}${count(value)}`,
  )
  return [
    table.table,
    count(table.rows),
    ...counts,
    count(table.unsettled),
    ...(isRepair ? [count(table.repaired ?? 0)] : []),
    table.columns.join(', '),
  ]
}

function notesOf(table: TableReport): readonly string[] {
  const stopped = `not compared any further: there are too many differences`
  return [
    ...table.problems.map((problem) => `${table.table}: ${problem}`),
    ...(table.stopped ? [`${table.table}: ${stopped}`] : []),
    ...(table.examples ?? []).map((example) => `${table.table}: ${exampleText(example)}`),
  ]
}

function exampleText({ kind, key, columns }: Example): string {
  const keys = Object.entries(key).map(([name, value]) => `${name}=${shown(value)}`)
  const values = columns
    .filter(({ name }) => !(name in key))
    .map(({ name, source, sink }) => {
      const sides = [
        ...(source === undefined ? [] : [`source ${shown(source)}`]),
        ...(sink === undefined ? [] : [`sink ${shown(sink)}`]),
      ]
      return `${name}: ${sides.join(', ')}`
    })
  return [`${kind} ${keys.join(', ')}`, ...values].join('; ')
}

function shown(value: string | null): string {
  return value === null ? 'NULL' : JSON.stringify(value)
}

function verdict(report: VerifyReport): string {
  const { tables, sample } = report
  const what = `${count(report.rows)} rows in ${count(tables.length)} ${tables.length === 1 ? 'table' : 'tables'}`
  const speed = `${report.seconds.toFixed(1)} s`
  const part = sample === null ? '' : `, ${sampleText(tables)} (seed ${sample.seed})`
  if (report.equal) return `equal: ${what} compared in ${speed}${part}`
  const wrong = tables.filter(({ equal }) => !equal).length
  const sum = (pick: (table: TableReport) => number): number =>
    tables.reduce((total, table) => total + pick(table), 0)
  const differences = sum(({ missing, extra, different }) => missing + extra + different)
  const unsettled = sum((table) => table.unsettled)
  const open = unsettled === 0 ? '' : `, ${count(unsettled)} rows that change all the time are unsettled`
  return `not equal: ${count(differences)} ${differences === 1 ? 'row differs' : 'rows differ'} in ${wrong} of ${count(tables.length)} tables${open}; ${what} compared in ${speed}${part}`
}

function sampleText(tables: readonly TableReport[]): string {
  const compared = tables.reduce((sum, { ranges }) => sum + ranges.compared, 0)
  const of = tables.reduce((sum, { ranges }) => sum + ranges.of, 0)
  return `a sample of ${count(compared)} of ${count(of)} key ranges`
}

/** Columns of text side by side; numbers end at the same place. */
function aligned(rows: readonly (readonly string[])[]): readonly string[] {
  const last = rows[0]!.length - 1
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)))
  return rows.map((row) =>
    row
      .map((cell, at) => (at === 0 || at === last ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
      .join('  ')
      .trimEnd(),
  )
}

function count(value: number): string {
  return value.toLocaleString('en-US')
}
