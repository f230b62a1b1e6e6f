/** `sluice demo`: the main job on real servers, with a kill in the middle and a comparison of every row at the end. */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import { CoreError } from '../../core/error.ts'
import { exitCodes } from '../../runtime/policy.ts'
import type { TableVerdict } from './compare.ts'
import { Course, Interrupted } from './course.ts'
import { count, Display, time } from './display.ts'
import { LagProbe } from './lag.ts'
import { Load } from './load.ts'
import { type DemoOptions, demoHelp, readOptions } from './options.ts'
import { SLOT, writeConfig } from './pipeline-config.ts'
import { Replicator } from './replicator.ts'
import { createShop, shopSize, shopTables } from './schema.ts'
import { openStage, type Stage } from './stage.ts'
import type { Target, TargetName } from './target.ts'
import { addTierColumn } from './transactions.ts'
import { Watch } from './watch.ts'

const CONNECTIONS = 4
/** Parts of the time of the load after which these happen. */
const ALTER_AT = 0.25
const KILL_AT = 0.5
/** The replicating process stays away for so long. */
const AWAY_MS = 500
/** Without any progress for so long, it will not come. */
const PATIENCE_MS = 60_000

/** The software that the rows go to. */
const titles: Readonly<Record<TargetName, string>> = { clickhouse: 'ClickHouse', zero: 'a Zero client' }

/** What `--json` prints. */
interface Outcome {
  /** By the first copy, over all processes. */
  readonly rowsCopied: number
  /** Row changes that the load committed. */
  readonly changes: number
  /** From the start of the load until the target had all of it, the kill included. */
  readonly changesPerSecond: number
  /** From commit in Postgres to visible in the target, measured from outside, the kill included. */
  readonly lagMs: { readonly p50: number; readonly p99: number } | null
  readonly kills: number
  readonly tables: readonly { readonly table: string; readonly rows: number; readonly equal: boolean }[]
  readonly equal: boolean
}

/** Runs the demo with the arguments after `demo`. Returns the exit code. */
export async function runDemo(args: readonly string[]): Promise<number> {
  const options = readOptions(args)
  if (options === null) {
    process.stdout.write(`${demoHelp()}\n`)
    return exitCodes.ok
  }
  const display = new Display(options.json, titles[options.sink])
  using course = new Course()
  course.signal.addEventListener('abort', () => {
    if (course.signal.reason instanceof Interrupted)
      display.say('Stopping: the servers end, the folder is removed.')
  })
  try {
    return await perform(options, display, course)
  } catch (error) {
    const reason: unknown = course.signal.aborted ? course.signal.reason : error
    if (reason instanceof Interrupted) return reason.exitCode
    throw reason
  }
}

