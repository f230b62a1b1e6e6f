/**
 * One contender of `bench/verify.ts`, in a process of its own so that its CPU and memory are its own. Usage: node
 * verify.ts <contender> <options as JSON>; `verify` compares both sides, `source` and `sink` read and hash one of them
 * as a comparison does. Prints one JSON line.
 */
import { WHOLE_TABLE, type RowReader } from '../../src/core/row-reader.ts'
import { selectTables } from '../../src/core/selection.ts'
import { buildPipeline } from '../../src/runtime/config/build.ts'
import { loadConfig } from '../../src/runtime/config/load.ts'
import { RowHasher } from '../../src/runtime/verify/row-hash.ts'
import { verifyPipeline } from '../../src/runtime/verify/verify.ts'

const [, , contender, json] = process.argv
const { config } = JSON.parse(json!) as { readonly config: string }
const definition = await buildPipeline(await loadConfig(config))
const ignore = (): void => {}
const log = { debug: ignore, info: ignore, warn: ignore, error: ignore }

const startedCpu = process.cpuUsage()
const startedAt = performance.now()
const { delivered, equal } = contender === 'verify' ? await compare() : await readOneSide()
const cpu = process.cpuUsage(startedCpu)
process.stdout.write(
  `${JSON.stringify({
    seconds: (performance.now() - startedAt) / 1000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    peakRssMb: process.resourceUsage().maxRSS / 1024,
    delivered,
    equal,
  })}\n`,
)

async function compare(): Promise<{ delivered: number; equal: boolean }> {
  const report = await verifyPipeline(definition, { log })
  return { delivered: report.rows, equal: report.equal }
}

async function readOneSide(): Promise<{ delivered: number; equal: boolean }> {
  const context = { pipeline: definition.name, log, now: Date.now, run: 0 }
  await using source = await definition.source.create().openReader!({
    ...context,
    tables: selectTables(definition.tables),
  })
  await using sink = await definition.sinks[0]!.create().openReader!(context)
  await using snapshot = await source.snapshot(false)
  const [table] = snapshot.tables
  const hasher = new RowHasher(table!)
  const reader: RowReader = contender === 'source' ? snapshot : sink
  let delivered = 0
  for (const range of contender === 'source' ? await snapshot.ranges(table!) : [WHOLE_TABLE]) {
    await reader.scan(table!, range, (rows) => {
      for (let row = 0; row < rows.rowCount; row++) hasher.hash(rows, rows.newImage[row]!)
      delivered += rows.rowCount
    })
  }
  return { delivered, equal: true }
}
