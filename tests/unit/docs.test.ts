import { execFileSync } from 'node:child_process'
import {
  accessSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  buildPipeline,
  loadConfig,
  MemoryCheckpointStore,
  MemoryTarget,
  runPipeline,
} from '../../src/index.ts'
import { type Block, blocksOf, writeBlock } from '../support/doc-blocks.ts'
import { recordingLog } from '../support/memory-pipeline.ts'
import { waitFor } from '../support/wait-for.ts'

const root = resolve(import.meta.dirname, '../..')
const pages = [
  'README.md',
  'CONTRIBUTING_CONNECTORS.md',
  'examples/third-party-connector/README.md',
  'examples/zero/README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
  ...['sources', 'sinks'].flatMap((kind) =>
    readdirSync(join(root, 'src/connectors', kind), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => `src/connectors/${kind}/${entry.name}/README.md`),
  ),
]

const blocks = pages.flatMap(blocksOf)
const environment = {
  PG_URL: 'postgres://user:password@localhost:5432/shop',
  MONGODB_URI: 'mongodb://localhost:27017/shop?replicaSet=rs0',
  ZERO_TOKEN: 'token',
  PGPASSWORD: 'x',
  CLICKHOUSE_PASSWORD: 'x',
}

// Inside the repository, so that the examples resolve the packages that a user's project would have.
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(root, 'tests/unit/docs-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the documentation', () => {
  it.each(pages)('has no dead link in %s', (page) => {
    const text = readFileSync(join(root, page), 'utf8')
    const dead = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)]
      .map((match) => match[1]!)
      .filter((link) => {
        try {
          accessSync(join(root, dirname(page), link))
          return false
        } catch {
          return true
        }
      })
    expect(dead).toEqual([])
  })

  it('names only npm scripts that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    const named = pages.flatMap((page) =>
      [...readFileSync(join(root, page), 'utf8').matchAll(/npm run (?:-s )?([a-z][a-z0-9:-]*)/g)].map(
        (match) => match[1]!,
      ),
    )
    expect(named.filter((name) => !(name in scripts))).toEqual([])
  })

  it('has TypeScript that compiles', () => {
    const files = blocks
      .filter((block) => block.language === 'ts')
      .map((block, index) => writeBlock(block, folder, block.file ?? `block-${index}.ts`))
    expect(files.length).toBeGreaterThan(0)
    const config = join(folder, 'tsconfig.json')
    writeFileSync(config, JSON.stringify({ extends: '../../../tsconfig.json', include: ['*.ts'] }))
    const compile = (): string => {
      try {
        return execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', config], {
          encoding: 'utf8',
          cwd: root,
        })
      } catch (error) {
        return String((error as { stdout: string }).stdout)
      }
    }
    expect(compile()).toBe('')
  }, 60_000)

  it.each(
    blocks.filter(
      (block) =>
        (block.language === 'yaml' && block.text.startsWith('name:')) || block.text.includes('\nname:'),
    ),
  )('has a config in $page that loads', async (block) => {
    const loaded = await loadConfig(writeConfig(block), { variables: environment, readFile: () => 'secret' })
    expect(loaded.sinks.length).toBeGreaterThan(0)
  })

  it('has headings where it links to them', () => {
    const missing = pages.flatMap((page) => {
      const text = readFileSync(join(root, page), 'utf8')
      return [...text.matchAll(/\]\((?!https?:)([^)#]*)#([^)]+)\)/g)]
        .filter(
          ([, path, anchor]) =>
            !anchorsOf(join(root, path === '' ? page : join(dirname(page), path!))).includes(anchor!),
        )
        .map(([link]) => `${page}: ${link}`)
    })
    expect(missing).toEqual([])
  })
})

describe('the guide to connectors', () => {
  const page = 'CONTRIBUTING_CONNECTORS.md'
  const config = blocksOf(page).find(({ language }) => language === 'yaml')!

  it('has a source and a sink that run, together and with others, and go on where they were', async () => {
    const out = join(folder, 'out')
    const loaded = await loadConfig(writeConfig(config), { variables: { FOLDER: out }, readFile: () => '' })
    const pipeline = { ...(await buildPipeline(loaded)), store: new MemoryCheckpointStore() }
    const target = MemoryTarget.named('demo')
    const rows = (): readonly unknown[] => target.rows('demo.ticks')
    const runUntil = async (count: number): Promise<void> => {
      const stop = new AbortController()
      const running = runPipeline(pipeline, { signal: stop.signal, log: recordingLog() })
      await waitFor(`${count} rows are in the target`, () => rows().length >= count)
      stop.abort()
      expect(await running).toMatchObject({ reason: 'stopped', drained: true })
    }
    await runUntil(3)
    await runUntil(rows().length + 3)
    // As many as there are, none twice and none left out.
    const squares = rows().map((_, index) => ({ id: index + 1, square: BigInt(index + 1) ** 2n }))
    expect(rows()).toEqual(squares)
    const [file, ...others] = readdirSync(out)
    expect(others).toEqual([])
    const entries = JSON.parse(readFileSync(join(out, file!), 'utf8')) as [string, unknown][]
    expect(entries.map(([, row]) => row)).toEqual(
      squares.map(({ id, square }) => ({ id: String(id), square: String(square) })),
    )
  })

  it('has a source without a class that runs', async () => {
    const text = config.text
      .replace('./ticker.ts', './sensors.ts')
      .replace('type: ticker\n  interval: 10ms', 'type: sensors')
      .replace('target: demo', 'target: sensors')
    const path = writeConfig({ ...config, text })
    const loaded = await loadConfig(path, {
      variables: { FOLDER: join(folder, 'sensors') },
      readFile: () => '',
    })
    const pipeline = { ...(await buildPipeline(loaded)), store: new MemoryCheckpointStore() }
    const stop = new AbortController()
    const running = runPipeline(pipeline, { signal: stop.signal, log: recordingLog() })
    const rows = () => MemoryTarget.named('sensors').rows('lab.readings')
    await waitFor('the newest reading arrives', () => Number(rows()[0]?.['celsius']) > 22)
    stop.abort()
    await running
    expect(rows().length).toBe(1)
  })

  it('names every code that what it shows may throw', () => {
    const guide = readFileSync(join(root, page), 'utf8')
    const files = ['change', 'declared-table', 'iterable-source'].map((name) =>
      readFileSync(join(root, `src/core/${name}.ts`), 'utf8'),
    )
    const whole = files.join('\n').matchAll(/'((?:change|declaration|iterable)\/[a-z-]+)'/g)
    // Some are put together from a prefix and a slug.
    const slugs = [
      ...[...files[0]!.matchAll(/poison\(\s*'([a-z-]+)'/g)].map(([, slug]) => `change/${slug}`),
      ...[...files[1]!.matchAll(/refused\(\s*'([a-z-]+)'/g)].map(([, slug]) => `declaration/${slug}`),
      ...[...files[2]!.matchAll(/problem\(\s*'([a-z-]+)'/g)].map(([, slug]) => `iterable/${slug}`),
    ]
    const codes = new Set([...[...whole].map((match) => match[1]!), ...slugs])
    expect(codes.size).toBeGreaterThan(12)
    expect([...codes].filter((code) => !guide.includes(`\`${code}\``))).toEqual([])
  })
})

/** Writes a config, and the connectors that the same page shows. */
function writeConfig(config: Block): string {
  for (const block of blocksOf(config.page))
    if (block.file?.endsWith('.ts') === true) writeBlock(block, folder, block.file)
  return writeBlock(config, folder, 'config.yaml')
}

/** The headings of a page as links name them. */
function anchorsOf(path: string): readonly string[] {
  if (!existsSync(path)) return []
  return [...readFileSync(path, 'utf8').matchAll(/^#+ (.+)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replace(/\s/g, '-'),
  )
}
