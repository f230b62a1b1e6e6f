import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { armFailpoints, failpoint, FAILPOINTS } from '../../../src/core/failpoint.ts'

const src = resolve(import.meta.dirname, '../../../src')
const sources = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && file !== join('core', 'failpoint.ts'))
  .map((file) => ({ file, text: readFileSync(join(src, file), 'utf8') }))

afterEach(() => armFailpoints(null))

describe('a failpoint', () => {
  it('does nothing unless somebody arms it', () => {
    expect(FAILPOINTS.map((name) => failpoint(name))).toEqual(FAILPOINTS.map(() => undefined))
  })

  it('tells who armed it its name, and gives back what they answer', async () => {
    const passed: string[] = []
    armFailpoints((name) => {
      passed.push(name)
      return name === 'batch-cut' ? Promise.reject(new Error('broken there')) : undefined
    })
    expect(failpoint('source-read')).toBeUndefined()
    await expect(failpoint('batch-cut')).rejects.toThrow('broken there')
    armFailpoints(null)
    expect(failpoint('source-read')).toBeUndefined()
    expect(passed).toEqual(['source-read', 'batch-cut'])
  })

  it('is armed by nothing that is shipped', () => {
    expect(sources.filter(({ text }) => text.includes('armFailpoints')).map(({ file }) => file)).toEqual([])
  })

  it.each(FAILPOINTS)('called %s is at one place, of connectors in each that has it', (name) => {
    const place = new RegExp(`\\b(?:failpoint|pass)\\('${name}'\\)`, 'g')
    const places = sources.flatMap(({ file, text }) => [...text.matchAll(place)].map(() => file))
    const folders = places.map((file) => /connectors\/(?:sources|sinks)\/[^/]+/.exec(file)?.[0] ?? 'runtime')
    expect(places.length).toBeGreaterThan(0)
    expect(new Set(folders).size).toBe(places.length)
    expect(places.length === 1 || /^(sink|source|snapshot)-/.test(name)).toBe(true)
  })
})
