import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describeSource, scorecard, scorecardTable, sourceLaws } from 'sluice/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withBlock } from '../../scripts/marked-block.ts'
import { type CliRun, startCli } from '../support/cli.ts'
import { UserProject } from '../support/user-project.ts'
import { jsonlHarness } from './jsonl-source.harness.ts'

const folder = 'examples/third-party-connector'

describeSource('jsonl', jsonlHarness)

describe('the connector of a third party', () => {
  let project: UserProject
  beforeAll(() => {
    project = new UserProject()
    project.install(folder)
    project.copy('examples/jsonl-sink.ts', `${folder}/orders.yaml`)
  })
  afterAll(() => project[Symbol.dispose]())

  let runs = 0
  /** The log of the example in a place of its own, the config that names it, and what was written. */
  function setUp() {
    const name = `${folder}/run-${++runs}`
    const log = project.path(`${name}.jsonl`)
    const copy = project.path(`${name}-copy.jsonl`)
    const config = project.path(`${name}.yaml`)
    const text = readFileSync(project.path(folder, 'orders.yaml'), 'utf8')
    writeFileSync(config, text.replace('name: orders', `name: orders-${runs}`))
    writeFileSync(log, readFileSync(join(folder, 'orders.jsonl')))
    writeFileSync(copy, '')
    return {
      log,
      run: (...args: readonly string[]): CliRun =>
        startCli(['run', config, ...args], { LOG: log, COPY: copy }, project.command),
      written: (): readonly unknown[] =>
        readFileSync(copy, 'utf8')
          .split('\n')
          .filter((line) => line !== '')
          .map((line): unknown => JSON.parse(line)),
    }
  }

  it('has at most 150 lines, and imports nothing of Sluice but its public entry', () => {
    const text = readFileSync(join(folder, 'index.ts'), 'utf8')
    expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(150)
    const imports = [...text.matchAll(/\bfrom '([^']+)'/g)].map((match) => match[1]!)
    expect(imports.filter((name) => name !== 'sluice' && !name.startsWith('node:'))).toEqual([])
  })

  it('shows in its README which laws it keeps (else: npm run conformance)', () => {
    const readme = readFileSync(join(folder, 'README.md'), 'utf8')
    // Run on Linux only, kept everywhere.
    const { 'leaves-no-connection': _, ...waivers } = jsonlHarness.waivers!
    expect(
      withBlock(readme, 'laws', scorecardTable(scorecard(sourceLaws, { ...jsonlHarness, waivers }))),
    ).toBe(readme)
  })

  it('is found by the name of its package, and goes on where it was', async () => {
    const { log, run, written } = setUp()
    const first = run('--once')
    expect(await first.done, first.stderr()).toEqual({ code: 0, signal: null })
    expect(written()).toMatchObject([
      { op: 'insert', table: 'shop.orders', row: { id: '9007199254740993', total: '12.5', note: null } },
      { op: 'insert', table: 'shop.orders', row: { id: '2', total: '1', note: null } },
      { op: 'insert', table: 'shop.items', row: { order_id: '2', line: 1, sku: 'A-1' } },
      { op: 'update', table: 'shop.orders', row: { id: '2', total: '2', note: 'two of them' } },
      { op: 'delete', table: 'shop.orders', key: ['9007199254740993'] },
    ])
    appendFileSync(log, '{"type":"delete","table":"shop.orders","key":{"id":2}}\n')
    const second = run('--once')
    expect(await second.done, second.stderr()).toEqual({ code: 0, signal: null })
    expect(written().slice(5)).toMatchObject([{ op: 'delete', table: 'shop.orders', key: ['2'] }])
  })

  it('stops with exit code 5 when another file is in its place', async () => {
    const { log, run, written } = setUp()
    const first = run('--once')
    expect(await first.done, first.stderr()).toEqual({ code: 0, signal: null })
    writeFileSync(`${log}.new`, readFileSync(log, 'utf8').replace('12.50', '12.51'))
    renameSync(`${log}.new`, log)
    const second = run('--once')
    expect(await second.done).toEqual({ code: 5, signal: null })
    expect(second.stderr()).toContain(`${log} was replaced or cut`)
    expect(written().length).toBe(5)
  })

  it('stops at a line that is wrong, and says which it is and not what', async () => {
    const { log, run, written } = setUp()
    appendFileSync(log, '{"type":"insert","table":"shop.orders","key":{"id":3},"value":{"total":"a-lot"}}\n')
    const wrong = run('--once')
    expect(await wrong.done).toEqual({ code: 1, signal: null })
    expect(wrong.stderr()).toContain(
      `error: column "total" of table shop.orders has a value that does not fit (line 7 of ${log})`,
    )
    expect(wrong.stderr()).not.toContain('a-lot')
    expect(written().length).toBeLessThanOrEqual(5)
  })

  it('needs no Sluice of its own: the one that runs is taken', async () => {
    const log = resolve(folder, 'orders.jsonl')
    const config = project.path('elsewhere.yaml')
    const copy = project.path('elsewhere-copy.jsonl')
    const connectors = [resolve(folder, 'index.ts'), resolve('examples/jsonl-sink.ts')]
    const example = readFileSync(join(folder, 'orders.yaml'), 'utf8')
    const text = example.replace(/^connectors: .*$/m, `connectors: ${JSON.stringify(connectors)}`)
    writeFileSync(config, text.replace('name: orders', 'name: elsewhere'))
    const run = startCli(['run', config, '--once'], { LOG: log, COPY: copy })
    expect(await run.done, run.stderr()).toEqual({ code: 0, signal: null })
    writeFileSync(`${copy}.log`, 'no JSON\n')
    // A class of another copy would be a stranger here: exit code 1, as for any bug.
    const lost = startCli(['run', config, '--once'], { LOG: `${copy}.log`, COPY: copy })
    expect(await lost.done).toEqual({ code: 5, signal: null })
  })
})