async function perform(options: DemoOptions, display: Display, course: Course): Promise<number> {
  await using cleanup = new AsyncDisposableStack()
  const title = titles[options.sink]
  display.event(`A shop in Postgres, and the same rows in ${title}, live.`)
  display.say()
  display.say(`Starting a Postgres${options.sink === 'clickhouse' ? ' and a ClickHouse' : ''} ...`)
  const stage = await openStage(cleanup, options.sink)
  const { target } = stage
  course.signal.throwIfAborted()
  introduce(stage, display)

  const size = shopSize(options.rows)
  const filledAt = performance.now()
  const seeded = await course.unlessEnded(createShop(stage.source, size, course.signal))
  display.say(
    `Filled ${shopTables.length} tables with ${count(seeded)} rows in ${time(performance.now() - filledAt)}.`,
  )

  const config = join(stage.folder, 'shop.yaml')
  await writeConfig(config, { postgres: stage.postgres.url, sink: target.sinkConfig() })
  const replicator = cleanup.use(
    new Replicator({ config, log: join(stage.folder, 'sluice.log'), onFailure: course.fail }),
  )
  const load = cleanup.use(
    new Load({
      url: stage.postgres.url,
      size,
      connections: CONNECTIONS,
      pace: target.pace,
      onFailure: course.fail,
    }),
  )
  const probe = cleanup.use(
    new LagProbe({
      postgres: stage.postgres.url,
      newestMark: () => target.newestMark(),
      onFailure: course.fail,
    }),
  )
  const watch = new Watch({ display, course, replicator, load, probe, target })

  replicator.start()
  display.event(`Started: sluice run ${config} (pid ${replicator.pid})`)
  display.say(`It copies what is there, while ${CONNECTIONS} connections already change it:`)
  const startedAt = performance.now()
  await course.unlessEnded(load.start())
  await watch.until(() => replicator.isStreaming)
  display.say(`Copied ${count(replicator.rowsCopied)} rows. From here on every change follows:`)

  const { folder, postgres, source } = stage
  const say = (text: string): void => display.say(text)
  await watch.during(
    target.watch({ folder, postgres, source, signal: course.signal, say, onFailure: course.fail }),
  )
  await course.unlessEnded(probe.start())
  const kills = await disturb(options, { watch, course, load, replicator, target, display })
  await course.unlessEnded(load.stop())
  const stoppedAt = performance.now()
  display.event(
    `The load has stopped: ${count(load.changes)} changes in ${count(load.transactions)} transactions.`,
  )
  await caughtUp(stage, watch)
  await watch.during(target.settled())
  await shown(probe, watch)
  const seconds = (performance.now() - startedAt) / 1000
  display.say(
    `${title === 'ClickHouse' ? title : 'The Zero client'} had everything ${time(performance.now() - stoppedAt)} later.`,
  )
  await course.unlessEnded(probe.stop())

  display.say()
  display.say('Comparing every row of both sides, by key and value:')
  const tables = await compareAll(stage, display, course)
  const outcome: Outcome = {
    rowsCopied: replicator.rowsCopied,
    changes: load.changes,
    changesPerSecond: Math.round(load.changes / seconds),
    lagMs: probe.percentiles(),
    kills,
    tables: tables.map(({ table, rows, equal }) => ({ table, rows, equal })),
    equal: tables.every((table) => table.equal),
  }
  conclude(display, outcome, target.name)
  if (!options.keep) display.say('With --keep everything stays, for you to look around.')
  if (options.json) display.result(outcome)
  if (options.keep) await stay(stage, config, display, course)
  await replicator.stop()
  return outcome.equal ? exitCodes.ok : exitCodes.differs
}

function introduce({ postgres, target, folder, version }: Stage, display: Display): void {
  const { port, pid } = postgres
  for (const server of [{ name: 'Postgres', version, port, pid }, ...target.servers]) {
    const name = `  ${server.name.padEnd(12)}${server.version.padEnd(12)}`
    display.say(`${name} 127.0.0.1:${server.port}   pid ${server.pid}`)
  }
  display.say(`  ${'folder'.padEnd(12)}${folder} (removed at the end)`)
  display.say()
}

interface Running {
  readonly watch: Watch
  readonly course: Course
  readonly load: Load
  readonly replicator: Replicator
  readonly target: Target
  readonly display: Display
}

/** The time of the load: a new column under way, and a kill. Returns the number of kills. */
async function disturb(
  options: DemoOptions,
  { watch, course, load, replicator, target, display }: Running,
): Promise<number> {
  const totalMs = options.seconds * 1000
  await watch.for(totalMs * ALTER_AT)
  await course.unlessEnded(load.addColumn())
  display.event(`A new column, while the load goes on: ${addTierColumn}`)
  target.columnAdded()
  await watch.for(totalMs * (KILL_AT - ALTER_AT))
  const { pid } = replicator
  await course.unlessEnded(replicator.kill())
  display.event(`Killed the replicating process (SIGKILL, pid ${pid}). The load goes on.`)
  await watch.for(AWAY_MS)
  replicator.start()
  display.event(`Started it again (pid ${replicator.pid}): it goes on where its checkpoint says.`)
  await watch.for(Math.max(0, totalMs * (1 - KILL_AT) - AWAY_MS))
  return 1
}

/**
 * Waits until the slot is confirmed up to the end that the log has now. The source confirms only what every sink has
 * made durable and the checkpoint store holds.
 */
