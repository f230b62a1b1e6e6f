import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import * as sinks from '../../src/connectors/sinks/index.ts'
import * as sources from '../../src/connectors/sources/index.ts'

const src = resolve(import.meta.dirname, '../../src')
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))

/** Relative imports as paths below `src`, packages as they are written. */
function importsOf(file: string): readonly string[] {
  const text = readFileSync(join(src, file), 'utf8')
  const found = [
    ...text.matchAll(/^(?:import|export)\s[\w*\s{},]*?\bfrom '([^']+)'/gm),
    ...text.matchAll(/^import '([^']+)'/gm),
    ...text.matchAll(/\bimport\('([^']+)'\)/g),
  ]
  return found
    .map((match) => match[1]!)
    .map((name) => (name.startsWith('.') ? relative(src, resolve(join(src, file), '..', name)) : name))
}

/** What a file may import, first match decides. Node's own modules are I/O: core has none of them. */
function mayImport(file: string, target: string): boolean {
  const [area, kind, connector] = file.split('/')
  const isPackage = !files.includes(target)
  if (area === 'core') {
    // Hashing is no I/O.
    if (file === 'core/mapping/fingerprint.ts' && target === 'node:crypto') return true
    if (isPackage) return file === 'core/fields.ts' && target.startsWith('effect/')
    return target.startsWith('core/')
  }
  if (area === 'connectors') {
    if (connector === 'index.ts')
      return target.startsWith(`connectors/${kind}/`) && target.endsWith('/index.ts')
    if (isPackage) return !target.startsWith('effect')
    return target.startsWith('core/') || target.startsWith(`connectors/${kind}/${connector}/`)
  }
  if (area === 'testkit' && isPackage)
    return target.startsWith('node:') || (target === 'vitest' && file === 'testkit/describe-laws.ts')
  if (area === 'testkit') return /^(core|testkit)\//.test(target)
  if (isPackage) return target !== 'effect'
  if (area === 'runtime') return /^(core|runtime)\/|^connectors\/(sources|sinks)\/index\.ts$/.test(target)
  if (area === 'cli') return /^(core|runtime|cli)\//.test(target)
  return !target.startsWith('../')
}

describe('the layout', () => {
  it('keeps the dependency rule', () => {
    const broken = files.flatMap((file) =>
      importsOf(file)
        .filter((target) => !mayImport(file, target))
        .map((target) => `${file} imports ${target}`),
    )
    expect(files.length).toBeGreaterThan(50)
    expect(broken).toEqual([])
  })

  it('sees imports at all', () => {
    expect(importsOf('core/batch.ts')).toContain('core/packed-rows.ts')
    expect(importsOf('connectors/sources/postgres/index.ts')).toContain(
      'connectors/sources/postgres/source.ts',
    )
    expect(mayImport('core/batch.ts', 'node:fs')).toBe(false)
    expect(mayImport('connectors/sources/postgres/source.ts', 'runtime/lane.ts')).toBe(false)
  })

  it.each([
    ['sources', sources],
    ['sinks', sinks],
  ] as const)('registers exactly the folders of %s', (kind, registry) => {
    const folders = readdirSync(join(src, 'connectors', kind), { withFileTypes: true }).filter((entry) =>
      entry.isDirectory(),
    )
    expect(new Set(Object.values(registry).map((connector) => connector.type))).toEqual(
      new Set(folders.map((folder) => folder.name)),
    )
  })

  it.each(['sources', 'sinks'])('has a README with the same headings for each of the %s', (kind) => {
    const headings = [
      'What it does',
      'Server setup',
      'Options',
      'Type mapping',
      'Delivery and ordering',
      'Schema changes',
      'When things go wrong',
      'Limits',
      'Conformance',
    ]
    for (const entry of readdirSync(join(src, 'connectors', kind), { withFileTypes: true })) {
      if (!entry.isDirectory()) continue
      const text = readFileSync(join(src, 'connectors', kind, entry.name, 'README.md'), 'utf8')
      expect(
        [...text.matchAll(/^## (.+)$/gm)].map((match) => match[1]),
        entry.name,
      ).toEqual(headings)
    }
  })

  it('documents every error code of a connector in its README', () => {
    for (const kind of ['sources', 'sinks']) {
      for (const entry of readdirSync(join(src, 'connectors', kind), { withFileTypes: true })) {
        if (!entry.isDirectory()) continue
        const folder = join(src, 'connectors', kind, entry.name)
        const code = readdirSync(folder, { recursive: true, encoding: 'utf8' })
          .filter((file) => file.endsWith('.ts'))
          .map((file) => readFileSync(join(folder, file), 'utf8'))
          .join('\n')
        const readme = readFileSync(join(folder, 'README.md'), 'utf8')
        const used = new Set(
          [...code.matchAll(new RegExp(`'(${entry.name}/[a-z-]+)'`, 'g'))].map((match) => match[1]!),
        )
        expect(
          [...used].filter((one) => !readme.includes(one)),
          entry.name,
        ).toEqual([])
      }
    }
  })
})
