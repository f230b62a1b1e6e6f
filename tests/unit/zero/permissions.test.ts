import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSchema, definePermissions, NOBODY_CAN, number, string, table } from '@rocicorp/zero'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  allowAllSelect,
  parsePermissions,
  PermissionsFile,
  watchPermissions,
} from '../../../src/connectors/sinks/zero/permissions.ts'
import type { Logger } from '../../../src/core/context.ts'
import { type ConfigError, ConnectionError } from '../../../src/core/error.ts'
import { waitFor } from '../../support/wait-for.ts'

const anyone = { tables: { author: { row: { select: [['allow', { type: 'and', conditions: [] }]] } } } }
const nobody = { tables: { author: { row: { select: [] } } } }

let folder: string
let path: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-permissions-'))
  path = join(folder, 'permissions.json')
})

afterEach(() => rm(folder, { recursive: true, force: true }))

/** As editors and deployments do: the file is whole at every moment. */
async function write(text: string): Promise<void> {
  await writeFile(`${path}.new`, text)
  await rename(`${path}.new`, path)
}

function refusal(text: string): ConfigError {
  try {
    parsePermissions(text, 'the file')
  } catch (error) {
    return error as ConfigError
  }
  throw new Error('nothing was thrown')
}

describe('permissions', () => {
  it('are taken as Zero compiles them', async () => {
    const author = table('author')
      .from('authors')
      .columns({ id: string(), age: number().optional() })
      .primaryKey('id')
    const book = table('book').columns({ id: string(), authorID: string() }).primaryKey('id')
    const schema = createSchema({ tables: [author, book], enableLegacyQueries: true })
    const compiled = await definePermissions<{ sub: string }, typeof schema>(schema, () => ({
      author: {
        row: {
          select: [
            (auth, { cmp, or, and, not }) =>
              or(cmp('id', auth.sub), and(cmp('age', '>', 5), not(cmp('id', 'IN', ['a'])))),
          ],
          update: { preMutation: NOBODY_CAN },
        },
        cell: { age: { select: NOBODY_CAN } },
      },
      book: { row: { select: NOBODY_CAN } },
    }))
    const { permissions, hash } = parsePermissions(JSON.stringify(compiled), 'the file')
    expect(JSON.parse(permissions!)).toEqual(JSON.parse(JSON.stringify(compiled)))
    expect(Object.keys((JSON.parse(permissions!) as typeof anyone).tables)).toEqual(['authors', 'book'])
    expect(hash).toMatch(/^[0-9a-f]{32}$/)
  })

  it('have a hash that changes with them, and not with the order or the spaces of the file', () => {
    const hash = (value: unknown, indent = 0) =>
      parsePermissions(JSON.stringify(value, null, indent), 'x').hash
    expect(hash(anyone, 2)).toBe(hash(anyone))
    expect(hash({ tables: { a: {}, b: {} } })).toBe(hash({ tables: { b: {}, a: {} } }))
    expect(hash(nobody)).not.toBe(hash(anyone))
  })

  it('can let everybody read some tables', () => {
    const { permissions, hash } = allowAllSelect(['b', 'author'])
    const rule = [['allow', { type: 'and', conditions: [] }]]
    expect(JSON.parse(permissions!)).toEqual({
      tables: { author: { row: { select: rule } }, b: { row: { select: rule } } },
    })
    expect(allowAllSelect(['author', 'b']).hash).toBe(hash)
    expect(parsePermissions(permissions!, 'the file')).toEqual({ permissions, hash })
  })

  it('are refused with the complete list', () => {
    const select = [
      ['deny', {}],
      ['allow', { conditions: [] }],
      ['allow', { type: 'or', conditions: [{ type: 'simple', op: '=' }] }],
      ['allow', { type: 'and' }],
      ['allow', { type: 'something-newer' }],
    ]
    const broken = {
      tables: { author: { row: { selct: [], select, update: [] }, columns: {} }, book: null },
      schema: 1,
    }
    const error = refusal(JSON.stringify(broken))
    expect(error.code).toBe('zero/permissions-malformed')
    expect(error.message.split('\n')).toEqual([
      'the file holds no permissions that zero-cache can read',
      '  tables.author.row.selct: unknown key, did you mean "select"?',
      '  tables.author.row.select.0: must be a rule, ["allow", condition]',
      '  tables.author.row.select.1.1: must be a condition, such as {"type": "and", "conditions": []}',
      '  tables.author.row.select.2.1.conditions.0.left: is missing',
      '  tables.author.row.select.2.1.conditions.0.right: is missing',
      '  tables.author.row.select.3.1.conditions: must be a list',
      '  tables.author.row.update: must be an object',
      '  tables.author.columns: unknown key; known: row, cell',
      '  tables.book: must be an object',
      '  schema: unknown key; known: tables',
    ])
  })

  it.each(['', '{', 'null', '[]', '"x"', '{"tables": []}'])('are not %j', (text) => {
    expect(refusal(text).code).toBe('zero/permissions-malformed')
  })

  it('are refused when nested without end, instead of running out of stack', () => {
    const depth = 100_000
    const nested = '{"type":"and","conditions":['.repeat(depth) + ']}'.repeat(depth)
    expect(refusal(`{"tables":{"a":{"row":{"select":[["allow",${nested}]]}}}}`).code).toBe(
      'zero/permissions-malformed',
    )
  })
})

