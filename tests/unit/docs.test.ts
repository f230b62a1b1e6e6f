import { execFileSync } from 'node:child_process'
import { accessSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/index.ts'

const root = resolve(import.meta.dirname, '../..')
const pages = [
  'README.md',
  'CONTRIBUTING_CONNECTORS.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
  ...['sources', 'sinks'].flatMap((kind) =>
    readdirSync(join(root, 'src/connectors', kind), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => `src/connectors/${kind}/${entry.name}/README.md`),
  ),
]

interface Block {
  readonly page: string
  readonly language: string
  readonly text: string
}

const blocks = pages.flatMap(blocksOf)
const environment = {
  PG_URL: 'postgres://user:password@localhost:5432/shop',
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
      .map((block, index) => write(block, nameOf(block) ?? `block-${index}.ts`))
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
    // A config may name a connector that the same page shows.
    for (const other of blocks)
      if (other.page === block.page && nameOf(other)?.endsWith('.ts') === true) write(other, nameOf(other)!)
    const file = write(block, 'config.yaml')
    const loaded = await loadConfig(file, { variables: environment, readFile: () => 'secret' })
    expect(loaded.sinks.length).toBeGreaterThan(0)
  })
})

function blocksOf(page: string): readonly Block[] {
  const text = readFileSync(join(root, page), 'utf8')
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```/gm)].map((match) => ({
    page,
    language: match[1]!,
    text: match[2]!,
  }))
}

/** A block's first line may say what file it is. */
function nameOf(block: Block): string | null {
  return /^(?:\/\/|#) ([\w.-]+\.\w+)\n/.exec(block.text)?.[1] ?? null
}

function write(block: Block, name: string): string {
  const file = join(folder, name)
  const index = relative(folder, join(root, 'src/index.ts'))
  writeFileSync(file, block.text.replaceAll("from 'sluice'", `from '${index}'`))
  return file
}