async function caughtUp({ source }: Stage, watch: Watch): Promise<void> {
  const end = await source.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')
  let confirmed: string | null = null
  let movedAt = performance.now()
  await watch.until(async () => {
    const { rows } = await source.query<{ lsn: string | null; done: boolean | null }>(
      `SELECT confirmed_flush_lsn::text AS lsn, confirmed_flush_lsn >= $1::pg_lsn AS done
       FROM pg_replication_slots WHERE slot_name = $2`,
      [end.rows[0]!.lsn, SLOT],
    )
    const lsn = rows[0]?.lsn ?? null
    const nowMs = performance.now()
    if (lsn !== confirmed) movedAt = nowMs
    confirmed = lsn
    if (rows[0]?.done !== true && nowMs - movedAt > PATIENCE_MS) throw notCaughtUp()
    return rows[0]?.done === true
  })
}

/** Waits until a mark is visible that was written after everything else. */
async function shown(probe: LagProbe, watch: Watch): Promise<void> {
  const wanted = probe.nextMark
  let seen = probe.seenMark
  let movedAt = performance.now()
  await watch.until(() => {
    const nowMs = performance.now()
    if (probe.seenMark !== seen) movedAt = nowMs
    seen = probe.seenMark
    if (seen < wanted && nowMs - movedAt > PATIENCE_MS) throw notCaughtUp()
    return seen >= wanted
  })
}

function notCaughtUp(): CoreError {
  const message = `the replicating process has made no progress for ${PATIENCE_MS / 1000} s`
  return new CoreError('demo/not-caught-up', message, {
    fix: 'Run it again on a machine with less to do; if it stays, please report it.',
  })
}

async function compareAll(stage: Stage, display: Display, course: Course): Promise<readonly TableVerdict[]> {
  const verdicts: TableVerdict[] = []
  for (const table of shopTables) {
    const verdict = await course.unlessEnded(stage.target.compare(stage.source, table, course.signal))
    display.verdict(verdict)
    verdicts.push(verdict)
  }
  return verdicts
}

function conclude(display: Display, outcome: Outcome, target: string): void {
  const { rowsCopied, changes, changesPerSecond, lagMs, kills, tables, equal } = outcome
  const rows = tables.reduce((sum, table) => sum + table.rows, 0)
  const wrong = tables.filter((table) => !table.equal).map(({ table }) => table)
  const after = `after ${kills === 1 ? 'a kill' : `${kills} kills`}, a schema change and all of the load`
  display.say()
  display.conclusion(
    equal,
    equal
      ? `EQUAL: all ${count(rows)} rows of ${tables.length} tables are the same, ${after}.`
      : `NOT EQUAL: ${wrong.join(', ')}. Please report this.`,
  )
  const perSecond = `${count(changesPerSecond)} per second`
  display.say(
    `${count(rowsCopied)} rows copied, ${count(changes)} changes (${perSecond}, the kill included).`,
  )
  if (lagMs === null) return
  const figures = `${time(lagMs.p50)} (median), ${time(lagMs.p99)} (99 of 100)`
  display.say(`From commit in Postgres to visible in ${target}: ${figures}, the kill included.`)
}

/** Leaves everything running until Ctrl-C. */
async function stay(stage: Stage, config: string, display: Display, course: Course): Promise<void> {
  display.say()
  display.event('Everything still runs; what you change in Postgres shows up on the other side:')
  display.say(`  Postgres     psql '${stage.postgres.url}'`)
  for (const [name, place] of stage.target.places()) display.say(`  ${name.padEnd(12)} ${place}`)
  display.say(`  config       ${config}`)
  display.say(`  log          ${join(stage.folder, 'sluice.log')}`)
  display.say(`Ctrl-C (or: kill ${process.pid}) stops everything and removes the folder.`)
  // A timer keeps the process alive; the signal alone would not.
  const day = 24 * 60 * 60 * 1000
  while (!course.signal.aborted) await delay(day, null, { signal: course.signal }).catch(() => {})
  if (!(course.signal.reason instanceof Interrupted)) throw course.signal.reason
}