describe('a permissions file', () => {
  it('is given when it is new or holds something else', async () => {
    await write(JSON.stringify(anyone))
    const file = new PermissionsFile(path)
    expect(JSON.parse((await file.changed())!.permissions!)).toEqual(anyone)
    expect(await file.changed()).toBeNull()
    await write(JSON.stringify(anyone, null, 2))
    expect(await file.changed()).toBeNull()
    await write(JSON.stringify(nobody))
    expect(JSON.parse((await file.changed())!.permissions!)).toEqual(nobody)
  })

  it('that is broken says so until it is written again', async () => {
    await write(JSON.stringify(anyone))
    const file = new PermissionsFile(path)
    await file.changed()
    await write('{')
    await expect(file.changed()).rejects.toMatchObject({ code: 'zero/permissions-malformed' })
    await expect(file.changed()).rejects.toThrow('is not JSON')
    await write(JSON.stringify(anyone))
    expect(await file.changed()).toBeNull()
  })

  it('that is not there is no empty one', async () => {
    const file = new PermissionsFile(path)
    await expect(file.changed()).rejects.toMatchObject({ code: 'zero/permissions-unreadable' })
    await expect(file.changed()).rejects.toThrow('cannot be read (ENOENT)')
  })

  it('that is far too large is not read', async () => {
    await write(' '.repeat(2 ** 24 + 1))
    await expect(new PermissionsFile(path).changed()).rejects.toThrow('larger than 16 MiB')
  })
})

describe('the watch of a permissions file', () => {
  it('tells changes, logs each failure once, and keeps what was there', async () => {
    await write(JSON.stringify(anyone))
    const errors: string[] = []
    const told: (string | null)[] = []
    const log: Logger = { debug() {}, info() {}, warn() {}, error: (message) => errors.push(message) }
    const file = new PermissionsFile(path)
    const first = await file.changed()
    let looks = 0
    const changed = file.changed.bind(file)
    file.changed = () => {
      looks++
      return changed()
    }
    const looked = async () => {
      const before = looks
      // One look may have begun before.
      await waitFor('two more looks', () => looks >= before + 2)
    }
    const end = watchPermissions(file, { intervalMs: 5, log, changed: ({ hash }) => void told.push(hash) })
    try {
      await looked()
      expect(told).toEqual([])
      await write('{')
      await waitFor('the log', () => errors.length === 1)
      await rm(path)
      await waitFor('the log', () => errors.length === 2)
      await looked()
      await write(JSON.stringify(anyone))
      await looked()
      expect(told).toEqual([])
      await rm(path)
      await waitFor('the log', () => errors.length === 3)
      await write(JSON.stringify(nobody))
      await waitFor('the change', () => told.length === 1)
      await write(JSON.stringify(anyone))
      await waitFor('the change', () => told.length === 2)
      expect(told[1]).toBe(first!.hash)
      expect(errors).toEqual([
        expect.stringMatching(/is not JSON; the permissions so far stay$/),
        expect.stringMatching(/cannot be read \(ENOENT\); the permissions so far stay$/),
        expect.stringMatching(/cannot be read \(ENOENT\); the permissions so far stay$/),
      ])
    } finally {
      end()
    }
    const after = looks
    await write(JSON.stringify(nobody))
    await new Promise((resolve) => setImmediate(resolve))
    expect([looks, told.length]).toEqual([after, 2])
  })

  it('tells again what could not be taken', async () => {
    await write(JSON.stringify(anyone))
    const errors: string[] = []
    const told: (string | null)[] = []
    const log: Logger = { debug() {}, info() {}, warn() {}, error: (message) => errors.push(message) }
    const changed = async ({ hash }: { readonly hash: string | null }) => {
      told.push(hash)
      if (told.length < 3) throw new ConnectionError('test/busy', 'the log is busy')
    }
    const end = watchPermissions(new PermissionsFile(path), { intervalMs: 5, log, changed })
    try {
      await waitFor('three calls', () => told.length === 3)
      expect(new Set(told).size).toBe(1)
      expect(errors).toEqual(['the log is busy; the permissions so far stay'])
    } finally {
      end()
    }
  })
})
